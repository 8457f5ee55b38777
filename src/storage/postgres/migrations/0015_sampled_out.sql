CREATE TABLE sampled_out (
    project_id        bigint NOT NULL,
    trace_id          bytea NOT NULL,
    span_ids          bytea NOT NULL,
    calls             bytea,
    llm_call_count    bigint NOT NULL,
    input_tokens      bigint NOT NULL,
    output_tokens     bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cost_nano_usd     bigint NOT NULL,
    forget_unix_nano  bigint NOT NULL,
    PRIMARY KEY (project_id, trace_id)
);
-- Ids can't be compressed.
ALTER TABLE sampled_out ALTER COLUMN span_ids SET STORAGE EXTERNAL;
CREATE INDEX sampled_out_forget ON sampled_out (forget_unix_nano);
COMMENT ON TABLE sampled_out IS
    'Spans that were sampled out: counted, but not stored. Where spans are sampled, every trace of a batch has a row, whose lock decides between writers.';
COMMENT ON COLUMN sampled_out.project_id IS 'Owner.';
COMMENT ON COLUMN sampled_out.trace_id IS 'Trace.';
COMMENT ON COLUMN sampled_out.span_ids IS 'Its spans that were left out, 8 bytes each, sorted.';
COMMENT ON COLUMN sampled_out.calls IS
    'List of their model calls, a pulse.storage.v1.CallList; NULL when there are none, or the stored trace has taken it over.';
COMMENT ON COLUMN sampled_out.llm_call_count IS 'Model calls that these count for.';
COMMENT ON COLUMN sampled_out.input_tokens IS 'Their input tokens.';
COMMENT ON COLUMN sampled_out.output_tokens IS 'Their output tokens.';
COMMENT ON COLUMN sampled_out.cache_read_tokens IS 'Their input tokens that came from a cache.';
COMMENT ON COLUMN sampled_out.cost_nano_usd IS 'Their cost, in 10^-9 USD.';
COMMENT ON COLUMN sampled_out.forget_unix_nano IS 'When the row is deleted, ns since the Unix epoch.';
