"""Work is counted: what a write and a read cost, in messages and in saves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.timing import Timing
from tests.paxos.net import Net


class Costs(SynchronousTestCase):
    """A cluster of three that n1 leads, with nothing else going on."""

    def setUp(self) -> None:
        """Elect n1 and begin to count."""
        self.net = Net(3)
        self.net.elect("n1")
        self.begin()

    def begin(self) -> None:
        """Count from here."""
        self.net.sent.clear()
        self.net.frames.clear()
        for member in self.net.members.values():
            member.saves = 0

    def saves(self) -> list[int]:
        """Return how often each node saved."""
        return [member.saves for member in self.net.members.values()]

    def test_write(self) -> None:
        """A write costs each node one save; one proposal, an answer and a note to each other."""
        self.net.propose("n1", b"x")
        self.net.settle()
        self.assertEqual(dict(self.net.sent), {"Accept": 2, "Accepted": 2, "Commit": 2})
        self.assertEqual(self.saves(), [1, 1, 1])

    def test_encoded_once(self) -> None:
        """What goes to all is encoded once."""
        self.net.propose("n1", b"x")
        self.net.settle()
        self.assertEqual((self.net.frames["Accept"], self.net.frames["Commit"]), (1, 1))

    def test_many_at_once(self) -> None:
        """Ten values proposed at once cost what one does."""
        self.net.propose("n1", *(b"%d" % number for number in range(10)))
        self.net.settle()
        self.assertEqual(dict(self.net.sent), {"Accept": 2, "Accepted": 2, "Commit": 2})
        self.assertEqual(self.saves(), [1, 1, 1])

    def test_one_after_the_other(self) -> None:
        """In a stream of writes the next proposal tells what was chosen: no note is needed."""
        for number in range(10):
            self.net.propose("n1", b"%d" % number)
            while self.net.bag:
                for name in self.net.members:
                    self.net.write(name)
                self.net.deliver(self.net.bag.popleft())
            for name in self.net.members:
                self.net.write(name)
        self.assertEqual(self.net.sent["Commit"], 0)
        self.assertGreaterEqual(self.net["n3"].chosen, 9)

    def test_announced_once(self) -> None:
        """What was chosen is told once, however many turns go by."""
        self.net.propose("n1", b"x")
        self.net.settle()
        self.net.announce("n1")
        self.net.announce("n1")
        self.assertEqual(self.net.sent["Commit"], 2)

    def test_read_at_the_leader(self) -> None:
        """A read at the leader costs nothing but a look at the clock."""
        number = self.net.read("n1")
        self.assertIsNotNone(self.net.point("n1", number))
        self.net.settle()
        self.assertEqual((dict(self.net.sent), self.saves()), ({}, [0, 0, 0]))

    def test_read_elsewhere(self) -> None:
        """A read at another node costs one question and one answer, and no save."""
        self.net.read("n2")
        self.net.settle()
        self.assertEqual(dict(self.net.sent), {"Query": 1, "Answer": 1})
        self.assertEqual(self.saves(), [0, 0, 0])

    def test_read_without_lease(self) -> None:
        """Without leases it costs a beat and an answer for each other node as well."""
        self.net = Net(3, timing=Timing(leases=False))
        self.net.elect("n1")
        self.begin()
        self.net.read("n2")
        self.net.settle()
        self.assertEqual(dict(self.net.sent), {"Query": 1, "Beat": 2, "BeatAnswer": 2, "Answer": 1})
        self.assertEqual(self.saves(), [0, 0, 0])

    def test_idle(self) -> None:
        """A cluster that does nothing saves nothing, and beats no more often than it must."""
        self.net.elapse(3.0)
        self.assertEqual(self.saves(), [0, 0, 0])
        self.assertEqual(set(self.net.sent), {"Beat", "BeatAnswer"})
        self.assertLessEqual(self.net.frames["Beat"], 3.0 / self.net.timing.beat_seconds + 1)

    def test_election(self) -> None:
        """An election costs one save a node, and no message more than it takes."""
        self.net.crash("n1")
        self.begin()
        self.net.elect("n2")
        self.assertEqual(self.saves()[1:], [1, 1])
        for kind in ("Endorse", "Promise", "BeatAnswer"):
            self.assertEqual(self.net.sent[kind], 1)
