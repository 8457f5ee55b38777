-- Tables of the embedded store. Times are ns since the Unix epoch, clamped to 63 bits.
-- Nothing is keyed by what is random by nature: trace and session ids are looked up in sorted runs
-- (id_run), everything else is appended or clustered by time, so that the cost of a span does not
-- grow with what is stored.

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
    -- Tokens and cost (nano-USD) of the model calls, each once.
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
    identity_indexed  INTEGER NOT NULL DEFAULT 0,
    -- pulse.storage.v1.CallList: the spans that have to do with usage, to tell which of them tell of
    -- the same call; absent when there are none.
    calls             BLOB
) STRICT;
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

-- Spans of one project that were stored together: their columns, and their messages compressed.
-- Spans of a trace lie side by side, in start order.
CREATE TABLE block (
    block_id           INTEGER PRIMARY KEY,
    project_id         INTEGER NOT NULL,
    width              INTEGER NOT NULL,  -- class of start_max - start_min, see reader/walk.rs
    start_min          INTEGER NOT NULL,
    start_max          INTEGER NOT NULL,
    span_count         INTEGER NOT NULL,
    error_count        INTEGER NOT NULL,
    columns            BLOB NOT NULL,     -- pulse.storage.v1.BlockColumns
    codec              INTEGER NOT NULL,  -- how content is compressed
    content            BLOB NOT NULL
) STRICT;
CREATE INDEX block_start ON block (project_id, width, start_max, start_min, error_count, span_count);

-- How many trace parts a block holds; it goes with the last of them.
CREATE TABLE block_use (
    block_id   INTEGER PRIMARY KEY,
    part_count INTEGER NOT NULL
) STRICT;

-- Where the spans of a trace are: a stretch of a block, and their keys.
CREATE TABLE trace_part (
    trace_key          INTEGER NOT NULL,
    block_id           INTEGER NOT NULL,
    project_id         INTEGER NOT NULL,
    received_unix_nano INTEGER NOT NULL,  -- first arrival of its spans
    first_place        INTEGER NOT NULL,  -- place of its first span in the block
    keys               BLOB NOT NULL,     -- span id (8 bytes) and start (8 bytes, big-endian) per span
    sessions           TEXT,              -- JSON array of the sessions its spans name
    PRIMARY KEY (trace_key, block_id)
) STRICT, WITHOUT ROWID;

-- Row keys by id, in three stages: the newest ids one by one; runs of sorted ids, which are merged
-- into larger ones; a run's entries, some in a row: id (16 bytes), project and key (8 bytes each,
-- big-endian). Space 0 holds trace ids, space 1 the first 16 bytes of session ids' SHA-256.
CREATE TABLE id_recent (
    space      INTEGER NOT NULL,
    id         BLOB NOT NULL,
    project_id INTEGER NOT NULL,
    row_key    INTEGER NOT NULL,
    PRIMARY KEY (space, id, project_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE id_run (
    run_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    space       INTEGER NOT NULL,
    state       INTEGER NOT NULL,  -- 0 in use, 1 being written, 2 being deleted
    entry_count INTEGER NOT NULL,
    row_key_max INTEGER NOT NULL,
    filter      BLOB NOT NULL      -- Bloom filter of its ids
) STRICT;
CREATE TABLE id_run_chunk (
    run_id  INTEGER NOT NULL,
    first   BLOB NOT NULL,         -- id and project of its first entry
    entries BLOB NOT NULL,
    PRIMARY KEY (run_id, first)
) STRICT, WITHOUT ROWID;

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
    session_key     INTEGER PRIMARY KEY AUTOINCREMENT,
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
    cost_nano_usd     INTEGER NOT NULL
) STRICT;
CREATE INDEX session_end ON session (project_id, end_unix_nano, session_id);
CREATE INDEX session_received ON session (received_unix_nano);

CREATE TABLE session_trace (
    session_key INTEGER NOT NULL,
    trace_key   INTEGER NOT NULL,
    PRIMARY KEY (session_key, trace_key)
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
