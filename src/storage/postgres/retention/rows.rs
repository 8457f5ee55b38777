//! Deleting rows of tables that are not partitioned, those that arrived first, `$2` at a time; each
//! answers how many that were.

pub(super) const ROLLUPS: &str = "WITH old AS (
        SELECT project_id, level, minute, service_name, operation, provider, model
        FROM rollup WHERE received_unix_nano < $1
        ORDER BY received_unix_nano LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM rollup t USING old
        WHERE t.project_id = old.project_id AND t.level = old.level
            AND t.minute = old.minute AND t.service_name = old.service_name
            AND t.operation = old.operation AND t.provider = old.provider
            AND t.model = old.model
        RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const SERVICES: &str = "WITH old AS (
        SELECT project_id, name FROM service WHERE received_unix_nano < $1
        LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM service t USING old
        WHERE t.project_id = old.project_id AND t.name = old.name RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const SESSIONS: &str = "WITH old AS (
        SELECT project_id, session_id FROM session WHERE received_unix_nano < $1
        ORDER BY received_unix_nano LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM session t USING old
        WHERE t.project_id = old.project_id AND t.session_id = old.session_id
        RETURNING t.project_id, t.session_id),
    joined AS (
        DELETE FROM session_trace t USING gone
        WHERE t.project_id = gone.project_id AND t.session_id = gone.session_id)
    SELECT count(*) FROM gone";
pub(super) const RESOURCES: &str = "WITH old AS (
        SELECT project_id, resource_id FROM resource WHERE last_seen_unix_nano < $1
        LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM resource t USING old
        WHERE t.project_id = old.project_id AND t.resource_id = old.resource_id
        RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const SCOPES: &str = "WITH old AS (
        SELECT project_id, scope_id FROM scope WHERE last_seen_unix_nano < $1
        LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM scope t USING old
        WHERE t.project_id = old.project_id AND t.scope_id = old.scope_id RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const DEAD_LETTERS: &str = "WITH old AS (
        SELECT project_id, trace_id, span_id FROM dead_letter
        WHERE created_unix_nano < $1 LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM dead_letter t USING old
        WHERE t.project_id = old.project_id AND t.trace_id = old.trace_id
            AND t.span_id = old.span_id
        RETURNING 1)
    SELECT count(*) FROM gone";

pub(super) const DEAD_EVENTS: &str = "WITH old AS (
        SELECT project_id, time_unix_nano, digest FROM dead_event
        WHERE created_unix_nano < $1 LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM dead_event t USING old
        WHERE t.project_id = old.project_id AND t.time_unix_nano = old.time_unix_nano
            AND t.digest = old.digest
        RETURNING 1)
    SELECT count(*) FROM gone";

pub(super) const DEAD_POINTS: &str = "WITH old AS (
        SELECT project_id, series_id, time_unix_nano, start_unix_nano FROM dead_point
        WHERE created_unix_nano < $1 LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM dead_point t USING old
        WHERE t.project_id = old.project_id AND t.series_id = old.series_id
            AND t.time_unix_nano = old.time_unix_nano AND t.start_unix_nano = old.start_unix_nano
        RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const METRIC_SERIES: &str = "WITH old AS (
        SELECT project_id, series_id FROM metric_series WHERE last_seen_unix_nano < $1
        ORDER BY last_seen_unix_nano LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM metric_series t USING old
        WHERE t.project_id = old.project_id AND t.series_id = old.series_id RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const ISSUES: &str = "WITH old AS (
        SELECT project_id, fingerprint, level, type FROM issue
        WHERE received_unix_nano < $1 ORDER BY received_unix_nano LIMIT $2
        FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM issue t USING old
        WHERE t.project_id = old.project_id AND t.fingerprint = old.fingerprint
            AND t.level = old.level AND t.type = old.type
        RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const ISSUE_BUCKETS: &str = "WITH old AS (
        SELECT project_id, fingerprint, start_unix_nano FROM issue_bucket
        WHERE received_unix_nano < $1 ORDER BY received_unix_nano LIMIT $2
        FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM issue_bucket t USING old
        WHERE t.project_id = old.project_id AND t.fingerprint = old.fingerprint
            AND t.start_unix_nano = old.start_unix_nano
        RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const ISSUE_STATUSES: &str = "WITH old AS (
        SELECT project_id, fingerprint FROM issue_status s
        WHERE changed_unix_nano < $1 AND NOT EXISTS (SELECT FROM issue i
            WHERE i.project_id = s.project_id AND i.fingerprint = s.fingerprint)
        LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM issue_status t USING old
        WHERE t.project_id = old.project_id AND t.fingerprint = old.fingerprint RETURNING 1)
    SELECT count(*) FROM gone";

pub(super) const AGENT_SESSIONS: &str = "WITH old AS (
        SELECT project_id, session FROM agent_session
        WHERE received_unix_nano < $1 ORDER BY received_unix_nano LIMIT $2
        FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM agent_session t USING old
        WHERE t.project_id = old.project_id AND t.session = old.session RETURNING 1)
    SELECT count(*) FROM gone";
pub(super) const AGENT_CHANGES: &str = "WITH old AS (
        SELECT project_id, session, trace_id, span_id FROM agent_change c
        WHERE received_unix_nano < $1 AND NOT EXISTS (SELECT FROM agent_session s
            WHERE s.project_id = c.project_id AND s.session = c.session)
        ORDER BY received_unix_nano LIMIT $2
        FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM agent_change t USING old
        WHERE t.project_id = old.project_id AND t.session = old.session
            AND t.trace_id = old.trace_id AND t.span_id = old.span_id
        RETURNING 1)
    SELECT count(*) FROM gone";
