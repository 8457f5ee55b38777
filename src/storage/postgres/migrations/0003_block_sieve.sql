-- Which three characters in a row occur in a block, so that a search passes over most blocks without
-- reading them.
ALTER TABLE content_block ADD COLUMN sieve bytea;
-- Does not get smaller.
ALTER TABLE content_block ALTER COLUMN sieve SET STORAGE EXTERNAL;
ALTER TABLE content_block ALTER COLUMN sieve SET STATISTICS 0;
COMMENT ON COLUMN content_block.sieve IS
    'Which three characters in a row occur in the content, to pass over it in a search; NULL: it is looked through.';
