-- What projects may send, and what they sent.

-- Limits of a project of its own; NULL: none. Projects without a row have those of the configuration.
CREATE TABLE project_quota (
    project_id       INTEGER PRIMARY KEY,
    items_per_second INTEGER,
    bytes_per_day    INTEGER
) STRICT;

-- Accepted telemetry by day (UTC), to the last few seconds.
CREATE TABLE project_usage (
    day        INTEGER NOT NULL,           -- days since 1970-01-01
    project_id INTEGER NOT NULL,
    signal     TEXT NOT NULL,              -- traces, logs, metrics
    items      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,           -- uncompressed
    PRIMARY KEY (project_id, day, signal)
) STRICT, WITHOUT ROWID;
CREATE INDEX project_usage_day ON project_usage (day);
