-- What PulseBoard's mobile SDK tells, by time: reports add it up, however much else is stored.
CREATE INDEX event_told ON event (project_id, time_unix_nano, digest) WHERE source = 4;
