-- The tables of version 1. Read by schema.py; a statement ends with a semicolon at a line's end.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row a task. seq is the order of arrival; budget is the number of attempts a person's retry
-- grants anew, NULL while it is still max_attempts; parked says why nobody may claim the task.
CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL,
    func_name TEXT NOT NULL,
    lane TEXT NOT NULL,
    created_at REAL NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    args TEXT NOT NULL DEFAULT '',
    queue TEXT NOT NULL DEFAULT 'default',
    priority INTEGER NOT NULL DEFAULT 0,
    run_at REAL,
    started_at REAL,
    ended_at REAL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 1,
    crashes INTEGER NOT NULL DEFAULT 0,
    timeout REAL,
    at_most_once INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT,
    tags TEXT,
    source TEXT NOT NULL DEFAULT 'request',
    instance TEXT,
    owner TEXT,
    lease INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    stacktrace TEXT,
    result TEXT,
    result_error TEXT,
    progress TEXT,
    budget INTEGER,
    parked TEXT
);

CREATE UNIQUE INDEX tasks_by_id ON tasks (task_id);

-- What a claim walks along: the order of starting, without a sort. The last three columns are the
-- same in all entries; with them, the backlog is counted without reading a row.
CREATE INDEX tasks_ready ON tasks (lane, priority DESC, seq, status, owner, parked)
    WHERE status = 'pending' AND owner IS NULL AND parked IS NULL;

CREATE INDEX tasks_due ON tasks (run_at) WHERE status IN ('scheduled', 'retrying');

CREATE INDEX tasks_owned ON tasks (owner) WHERE owner IS NOT NULL;

CREATE INDEX tasks_parked ON tasks (func_name) WHERE parked IS NOT NULL;

-- Pages of one status, and counts per status without reading a row. Every index ends with seq.
CREATE INDEX tasks_by_status ON tasks (status);

-- What the pruner and the figures of the last minutes read.
CREATE INDEX tasks_ended ON tasks (status, ended_at) WHERE ended_at IS NOT NULL;

-- No foreign keys: a late line of a task that is gone must not undo the batch it came with.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT,
    stacktrace TEXT,
    instance TEXT
);

CREATE INDEX attempts_of_task ON attempts (task_id);

CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    at REAL NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL
);

CREATE INDEX logs_of_task ON logs (task_id);

CREATE TABLE instances (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    started_at REAL NOT NULL
) WITHOUT ROWID;
