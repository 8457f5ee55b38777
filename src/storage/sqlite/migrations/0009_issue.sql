-- Events of PulseBoard by arrival: its clients ask for those that arrived last.
CREATE INDEX event_arrival ON event (project_id, received_unix_nano, time_unix_nano, digest)
    WHERE source = 2;

-- Events that are alike: see src/storage/issues.rs.
CREATE TABLE issue (
    project_id         INTEGER NOT NULL,
    fingerprint        INTEGER NOT NULL,
    level              INTEGER NOT NULL,  -- 0 trace to 5 fatal
    type               TEXT NOT NULL,
    event_count        INTEGER NOT NULL,
    first_unix_nano    INTEGER NOT NULL,
    last_unix_nano     INTEGER NOT NULL,
    received_unix_nano INTEGER NOT NULL,  -- latest arrival of its events
    details            TEXT NOT NULL,     -- JSON
    PRIMARY KEY (project_id, fingerprint, level, type)
) STRICT, WITHOUT ROWID;
CREATE INDEX issue_last ON issue (project_id, last_unix_nano, fingerprint, level, type);
CREATE INDEX issue_first ON issue (project_id, first_unix_nano, fingerprint, level, type);
CREATE INDEX issue_count ON issue (project_id, event_count, fingerprint, level, type);
CREATE INDEX issue_received ON issue (received_unix_nano);

-- Events of an issue in five minutes.
CREATE TABLE issue_bucket (
    project_id         INTEGER NOT NULL,
    fingerprint        INTEGER NOT NULL,
    start_unix_nano    INTEGER NOT NULL,
    event_count        INTEGER NOT NULL,
    received_unix_nano INTEGER NOT NULL,
    PRIMARY KEY (project_id, fingerprint, start_unix_nano)
) STRICT, WITHOUT ROWID;
CREATE INDEX issue_bucket_received ON issue_bucket (received_unix_nano);

-- What people say of issues.
CREATE TABLE issue_status (
    project_id        INTEGER NOT NULL,
    fingerprint       INTEGER NOT NULL,
    status            TEXT NOT NULL,      -- unresolved, resolved, ignored
    changed_unix_nano INTEGER NOT NULL,
    PRIMARY KEY (project_id, fingerprint)
) STRICT, WITHOUT ROWID;
