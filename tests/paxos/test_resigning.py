"""A leader that is asked to lead no more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.describing import describe_message
from coord.paxos.durable import Vote
from coord.paxos.membership import Configuration
from coord.paxos.messages import Accept, Promise
from tests.paxos.net import LONG_SECONDS, Net


def resign(net: Net, name: str) -> None:
    """Ask a node to lead no more."""
    net._obey(name, net[name].resign(net.clock(name)))


class Resigning(SynchronousTestCase):
    """What follows when a leader steps down."""

    def test_another_leads(self) -> None:
        """A leader that steps down leads no more, and another node is elected before it."""
        net = Net(3)
        net.elect("n1")
        resign(net, "n1")
        self.assertEqual(net.leaders(), [])
        self.assertFalse(net["n1"].can_read(net.clock("n1")))
        net.elapse(LONG_SECONDS)
        (leader,) = net.leaders()
        self.assertNotEqual(leader, "n1")
        self.assertEqual(net["n1"].leader, leader)

    def test_open_slots_survive(self) -> None:
        """What a majority voted for when the leader stepped down is chosen by the next one."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"x")
        for name in net.up():
            net.write(name)
        for parcel in net.take(Accept):
            net.deliver(parcel)
        resign(net, "n1")
        net.elapse(LONG_SECONDS)
        for name in net.up():
            self.assertIn(b"x", net.log(name))

    def test_last_that_can(self) -> None:
        """Where no other node can lead, it leads again after a while."""
        net = Net(3)
        net.elect("n1")
        net.crash("n3")
        net.cut("n2", "n3")
        resign(net, "n1")
        net.elapse(2 * LONG_SECONDS, "n1")
        self.assertEqual(net.leaders(), ["n1"])

    def test_follower(self) -> None:
        """To ask a node that does not lead changes nothing."""
        net = Net(3)
        net.elect("n1")
        net.elapse(0.1)
        before = net["n2"].describe(net.clock("n2"))
        resign(net, "n2")
        self.assertEqual(net["n2"].describe(net.clock("n2")), before)
        self.assertEqual(net.leaders(), ["n1"])


class Slots(SynchronousTestCase):
    """What is open, in a line each."""

    def test_leader_and_follower(self) -> None:
        """A leader tells what it proposed and who voted; a follower what it voted for."""
        net = Net(3)
        net.elect("n1")
        slot = net["n1"].chosen + 1
        net.propose("n1", b"xyz")
        net.write("n1")
        for parcel in net.take(Accept, to="n2"):
            net.deliver(parcel)
        (line,) = net["n1"].open_slots(net.clock("n1"))
        self.assertIn(f"{slot} proposed 3 bytes, votes n1 of n1 n2 n3", line)
        (line,) = net["n2"].open_slots(net.clock("n2"))
        self.assertEqual(line, f"{slot} voted for 3 bytes at b={net['n1'].ballot.describe()}")
        net.settle()
        self.assertEqual(net["n1"].open_slots(net.clock("n1")), [])


class Descriptions(SynchronousTestCase):
    """Messages as a person reads them."""

    def test_sizes_only(self) -> None:
        """A message is one line that shows how large values are and not what they hold."""
        net = Net(1)
        net.elect("n1")
        ballot = net["n1"].ballot
        b = ballot.describe()
        self.assertEqual(
            describe_message(Accept(ballot, 7, (b"secret", b""), 6)),
            f"Accept ballot={b} slot=7 values=[6_bytes no-op] chosen=6",
        )
        vote = Vote(7, ballot, Configuration(("n1", "n2")))
        self.assertIn(
            f"votes=[7:configuration_n1_n2@{b}]",
            describe_message(Promise(ballot, 7, 0, 6, (vote,))),
        )
