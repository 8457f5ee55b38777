-- Events of PulseBoard by arrival: its clients ask for those that arrived last.
CREATE INDEX event_arrival ON event (project_id, received_unix_nano, time_unix_nano, digest)
    WHERE source = 2;
COMMENT ON COLUMN event.source IS
    'Where it comes from: 0 OTLP logs, 1 PulseKit, 2 PulseBoard, 3 TracePulse, 4 PulseBoard''s mobile analytics.';
