"""Leases (Chubby 2.8): what an acceptor grants, what a leader may rely on, clocks that differ."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import CLOCK_DRIFT_MAX
from coord.paxos.ballot import Ballot
from coord.paxos.lease import NO_TIME, Beats, Grant, quiet_seconds
from coord.paxos.membership import Configuration
from coord.paxos.messages import Beat, BeatAnswer, Canvass, Endorse, Prepare, Promise, Refuse
from tests.paxos.net import Net, Parcel

THREE = Configuration(("n1", "n2", "n3"))
LEASE = 1.0


class Granting(SynchronousTestCase):
    """The acceptor's side."""

    def test_holder(self) -> None:
        """While a grant lasts, only its holder is helped."""
        grant = Grant(0.0)
        grant.give("n1", 5.0)
        self.assertTrue(grant.allows("n1", 4.9))
        self.assertFalse(grant.allows("n2", 4.9))
        self.assertTrue(grant.allows("n2", 5.0))

    def test_never_shorter(self) -> None:
        """A later grant never ends sooner than an earlier one."""
        grant = Grant(0.0)
        grant.give("n1", 5.0)
        grant.give("n2", 3.0)
        self.assertEqual(grant.until, 5.0)
        self.assertFalse(grant.allows("n1", 4.0))

    def test_quiet_after_restart(self) -> None:
        """After a restart nobody is helped until the longest forgotten grant has run out."""
        grant = Grant(100.0 + quiet_seconds(LEASE))
        self.assertFalse(grant.allows("n1", 100.0 + LEASE))
        self.assertTrue(grant.allows("n1", 100.0 + 1.1 * LEASE))

    def test_quiet_is_long_enough(self) -> None:
        """A quick clock's quiet time outlasts a grant that a slow clock counts as usable."""
        quick, slow = 1 + CLOCK_DRIFT_MAX, 1 - CLOCK_DRIFT_MAX
        beats = Beats("n1", LEASE, 0.0)
        beats.answered("n2", beats.send(0.0), THREE)
        self.assertGreaterEqual(quiet_seconds(LEASE) / quick, beats.lease_until / slow)

    def test_restart(self) -> None:
        """An acceptor that answered a beat, crashed and came back helps no rival too soon."""
        net = Net(3)
        net.elect("n1")
        net.crash("n3")
        net.restart("n3")
        net.bag.clear()
        net.wait(net.timing.lease_seconds * 0.99)
        for message in (Canvass(Ballot(9, "n2"), 0), Prepare(Ballot(9, "n2"), 1)):
            net.deliver(Parcel("n2", "n3", message))
            self.assertIsInstance(net.bag.pop().message, Refuse)
        net.wait(net.timing.lease_seconds * 0.1)
        net.deliver(Parcel("n2", "n3", Canvass(Ballot(9, "n2"), 0)))
        self.assertIsInstance(net.bag.pop().message, Endorse)

    def test_refused_while_granted(self) -> None:
        """While its grant lasts, an acceptor promises a rival nothing, however high its ballot."""
        net = Net(3)
        net.elect("n1")
        net.deliver(Parcel("n2", "n3", Prepare(Ballot(9, "n2"), 1)))
        self.assertIsInstance(net.bag.pop().message, Refuse)
        self.assertEqual(net.members["n3"].disk.header.promised, Ballot(1, "n1"))

    def test_leader_grants_itself(self) -> None:
        """A leader counts its own acceptor, and so its own acceptor helps no rival either."""
        net = Net(3)
        net.elect("n1")
        net.deliver(Parcel("n2", "n1", Prepare(Ballot(9, "n2"), 1)))
        self.assertIsInstance(net.bag.pop().message, Refuse)
        self.assertEqual(net.leaders(), ["n1"])

    def test_promise_repeated(self) -> None:
        """The ballot that was promised is answered again, once that is on the disk."""
        net = Net(3)
        net.wait(2.0)
        prepare = Parcel("n2", "n3", Prepare(Ballot(9, "n2"), 1))
        net.deliver(prepare)
        net.write("n3")
        net.deliver(prepare)
        net.write("n3")
        self.assertEqual(net.drop(Promise), 2)

    def test_old_beat(self) -> None:
        """The beat of a leader that was overtaken is refused, and grants it nothing."""
        net = Net(3)
        net.elect("n1")
        net.wait(0.1)
        net.tick("n1")
        old = net.take(Beat, to="n3")
        net.isolate("n1")
        net.elect("n2")
        net.heal()
        net.deliver(old[0])
        answers = [type(one.message) for one in net.bag if one.sender == "n3"]
        self.assertEqual(answers, [Refuse])


class Relying(SynchronousTestCase):
    """The leader's side."""

    def setUp(self) -> None:
        """Begin to lead three."""
        self.beats = Beats("n1", LEASE, 10.0)

    def test_nothing_yet(self) -> None:
        """Without an answer there is no lease."""
        self.beats.send(10.0)
        self.beats.count(THREE)
        self.assertEqual((self.beats.confirmed, self.beats.lease_until), (0, NO_TIME))

    def test_counted_from_sending(self) -> None:
        """A lease counts from when the beat left, not from when the answer came."""
        number = self.beats.send(11.0)
        self.beats.answered("n2", number, THREE)
        self.assertLess(self.beats.lease_until, 11.0 + LEASE)
        self.assertGreater(self.beats.lease_until, 11.0 + 0.9 * LEASE)

    def test_shorter_by_the_drift(self) -> None:
        """A slow clock at the leader and a quick one at the acceptor do no harm."""
        number = self.beats.send(0.0)
        self.beats.answered("n2", number, THREE)
        usable = self.beats.lease_until / (1 - CLOCK_DRIFT_MAX)
        self.assertLessEqual(usable, LEASE / (1 + CLOCK_DRIFT_MAX) + 1e-9)

    def test_majority(self) -> None:
        """Among five, two answers are needed; the later of the two counts for less."""
        five = Configuration(("n1", "n2", "n3", "n4", "n5"))
        first, second = self.beats.send(11.0), self.beats.send(12.0)
        self.beats.answered("n2", second, five)
        self.assertEqual(self.beats.confirmed, 0)
        self.beats.answered("n3", first, five)
        self.assertEqual((self.beats.confirmed, self.beats.confirmed_at), (first, 11.0))

    def test_out_of_order(self) -> None:
        """An old answer that comes late takes nothing back."""
        first, second = self.beats.send(11.0), self.beats.send(12.0)
        self.beats.answered("n2", second, THREE)
        self.beats.answered("n2", first, THREE)
        self.beats.answered("n3", first, THREE)
        self.assertEqual((self.beats.confirmed, self.beats.confirmed_at), (second, 12.0))

    def test_never_sent(self) -> None:
        """An answer to a beat that was never sent counts for nothing."""
        self.beats.send(11.0)
        self.beats.answered("n2", 7, THREE)
        self.assertEqual(self.beats.confirmed, 0)

    def test_strangers(self) -> None:
        """Who has no vote confirms nothing."""
        number = self.beats.send(11.0)
        self.beats.answered("n9", number, THREE)
        self.assertEqual(self.beats.confirmed, 0)

    def test_alone(self) -> None:
        """A node alone confirms itself."""
        number = self.beats.send(11.0)
        self.beats.count(Configuration(("n1",)))
        self.assertEqual(self.beats.confirmed, number)


class Unlucky(Random):
    """Dice that make every random wait as short as can be."""

    def random(self) -> float:
        """Return the least number there is."""
        return 0.0


class ClocksApart(SynchronousTestCase):
    """Two clocks at the ends of what is allowed."""

    def test_no_two(self) -> None:
        """When the quickest acceptors elect another, the slowest leader has no lease any more."""
        net = Net(3)
        net.dice = Unlucky()
        slow, quick = 1 - CLOCK_DRIFT_MAX, 1 + CLOCK_DRIFT_MAX
        net.members["n1"].clock = lambda now: slow * now
        for name in ("n2", "n3"):
            net.members[name].clock = lambda now: quick * now
        for name in tuple(net.members):
            net.crash(name)
            net.restart(name)
        net.elect("n1")
        net.elapse(1.0)
        net.isolate("n1")
        for _ in range(3000):
            net.wait(0.0005)
            for name in ("n2", "n3"):
                net.tick(name)
            net.settle()
            if net.leaders() != ["n1"]:
                break
        self.assertEqual(len(net.leaders()), 2)
        self.assertFalse(net["n1"].can_read(net.clock("n1")))

    def test_no_grant_by_answering_late(self) -> None:
        """An answer on its way for long renews nothing: the lease counts from the beat."""
        net = Net(3)
        net.elect("n1")
        net.wait(0.1)
        net.tick("n1")
        net.settle(but=BeatAnswer)
        net.wait(net.timing.lease_seconds)
        net.settle()
        self.assertFalse(net["n1"].can_read(net.now))
