"""The disk of one node: `coord.journal.sqlite` for real, `coord.journal.memory` for tests.

A directory's way through bad days: `coord.journal.renewal` after a disk that failed,
`coord.journal.takeover` after the loss of all others, `coord.journal.offline` to look into it.

Both journals provide ``IJournal`` of `coord.replicator.interfaces` and sit one examination
(``tests/journal/contract.py``).
"""
