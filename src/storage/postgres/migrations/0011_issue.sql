-- Events of PulseBoard by arrival: its clients ask for those that arrived last.
CREATE INDEX event_arrival ON event (project_id, received_unix_nano, time_unix_nano, digest)
    WHERE source = 2;
COMMENT ON COLUMN event.source IS
    'Where it comes from: 0 OTLP logs, 1 PulseKit, 2 PulseBoard, 3 TracePulse, 4 PulseBoard''s mobile analytics.';

CREATE TABLE issue (
    project_id         bigint NOT NULL,
    fingerprint        bigint NOT NULL,
    level              smallint NOT NULL,
    type               text COLLATE "C" NOT NULL,
    event_count        bigint NOT NULL,
    first_unix_nano    bigint NOT NULL,
    last_unix_nano     bigint NOT NULL,
    received_unix_nano bigint NOT NULL,
    details            text NOT NULL,
    PRIMARY KEY (project_id, fingerprint, level, type)
);
CREATE INDEX issue_last ON issue (project_id, last_unix_nano, fingerprint, level, type);
CREATE INDEX issue_first ON issue (project_id, first_unix_nano, fingerprint, level, type);
CREATE INDEX issue_count ON issue (project_id, event_count, fingerprint, level, type);
CREATE INDEX issue_received ON issue (received_unix_nano);
COMMENT ON TABLE issue IS 'Events that are alike, by fingerprint, type and level.';
COMMENT ON COLUMN issue.project_id IS 'Owner.';
COMMENT ON COLUMN issue.fingerprint IS 'What its events have in common.';
COMMENT ON COLUMN issue.level IS 'Level: 0 trace, 1 debug, 2 info, 3 warning, 4 error, 5 fatal.';
COMMENT ON COLUMN issue.type IS 'Type of the exception, else name of the event.';
COMMENT ON COLUMN issue.event_count IS 'Events that were ever stored of it while it was there.';
COMMENT ON COLUMN issue.first_unix_nano IS 'When it was first seen, ns since the Unix epoch.';
COMMENT ON COLUMN issue.last_unix_nano IS 'When it was last seen, ns since the Unix epoch.';
COMMENT ON COLUMN issue.received_unix_nano IS 'Latest arrival of its events, ns since the Unix epoch.';
COMMENT ON COLUMN issue.details IS 'Message of the latest event, services, environments, releases and ids of the latest events, JSON.';

CREATE TABLE issue_bucket (
    project_id         bigint NOT NULL,
    fingerprint        bigint NOT NULL,
    start_unix_nano    bigint NOT NULL,
    event_count        bigint NOT NULL,
    received_unix_nano bigint NOT NULL,
    PRIMARY KEY (project_id, fingerprint, start_unix_nano)
);
CREATE INDEX issue_bucket_received ON issue_bucket (received_unix_nano);
COMMENT ON TABLE issue_bucket IS 'Events of a fingerprint in five minutes.';
COMMENT ON COLUMN issue_bucket.project_id IS 'Owner.';
COMMENT ON COLUMN issue_bucket.fingerprint IS 'See issue.fingerprint.';
COMMENT ON COLUMN issue_bucket.start_unix_nano IS 'First time in it, ns since the Unix epoch.';
COMMENT ON COLUMN issue_bucket.event_count IS 'Events seen in it.';
COMMENT ON COLUMN issue_bucket.received_unix_nano IS 'Latest arrival of these events, ns since the Unix epoch.';

CREATE TABLE issue_status (
    project_id        bigint NOT NULL,
    fingerprint       bigint NOT NULL,
    status            text NOT NULL,
    changed_unix_nano bigint NOT NULL,
    PRIMARY KEY (project_id, fingerprint)
);
COMMENT ON TABLE issue_status IS 'What people say of issues.';
COMMENT ON COLUMN issue_status.project_id IS 'Owner.';
COMMENT ON COLUMN issue_status.fingerprint IS 'See issue.fingerprint.';
COMMENT ON COLUMN issue_status.status IS 'unresolved, resolved or ignored; of a resolved one something may have been seen since.';
COMMENT ON COLUMN issue_status.changed_unix_nano IS 'When that was said, ns since the Unix epoch.';
