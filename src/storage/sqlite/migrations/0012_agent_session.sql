-- Sessions of coding agents, which may tell of their calls in log records, in spans or in both: see
-- src/storage/sources.rs.
CREATE TABLE agent_session (
    project_id         INTEGER NOT NULL,
    session            BLOB NOT NULL,     -- digest of agent and session id
    by_span            INTEGER NOT NULL,  -- whether a span of the agent's own has tokens
    received_unix_nano INTEGER NOT NULL,  -- latest arrival
    PRIMARY KEY (project_id, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_session_received ON agent_session (received_unix_nano);

-- What log records added to sums, as long as no span of the agent's own tells of the session.
CREATE TABLE agent_change (
    change_id          INTEGER PRIMARY KEY,
    project_id         INTEGER NOT NULL,
    session            BLOB NOT NULL,
    changes            TEXT NOT NULL,     -- JSON
    received_unix_nano INTEGER NOT NULL
) STRICT;
CREATE INDEX agent_change_session ON agent_change (project_id, session);
CREATE INDEX agent_change_received ON agent_change (received_unix_nano);
