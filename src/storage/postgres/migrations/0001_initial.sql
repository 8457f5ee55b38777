-- Tables of the Postgres store. Every name is resolved through search_path, so that a role can keep
-- them in a schema of its own.
--
-- Rules that hold for every table of a tenant: project_id is in the primary key and in every unique
-- index, there are no sequences and no foreign keys across projects; so the tables may be
-- distributed by project_id. Times are ns since the Unix epoch, clamped to 63 bits. Texts that are
-- compared or sorted have the collation "C", the byte order that the daemon sorts by. A text never
-- holds U+0000, which Postgres can't store: U+FFFD stands for it; the message has the truth.

------------------------------------------------------------------------------------------------
-- Control tables
------------------------------------------------------------------------------------------------

CREATE TABLE project (
    project_id        bigint PRIMARY KEY,
    name              text COLLATE "C" NOT NULL UNIQUE,
    created_unix_nano bigint NOT NULL
);
INSERT INTO project VALUES (1, 'default', 0);
COMMENT ON TABLE project IS 'Tenants. Control table.';
COMMENT ON COLUMN project.project_id IS 'Number of the project; every row of a tenant carries it.';
COMMENT ON COLUMN project.name IS 'Name of the project.';
COMMENT ON COLUMN project.created_unix_nano IS 'When it was created, ns since the Unix epoch.';

CREATE TABLE log_checkpoint (
    log_id            uuid NOT NULL,
    partition         integer NOT NULL,
    next_position     bigint NOT NULL,
    updated_unix_nano bigint NOT NULL,
    PRIMARY KEY (log_id, partition)
) WITH (fillfactor = 10);
COMMENT ON TABLE log_checkpoint IS
    'How far each collector''s log is stored; written in the transaction that stores the rows. Control table.';
COMMENT ON COLUMN log_checkpoint.log_id IS 'The collector''s log: a random id, chosen anew each time the log is opened.';
COMMENT ON COLUMN log_checkpoint.partition IS 'Partition of that log.';
COMMENT ON COLUMN log_checkpoint.next_position IS 'First log position that is not stored yet.';
COMMENT ON COLUMN log_checkpoint.updated_unix_nano IS
    'Arrival of the newest span of the last batch, ns since the Unix epoch.';

CREATE TABLE setting (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
INSERT INTO setting VALUES ('cursor_key', decode(
    replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
COMMENT ON TABLE setting IS 'Values the daemon needs for the life of the store. Control table.';
COMMENT ON COLUMN setting.name IS 'cursor_key: the key that signs page cursors, 32 bytes.';
COMMENT ON COLUMN setting.value IS 'The value.';

-- Which partitions of span there are, and what retention needs to know of them.
CREATE TABLE span_partition (
    name               text COLLATE "C" PRIMARY KEY,
    lower_unix_nano    bigint NOT NULL,
    upper_unix_nano    bigint NOT NULL,
    received_unix_nano bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE span_partition IS
    'Partitions of span, so that retention can drop one as soon as everything in it is old. Control table.';
COMMENT ON COLUMN span_partition.name IS 'Name of the partition.';
COMMENT ON COLUMN span_partition.lower_unix_nano IS 'First start in it, ns since the Unix epoch.';
COMMENT ON COLUMN span_partition.upper_unix_nano IS 'First start after it, ns since the Unix epoch.';
COMMENT ON COLUMN span_partition.received_unix_nano IS
    'Latest arrival of a span in it, rounded up to an hour, ns since the Unix epoch; 0 while it is empty.';

------------------------------------------------------------------------------------------------
-- What spans refer to
------------------------------------------------------------------------------------------------

CREATE TABLE resource (
    project_id          bigint NOT NULL,
    resource_id         bigint NOT NULL,
    last_seen_unix_nano bigint NOT NULL,
    content_hash        bytea NOT NULL,
    service_name        text COLLATE "C" NOT NULL,
    service_version     text,
    service_instance    text,
    environment         text,
    schema_url          text NOT NULL,
    schema_url_sent     bytea,
    attributes          jsonb,
    message             bytea NOT NULL,
    PRIMARY KEY (project_id, resource_id)
) WITH (fillfactor = 80);
CREATE INDEX resource_last_seen ON resource (last_seen_unix_nano);
COMMENT ON TABLE resource IS 'OTLP resources as they came, each content once per project.';
COMMENT ON COLUMN resource.project_id IS 'Owner.';
COMMENT ON COLUMN resource.resource_id IS '63 bits of content_hash.';
COMMENT ON COLUMN resource.last_seen_unix_nano IS
    'Arrival of a span that refers to it, refreshed about hourly, ns since the Unix epoch.';
COMMENT ON COLUMN resource.content_hash IS 'SHA-256 over schema_url and message.';
COMMENT ON COLUMN resource.service_name IS 'service.name, or unknown_service.';
COMMENT ON COLUMN resource.service_version IS 'service.version.';
COMMENT ON COLUMN resource.service_instance IS 'service.instance.id.';
COMMENT ON COLUMN resource.environment IS 'deployment.environment.name.';
COMMENT ON COLUMN resource.schema_url IS 'ResourceSpans.schema_url.';
COMMENT ON COLUMN resource.schema_url_sent IS
    'The same in UTF-8 as it was sent, where a text can''t hold it; else NULL. The message does not have it.';
COMMENT ON COLUMN resource.attributes IS
    'Attributes whose value is small, for use in SQL; NULL when switched off. The message has them all.';
COMMENT ON COLUMN resource.message IS 'Encoded opentelemetry.proto.resource.v1.Resource.';

CREATE TABLE scope (
    project_id          bigint NOT NULL,
    scope_id            bigint NOT NULL,
    last_seen_unix_nano bigint NOT NULL,
    content_hash        bytea NOT NULL,
    name                text COLLATE "C" NOT NULL,
    version             text NOT NULL,
    schema_url          text NOT NULL,
    schema_url_sent     bytea,
    message             bytea NOT NULL,
    PRIMARY KEY (project_id, scope_id)
) WITH (fillfactor = 80);
CREATE INDEX scope_last_seen ON scope (last_seen_unix_nano);
COMMENT ON TABLE scope IS 'OTLP instrumentation scopes as they came, each content once per project.';
COMMENT ON COLUMN scope.project_id IS 'Owner.';
COMMENT ON COLUMN scope.scope_id IS '63 bits of content_hash.';
COMMENT ON COLUMN scope.last_seen_unix_nano IS
    'Arrival of a span that refers to it, refreshed about hourly, ns since the Unix epoch.';
COMMENT ON COLUMN scope.content_hash IS 'SHA-256 over schema_url and message.';
COMMENT ON COLUMN scope.name IS 'Scope name.';
COMMENT ON COLUMN scope.version IS 'Scope version.';
COMMENT ON COLUMN scope.schema_url IS 'ScopeSpans.schema_url.';
COMMENT ON COLUMN scope.schema_url_sent IS
    'The same in UTF-8 as it was sent, where a text can''t hold it; else NULL. The message does not have it.';
COMMENT ON COLUMN scope.message IS 'Encoded opentelemetry.proto.common.v1.InstrumentationScope.';

------------------------------------------------------------------------------------------------
-- Traces
------------------------------------------------------------------------------------------------

-- The row lock of a trace is what makes spans unique: who adds spans to a trace holds it.
CREATE TABLE trace (
    project_id           bigint NOT NULL,
    start_unix_nano      bigint NOT NULL,
    last_start_unix_nano bigint NOT NULL,
    end_unix_nano        bigint NOT NULL,
    received_unix_nano   bigint NOT NULL,
    span_count           bigint NOT NULL,
    error_count          bigint NOT NULL,
    genai_span_count     bigint NOT NULL,
    llm_call_count       bigint NOT NULL,
    input_tokens         bigint NOT NULL,
    output_tokens        bigint NOT NULL,
    cache_read_tokens    bigint NOT NULL,
    cost_nano_usd        bigint NOT NULL,
    head_start           bigint NOT NULL,
    error_start          bigint,
    head_has_parent      boolean NOT NULL,
    trace_id             bytea NOT NULL,
    head_span_id         bytea NOT NULL,
    head_name            text COLLATE "C" NOT NULL,
    head_service         text COLLATE "C" NOT NULL,
    services             text[] COLLATE "C" NOT NULL,
    models               text[] COLLATE "C" NOT NULL,
    session_id           text COLLATE "C",
    user_id              text COLLATE "C",
    error_span_id        bytea,
    error_name           text,
    error_type           text,
    error_message        text,
    calls                bytea,
    PRIMARY KEY (project_id, trace_id)
) WITH (fillfactor = 85);
CREATE INDEX trace_start ON trace (project_id, start_unix_nano, trace_id);
CREATE INDEX trace_failed ON trace (project_id, start_unix_nano, trace_id) WHERE error_count > 0;
CREATE INDEX trace_session ON trace (project_id, session_id, start_unix_nano, trace_id)
    WHERE session_id IS NOT NULL;
CREATE INDEX trace_received ON trace (received_unix_nano);
-- Statistics on arrays are costly, and nothing plans by these.
ALTER TABLE trace
    ALTER COLUMN services SET STATISTICS 0,
    ALTER COLUMN models SET STATISTICS 0;
COMMENT ON TABLE trace IS
    'One row a trace: sums, minima and maxima over its spans, whatever order they came in. A trace whose row is gone is deleted, even while spans of it are left in a partition.';
COMMENT ON COLUMN trace.project_id IS 'Owner.';
COMMENT ON COLUMN trace.start_unix_nano IS 'Earliest span start, ns since the Unix epoch.';
COMMENT ON COLUMN trace.last_start_unix_nano IS
    'Latest span start, ns since the Unix epoch; with start_unix_nano it bounds span.start_time.';
COMMENT ON COLUMN trace.end_unix_nano IS 'Latest span end, ns since the Unix epoch.';
COMMENT ON COLUMN trace.received_unix_nano IS
    'First arrival, ns since the Unix epoch; retention goes by it, so that a wrong clock at the client deletes nothing.';
COMMENT ON COLUMN trace.span_count IS 'Spans stored.';
COMMENT ON COLUMN trace.error_count IS 'Spans with status error.';
COMMENT ON COLUMN trace.genai_span_count IS 'Spans with a GenAI operation.';
COMMENT ON COLUMN trace.llm_call_count IS 'Model calls, each once, as far as spans can be told to be of one call.';
COMMENT ON COLUMN trace.input_tokens IS 'Input tokens of the model calls, cached ones included.';
COMMENT ON COLUMN trace.output_tokens IS 'Output tokens of the model calls, reasoning included.';
COMMENT ON COLUMN trace.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN trace.cost_nano_usd IS 'Cost of the model calls, nano-USD.';
COMMENT ON COLUMN trace.head_start IS 'Start of the span that names the trace, ns since the Unix epoch.';
COMMENT ON COLUMN trace.error_start IS
    'Start of the failed span with the smallest (start, span id), ns since the Unix epoch; NULL without one.';
COMMENT ON COLUMN trace.head_has_parent IS
    'Whether the span that names the trace has a parent, so that it is no root: none has arrived yet.';
COMMENT ON COLUMN trace.trace_id IS 'Trace id, 16 bytes.';
COMMENT ON COLUMN trace.head_span_id IS
    'The span that names the trace, 8 bytes: the smallest (has a parent, start, span id).';
COMMENT ON COLUMN trace.head_name IS 'Name of that span.';
COMMENT ON COLUMN trace.head_service IS 'Service of that span.';
COMMENT ON COLUMN trace.services IS 'Services taking part, sorted, at most 64.';
COMMENT ON COLUMN trace.models IS 'Models used, sorted, at most 16.';
COMMENT ON COLUMN trace.session_id IS 'Session; the smallest when spans disagree.';
COMMENT ON COLUMN trace.user_id IS 'User; the smallest when spans disagree.';
COMMENT ON COLUMN trace.error_span_id IS 'The first failed span, 8 bytes.';
COMMENT ON COLUMN trace.error_name IS 'Its name.';
COMMENT ON COLUMN trace.error_type IS 'Its error type.';
COMMENT ON COLUMN trace.error_message IS 'Its status message, else the message of its exception.';
COMMENT ON COLUMN trace.calls IS
    'pulse.storage.v1.CallList: the spans that have to do with usage, to tell which of them tell of the same call; absent when there are none.';

CREATE TABLE trace_service (
    project_id      bigint NOT NULL,
    start_unix_nano bigint NOT NULL,
    trace_id        bytea NOT NULL,
    service_name    text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, service_name, start_unix_nano, trace_id)
);
COMMENT ON TABLE trace_service IS 'Which services take part in which trace: trace.services, indexed.';
COMMENT ON COLUMN trace_service.project_id IS 'Owner.';
COMMENT ON COLUMN trace_service.start_unix_nano IS 'trace.start_unix_nano.';
COMMENT ON COLUMN trace_service.trace_id IS 'The trace, 16 bytes.';
COMMENT ON COLUMN trace_service.service_name IS 'A service of it.';

------------------------------------------------------------------------------------------------
-- Spans
------------------------------------------------------------------------------------------------

CREATE TABLE span (
    project_id             bigint NOT NULL,
    start_time             timestamptz NOT NULL,
    start_unix_nano        bigint NOT NULL,
    duration_ns            bigint NOT NULL,
    received_unix_nano     bigint NOT NULL,
    resource_id            bigint NOT NULL,
    scope_id               bigint NOT NULL,
    block_id               bigint NOT NULL,
    block_place            integer NOT NULL,
    http_status_code       bigint,
    time_to_first_token_ns bigint,
    input_tokens           bigint,
    output_tokens          bigint,
    cache_read_tokens      bigint,
    cache_write_tokens     bigint,
    reasoning_tokens       bigint,
    audio_input_tokens     bigint,
    audio_output_tokens    bigint,
    input_cost_nano_usd    bigint,
    output_cost_nano_usd   bigint,
    cost_nano_usd          bigint,
    kind                   smallint NOT NULL,
    status                 smallint NOT NULL,
    time_marks             smallint NOT NULL,
    cost_source            smallint,
    error_kind             smallint,
    is_model_call          boolean,
    streaming              boolean,
    trace_id               bytea NOT NULL,
    span_id                bytea NOT NULL,
    parent_span_id         bytea,
    name                   text COLLATE "C" NOT NULL,
    service_name           text COLLATE "C" NOT NULL,
    operation              text COLLATE "C" NOT NULL,
    status_message         text,
    provider               text COLLATE "C",
    request_model          text COLLATE "C",
    response_model         text COLLATE "C",
    session_id             text COLLATE "C",
    user_id                text COLLATE "C",
    error_type             text COLLATE "C",
    error_message          text,
    http_method            text COLLATE "C",
    http_route             text COLLATE "C",
    db_system              text COLLATE "C",
    db_operation           text COLLATE "C",
    rpc_system             text COLLATE "C",
    rpc_service            text COLLATE "C",
    rpc_method             text COLLATE "C",
    dialect                text COLLATE "C",
    response_id            text COLLATE "C",
    finish_reason          text COLLATE "C",
    agent_name             text COLLATE "C",
    agent_id               text COLLATE "C",
    tool_name              text COLLATE "C",
    tool_call_id           text COLLATE "C",
    price_version          text COLLATE "C",
    tags                   text[] COLLATE "C",
    attributes             jsonb,
    PRIMARY KEY (project_id, trace_id, span_id, start_time)
) PARTITION BY RANGE (start_time);
CREATE INDEX span_start ON span (project_id, start_unix_nano, span_id);
CREATE INDEX span_failed ON span (project_id, start_unix_nano, span_id) WHERE status = 2;
-- lz4 where the server was built with it: several times cheaper than the default.
DO $$
BEGIN
    ALTER TABLE span ALTER COLUMN attributes SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
-- Statistics only for what plans go by: to analyze all columns of a partition again and again while
-- it grows costs about as much as to write it.
ALTER TABLE span
    ALTER COLUMN duration_ns SET STATISTICS 0,
    ALTER COLUMN received_unix_nano SET STATISTICS 0,
    ALTER COLUMN resource_id SET STATISTICS 0,
    ALTER COLUMN scope_id SET STATISTICS 0,
    ALTER COLUMN block_id SET STATISTICS 0,
    ALTER COLUMN block_place SET STATISTICS 0,
    ALTER COLUMN http_status_code SET STATISTICS 0,
    ALTER COLUMN time_to_first_token_ns SET STATISTICS 0,
    ALTER COLUMN input_tokens SET STATISTICS 0,
    ALTER COLUMN output_tokens SET STATISTICS 0,
    ALTER COLUMN cache_read_tokens SET STATISTICS 0,
    ALTER COLUMN cache_write_tokens SET STATISTICS 0,
    ALTER COLUMN reasoning_tokens SET STATISTICS 0,
    ALTER COLUMN audio_input_tokens SET STATISTICS 0,
    ALTER COLUMN audio_output_tokens SET STATISTICS 0,
    ALTER COLUMN input_cost_nano_usd SET STATISTICS 0,
    ALTER COLUMN output_cost_nano_usd SET STATISTICS 0,
    ALTER COLUMN cost_nano_usd SET STATISTICS 0,
    ALTER COLUMN time_marks SET STATISTICS 0,
    ALTER COLUMN cost_source SET STATISTICS 0,
    ALTER COLUMN error_kind SET STATISTICS 0,
    ALTER COLUMN streaming SET STATISTICS 0,
    ALTER COLUMN parent_span_id SET STATISTICS 0,
    ALTER COLUMN status_message SET STATISTICS 0,
    ALTER COLUMN user_id SET STATISTICS 0,
    ALTER COLUMN error_message SET STATISTICS 0,
    ALTER COLUMN http_method SET STATISTICS 0,
    ALTER COLUMN http_route SET STATISTICS 0,
    ALTER COLUMN db_system SET STATISTICS 0,
    ALTER COLUMN db_operation SET STATISTICS 0,
    ALTER COLUMN rpc_system SET STATISTICS 0,
    ALTER COLUMN rpc_service SET STATISTICS 0,
    ALTER COLUMN rpc_method SET STATISTICS 0,
    ALTER COLUMN dialect SET STATISTICS 0,
    ALTER COLUMN response_id SET STATISTICS 0,
    ALTER COLUMN finish_reason SET STATISTICS 0,
    ALTER COLUMN agent_name SET STATISTICS 0,
    ALTER COLUMN agent_id SET STATISTICS 0,
    ALTER COLUMN tool_name SET STATISTICS 0,
    ALTER COLUMN tool_call_id SET STATISTICS 0,
    ALTER COLUMN price_version SET STATISTICS 0,
    ALTER COLUMN tags SET STATISTICS 0,
    ALTER COLUMN attributes SET STATISTICS 0;
COMMENT ON TABLE span IS
    'One row a span, partitioned by start. (project_id, trace_id, span_id) is unique: see trace. What falls outside every partition is in span_default.';
COMMENT ON COLUMN span.project_id IS 'Owner.';
COMMENT ON COLUMN span.start_time IS
    'Start, cut to microseconds: always start_unix_nano / 1000. Name a range of it in queries, so that only its partitions are read.';
COMMENT ON COLUMN span.start_unix_nano IS 'Start as sent, ns since the Unix epoch.';
COMMENT ON COLUMN span.duration_ns IS 'End minus start, ns; 0 when the end is before the start.';
COMMENT ON COLUMN span.received_unix_nano IS 'When the collector received it, ns since the Unix epoch.';
COMMENT ON COLUMN span.resource_id IS 'resource.resource_id.';
COMMENT ON COLUMN span.scope_id IS 'scope.scope_id.';
COMMENT ON COLUMN span.block_id IS 'content_block.block_id: the block that holds the message.';
COMMENT ON COLUMN span.block_place IS 'Place of the message in that block, counted from 0.';
COMMENT ON COLUMN span.http_status_code IS 'http.response.status_code.';
COMMENT ON COLUMN span.time_to_first_token_ns IS 'From the start of the call to its first token, ns.';
COMMENT ON COLUMN span.input_tokens IS 'Input tokens, cached ones included; NULL when not reported.';
COMMENT ON COLUMN span.output_tokens IS 'Output tokens, reasoning included.';
COMMENT ON COLUMN span.cache_read_tokens IS 'Input tokens read from the provider''s cache.';
COMMENT ON COLUMN span.cache_write_tokens IS 'Input tokens written to the provider''s cache.';
COMMENT ON COLUMN span.reasoning_tokens IS 'Output tokens spent on reasoning.';
COMMENT ON COLUMN span.audio_input_tokens IS 'Audio tokens of the input.';
COMMENT ON COLUMN span.audio_output_tokens IS 'Audio tokens of the output.';
COMMENT ON COLUMN span.input_cost_nano_usd IS 'Cost of the input, nano-USD.';
COMMENT ON COLUMN span.output_cost_nano_usd IS 'Cost of the output, nano-USD.';
COMMENT ON COLUMN span.cost_nano_usd IS 'Cost altogether, nano-USD.';
COMMENT ON COLUMN span.kind IS '1 internal, 2 server, 3 client, 4 producer, 5 consumer.';
COMMENT ON COLUMN span.status IS '0 unset, 1 ok, 2 error.';
COMMENT ON COLUMN span.time_marks IS
    'What is implausible about the times, bits: 1 end before start, 2 start missing, 4 start in the future, 8 start in the distant past.';
COMMENT ON COLUMN span.cost_source IS '1 reported by the client, 2 computed from tokens and prices, 3 unpriced.';
COMMENT ON COLUMN span.error_kind IS
    'Kind of failure: 1 timeout, 2 cancelled, 3 rate_limited, 4 quota_exceeded, 5 unauthenticated, 6 permission_denied, 7 not_found, 8 invalid_request, 9 context_length, 10 content_filter, 11 overloaded, 12 server, 13 connection, 14 tool, 15 other; NULL where nothing failed.';
COMMENT ON COLUMN span.is_model_call IS
    'Whether its usage counts in totals; NULL for spans that are not GenAI.';
COMMENT ON COLUMN span.streaming IS 'Whether the answer was streamed.';
COMMENT ON COLUMN span.trace_id IS 'Trace id, 16 bytes; encode(trace_id, ''hex'') is how it is written.';
COMMENT ON COLUMN span.span_id IS 'Span id, 8 bytes.';
COMMENT ON COLUMN span.parent_span_id IS 'Parent span id, 8 bytes; NULL for a root.';
COMMENT ON COLUMN span.name IS 'Span name.';
COMMENT ON COLUMN span.service_name IS 'Service of its resource.';
COMMENT ON COLUMN span.operation IS
    'gen_ai.operation.name as sent, else http, db, rpc, messaging or other.';
COMMENT ON COLUMN span.status_message IS 'Status message; NULL when empty.';
COMMENT ON COLUMN span.provider IS 'gen_ai.provider.name.';
COMMENT ON COLUMN span.request_model IS 'Model asked for.';
COMMENT ON COLUMN span.response_model IS 'Model that answered.';
COMMENT ON COLUMN span.session_id IS 'Session or conversation.';
COMMENT ON COLUMN span.user_id IS 'User.';
COMMENT ON COLUMN span.error_type IS 'error.type, or exception.type of the last exception.';
COMMENT ON COLUMN span.error_message IS 'Message of the last exception.';
COMMENT ON COLUMN span.http_method IS 'http.request.method.';
COMMENT ON COLUMN span.http_route IS 'http.route, else the path.';
COMMENT ON COLUMN span.db_system IS 'db.system.name.';
COMMENT ON COLUMN span.db_operation IS 'db.operation.name.';
COMMENT ON COLUMN span.rpc_system IS 'rpc.system.';
COMMENT ON COLUMN span.rpc_service IS 'rpc.service.';
COMMENT ON COLUMN span.rpc_method IS 'rpc.method.';
COMMENT ON COLUMN span.dialect IS 'GenAI convention the span follows, when one was recognised.';
COMMENT ON COLUMN span.response_id IS 'Id the provider gave the answer.';
COMMENT ON COLUMN span.finish_reason IS 'Why the model stopped.';
COMMENT ON COLUMN span.agent_name IS 'Name of the agent.';
COMMENT ON COLUMN span.agent_id IS 'Id of the agent.';
COMMENT ON COLUMN span.tool_name IS 'Name of the tool called.';
COMMENT ON COLUMN span.tool_call_id IS 'Id of the tool call.';
COMMENT ON COLUMN span.price_version IS 'Version of the price table the cost was computed with.';
COMMENT ON COLUMN span.tags IS 'Labels the application gave the span or its trace, in the order sent; NULL for none.';
COMMENT ON COLUMN span.attributes IS
    'Span attributes whose value is small, for use in SQL; NULL when there are none or when switched off. The message has them all.';

CREATE TABLE span_default PARTITION OF span DEFAULT WITH (
    autovacuum_analyze_scale_factor = 0.5, autovacuum_vacuum_insert_scale_factor = 0.5);
CREATE INDEX span_default_received ON span_default (received_unix_nano);
COMMENT ON TABLE span_default IS
    'Spans that start outside the window for which partitions are made: wrong clocks, backfills.';

CREATE TABLE content_block (
    project_id bigint NOT NULL,
    block_id   bigint NOT NULL,
    codec      smallint NOT NULL,
    content    bytea NOT NULL,
    PRIMARY KEY (project_id, block_id)
) PARTITION BY RANGE (block_id);
-- Compressed already.
ALTER TABLE content_block ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE content_block
    ALTER COLUMN codec SET STATISTICS 0,
    ALTER COLUMN content SET STATISTICS 0;
COMMENT ON TABLE content_block IS
    'Messages of spans of one project that were stored together, compressed. Partitioned by arrival.';
COMMENT ON COLUMN content_block.project_id IS 'Owner.';
COMMENT ON COLUMN content_block.block_id IS
    'Milliseconds from 2020-01-01 UTC to the arrival of its newest span, times 2^22, plus a number that makes it unique.';
COMMENT ON COLUMN content_block.codec IS 'How content is compressed: 0 not, 1 zstd.';
COMMENT ON COLUMN content_block.content IS 'A pulse.storage.v1.Block message, see proto/ in the source.';

CREATE TABLE content_block_default PARTITION OF content_block DEFAULT WITH (
    autovacuum_analyze_scale_factor = 0.5, autovacuum_vacuum_insert_scale_factor = 0.5);
CREATE INDEX content_block_default_block ON content_block_default (block_id);
COMMENT ON TABLE content_block_default IS 'Blocks that arrived when there was no partition for their time.';

------------------------------------------------------------------------------------------------
-- Sums
------------------------------------------------------------------------------------------------

CREATE TABLE service (
    project_id           bigint NOT NULL,
    first_seen_unix_nano bigint NOT NULL,
    last_seen_unix_nano  bigint NOT NULL,
    received_unix_nano   bigint NOT NULL,
    span_count           bigint NOT NULL,
    error_count          bigint NOT NULL,
    name                 text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE service IS 'Services seen.';
COMMENT ON COLUMN service.project_id IS 'Owner.';
COMMENT ON COLUMN service.first_seen_unix_nano IS 'Earliest span start, ns since the Unix epoch.';
COMMENT ON COLUMN service.last_seen_unix_nano IS 'Latest span start, ns since the Unix epoch.';
COMMENT ON COLUMN service.received_unix_nano IS 'Latest arrival, ns since the Unix epoch.';
COMMENT ON COLUMN service.span_count IS 'Spans stored.';
COMMENT ON COLUMN service.error_count IS 'Those with status error.';
COMMENT ON COLUMN service.name IS 'Service name.';

CREATE TABLE session (
    project_id         bigint NOT NULL,
    start_unix_nano    bigint NOT NULL,
    end_unix_nano      bigint NOT NULL,
    received_unix_nano bigint NOT NULL,
    trace_count        bigint NOT NULL,
    span_count         bigint NOT NULL,
    error_count        bigint NOT NULL,
    llm_call_count     bigint NOT NULL,
    input_tokens       bigint NOT NULL,
    output_tokens      bigint NOT NULL,
    cache_read_tokens  bigint NOT NULL,
    cost_nano_usd      bigint NOT NULL,
    session_id         text COLLATE "C" NOT NULL,
    user_id            text COLLATE "C",
    PRIMARY KEY (project_id, session_id)
) WITH (fillfactor = 80);
CREATE INDEX session_end ON session (project_id, end_unix_nano, session_id);
CREATE INDEX session_received ON session (received_unix_nano);
COMMENT ON TABLE session IS 'Sessions (conversations) seen: sums, minima and maxima over their spans.';
COMMENT ON COLUMN session.project_id IS 'Owner.';
COMMENT ON COLUMN session.start_unix_nano IS 'Earliest span start, ns since the Unix epoch.';
COMMENT ON COLUMN session.end_unix_nano IS 'Latest span end, ns since the Unix epoch.';
COMMENT ON COLUMN session.received_unix_nano IS 'Latest arrival, ns since the Unix epoch.';
COMMENT ON COLUMN session.trace_count IS 'Traces with a span of the session.';
COMMENT ON COLUMN session.span_count IS 'Spans that name the session.';
COMMENT ON COLUMN session.error_count IS 'Those with status error.';
COMMENT ON COLUMN session.llm_call_count IS 'Model calls.';
COMMENT ON COLUMN session.input_tokens IS 'Input tokens of the model calls, cached ones included.';
COMMENT ON COLUMN session.output_tokens IS 'Output tokens of the model calls, reasoning included.';
COMMENT ON COLUMN session.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN session.cost_nano_usd IS 'Cost of the model calls, nano-USD.';
COMMENT ON COLUMN session.session_id IS 'Session id as sent.';
COMMENT ON COLUMN session.user_id IS 'User; the smallest when spans disagree.';

CREATE TABLE session_trace (
    project_id bigint NOT NULL,
    trace_id   bytea NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, session_id, trace_id)
);
CREATE INDEX session_trace_trace ON session_trace (project_id, trace_id);
COMMENT ON TABLE session_trace IS 'Which traces have a span of which session.';
COMMENT ON COLUMN session_trace.project_id IS 'Owner.';
COMMENT ON COLUMN session_trace.trace_id IS 'The trace, 16 bytes.';
COMMENT ON COLUMN session_trace.session_id IS 'The session.';

CREATE TABLE rollup (
    project_id         bigint NOT NULL,
    minute             bigint NOT NULL,
    received_unix_nano bigint NOT NULL,
    span_count         bigint NOT NULL,
    error_count        bigint NOT NULL,
    duration_sum_ns    bigint NOT NULL,
    llm_call_count     bigint NOT NULL,
    input_tokens       bigint NOT NULL,
    output_tokens      bigint NOT NULL,
    cache_read_tokens  bigint NOT NULL,
    cost_nano_usd      bigint NOT NULL,
    level              smallint NOT NULL,
    service_name       text COLLATE "C" NOT NULL,
    operation          text COLLATE "C" NOT NULL,
    provider           text COLLATE "C" NOT NULL,
    model              text COLLATE "C" NOT NULL,
    duration_hist      bigint[] NOT NULL,
    PRIMARY KEY (project_id, level, minute, service_name, operation, provider, model)
) WITH (fillfactor = 70);
CREATE INDEX rollup_received ON rollup (received_unix_nano);
ALTER TABLE rollup ALTER COLUMN duration_hist SET STATISTICS 0;
COMMENT ON TABLE rollup IS
    'Sums over time buckets of a minute, an hour and a day; every span counts once in each, so name one level in a query.';
COMMENT ON COLUMN rollup.project_id IS 'Owner.';
COMMENT ON COLUMN rollup.minute IS 'Start of the bucket, minutes since the Unix epoch.';
COMMENT ON COLUMN rollup.received_unix_nano IS
    'Latest arrival, rounded up to an hour, ns since the Unix epoch.';
COMMENT ON COLUMN rollup.span_count IS 'Spans.';
COMMENT ON COLUMN rollup.error_count IS 'Those with status error.';
COMMENT ON COLUMN rollup.duration_sum_ns IS 'Sum of durations, ns.';
COMMENT ON COLUMN rollup.llm_call_count IS 'Model calls.';
COMMENT ON COLUMN rollup.input_tokens IS 'Input tokens of the model calls, cached ones included.';
COMMENT ON COLUMN rollup.output_tokens IS 'Output tokens of the model calls, reasoning included.';
COMMENT ON COLUMN rollup.cache_read_tokens IS 'Input tokens read from a cache.';
COMMENT ON COLUMN rollup.cost_nano_usd IS 'Cost of the model calls, nano-USD.';
COMMENT ON COLUMN rollup.level IS 'Length of the bucket: 0 minute, 1 hour, 2 day (UTC).';
COMMENT ON COLUMN rollup.service_name IS 'Service; cut to 512 bytes.';
COMMENT ON COLUMN rollup.operation IS 'Operation; cut to 512 bytes.';
COMMENT ON COLUMN rollup.provider IS 'Provider; empty when unknown; cut to 512 bytes.';
COMMENT ON COLUMN rollup.model IS
    'Model that answered, else the one asked for; empty when unknown; cut to 512 bytes.';
COMMENT ON COLUMN rollup.duration_hist IS
    'Histogram of durations: bucket, count, bucket, count, in bucket order. See pulse_histogram_sum and pulse_histogram_quantile.';

CREATE FUNCTION pulse_histogram_merge(ours bigint[], theirs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    merged bigint[] := '{}';
    i      integer := 1;
    j      integer := 1;
    i_end  integer := cardinality(ours);
    j_end  integer := cardinality(theirs);
BEGIN
    IF j_end = 0 THEN RETURN ours; END IF;
    IF i_end = 0 THEN RETURN theirs; END IF;
    WHILE i < i_end OR j < j_end LOOP
        IF j >= j_end OR (i < i_end AND ours[i] < theirs[j]) THEN
            merged := merged || ours[i : i + 1];
            i := i + 2;
        ELSIF i >= i_end OR theirs[j] < ours[i] THEN
            merged := merged || theirs[j : j + 1];
            j := j + 2;
        ELSE
            merged := merged || ARRAY[ours[i],
                ours[i + 1] + least(theirs[j + 1], 9223372036854775807 - ours[i + 1])];
            i := i + 2;
            j := j + 2;
        END IF;
    END LOOP;
    RETURN merged;
END
$$;
COMMENT ON FUNCTION pulse_histogram_merge(bigint[], bigint[]) IS
    'Adds two histograms of rollup.duration_hist.';

CREATE AGGREGATE pulse_histogram_sum(bigint[]) (
    SFUNC = pulse_histogram_merge, STYPE = bigint[], INITCOND = '{}',
    COMBINEFUNC = pulse_histogram_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pulse_histogram_sum(bigint[]) IS
    'Adds up histograms of rollup.duration_hist.';

-- Bucket 0 holds 0 ns; then four buckets for each power of two.
CREATE FUNCTION pulse_histogram_quantile(hist bigint[], share double precision) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    total numeric := 0;
    rank  numeric;
    seen  numeric := 0;
    i     integer;
BEGIN
    FOR i IN 1 .. cardinality(hist) / 2 LOOP
        total := total + hist[2 * i];
    END LOOP;
    rank := greatest(ceil(total * least(greatest(share, 0), 1)::numeric), 1);
    FOR i IN 1 .. cardinality(hist) / 2 LOOP
        seen := seen + hist[2 * i];
        IF seen >= rank THEN
            IF hist[2 * i - 1] = 0 THEN RETURN 0; END IF;
            RETURN least(9223372036854775807,
                ceil((5 + (hist[2 * i - 1] - 1) % 4) * power(2::numeric, (hist[2 * i - 1] - 1) / 4) / 4) - 1)::bigint;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION pulse_histogram_quantile(bigint[], double precision) IS
    'The duration, ns, below or at which a share (0 to 1) of durations lies, to the upper bound of its bucket (at most 25 % over); NULL when empty.';

------------------------------------------------------------------------------------------------
-- Spans the store refused
------------------------------------------------------------------------------------------------

CREATE TABLE dead_letter (
    project_id        bigint NOT NULL,
    created_unix_nano bigint NOT NULL,
    trace_id          bytea NOT NULL,
    span_id           bytea NOT NULL,
    reason            text NOT NULL,
    message           bytea NOT NULL,
    PRIMARY KEY (project_id, trace_id, span_id)
);
CREATE INDEX dead_letter_created ON dead_letter (project_id, created_unix_nano, trace_id, span_id);
COMMENT ON TABLE dead_letter IS 'Spans the store refused, with the reason.';
COMMENT ON COLUMN dead_letter.project_id IS 'Owner.';
COMMENT ON COLUMN dead_letter.created_unix_nano IS 'Arrival of the span, ns since the Unix epoch.';
COMMENT ON COLUMN dead_letter.trace_id IS 'Trace id, 16 bytes.';
COMMENT ON COLUMN dead_letter.span_id IS 'Span id, 8 bytes.';
COMMENT ON COLUMN dead_letter.reason IS 'Why it was refused.';
COMMENT ON COLUMN dead_letter.message IS 'Encoded opentelemetry.proto.trace.v1.Span.';

------------------------------------------------------------------------------------------------
-- Views for people and dashboards
------------------------------------------------------------------------------------------------

CREATE VIEW llm_calls AS
SELECT project_id,
       start_time,
       duration_ns / 1e6 AS duration_ms,
       service_name,
       operation,
       provider,
       coalesce(response_model, request_model) AS model,
       input_tokens,
       output_tokens,
       cache_read_tokens,
       reasoning_tokens,
       cost_nano_usd / 1e9 AS cost_usd,
       time_to_first_token_ns / 1e6 AS time_to_first_token_ms,
       finish_reason,
       status = 2 AS failed,
       error_type,
       session_id,
       user_id,
       agent_name,
       encode(trace_id, 'hex') AS trace_id,
       encode(span_id, 'hex') AS span_id,
       attributes
FROM span
WHERE is_model_call;
COMMENT ON VIEW llm_calls IS
    'Model calls: spans whose tokens and cost count in totals. Name a range of start_time, so that only its partitions are read. Times in ms, cost in USD, ids in hex.';

CREATE VIEW trace_summaries AS
SELECT project_id,
       to_timestamp(start_unix_nano / 1e9) AS start_time,
       (end_unix_nano - start_unix_nano) / 1e6 AS duration_ms,
       head_name AS name,
       head_service AS service_name,
       services,
       span_count,
       error_count,
       llm_call_count,
       input_tokens,
       output_tokens,
       cost_nano_usd / 1e9 AS cost_usd,
       models,
       session_id,
       user_id,
       error_type,
       error_message,
       encode(trace_id, 'hex') AS trace_id,
       start_unix_nano
FROM trace;
COMMENT ON VIEW trace_summaries IS
    'Traces, one row each. A range of start_unix_nano (ns since the Unix epoch) together with project_id is indexed. Times in ms, cost in USD, ids in hex.';

CREATE VIEW daily_cost AS
SELECT project_id,
       (to_timestamp(minute * 60) AT TIME ZONE 'UTC')::date AS day,
       service_name,
       provider,
       model,
       sum(llm_call_count) AS llm_calls,
       sum(input_tokens) AS input_tokens,
       sum(output_tokens) AS output_tokens,
       sum(cache_read_tokens) AS cache_read_tokens,
       sum(cost_nano_usd) / 1e9 AS cost_usd
FROM rollup
WHERE level = 2 AND llm_call_count > 0
GROUP BY project_id, minute, service_name, provider, model;
COMMENT ON VIEW daily_cost IS
    'Model calls, tokens and cost (USD) by UTC day, service, provider and model, from the daily sums.';
