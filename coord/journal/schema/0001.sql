-- The journal of one node, first version. See coord.journal.tables for what is done with it.

PRAGMA application_id = 1668248164;  -- "cord"

-- Whose directory this is, and how often it has been opened.
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    node TEXT NOT NULL,
    cluster TEXT NOT NULL,
    incarnation INTEGER NOT NULL
) STRICT;

-- What an acceptor must never forget. Slot 0 holds its header (the ballot is the one
-- promised); slots from 1 on hold the last vote for each. In one table, so that a save of any
-- number of votes is one statement, and one statement is one transaction.
CREATE TABLE log (
    slot INTEGER PRIMARY KEY,
    ballot INTEGER NOT NULL,
    node TEXT NOT NULL,
    content BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

-- The newest whole image of the store: what was true after slot, in the pieces numbered from
-- first to before until. Pieces outside are those of images that are unfinished or too old.
CREATE TABLE image (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    slot INTEGER NOT NULL,
    first INTEGER NOT NULL,
    until INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

CREATE TABLE piece (
    number INTEGER PRIMARY KEY,
    content BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
