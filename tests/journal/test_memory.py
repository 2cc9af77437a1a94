"""The journal in memory."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from coord.journal.memory import MemoryDisk, MemoryJournal
from coord.replicator.interfaces import IJournal
from tests.journal.contract import INITIAL, JournalContract, Listener, save, votes


class MemoryContractTests(JournalContract, TestCase):
    """The journal in memory does what every journal must."""

    def setUp(self) -> None:
        """Take a new disk."""
        self.disk = MemoryDisk()

    def open(self) -> IJournal:
        """Open a journal on the disk."""
        return MemoryJournal(self.disk, initial=INITIAL)

    async def crash(self, journal: IJournal) -> None:
        """Forget the journal: its disk stays."""

    async def settle(self, journal: IJournal) -> None:
        """Flush."""
        assert isinstance(journal, MemoryJournal)
        journal.flush()

    def empty(self) -> None:
        """Take another disk."""
        self.disk = MemoryDisk()

    def break_disk(self, journal: IJournal) -> None:
        """Let it fail."""
        assert isinstance(journal, MemoryJournal)
        journal.fail(OSError("no space left"))


class MemoryTests(TestCase):
    """What only the journal in memory can show."""

    def test_crash_loses_what_was_not_flushed(self) -> None:
        """A save that was not flushed is neither acknowledged nor there after a crash."""
        disk = MemoryDisk()
        journal = MemoryJournal(disk, initial=INITIAL)
        listener = Listener()
        journal.observe(listener)
        journal.save(save(1, 1, 2))
        journal.flush()
        journal.save(save(2, 2, 3))
        self.assertEqual(listener.tickets, [1])
        recovered = MemoryJournal(disk, initial=INITIAL).recover()
        self.assertEqual(recovered.durable.votes, votes(1, 2))

    def test_clock(self) -> None:
        """With a clock, all saves of one turn are acknowledged together in the next."""
        clock = Clock()
        journal = MemoryJournal(MemoryDisk(), initial=INITIAL, clock=clock)
        listener = Listener()
        journal.observe(listener)
        journal.save(save(1, 1, 2))
        journal.save(save(2, 2, 3))
        self.assertEqual(listener.tickets, [])
        clock.advance(0)
        self.assertEqual(listener.tickets, [2])
        self.assertEqual(clock.getDelayedCalls(), [])
