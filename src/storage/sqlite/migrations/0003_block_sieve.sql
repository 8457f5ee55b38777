-- Which three characters in a row occur in a block, so that a search passes over most blocks without
-- reading them. A block without one is looked through.
CREATE TABLE block_sieve (
    block_id INTEGER PRIMARY KEY,
    sieve    BLOB NOT NULL
) STRICT;
