-- Events: what logs tell. Clustered by time, since they are listed by it and their identity begins
-- with it; their messages lie in blocks, as those of spans do.
CREATE TABLE event (
    project_id          INTEGER NOT NULL,
    time_unix_nano      INTEGER NOT NULL,  -- when it happened; 0 when the sender gave no time
    digest              BLOB NOT NULL,     -- 16 bytes: half a SHA-256 over all that was sent
    observed_unix_nano  INTEGER NOT NULL,
    received_unix_nano  INTEGER NOT NULL,
    block_id            INTEGER NOT NULL,
    block_place         INTEGER NOT NULL,
    severity            INTEGER NOT NULL,  -- 1 to 24; 0 when unknown
    source              INTEGER NOT NULL,  -- 0 OTLP
    service_name        TEXT NOT NULL,
    severity_text       TEXT,
    trace_id            BLOB,
    span_id             BLOB,
    environment         TEXT,
    release             TEXT,              -- service.version
    name                TEXT,
    session_id          TEXT,
    model               TEXT,
    input_tokens        INTEGER,
    output_tokens       INTEGER,
    cache_read_tokens   INTEGER,
    cache_write_tokens  INTEGER,
    reasoning_tokens    INTEGER,
    cost_nano_usd       INTEGER,
    duration_ns         INTEGER,
    fingerprint         INTEGER,           -- the same for errors that are alike
    PRIMARY KEY (project_id, time_unix_nano, digest)
) STRICT, WITHOUT ROWID;
-- Only events of traces cost an entry at a random place.
CREATE INDEX event_trace ON event (project_id, trace_id, time_unix_nano) WHERE trace_id IS NOT NULL;

-- Messages of events of one project that were stored together; see block.
CREATE TABLE event_block (
    block_id           INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id         INTEGER NOT NULL,
    received_unix_nano INTEGER NOT NULL,  -- latest arrival of its events
    codec              INTEGER NOT NULL,
    content            BLOB NOT NULL,
    keys               BLOB NOT NULL      -- time (8 bytes, big-endian) and digest of each, by place
) STRICT;
CREATE INDEX event_block_received ON event_block (received_unix_nano);
CREATE INDEX event_block_project ON event_block (project_id);

-- Events the store refused, with the reason.
CREATE TABLE dead_event (
    dead_event_id     INTEGER PRIMARY KEY,
    project_id        INTEGER NOT NULL,
    created_unix_nano INTEGER NOT NULL,
    time_unix_nano    INTEGER NOT NULL,
    digest            BLOB NOT NULL,
    reason            TEXT NOT NULL,
    message           BLOB NOT NULL,
    UNIQUE (project_id, time_unix_nano, digest)
) STRICT;
