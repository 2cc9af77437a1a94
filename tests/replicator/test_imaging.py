"""The store into the journal: whole, consistent, and in nobody's way."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Get, Set
from coord.journal.memory import MemoryDisk, MemoryJournal
from coord.paxos.acceptor import size_of
from coord.paxos.membership import Configuration, Governs
from coord.replicator import imaging
from coord.replicator.applier import Applier, Origins
from coord.replicator.imaging import Imaging, LogMarks
from coord.replicator.interfaces import IImageWriter
from coord.replicator.tuning import Tuning
from coord.results import Value, Written
from coord.store.machine import Store
from tests.replicator.case import Case

INITIAL = (Governs(1, Configuration(("n1",))),)


class Images(Case):
    """A node that images its store every few kilobytes."""

    tuning = Tuning(image_every_bytes=4000, log_bytes_kept=0)

    def fill(self, count: int, name: str = "n1") -> None:
        """Write some values, one slot each."""
        for number in range(count):
            self.set(name, f"/{number}", b"x" * 200)
            self.advance(0.01)

    def test_restart(self) -> None:
        """A node starts from its image and the log after it, and has all it had."""
        self.found()
        self.fill(50)
        digest, rev = self.fact("n1", "digest"), self.rev("n1")
        self.assertGreater(self.disks["n1"].image_slot, 0)
        self.crash("n1")
        self.start("n1")
        self.advance(1.0)
        self.assertEqual((self.fact("n1", "digest"), self.rev("n1")), (digest, rev))
        self.assertEqual(self.set_and_wait("/new"), Written(rev + 1))

    def set_and_wait(self, path: str) -> object:
        """Write through n1."""
        asked = self.set("n1", path)
        self.advance(0.1)
        return asked.results[0]

    def test_not_before_it_is_due(self) -> None:
        """Little log, no image."""
        self.found()
        self.fill(5)
        self.assertEqual((self.disks["n1"].image_slot, self.fact("n1", "images")), (0, "0"))

    def test_log_is_cut(self) -> None:
        """What the image holds is cut from the log, where no peer may want it."""
        self.patch(imaging, "_MARK_BYTES", 500)
        self.found()
        self.fill(100)
        self.assertGreater(min(self.disks["n1"].votes), 20)
        self.assertLessEqual(min(self.disks["n1"].votes), self.disks["n1"].image_slot + 1)

    def test_log_is_cut_across_lives(self) -> None:
        """A node that is restarted time and again, too, keeps no more log than it should."""
        self.patch(imaging, "_MARK_BYTES", 500)
        self.tuning = Tuning(image_every_bytes=2000, log_bytes_kept=6000)
        self.found()
        for _ in range(10):
            self.fill(15)
            self.crash("n1")
            self.start("n1")
            self.advance(1.0)
        log = [size_of(vote.value) for vote in self.disks["n1"].votes.values()]
        self.assertGreater(sum(log), 5000)
        self.assertLess(sum(log), 14_000)

    def test_holds_what_it_says(self) -> None:
        """An image is of the state after its slot: the values, and the batches applied."""
        self.found()
        self.fill(30)
        slot = self.disks["n1"].image_slot
        applier = imaging.load(iter(self.disks["n1"].image), 1000).applier
        self.assertEqual(applier.slot, slot)
        self.assertEqual(applier.store.rev, self.base + slot - self.first)
        self.assertEqual(applier.origins.known()[0][1].number, slot - self.first)
        self.assertEqual(applier.store.answer(Get("/0")), Value(self.base + 1, b"x" * 200))

    def test_at_most_once(self) -> None:
        """Which batches were applied is in the image: one that comes again is passed over."""
        self.found()
        self.fill(30)
        repeated = self.disks["n1"].votes[max(self.disks["n1"].votes)].value
        self.crash("n1")
        self.start("n1")
        self.advance(1.0)
        rev = self.rev("n1")
        replicator = self.nodes["n1"].replicator
        replicator._obey(replicator._replica.propose(self.clock.seconds(), [repeated]))
        self.advance(0.2)
        self.assertEqual(self.rev("n1"), rev)

    def test_lagging_peer(self) -> None:
        """A node that was away gets what it missed although others have imaged since."""
        self.tuning = Tuning(image_every_bytes=4000)
        self.found(3)
        name = self.followers()[0]
        self.hub.isolate(name)
        self.fill(60, self.leader())
        self.hub.heal(name)
        self.advance(1.0)
        self.assertEqual(self.fact(name, "digest"), self.fact(self.leader(), "digest"))

    def test_log_is_gone(self) -> None:
        """Where the log was cut already, both nodes say so once, and the one gets an image."""
        self.patch(imaging, "_MARK_BYTES", 500)
        self.found(3)
        name = self.followers()[0]
        self.hub.isolate(name)
        self.fill(100, self.leader())
        for one in self.nodes:
            if one != name:
                self.nodes[one].replicator._replica._learner._recent.clear()
        self.hub.heal(name)
        self.advance(2.0)
        self.assertEqual(self.fact(name, "digest"), self.fact(self.leader(), "digest"))
        complained = [node.replicator._recalls._complained for node in self.nodes.values()]
        self.assertIn({name}, complained)
        self.assertEqual((self.fact(name, "fault"), self.fact(name, "image")), ("-", "-"))


class Torn:
    """A journal whose image writer does as told."""

    def __init__(self, *, start: Exception | None = None, add: Exception | None = None) -> None:
        self.start, self.added = start, add
        self.begun = self.abandoned = self.finished = 0

    def start_image(self, slot: int) -> IImageWriter:
        """Begin, or raise."""
        self.begun += 1
        if self.start is not None:
            raise self.start
        return self

    def add(self, piece: bytes) -> Deferred[None]:
        """Take a piece, or fail."""
        return succeed(None) if self.added is None else fail(self.added)

    def finish(self) -> Deferred[None]:
        """Count it."""
        self.finished += 1
        return succeed(None)

    def abandon(self) -> None:
        """Count it."""
        self.abandoned += 1

    def trim(self, slot: int) -> None:
        """Do nothing."""

    def oldest(self) -> int:
        """Return the first slot of all."""
        return 1


class Slow(Torn):
    """A journal that takes each piece only when told."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self._ready: Deferred[None] | None = None

    def add(self, piece: bytes) -> Deferred[None]:
        """Take a piece."""
        assert self._ready is None, "one piece at a time"
        self.pieces.append(piece)
        self._ready = Deferred()
        return self._ready

    def go_on(self) -> None:
        """Be ready for the next."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.callback(None)


class Making(SynchronousTestCase):
    """How an image is made, and what happens where it cannot be."""

    def imaging(self, journal: Torn) -> tuple[Imaging, Clock, Applier]:
        """Return what images an empty store, every hundred bytes."""
        clock, applier = Clock(), Applier(Store(), Origins(), 0, 0)
        one = Imaging(clock, journal, applier, LogMarks(), every_bytes=100)  # type: ignore[arg-type]
        return one, clock, applier

    def test_tried_again(self) -> None:
        """An image that fails is given up, history let go, and another made when due."""
        for journal in (Torn(start=OSError("no")), Torn(add=OSError("no"))):
            one, _, applier = self.imaging(journal)
            for slot in (1, 2):
                one.applied(slot, 200)
                one.consider()
                self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
            self.assertEqual((journal.begun, journal.finished), (2, 0))
            self.assertIn("pictures 0", applier.store.describe())

    def test_one_at_a_time(self) -> None:
        """While one is made no other is begun; it gives way to the loop between its pieces."""
        journal = Torn()
        one, clock, _ = self.imaging(journal)
        for slot in (1, 2, 3):
            one.applied(slot, 200)
            one.consider()
        self.assertEqual((journal.begun, journal.finished), (1, 0))
        clock.pump([0.0] * 20)
        self.assertEqual((journal.finished, one.images), (1, 1))
        one.consider()
        self.assertEqual(journal.begun, 2)

    def test_consistent(self) -> None:
        """What is written while an image is made is not in it; the time of day is, as it was."""
        journal = Slow()
        one, clock, applier = self.imaging(journal)
        for number in range(1000):
            applier.store.apply(Set(f"/{number}", b"before" * 50), 7)
        applier.store.seal()
        applier.time_ms = 7
        one.applied(1, 200)
        one.consider()
        while not journal.finished:
            applier.time_ms += 1
            for number in range(100):
                applier.store.apply(Set(f"/{number}", b"after"), applier.time_ms)
            applier.store.seal()
            journal.go_on()
            clock.advance(0)
        self.assertGreater(len(journal.pieces), 3)
        loaded = imaging.load(iter(journal.pieces), 5000).applier
        self.assertEqual((loaded.time_ms, loaded.store.rev), (7, 1000))
        self.assertEqual(loaded.store.answer(Get("/5")), Value(6, b"before" * 50))

    def test_stopped(self) -> None:
        """A node that stops gives up its image, and leaves nothing behind."""
        journal = Torn()
        one, clock, applier = self.imaging(journal)
        one.applied(1, 200)
        one.consider()
        one.stop()
        self.assertEqual((journal.abandoned, journal.finished), (1, 0))
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertIn("pictures 0", applier.store.describe())

    def test_later_version(self) -> None:
        """An image of a later version of the program is refused."""
        piece = imaging._ENCODER.encode(imaging.Beside(2, 1, 1, ()))
        self.assertRaises(ValueError, imaging.load, iter([piece]), 10)

    def test_damaged(self) -> None:
        """An image that was cut short is refused."""
        disk = MemoryDisk()
        journal = MemoryJournal(disk, initial=INITIAL)
        del journal
        piece = imaging._ENCODER.encode(imaging.Beside(1, 1, 1, ()))
        self.assertRaises(ValueError, imaging.load, iter([piece]), 10)

    def test_none(self) -> None:
        """Without an image a node starts with an empty store."""
        applier = imaging.load(iter(()), 10).applier
        self.assertEqual((applier.slot, applier.store.rev), (0, 0))
