-- Series of metrics.
CREATE TABLE metric_series (
    project_id          bigint NOT NULL,
    metric_id           bigint NOT NULL,
    last_seen_unix_nano bigint NOT NULL,
    kind                smallint NOT NULL,
    temporality         smallint NOT NULL,
    is_monotonic        boolean NOT NULL,
    is_overflow         boolean NOT NULL,
    series_id           bytea NOT NULL,
    name                text COLLATE "C" NOT NULL,
    unit                text COLLATE "C" NOT NULL,
    description         text COLLATE "C" NOT NULL,
    service_name        text COLLATE "C" NOT NULL,
    environment         text COLLATE "C",
    scope_name          text COLLATE "C" NOT NULL,
    scope_version       text COLLATE "C" NOT NULL,
    attributes          jsonb NOT NULL,
    resource            jsonb NOT NULL,
    PRIMARY KEY (project_id, series_id)
);
CREATE INDEX metric_series_name
    ON metric_series (project_id, name, kind, temporality, is_monotonic, unit, series_id);
CREATE INDEX metric_series_overflow ON metric_series (project_id, is_overflow);
CREATE INDEX metric_series_last_seen ON metric_series (last_seen_unix_nano);
COMMENT ON TABLE metric_series IS
    'Series of metrics: metric, resource, scope and attributes. Their points lie in metric_chunk.';
COMMENT ON COLUMN metric_series.project_id IS 'Owner.';
COMMENT ON COLUMN metric_series.metric_id IS 'Eight bytes of a SHA-256 over the name, by which chunks of a metric lie together.';
COMMENT ON COLUMN metric_series.last_seen_unix_nano IS 'Latest arrival of a point, rounded down to a quarter of an hour, ns since the Unix epoch.';
COMMENT ON COLUMN metric_series.kind IS '0 gauge, 1 sum, 2 histogram, 3 exponential histogram, 4 summary.';
COMMENT ON COLUMN metric_series.temporality IS '0 none, 1 delta, 2 cumulative.';
COMMENT ON COLUMN metric_series.is_monotonic IS 'Whether the sum never falls.';
COMMENT ON COLUMN metric_series.is_overflow IS 'Whether it has the points of series beyond the limit.';
COMMENT ON COLUMN metric_series.series_id IS 'Half a SHA-256 over all that makes it one, 16 bytes.';
COMMENT ON COLUMN metric_series.name IS 'Name of the metric.';
COMMENT ON COLUMN metric_series.unit IS 'Its unit.';
COMMENT ON COLUMN metric_series.description IS 'What it is, for people.';
COMMENT ON COLUMN metric_series.service_name IS 'service.name of its resource, or unknown_service; empty for points of several.';
COMMENT ON COLUMN metric_series.environment IS 'deployment.environment.name of its resource.';
COMMENT ON COLUMN metric_series.scope_name IS 'Instrumentation scope.';
COMMENT ON COLUMN metric_series.scope_version IS 'Version of the scope.';
COMMENT ON COLUMN metric_series.attributes IS 'Attributes of its points, cut to what can be shown.';
COMMENT ON COLUMN metric_series.resource IS 'Attributes of its resource, cut to what can be shown.';

-- Points of a series of a quarter of an hour. Rows are written again as points come, so there is room
-- for that beside them, and no index over what changes.
CREATE TABLE metric_chunk (
    project_id         bigint NOT NULL,
    metric_id          bigint NOT NULL,
    slot_unix_nano     bigint NOT NULL,
    received_unix_nano bigint NOT NULL,
    first_unix_nano    bigint NOT NULL,
    last_unix_nano     bigint NOT NULL,
    part               integer NOT NULL,
    series_id          bytea NOT NULL,
    points             bytea NOT NULL,
    PRIMARY KEY (project_id, metric_id, slot_unix_nano, series_id, part)
) PARTITION BY RANGE (slot_unix_nano);
ALTER TABLE metric_chunk ALTER COLUMN points SET STORAGE EXTERNAL;
ALTER TABLE metric_chunk ALTER COLUMN points SET STATISTICS 0;
COMMENT ON TABLE metric_chunk IS
    'Points of a series of a quarter of an hour. Partitioned by their times.';
COMMENT ON COLUMN metric_chunk.project_id IS 'Owner.';
COMMENT ON COLUMN metric_chunk.metric_id IS 'See metric_series.';
COMMENT ON COLUMN metric_chunk.slot_unix_nano IS 'First time in it, ns since the Unix epoch.';
COMMENT ON COLUMN metric_chunk.received_unix_nano IS 'Latest arrival of a point in it, rounded up to an hour, ns since the Unix epoch.';
COMMENT ON COLUMN metric_chunk.first_unix_nano IS 'Time of the first of its points, ns since the Unix epoch.';
COMMENT ON COLUMN metric_chunk.last_unix_nano IS 'Time of the last of its points, ns since the Unix epoch.';
COMMENT ON COLUMN metric_chunk.part IS 'From 0; all parts but the last are full.';
COMMENT ON COLUMN metric_chunk.series_id IS 'See metric_series.';
COMMENT ON COLUMN metric_chunk.points IS 'The points, each told from the one before; the first byte is the version of the format.';

CREATE TABLE metric_chunk_default PARTITION OF metric_chunk DEFAULT WITH (
    autovacuum_analyze_scale_factor = 0.5, autovacuum_vacuum_insert_scale_factor = 0.5);
CREATE INDEX metric_chunk_default_received ON metric_chunk_default (received_unix_nano);
COMMENT ON TABLE metric_chunk_default IS 'Points of times that have no partition.';

CREATE TABLE dead_point (
    project_id        bigint NOT NULL,
    time_unix_nano    bigint NOT NULL,
    start_unix_nano   bigint NOT NULL,
    created_unix_nano bigint NOT NULL,
    series_id         bytea NOT NULL,
    name              text NOT NULL,
    reason            text NOT NULL,
    points            bytea NOT NULL,
    PRIMARY KEY (project_id, series_id, time_unix_nano, start_unix_nano)
);
COMMENT ON TABLE dead_point IS 'Data points the store refused, with the reason.';
COMMENT ON COLUMN dead_point.project_id IS 'Owner.';
COMMENT ON COLUMN dead_point.time_unix_nano IS 'When it was taken, ns since the Unix epoch.';
COMMENT ON COLUMN dead_point.start_unix_nano IS 'Since when it counts, ns since the Unix epoch; 0 when unknown.';
COMMENT ON COLUMN dead_point.created_unix_nano IS 'Arrival of the point, ns since the Unix epoch.';
COMMENT ON COLUMN dead_point.series_id IS 'Series it is of.';
COMMENT ON COLUMN dead_point.name IS 'Name of its metric.';
COMMENT ON COLUMN dead_point.reason IS 'Why it was refused.';
COMMENT ON COLUMN dead_point.points IS 'The point, as in metric_chunk.';

COMMENT ON TABLE span_partition IS
    'Partitions of span, event and metric_chunk, so that retention can drop one as soon as everything in it is old. Control table.';
