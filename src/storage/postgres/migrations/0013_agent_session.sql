CREATE TABLE agent_session (
    project_id         bigint NOT NULL,
    session            bytea NOT NULL,
    by_span            boolean NOT NULL,
    received_unix_nano bigint NOT NULL,
    PRIMARY KEY (project_id, session)
);
CREATE INDEX agent_session_received ON agent_session (received_unix_nano);
COMMENT ON TABLE agent_session IS
    'Sessions of coding agents, which may tell of their calls in log records, in spans or in both.';
COMMENT ON COLUMN agent_session.project_id IS 'Owner.';
COMMENT ON COLUMN agent_session.session IS 'Digest of agent and session id.';
COMMENT ON COLUMN agent_session.by_span IS 'Whether a span of the agent''s own has tokens; then log records count in no sum.';
COMMENT ON COLUMN agent_session.received_unix_nano IS 'Latest arrival, ns since the Unix epoch.';

CREATE TABLE agent_change (
    project_id         bigint NOT NULL,
    session            bytea NOT NULL,
    trace_id           bytea NOT NULL,
    span_id            bytea NOT NULL,
    changes            text NOT NULL,
    received_unix_nano bigint NOT NULL,
    PRIMARY KEY (project_id, session, trace_id, span_id)
);
CREATE INDEX agent_change_received ON agent_change (received_unix_nano);
COMMENT ON TABLE agent_change IS
    'What log records added to sums, as long as no span of the agent''s own tells of the session.';
COMMENT ON COLUMN agent_change.project_id IS 'Owner.';
COMMENT ON COLUMN agent_change.session IS 'See agent_session.session.';
COMMENT ON COLUMN agent_change.trace_id IS 'Trace of the first span that was made of these records.';
COMMENT ON COLUMN agent_change.span_id IS 'That span.';
COMMENT ON COLUMN agent_change.changes IS 'What was added, JSON.';
COMMENT ON COLUMN agent_change.received_unix_nano IS 'Arrival, ns since the Unix epoch.';
