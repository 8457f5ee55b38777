-- What projects may send, and what they sent. Control tables.

CREATE TABLE project_quota (
    project_id       bigint PRIMARY KEY,
    items_per_second bigint,
    bytes_per_day    bigint
);
COMMENT ON TABLE project_quota IS 'What a project may send, where it has limits of its own. Control table.';
COMMENT ON COLUMN project_quota.project_id IS 'Whose limits they are.';
COMMENT ON COLUMN project_quota.items_per_second IS 'Spans, log records and data points a second; NULL: no limit.';
COMMENT ON COLUMN project_quota.bytes_per_day IS 'Uncompressed bytes a day (UTC); NULL: no limit.';

CREATE TABLE project_usage (
    day        bigint NOT NULL,
    project_id bigint NOT NULL,
    signal     text COLLATE "C" NOT NULL,
    items      bigint NOT NULL,
    bytes      bigint NOT NULL,
    PRIMARY KEY (project_id, day, signal)
);
CREATE INDEX project_usage_day ON project_usage (day);
COMMENT ON TABLE project_usage IS 'What projects sent by day (UTC), to the last few seconds. Control table.';
COMMENT ON COLUMN project_usage.day IS 'Days since 1970-01-01.';
COMMENT ON COLUMN project_usage.project_id IS 'Who sent it.';
COMMENT ON COLUMN project_usage.signal IS 'traces, logs or metrics.';
COMMENT ON COLUMN project_usage.items IS 'Spans, log records or data points that were accepted.';
COMMENT ON COLUMN project_usage.bytes IS 'Uncompressed bytes of the requests they came in.';
