-- The journal of one node, third version: each directory has a name of its own.

-- Given by chance when it is made, or upgraded; '' stands until the opening that gives it.
ALTER TABLE identity ADD COLUMN disk TEXT NOT NULL DEFAULT '';
