-- What version 4 adds: what the dashboard looks back at.

-- Of a task that failed for good: errors that are alike have the same one.
ALTER TABLE tasks ADD COLUMN fingerprint TEXT;

-- Pages of one kind of error, in the order of arrival ...
CREATE INDEX tasks_by_fingerprint ON tasks (fingerprint) WHERE fingerprint IS NOT NULL;

-- ... and all failures in the order in which they came, to be counted without reading a row.
CREATE INDEX tasks_failed_at ON tasks (ended_at, fingerprint) WHERE fingerprint IS NOT NULL;

-- What people did, see annals.py.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    user TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT,
    status INTEGER NOT NULL
);

CREATE INDEX audit_by_time ON audit (at);

-- Figures over time: one row for each step of each width and instance; with step 0, when an
-- instance started. See annals.py.
CREATE TABLE metrics (
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    instance TEXT NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (step, at, instance)
) WITHOUT ROWID;

-- Which tasks changed or went, for the dashboards of all instances; written only while somebody
-- looks. The newest row is never deleted, so that no number is given twice.
CREATE TABLE news (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL
);

-- Until when somebody looks, 0 for nobody, and how often somebody has begun to.
CREATE TABLE watch (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    until REAL NOT NULL,
    epoch INTEGER NOT NULL
);

INSERT INTO watch VALUES (1, 0, 0);

-- Triggers, so that no way of changing a task can forget to tell. There is none for new tasks and
-- lines, which are found by their own numbers: it would make adding a task half as dear again.
CREATE TRIGGER news_of_changed AFTER UPDATE OF status, progress, run_at, parked, args ON tasks
WHEN (SELECT until FROM watch WHERE id = 1) > 0
BEGIN
    INSERT INTO news (task_id) VALUES (NEW.task_id);
END;

CREATE TRIGGER news_of_gone AFTER DELETE ON tasks
WHEN (SELECT until FROM watch WHERE id = 1) > 0
BEGIN
    INSERT INTO news (task_id) VALUES (OLD.task_id);
END;
