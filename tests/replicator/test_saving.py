"""A disk that hangs: it is told of, and does not stop the cluster."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.journal.memory import MemoryJournal
from coord.limits import DISK_PATIENCE_SECONDS, DISK_SLOW_SECONDS, TICK_SECONDS
from coord.replicator.saving import Saving
from coord.results import Written
from tests.replicator.case import Case


class Waiting(SynchronousTestCase):
    """Since when a disk owes an answer."""

    def setUp(self) -> None:
        """Begin with nothing owed."""
        self.clock = Clock()
        self.saving = Saving(self.clock.seconds)

    def go_on(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        for _ in range(round(seconds / TICK_SECONDS)):
            self.clock.advance(TICK_SECONDS)
            self.saving.tick()

    def test_nothing(self) -> None:
        """A disk of which nothing is wanted does not hang."""
        self.go_on(100)
        self.assertEqual((self.saving.describe(), self.saving.is_hung), ("ok", False))

    def test_hangs(self) -> None:
        """What waits is told after a second, and called hung after the patience."""
        self.saving.handed(1)
        self.go_on(DISK_SLOW_SECONDS + 0.5)
        self.saving.handed(2)
        self.assertEqual(self.saving.describe(), "slow: a save waits for 1.5 s")
        self.assertFalse(self.saving.is_hung)
        self.go_on(DISK_PATIENCE_SECONDS)
        self.assertTrue(self.saving.is_hung)
        self.saving.saved(2)
        self.assertEqual((self.saving.describe(), self.saving.is_hung), ("ok", False))

    def test_goes_on(self) -> None:
        """A disk that finishes something, though not all, counts as going on."""
        self.saving.handed(1)
        self.saving.handed(2)
        self.go_on(DISK_PATIENCE_SECONDS)
        self.saving.saved(1)
        self.assertEqual(self.saving.waits_seconds, 0)
        self.go_on(0.5)
        self.assertAlmostEqual(self.saving.waits_seconds, 0.5)

    def test_failed(self) -> None:
        """A disk that failed is told of as that, and not waited for."""
        self.saving.handed(1)
        self.saving.failed()
        self.go_on(DISK_PATIENCE_SECONDS + 1)
        self.assertEqual((self.saving.describe(), self.saving.is_hung), ("failed", False))

    def test_stood_still(self) -> None:
        """A process that was stopped, or busy, does not take that for its disk's silence."""
        self.saving.handed(1)
        self.clock.advance(100)
        self.saving.tick()
        self.assertEqual((self.saving.describe(), self.saving.is_hung), ("ok", False))


class Hanging(Case):
    """Nodes of which one's disk does not come back."""

    def hang(self, name: str) -> Callable[[], None]:
        """Have a node's disk finish nothing any more; return what lets it go on."""
        journal = self.nodes[name].replicator._journal
        assert isinstance(journal, MemoryJournal)
        flush = journal.flush
        self.patch(journal, "flush", lambda: None)

        def go_on() -> None:
            self.patch(journal, "flush", flush)
            flush()

        return go_on

    def test_leader(self) -> None:
        """A leader whose disk hangs lets another lead; writes go on before, and after."""
        self.found(3)
        first = self.leader()
        go_on = self.hang(first)
        asked = self.set(first, "/a")
        self.advance(DISK_SLOW_SECONDS + 0.1)
        self.assertIsInstance(asked.results[0], Written)
        self.assertRegex(self.fact(first, "disk"), "slow: a save waits for 1.[0-9] s")
        self.assertEqual(self.leader(), first)
        self.advance(DISK_PATIENCE_SECONDS + 1.0)
        self.assertNotEqual(self.leader(), first)
        account = self.nodes[first].replicator.account
        self.assertIn("the disk is slow", account.trouble() or "")
        self.assertTrue(account.serves())
        asked = self.set(first, "/b")
        self.advance(0.5)
        self.assertIsInstance(asked.results[0], Written)
        go_on()
        self.advance(0.5)
        self.assertEqual(self.fact(first, "disk"), "ok")
        self.assertIsNone(account.trouble())

    def test_nobody_else(self) -> None:
        """A leader whose disk hangs goes on leading where nobody could instead: it can be read."""
        self.found(3)
        first, (other, _) = self.leader(), self.followers()
        self.hub.isolate(other)
        self.hang(first)
        self.set(first, "/a")
        self.advance(DISK_PATIENCE_SECONDS + 1.0)
        self.assertEqual(self.fact(first, "role"), "leader")
