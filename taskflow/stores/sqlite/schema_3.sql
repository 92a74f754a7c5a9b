-- What version 3 adds: schedules, their firings, and tasks that are there once for a key.

CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    func_name TEXT NOT NULL,
    origin TEXT NOT NULL,
    declared TEXT NOT NULL,
    changes TEXT,
    version INTEGER NOT NULL,
    paused_by TEXT,
    paused_at REAL,
    anchor INTEGER NOT NULL,
    cursor REAL NOT NULL,
    last_task TEXT
) WITHOUT ROWID;

-- The last version that was given to any schedule, and how many schedules were removed: both
-- numbers together tell whether anybody changed anything.
CREATE TABLE schedules_stamp (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    removals INTEGER NOT NULL
);

INSERT INTO schedules_stamp VALUES (1, 0, 0);

-- Its key is what makes a slot fire once, whoever tries.
CREATE TABLE firings (
    schedule TEXT NOT NULL,
    kind TEXT NOT NULL,
    slot INTEGER NOT NULL,
    at REAL NOT NULL,
    outcome TEXT NOT NULL,
    task_id TEXT,
    instance TEXT NOT NULL,
    PRIMARY KEY (schedule, kind, slot)
) WITHOUT ROWID;

-- The history of a schedule, and what is too old of it.
CREATE INDEX firings_by_time ON firings (schedule, at, slot);

-- The task of a key. record_id is the id of the record that was put last: it differs from task_id
-- where that record replaced a task that waited, and tells a repeated put from a new one.
CREATE TABLE once (
    run_key TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    record_id TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX once_of_task ON once (task_id);

CREATE TRIGGER tasks_leave_once AFTER DELETE ON tasks
BEGIN
    DELETE FROM once WHERE task_id = OLD.task_id;
END;
