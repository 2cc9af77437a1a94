-- The journal of one node, second version: whose directory it is carries a checksum, too.

-- No checksum is negative: -1 stands where the version before wrote, until the next opening.
ALTER TABLE identity ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
