-- Events of PulseBoard by arrival: its clients ask for those that arrived last.
CREATE INDEX event_arrival ON event (project_id, received_unix_nano, time_unix_nano, digest)
    WHERE source = 2;
