"""What a simulated disk keeps over a crash, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Save, Value, Vote
from coord.paxos.membership import Configuration
from coord.simulation.disk import Disk, DiskMix, SimulatedJournal
from coord.simulation.world import Machine, Process, World


def save(ticket: int, *slots: int, chosen: int = 0) -> Save:
    """Return a save that votes for ``b"N"`` in each slot N, at a ballot of the ticket's number."""
    ballot = Ballot(ticket, "n1")
    votes = tuple(Vote(slot, ballot, b"%d" % slot) for slot in slots)
    return Save(ticket, Header(ballot, chosen), votes)


class Disks(SynchronousTestCase):
    """One disk, and the lives that write to it."""

    def setUp(self) -> None:
        """Begin with an empty disk."""
        self.begin(1)

    def begin(self, seed: int) -> None:
        """Take a new world and open the disk in it."""
        self.world = World(seed)
        self.machine = Machine(self.world, "n1")
        self.disk = Disk(self.world, DiskMix())
        self.open()

    def open(self) -> SimulatedJournal:
        """Begin a life."""
        self.tickets: list[int] = []
        self.errors: list[Exception] = []
        self.process = Process(self.machine)
        self.journal = self.disk.open(self.process)
        self.recovered = self.journal.recover()
        self.journal.observe(self)
        return self.journal

    def crash(self) -> None:
        """End it and begin the next."""
        self.process.crash()
        self.disk.crash()
        self.open()

    def saved(self, ticket: int) -> None:
        """Hear of a save."""
        self.tickets.append(ticket)

    def failed(self, error: Exception) -> None:
        """Hear of a failure."""
        self.errors.append(error)

    def wait(self, seconds: float = 1.0) -> None:
        """Let time go on."""
        self.world.run(self.world.now + seconds)

    def slots(self) -> list[int]:
        """Return the slots that were recovered."""
        return [vote.slot for vote in self.recovered.durable.votes]

    def read(self, slot: int, until: int, size_bytes_max: int = 1000) -> list[Value]:
        """Read from the log, wait, and return what came."""
        answers: list[Sequence[Value]] = []
        self.journal.read(slot, until, size_bytes_max).addCallback(answers.append)
        self.wait()
        return list(answers[0])

    def test_empty(self) -> None:
        """A new disk holds nothing, and counts its openings."""
        self.assertEqual(self.recovered.durable.header, Header())
        self.assertEqual((self.recovered.incarnation, list(self.recovered.image)), (1, []))
        self.crash()
        self.assertEqual(self.recovered.incarnation, 2)

    def test_saved_survives(self) -> None:
        """What the disk said it had saved is there in the next life, exactly."""
        self.journal.save(save(1, 1, 2))
        self.journal.save(save(2, 2, 3, chosen=1))
        self.assertEqual(self.tickets, [])
        self.wait()
        self.assertEqual(self.tickets[-1], 2)
        self.crash()
        self.assertEqual(self.recovered.durable.header, Header(Ballot(2, "n1"), 1))
        votes = self.recovered.durable.votes
        self.assertEqual([vote.ballot.number for vote in votes], [1, 2, 2])
        self.assertEqual(self.slots(), [1, 2, 3])

    def test_group_commit(self) -> None:
        """Saves of one turn share a sync, and the last ticket stands for all."""
        for ticket in range(1, 20):
            self.journal.save(save(ticket, ticket))
        self.wait()
        self.assertEqual(self.tickets, [19])
        self.assertEqual(self.world.counts["syncs"], 1)

    def test_crash_keeps_a_prefix(self) -> None:
        """A crash keeps the saves up to some point, never one without those before it."""
        kept = set()
        for seed in range(40):
            self.begin(seed)
            for ticket in range(1, 6):
                self.journal.save(save(ticket, ticket))
            self.crash()
            slots = self.slots()
            self.assertEqual(slots, list(range(1, len(slots) + 1)))
            self.assertEqual(self.recovered.durable.header.promised.number, len(slots))
            kept.add(len(slots))
        self.assertEqual(kept, set(range(6)))

    def test_never_told_of_what_was_lost(self) -> None:
        """Nobody is told of a save that a crash then loses."""
        for seed in range(40):
            self.begin(seed)
            told = self.tickets
            for ticket in range(1, 30):
                self.journal.save(save(ticket, ticket))
                self.wait(0.0005)
            last = told[-1] if told else 0
            self.crash()
            self.assertGreaterEqual(len(self.slots()), last)

    def test_read(self) -> None:
        """The log is read in order, as much as fits, until a gap."""
        self.journal.save(save(1, 1, 2, 3, 5))
        self.wait()
        self.assertEqual(self.read(1, 9), [b"1", b"2", b"3"])
        self.assertEqual(self.read(2, 3), [b"2"])
        self.assertEqual(self.read(1, 9, size_bytes_max=1), [b"1"])
        self.assertEqual(self.read(4, 9), [])

    def test_configuration(self) -> None:
        """A configuration comes back from the log as one."""
        configuration = Configuration(("n1", "n2"))
        self.journal.save(Save(1, Header(), (Vote(1, Ballot(1, "n1"), configuration),)))
        self.wait()
        self.assertEqual(self.read(1, 2), [configuration])

    def test_image_and_trim(self) -> None:
        """A finished image takes the place of the log before it; an unfinished one does not."""
        self.journal.save(save(1, 1, 2, 3, 4))
        self.wait()
        first, second = self.journal.start_image(2), None
        first.add(b"one")
        first.add(b"two")
        first.finish()
        self.wait()
        self.journal.trim(2)
        second = self.journal.start_image(3)
        second.add(b"never whole")
        self.crash()
        self.assertEqual(list(self.recovered.image), [b"one", b"two"])
        self.assertEqual((self.recovered.durable.base, self.slots()), (2, [3, 4]))
        self.assertEqual(self.journal.oldest(), 2)
        self.assertEqual(self.read(1, 9), [])
        self.assertEqual(self.read(2, 9), [b"2", b"3", b"4"])

    def test_failing_disk(self) -> None:
        """A disk that fails says so once and acknowledges nothing more."""
        self.journal.save(save(1, 1))
        self.wait()
        self.disk.fail()
        self.journal.save(save(2, 2))
        self.journal.save(save(3, 3))
        self.wait()
        self.assertEqual((self.tickets, len(self.errors)), ([1], 1))
        self.crash()
        self.assertEqual(self.slots(), [1])

    def test_close(self) -> None:
        """Closing waits for what was queued."""
        closed: list[None] = []
        self.journal.save(save(1, 1))
        self.journal.close().addCallback(closed.append)
        self.assertEqual(closed, [])
        self.wait()
        self.assertEqual((closed, self.tickets), ([None], [1]))
