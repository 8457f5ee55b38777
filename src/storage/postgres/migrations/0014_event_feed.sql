-- What the events of a block are found by, for who follows what is stored. Only blocks of events have
-- it, so that those who follow spans, or events, pass over the blocks of the others.
ALTER TABLE content_block ADD COLUMN event_keys bytea;
-- Digests don't compress.
ALTER TABLE content_block ALTER COLUMN event_keys SET STORAGE EXTERNAL;
ALTER TABLE content_block ALTER COLUMN event_keys SET STATISTICS 0;
COMMENT ON COLUMN content_block.event_keys IS
    'Time (8 bytes, big-endian) and digest (16 bytes) of each event, by place; NULL in a block of spans.';
CREATE INDEX content_block_events ON content_block (project_id, committed, block_id)
    WHERE event_keys IS NOT NULL;
