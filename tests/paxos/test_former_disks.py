"""A name that stands for another disk by now: what the former promised nobody remembers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.membership import Configuration, Member
from coord.paxos.timing import Timing
from tests.paxos.net import LONG_SECONDS, Net

FIRST = Member("n1", "", "a")
SECOND = Member("n2", "", "b")


class Asleep(SynchronousTestCase):
    """A leader's machine was stopped, its clocks too, and goes on as if nothing had happened.

    1. n2 leads, and proposes a value that nobody hears. Its machine sleeps.
    2. n1 and n3 choose another value: that n3 begins anew on an empty disk. n3 does so.
    3. n1 is restarted, and tells n3 what was chosen; there is no leader, so n3 promises nothing.
    4. n2 wakes, and is linked with n3: with a vote of n3 it would have two of three.
    """

    def setUp(self) -> None:
        """Let all that happen until n2 wakes."""
        net = self.net = Net(3, timing=Timing(alpha=2))
        net.elect("n2")
        net.propose("n2", b"first")
        net.settle()
        members = (FIRST, SECOND, Member("n3", "", "c"))
        net.reconfigure("n2", Configuration(("n1", "n2", "n3"), (), members))
        net.settle()
        net.propose("n2", b"lost")
        net.write("n2")
        net.drop()
        asleep, began_at = net["n2"], net.now
        net.crash("n2")
        net.elect("n1")
        members = (FIRST, SECOND, Member("n3", ""))
        net.reconfigure("n1", Configuration(("n1", "n2"), ("n3",), members))
        net.settle()
        net.crash("n1")
        net.crash("n3")
        net.wipe("n3")
        net.restart("n1")
        net.restart("n3")
        net.elapse(4 * LONG_SECONDS)
        net.crash("n1")
        net.members["n2"].replica = asleep
        slept_seconds = net.now - began_at
        net.members["n2"].clock = lambda now: now - slept_seconds

    def test_votes_of_a_new_disk(self) -> None:
        """It leads no more: who knows a later configuration may have been forgotten there."""
        net = self.net
        self.assertEqual((net["n3"].chosen, net["n3"].promised.number), (5, 0))
        self.assertEqual(net.leaders(), ["n2"])
        net.link("n2", "n3")
        net.elapse(0.4)
        self.assertEqual(net.leaders(), [])
        self.assertEqual(net["n2"].knowledge, net["n3"].knowledge)

    def test_all_go_on(self) -> None:
        """With the other one who votes it leads again, and knows what was chosen meanwhile."""
        net = self.net
        net.link("n2", "n3")
        net.link("n3", "n2")
        net.restart("n1")
        net.elapse(LONG_SECONDS)
        (leader,) = net.leaders()
        net.propose(leader, b"later")
        net.settle()
        self.assertEqual([net.log(name)[-1] for name in net.members], [b"later"] * 3)
        self.assertNotIn(b"lost", net.log("n2"))
