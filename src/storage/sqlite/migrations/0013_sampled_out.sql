-- Spans that were sampled out: counted, but not stored. See src/storage/sampled.rs. Both trees are by
-- random ids or by time and grow until what they hold is forgotten, a day by default.
CREATE TABLE sampled_out (
    project_id        INTEGER NOT NULL,
    trace_id          BLOB NOT NULL,
    span_ids          BLOB NOT NULL,     -- 8 bytes each, sorted
    calls             BLOB,              -- CallList; NULL when there is none, or the trace has taken it over
    llm_call_count    INTEGER NOT NULL,
    input_tokens      INTEGER NOT NULL,
    output_tokens     INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cost_nano_usd     INTEGER NOT NULL,
    forget_unix_nano  INTEGER NOT NULL,
    PRIMARY KEY (project_id, trace_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sampled_out_forget ON sampled_out (forget_unix_nano);
