"""The journal on SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from coord.journal.sqlite import Journal, open_journal
from coord.journal.writer import Work
from coord.replicator.interfaces import IJournal
from tests.journal.contract import INITIAL, JournalContract


class SqliteTestCase(TestCase):
    """Opens journals and closes them at the test's end."""

    def setUp(self) -> None:
        """Choose a directory that is not there yet."""
        self.directory = Path(self.mktemp()) / "n1"
        self.opened: list[Journal] = []

    def tearDown(self) -> Deferred[list[None]]:
        """Close what is still open."""
        return gatherResults([journal.close() for journal in self.opened])

    def open(self) -> Journal:
        """Open the directory."""
        journal = open_journal(reactor, self.directory, node="n1", initial=INITIAL)
        self.opened.append(journal)
        return journal


class SqliteContractTests(SqliteTestCase, JournalContract):
    """The journal on SQLite does what every journal must."""

    async def crash(self, journal: IJournal) -> None:
        """Close the journal; ``test_crash`` is about real ones."""
        await journal.close()

    async def settle(self, journal: IJournal) -> None:
        """Wait for work that stands behind all else."""
        assert isinstance(journal, Journal)
        done: Deferred[None] = Deferred()
        journal._queue_work(Work(lambda _: False, 0, done))
        with contextlib.suppress(sqlite3.Error):
            await done

    def break_disk(self, journal: IJournal) -> None:
        """Refuse all writing of saves."""
        assert isinstance(journal, Journal)
        journal._writer._connections.saves.execute("PRAGMA query_only = 1").fetchall()
