-- Series of metrics.
CREATE TABLE metric_series (
    project_id          INTEGER NOT NULL,
    series_id           BLOB NOT NULL,     -- 16 bytes: half a SHA-256 over all that makes it one
    metric_id           INTEGER NOT NULL,  -- eight bytes of a SHA-256 over the name
    last_seen_unix_nano INTEGER NOT NULL,  -- latest arrival, rounded down to a quarter of an hour
    kind                INTEGER NOT NULL,  -- 0 gauge, 1 sum, 2 histogram, 3 exponential histogram, 4 summary
    temporality         INTEGER NOT NULL,  -- 0 none, 1 delta, 2 cumulative
    is_monotonic        INTEGER NOT NULL,
    is_overflow         INTEGER NOT NULL,  -- 1: has points of series beyond the limit
    name                TEXT NOT NULL,
    unit                TEXT NOT NULL,
    description         TEXT NOT NULL,
    service_name        TEXT NOT NULL,     -- empty: of several
    environment         TEXT,
    scope_name          TEXT NOT NULL,
    scope_version       TEXT NOT NULL,
    attributes          TEXT NOT NULL,     -- of its points, a JSON object
    resource            TEXT NOT NULL,     -- of its resource, a JSON object
    PRIMARY KEY (project_id, series_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX metric_series_name ON metric_series (project_id, name, kind, temporality, is_monotonic, unit);
CREATE INDEX metric_series_overflow ON metric_series (project_id, is_overflow);
CREATE INDEX metric_series_last_seen ON metric_series (last_seen_unix_nano);

-- Points of a series of a quarter of an hour. What a query of a metric reads lies together, and so does
-- what is written at a time.
CREATE TABLE metric_chunk (
    project_id         INTEGER NOT NULL,
    metric_id          INTEGER NOT NULL,
    slot_unix_nano     INTEGER NOT NULL,  -- first time in it
    series_id          BLOB NOT NULL,
    part               INTEGER NOT NULL,  -- from 0; all but the last are full
    received_unix_nano INTEGER NOT NULL,  -- latest arrival, rounded up to an hour
    first_unix_nano    INTEGER NOT NULL,  -- times of its points: the first and the last
    last_unix_nano     INTEGER NOT NULL,
    points             BLOB NOT NULL,
    PRIMARY KEY (project_id, metric_id, slot_unix_nano, series_id, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX metric_chunk_received ON metric_chunk (received_unix_nano);

-- Data points the store refused, with the reason.
CREATE TABLE dead_point (
    project_id        INTEGER NOT NULL,
    series_id         BLOB NOT NULL,
    time_unix_nano    INTEGER NOT NULL,
    start_unix_nano   INTEGER NOT NULL,
    created_unix_nano INTEGER NOT NULL,
    name              TEXT NOT NULL,
    reason            TEXT NOT NULL,
    points            BLOB NOT NULL,     -- as in metric_chunk
    PRIMARY KEY (project_id, series_id, time_unix_nano, start_unix_nano)
) STRICT, WITHOUT ROWID;
