-- Events: what logs tell. Partitioned by time as span is; their messages lie in content_block.
CREATE TABLE event (
    project_id         bigint NOT NULL,
    time_unix_nano     bigint NOT NULL,
    observed_unix_nano bigint NOT NULL,
    received_unix_nano bigint NOT NULL,
    block_id           bigint NOT NULL,
    fingerprint        bigint,
    input_tokens       bigint,
    output_tokens      bigint,
    cache_read_tokens  bigint,
    cache_write_tokens bigint,
    reasoning_tokens   bigint,
    cost_nano_usd      bigint,
    duration_ns        bigint,
    block_place        integer NOT NULL,
    severity           smallint NOT NULL,
    source             smallint NOT NULL,
    digest             bytea NOT NULL,
    trace_id           bytea,
    span_id            bytea,
    service_name       text COLLATE "C" NOT NULL,
    environment        text COLLATE "C",
    release            text COLLATE "C",
    severity_text      text COLLATE "C",
    name               text COLLATE "C",
    session_id         text COLLATE "C",
    model              text COLLATE "C",
    PRIMARY KEY (project_id, time_unix_nano, digest)
) PARTITION BY RANGE (time_unix_nano);
CREATE INDEX event_trace ON event (project_id, trace_id, time_unix_nano) WHERE trace_id IS NOT NULL;
COMMENT ON TABLE event IS
    'Events: what logs tell, with or without a trace. Partitioned by time. One whose block is gone is deleted.';
COMMENT ON COLUMN event.project_id IS 'Owner.';
COMMENT ON COLUMN event.time_unix_nano IS 'When it happened, else was collected, ns since the Unix epoch; 0 when the sender gave no time.';
COMMENT ON COLUMN event.observed_unix_nano IS 'When it was collected, ns since the Unix epoch; 0 when unknown.';
COMMENT ON COLUMN event.received_unix_nano IS 'Arrival, ns since the Unix epoch.';
COMMENT ON COLUMN event.block_id IS 'content_block that holds its message.';
COMMENT ON COLUMN event.fingerprint IS 'The same for errors that are alike; NULL for what is no error.';
COMMENT ON COLUMN event.input_tokens IS 'Input tokens of the model call that it tells of, cached ones included.';
COMMENT ON COLUMN event.output_tokens IS 'Output tokens, reasoning included.';
COMMENT ON COLUMN event.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN event.cache_write_tokens IS 'Input tokens written to a cache.';
COMMENT ON COLUMN event.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN event.cost_nano_usd IS 'What the sender says that the call cost, nano-USD.';
COMMENT ON COLUMN event.duration_ns IS 'How long it took, ns.';
COMMENT ON COLUMN event.block_place IS 'Place of its message in that block.';
COMMENT ON COLUMN event.severity IS 'Severity, 1 (trace) to 24 (fatal); 0 when unknown.';
COMMENT ON COLUMN event.source IS 'Where it comes from: 0 OTLP logs.';
COMMENT ON COLUMN event.digest IS 'Half a SHA-256 over all that was sent, 16 bytes: with the time, what identifies it.';
COMMENT ON COLUMN event.trace_id IS 'Trace that it belongs to, 16 bytes.';
COMMENT ON COLUMN event.span_id IS 'Span of that trace, 8 bytes.';
COMMENT ON COLUMN event.service_name IS 'service.name of its resource, or unknown_service.';
COMMENT ON COLUMN event.environment IS 'deployment.environment.name of its resource.';
COMMENT ON COLUMN event.release IS 'service.version of its resource.';
COMMENT ON COLUMN event.severity_text IS 'What the source calls the severity.';
COMMENT ON COLUMN event.name IS 'Name of the event; NULL for a plain log line.';
COMMENT ON COLUMN event.session_id IS 'Session or conversation that it names.';
COMMENT ON COLUMN event.model IS 'Model that answered, else the one asked for.';

CREATE TABLE event_default PARTITION OF event DEFAULT WITH (
    autovacuum_analyze_scale_factor = 0.5, autovacuum_vacuum_insert_scale_factor = 0.5);
CREATE INDEX event_default_received ON event_default (received_unix_nano);
COMMENT ON TABLE event_default IS 'Events of times that have no partition.';

CREATE TABLE dead_event (
    project_id        bigint NOT NULL,
    created_unix_nano bigint NOT NULL,
    time_unix_nano    bigint NOT NULL,
    digest            bytea NOT NULL,
    reason            text NOT NULL,
    message           bytea NOT NULL,
    PRIMARY KEY (project_id, time_unix_nano, digest)
);
COMMENT ON TABLE dead_event IS 'Events the store refused, with the reason.';
COMMENT ON COLUMN dead_event.project_id IS 'Owner.';
COMMENT ON COLUMN dead_event.created_unix_nano IS 'Arrival of the event, ns since the Unix epoch.';
COMMENT ON COLUMN dead_event.time_unix_nano IS 'When it happened, ns since the Unix epoch.';
COMMENT ON COLUMN dead_event.digest IS 'See event.digest.';
COMMENT ON COLUMN dead_event.reason IS 'Why it was refused.';
COMMENT ON COLUMN dead_event.message IS 'Encoded opentelemetry.proto.logs.v1.LogRecord.';

COMMENT ON TABLE span_partition IS
    'Partitions of span and event, so that retention can drop one as soon as everything in it is old. Control table.';
COMMENT ON COLUMN span_partition.lower_unix_nano IS 'First time in it, ns since the Unix epoch.';
COMMENT ON COLUMN span_partition.upper_unix_nano IS 'First time after it, ns since the Unix epoch.';
COMMENT ON COLUMN span_partition.received_unix_nano IS
    'Latest arrival of a row in it, rounded up to an hour, ns since the Unix epoch; 0 while it is empty.';
COMMENT ON TABLE content_block IS
    'Messages of spans, or of events, of one project that were stored together, compressed. Partitioned by arrival.';
