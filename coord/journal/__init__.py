"""The disk of one node: `coord.journal.sqlite` for real, `coord.journal.memory` for tests.

Both provide ``IJournal`` of `coord.replicator.interfaces` and sit one examination
(``tests/journal/contract.py``).
"""
