-- What version 2 adds: queues, concurrency keys, requests to cancel, controls.

ALTER TABLE tasks ADD COLUMN concurrency_key TEXT;

ALTER TABLE tasks ADD COLUMN key_limit INTEGER NOT NULL DEFAULT 1;

-- Set while so many tasks with the same key are owned that nobody may claim this one. It names the
-- kind: tasks of one kind may always be claimed at the same moments, but for their order.
ALTER TABLE tasks ADD COLUMN blocked TEXT;

DROP INDEX tasks_ready;

-- What a claim walks along: per queue the order of starting, without a sort. The columns after seq
-- are the same in all entries; with them, the backlog is counted without reading a row.
CREATE INDEX tasks_ready ON tasks (lane, queue, priority DESC, seq, status, owner, parked, blocked)
    WHERE status = 'pending' AND owner IS NULL AND parked IS NULL AND blocked IS NULL;

-- Who has a place of a key ...
CREATE INDEX tasks_holding ON tasks (concurrency_key, owner)
    WHERE concurrency_key IS NOT NULL AND owner IS NOT NULL;

-- ... and who waits for one.
CREATE INDEX tasks_blocked ON tasks (concurrency_key, blocked, priority DESC, seq)
    WHERE blocked IS NOT NULL;

-- The part of the backlog that nobody may claim.
CREATE INDEX tasks_withheld ON tasks (lane, queue, seq, blocked, parked)
    WHERE blocked IS NOT NULL OR parked IS NOT NULL;

-- A task that held a place of its key, or was free to take one, leaves it to the first of each kind
-- that is blocked. Who is woken in vain is blocked again by the next claim.
CREATE TRIGGER tasks_leave_key AFTER UPDATE OF owner, status, parked ON tasks
WHEN OLD.concurrency_key IS NOT NULL
    AND NEW.owner IS NULL
    AND (
        OLD.owner IS NOT NULL
        OR (
            OLD.status = 'pending' AND OLD.parked IS NULL AND OLD.blocked IS NULL
            AND (NEW.status <> 'pending' OR NEW.parked IS NOT NULL)
        )
    )
BEGIN
    UPDATE tasks SET blocked = NULL WHERE seq IN (
        WITH RECURSIVE kinds (kind) AS (
            SELECT min(blocked) FROM tasks INDEXED BY tasks_blocked
            WHERE concurrency_key = OLD.concurrency_key AND blocked IS NOT NULL
            UNION ALL
            SELECT (
                SELECT min(blocked) FROM tasks INDEXED BY tasks_blocked
                WHERE concurrency_key = OLD.concurrency_key AND blocked > kind
            )
            FROM kinds WHERE kind IS NOT NULL
        )
        SELECT (
            SELECT seq FROM tasks INDEXED BY tasks_blocked
            WHERE concurrency_key = OLD.concurrency_key AND blocked = kind
            ORDER BY priority DESC, seq LIMIT 1
        )
        FROM kinds WHERE kind IS NOT NULL
    );
END;

CREATE TRIGGER tasks_leave_key_deleted AFTER DELETE ON tasks
WHEN OLD.concurrency_key IS NOT NULL
    AND (
        OLD.owner IS NOT NULL
        OR (OLD.status = 'pending' AND OLD.parked IS NULL AND OLD.blocked IS NULL)
    )
BEGIN
    UPDATE tasks SET blocked = NULL WHERE seq IN (
        WITH RECURSIVE kinds (kind) AS (
            SELECT min(blocked) FROM tasks INDEXED BY tasks_blocked
            WHERE concurrency_key = OLD.concurrency_key AND blocked IS NOT NULL
            UNION ALL
            SELECT (
                SELECT min(blocked) FROM tasks INDEXED BY tasks_blocked
                WHERE concurrency_key = OLD.concurrency_key AND blocked > kind
            )
            FROM kinds WHERE kind IS NOT NULL
        )
        SELECT (
            SELECT seq FROM tasks INDEXED BY tasks_blocked
            WHERE concurrency_key = OLD.concurrency_key AND blocked = kind
            ORDER BY priority DESC, seq LIMIT 1
        )
        FROM kinds WHERE kind IS NOT NULL
    );
END;

-- Requests to cancel tasks that are owned; there is none for any other task.
CREATE TABLE cancels (
    task_id TEXT PRIMARY KEY,
    requested_at REAL NOT NULL
) WITHOUT ROWID;

-- Nobody is left to whom the request was. The store is not told the time here.
CREATE TRIGGER tasks_asked_to_end AFTER UPDATE OF owner ON tasks
WHEN OLD.owner IS NOT NULL
    AND NEW.owner IS NULL
    AND EXISTS (SELECT 1 FROM cancels WHERE task_id = NEW.task_id)
BEGIN
    UPDATE tasks SET
        status = 'cancelled',
        ended_at = max(
            (SELECT requested_at FROM cancels WHERE task_id = NEW.task_id),
            coalesce(OLD.started_at, 0)
        ),
        error = 'cancelled while an instance held it' || coalesce('; ' || error, '')
    WHERE seq = NEW.seq AND status NOT IN ('success', 'failed', 'cancelled', 'interrupted');
    DELETE FROM cancels WHERE task_id = NEW.task_id;
END;

-- What people set at run time for all instances.
CREATE TABLE controls (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    set_at REAL NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
