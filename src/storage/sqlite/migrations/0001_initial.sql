-- Tables of the embedded store. Times are ns since the Unix epoch, clamped to 63 bits.
-- What is random by nature (trace ids) is in one small index; everything else is appended or
-- clustered by time, so that the cost of a span does not grow with what is stored.

CREATE TABLE project (
    project_id        INTEGER PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    created_unix_nano INTEGER NOT NULL
) STRICT;
INSERT INTO project VALUES (1, 'default', 0);

-- One row a log partition: the first log position that is not stored yet.
CREATE TABLE log_checkpoint (
    partition     INTEGER PRIMARY KEY,
    next_position INTEGER NOT NULL
) STRICT;

-- Values the daemon needs for the life of the store, such as the key that signs cursors.
CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO setting VALUES ('cursor_key', randomblob(32));

-- Resources as they came, once per content.
CREATE TABLE resource (
    resource_id         INTEGER PRIMARY KEY,
    project_id          INTEGER NOT NULL,
    content_hash        BLOB NOT NULL,
    service_name        TEXT NOT NULL,
    service_version     TEXT,
    service_instance    TEXT,
    environment         TEXT,
    schema_url          TEXT NOT NULL,
    message             BLOB NOT NULL,
    last_seen_unix_nano INTEGER NOT NULL,
    UNIQUE (project_id, content_hash)
) STRICT;
CREATE INDEX resource_service ON resource (project_id, service_name);

-- Instrumentation scopes as they came, once per content.
CREATE TABLE scope (
    scope_id            INTEGER PRIMARY KEY,
    project_id          INTEGER NOT NULL,
    content_hash        BLOB NOT NULL,
    name                TEXT NOT NULL,
    version             TEXT NOT NULL,
    schema_url          TEXT NOT NULL,
    message             BLOB NOT NULL,
    last_seen_unix_nano INTEGER NOT NULL,
    UNIQUE (project_id, content_hash)
) STRICT;

-- Trace summaries, independent of the order in which spans arrive.
CREATE TABLE trace (
    -- Never used twice, so that nothing left behind can be taken for another trace's.
    trace_key         INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id        INTEGER NOT NULL,
    trace_id          BLOB NOT NULL,
    -- First arrival: retention goes by it, so that a wrong clock at the client deletes nothing.
    received_unix_nano INTEGER NOT NULL,
    start_unix_nano   INTEGER NOT NULL,
    end_unix_nano     INTEGER NOT NULL,
    span_count        INTEGER NOT NULL,
    error_count       INTEGER NOT NULL,
    genai_span_count  INTEGER NOT NULL,
    -- Tokens and cost (nano-USD) of the model calls.
    llm_call_count    INTEGER NOT NULL,
    input_tokens      INTEGER NOT NULL,
    output_tokens     INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cost_nano_usd     INTEGER NOT NULL,
    -- The span that names the trace: the smallest (has parent, start, span id).
    head_has_parent   INTEGER NOT NULL,
    head_start        INTEGER NOT NULL,
    head_span_id      BLOB NOT NULL,
    head_name         TEXT NOT NULL,
    head_service      TEXT NOT NULL,
    services          TEXT NOT NULL,  -- JSON array, sorted
    models            TEXT NOT NULL,  -- JSON array, sorted
    session_id        TEXT,
    user_id           TEXT,
    -- The failed span with the smallest (start, span id).
    error_start       INTEGER,
    error_span_id     BLOB,
    error_name        TEXT,
    error_type        TEXT,
    error_message     TEXT,
    -- 1 when every span of the trace has a row in span_identity.
    identity_indexed  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX trace_identity ON trace (trace_id, project_id);
CREATE INDEX trace_received ON trace (received_unix_nano);
CREATE INDEX trace_start ON trace (project_id, start_unix_nano);
CREATE INDEX trace_failed ON trace (project_id, start_unix_nano) WHERE error_count > 0;

-- Which services take part in which trace, newest first.
CREATE TABLE trace_service (
    project_id      INTEGER NOT NULL,
    service_name    TEXT NOT NULL,
    start_unix_nano INTEGER NOT NULL,
    trace_key       INTEGER NOT NULL,
    PRIMARY KEY (project_id, service_name, start_unix_nano, trace_key)
) STRICT, WITHOUT ROWID;

-- Spans of one trace that were stored together: their messages, compressed, and their keys.
CREATE TABLE trace_part (
    part_id            INTEGER PRIMARY KEY,
    project_id         INTEGER NOT NULL,
    trace_key          INTEGER NOT NULL,
    received_unix_nano INTEGER NOT NULL,
    span_count         INTEGER NOT NULL,
    keys               BLOB NOT NULL,     -- span id (8 bytes) and start (8 bytes, big-endian) per span
    codec              INTEGER NOT NULL,  -- how content is compressed
    content            BLOB NOT NULL
) STRICT;
CREATE INDEX trace_part_trace ON trace_part (trace_key);

-- The span columns, clustered by start.
CREATE TABLE span (
    project_id       INTEGER NOT NULL,
    start_unix_nano  INTEGER NOT NULL,
    trace_key        INTEGER NOT NULL,
    span_id          BLOB NOT NULL,
    parent_span_id   BLOB,
    name             TEXT NOT NULL,
    kind             INTEGER NOT NULL,
    status           INTEGER NOT NULL,
    status_message   TEXT,
    duration_ns      INTEGER NOT NULL,
    time_marks       INTEGER NOT NULL,   -- bits: what is implausible about the times
    resource_id      INTEGER NOT NULL,
    scope_id         INTEGER NOT NULL,
    part_id          INTEGER NOT NULL,
    operation        TEXT,               -- NULL means other
    provider         TEXT,
    request_model    TEXT,
    response_model   TEXT,
    session_id       TEXT,
    user_id          TEXT,
    error_type       TEXT,
    http_method      TEXT,
    http_route       TEXT,
    http_status_code INTEGER,
    db_system        TEXT,
    db_operation     TEXT,
    rpc_system       TEXT,
    rpc_service      TEXT,
    rpc_method       TEXT,
    PRIMARY KEY (project_id, start_unix_nano, trace_key, span_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX span_failed ON span (project_id, start_unix_nano) WHERE status = 2;

-- Identity of the spans of long traces; short ones are compared with their parts' keys.
CREATE TABLE span_identity (
    project_id INTEGER NOT NULL,
    trace_key  INTEGER NOT NULL,
    span_id    BLOB NOT NULL,
    PRIMARY KEY (project_id, trace_key, span_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE service (
    project_id           INTEGER NOT NULL,
    name                 TEXT NOT NULL,
    first_seen_unix_nano INTEGER NOT NULL,
    last_seen_unix_nano  INTEGER NOT NULL,
    received_unix_nano   INTEGER NOT NULL,  -- latest arrival
    span_count           INTEGER NOT NULL,
    error_count          INTEGER NOT NULL,
    PRIMARY KEY (project_id, name)
) STRICT, WITHOUT ROWID;

-- Session summaries.
CREATE TABLE session (
    project_id      INTEGER NOT NULL,
    session_id      TEXT NOT NULL,
    user_id         TEXT,
    start_unix_nano INTEGER NOT NULL,
    end_unix_nano   INTEGER NOT NULL,
    received_unix_nano INTEGER NOT NULL,  -- latest arrival
    trace_count     INTEGER NOT NULL,
    span_count      INTEGER NOT NULL,
    error_count     INTEGER NOT NULL,
    llm_call_count    INTEGER NOT NULL,
    input_tokens      INTEGER NOT NULL,
    output_tokens     INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cost_nano_usd     INTEGER NOT NULL,
    PRIMARY KEY (project_id, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_end ON session (project_id, end_unix_nano);

CREATE TABLE session_trace (
    project_id INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    trace_key  INTEGER NOT NULL,
    PRIMARY KEY (project_id, session_id, trace_key)
) STRICT, WITHOUT ROWID;

-- Sums over time buckets of a minute, an hour and a day; every span counts once in each.
CREATE TABLE rollup (
    project_id      INTEGER NOT NULL,
    level           INTEGER NOT NULL,  -- 0 minute, 1 hour, 2 day (UTC)
    minute          INTEGER NOT NULL,  -- start of the bucket, minutes since the Unix epoch
    service_name    TEXT NOT NULL,
    operation       TEXT NOT NULL,
    provider        TEXT NOT NULL,     -- '' when unknown
    model           TEXT NOT NULL,     -- '' when unknown
    received_unix_nano INTEGER NOT NULL,  -- latest arrival
    span_count      INTEGER NOT NULL,
    error_count     INTEGER NOT NULL,
    duration_sum_ns INTEGER NOT NULL,
    llm_call_count    INTEGER NOT NULL,
    input_tokens      INTEGER NOT NULL,
    output_tokens     INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cost_nano_usd     INTEGER NOT NULL,
    duration_hist   BLOB NOT NULL,     -- mergeable histogram of durations
    PRIMARY KEY (project_id, level, minute, service_name, operation, provider, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollup_received ON rollup (received_unix_nano);

-- Spans the store refused, with the reason.
CREATE TABLE dead_letter (
    dead_letter_id    INTEGER PRIMARY KEY,
    project_id        INTEGER NOT NULL,
    trace_id          BLOB NOT NULL,
    span_id           BLOB NOT NULL,
    reason            TEXT NOT NULL,
    created_unix_nano INTEGER NOT NULL,
    message           BLOB NOT NULL,
    UNIQUE (project_id, trace_id, span_id)
) STRICT;
CREATE INDEX dead_letter_project ON dead_letter (project_id, dead_letter_id);
