-- Which three characters in a row occur in a block of events, so that a search passes over most
-- blocks without reading them. A block without one is looked through.
CREATE TABLE event_block_sieve (
    block_id INTEGER PRIMARY KEY,
    sieve    BLOB NOT NULL
) STRICT;

CREATE TRIGGER event_block_sieve_gone AFTER DELETE ON event_block
BEGIN
    DELETE FROM event_block_sieve WHERE block_id = OLD.block_id;
END;
