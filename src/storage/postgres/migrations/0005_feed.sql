-- Blocks in the order in which transactions made them visible, for who follows what is stored.
ALTER TABLE content_block ADD COLUMN committed xid8 DEFAULT pg_current_xact_id();
ALTER TABLE content_block ALTER COLUMN committed SET STATISTICS 0;
COMMENT ON COLUMN content_block.committed IS
    'The transaction that stored it; not kept by a dump, and of no meaning in another database.';
CREATE INDEX content_block_committed ON content_block (project_id, committed, block_id);
