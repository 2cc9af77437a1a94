"""Members that change: who may lead, who is asked, what is told; each rule as a story."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import FOUNDING_SECONDS
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header
from coord.paxos.membership import Configuration, Governs, Member, Membership
from coord.paxos.messages import Accept, Beat, BeatAnswer, Commit, Prepare, Promise, Refuse
from coord.paxos.timing import Timing
from tests.paxos.net import Net, Parcel

NARROW = Timing(alpha=2)


class NewVoters(SynchronousTestCase):
    """A leader proposes nothing to voters of whom no majority has promised it anything."""

    def pretender(self) -> Net:
        """Make n1 lead by the promises of former voters, while those of now went on without it.

        1. n3 leads n1, n2, n3. Slot 2 gives the votes to n1, n3, n4; n1 votes for that, and hears
           no more. n2 heard nothing at all.
        2. n3 and n4 choose a value in slot 4, which the new voters govern. n3 dies.
        3. n1, which does not hear n4, is elected by n2, and finds the slots that it voted for.
        """
        net = Net(4, learners=["n4"], timing=NARROW)
        net.elect("n3")
        net.propose("n3", b"first")
        net.settle()
        net.isolate("n2")
        net.reconfigure("n3", Configuration(("n1", "n3", "n4")))
        net.deliver(net.take(Accept, to="n1")[0])
        net.write("n1")
        net.cut("n3", "n1")
        net.settle()
        net.propose("n3", b"new")
        net.settle()
        self.assertEqual(net.log("n4")[3:], [b"new"])
        net.crash("n3")
        net.heal()
        net.cut("n1", "n4")
        net.cut("n4", "n1")
        net.elect("n1")
        self.assertEqual(net["n1"].chosen, 3)
        return net

    def test_pretender(self) -> None:
        """It may propose nothing where the new voters decide, and reads there are not answered."""
        net = self.pretender()
        self.assertEqual(net["n1"].room(net.now), 0)
        self.assertFalse(net["n1"].can_read(net.now))
        number = net.read("n1")
        net.elapse(0.3)
        self.assertIsNone(net.point("n1", number))

    def test_pretender_learns(self) -> None:
        """Once it hears a new voter it stands again, and learns what was chosen without it."""
        net = self.pretender()
        net.heal()
        net.elapse(2.0)
        (leader,) = net.leaders()
        net.propose(leader, b"later")
        net.settle()
        self.assertEqual(net.log("n1")[3], b"new")
        self.assertIn(b"later", net.log("n1"))

    def test_leader_goes_on(self) -> None:
        """A leader that gets new voters asks them once, and leads without a pause."""
        net = Net(5, learners=["n4", "n5"], timing=NARROW)
        net.elect("n1")
        net.propose("n1", b"first")
        net.settle()
        ballot = net["n1"].ballot
        net.reconfigure("n1", Configuration(("n1", "n4", "n5")))
        net.settle()
        self.assertEqual((net["n1"].ballot, net["n1"].is_leading), (ballot, True))
        self.assertGreater(net["n1"].room(net.now), 0)
        net.propose("n1", b"after")
        net.settle()
        self.assertEqual(net.log("n5")[-1], b"after")

    def test_asked_again(self) -> None:
        """A question to new voters that was lost is asked again."""
        net = Net(4, learners=["n4"], timing=NARROW)
        net.elect("n1")
        net.propose("n1", b"first")
        net.settle()
        net.isolate("n3")
        net.reconfigure("n1", Configuration(("n1", "n4")))
        net.settle(but=Prepare)
        net.drop(Prepare)
        self.assertEqual(net["n1"].room(net.now), 0)
        net.elapse(0.5)
        self.assertGreater(net["n1"].room(net.now), 0)

    def test_promise_is_saved(self) -> None:
        """A voter that knows the leader by its beats alone saves its promise before it answers."""
        net = Net(3)
        net.elect("n1")
        ballot = net["n1"].ballot.after("n1")
        net.wait(2.0)
        net.deliver(Parcel("n1", "n3", Beat(ballot, 1, 0)))
        net.drop()
        net.deliver(Parcel("n1", "n3", Prepare(ballot, 1)))
        self.assertEqual(net.take(Promise), [])
        net.write("n3")
        self.assertEqual(len(net.take(Promise)), 1)
        self.assertEqual(net.members["n3"].disk.header.promised, ballot)

    def test_other_disk(self) -> None:
        """What a node promised before its disk was replaced counts for nothing after."""
        before = Configuration(("n1", "n2"), (), (Member("n1", "", "aa"), Member("n2", "", "bb")))
        after = Configuration(("n1",), ("n2",), (Member("n1", "", "aa"), Member("n2", "")))
        self.assertEqual(after.departed(before), ("n2",))
        self.assertEqual(before.departed(after), ())
        net = Net(2, timing=NARROW)
        net.elect("n1")
        net.propose("n1", b"first")
        net.settle()
        first, second = Member("n1", "", "aa"), Member("n2", "", "bb")
        net.reconfigure("n1", Configuration(("n1", "n2"), (), (first, second)))
        net.settle()
        net.reconfigure("n1", Configuration(("n1",), ("n2",), (first, Member("n2", ""))))
        net.settle()
        net.sent.clear()
        net.reconfigure("n1", Configuration(("n1", "n2"), (), (first, Member("n2", "", "cc"))))
        net.settle()
        self.assertEqual(net.sent["Prepare"], 1)


class OtherLeases(SynchronousTestCase):
    """A lease holds by the voters who could elect another leader, and by no others."""

    def test_counted_anew(self) -> None:
        """When others get the votes, the leader reads by its lease only once they granted it."""
        net = Net(5, learners=["n4", "n5"], timing=NARROW)
        net.cut("n4", "n1")
        net.cut("n5", "n1")
        net.elect("n1")
        net.propose("n1", b"first")
        net.elapse(0.2)
        self.assertTrue(net["n1"].can_read(net.now))
        net.reconfigure("n1", Configuration(("n1", "n4", "n5")))
        net.settle()
        net.heal()
        net.wait(0.16)
        net.tick("n1")
        net.settle(but=BeatAnswer)
        self.assertGreater(net["n1"].room(net.now), 0)  # they have promised
        self.assertFalse(net["n1"].can_read(net.now))  # but granted nothing yet
        net.settle()
        self.assertTrue(net["n1"].can_read(net.now))

    def test_not_deaf(self) -> None:
        """A leader is not given up because its new voters have had no time to answer."""
        net = Net(5, learners=["n4", "n5"], timing=NARROW)
        net.cut("n4", "n1")
        net.cut("n5", "n1")
        net.elect("n1")
        net.propose("n1", b"first")
        net.elapse(1.0)
        net.reconfigure("n1", Configuration(("n1", "n4", "n5")))
        net.settle()
        net.elapse(0.2)
        net.heal()
        net.elapse(0.4)
        self.assertEqual(net.leaders(), ["n1"])
        self.assertEqual(net["n1"].elections, 1)

    def test_same_voters(self) -> None:
        """A change that leaves the voters as they are costs no moment of the lease."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"first")
        net.elapse(0.2)
        members = tuple(Member(name, "here", name) for name in net.members)
        net.reconfigure("n1", Configuration(("n1", "n2", "n3"), (), members))
        net.settle(but=BeatAnswer)
        self.assertEqual(net["n1"].configuration.members, members)
        self.assertFalse(net["n1"].is_changing)
        self.assertTrue(net["n1"].can_read(net.now))

    def test_granted_to_another(self) -> None:
        """Who granted one leader a lease grants no other one, and promises nothing, till it ends.

        That other may have been elected by voters of whom it does not know that they are no more.
        """
        net = Net(3)
        net.elect("n1")
        ballot = Ballot(9, "n2")
        for message in (Beat(ballot, 1, 0), Prepare(ballot, 1)):
            net.deliver(Parcel("n2", "n3", message))
        net.write("n3")
        answers = [type(one.message) for one in net.bag if one.to == "n2"]
        self.assertEqual(answers, [Refuse])
        net.wait(net.timing.lease_seconds)
        net.deliver(Parcel("n2", "n3", Beat(ballot, 2, 0)))
        self.assertEqual([one.to for one in net.take(BeatAnswer)], ["n2"])


class Leaving(SynchronousTestCase):
    """Who loses its vote knows it, and so do the others."""

    def test_leader_leaves(self) -> None:
        """A leader that loses its vote tells all what was chosen, then leads no more."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"first")
        net.reconfigure("n1", Configuration(("n2", "n3")))
        net.settle()
        self.assertEqual(net.leaders(), [])
        self.assertEqual([net[name].chosen for name in net.members], [net["n1"].chosen] * 3)
        self.assertEqual([net[name].is_voter for name in net.members], [False, True, True])
        net.elapse(3.0)
        self.assertEqual((net["n1"].elections, net["n1"].role), (1, "observer"))
        self.assertEqual(len(net.leaders()), 1)

    def test_leader_learns_on(self) -> None:
        """A leader that becomes an observer follows the one that comes after it."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"first")
        net.reconfigure("n1", Configuration(("n2", "n3"), ("n1",)))
        net.elapse(3.0)
        (leader,) = net.leaders()
        net.propose(leader, b"later")
        net.settle()
        self.assertEqual(net.log("n1")[-1], b"later")

    def test_follower_leaves(self) -> None:
        """A follower that loses its vote is told all that was chosen with it, then nothing more."""
        net = Net(4)
        net.elect("n1")
        net.propose("n1", b"first")
        net.reconfigure("n1", Configuration(("n1", "n2", "n3")))
        net.settle()
        self.assertEqual(net["n4"].chosen, net["n1"].chosen)
        self.assertFalse(net["n4"].is_voter)
        net.delivered.clear()
        net.elapse(1.0)
        told = [one.message for one in net.delivered if one.to == "n4" and one.sender == "n1"]
        self.assertEqual([one for one in told if isinstance(one, Beat | Accept | Commit)], [])

    def test_gone_for_good(self) -> None:
        """Who has left is asked no more, not even by a node that was restarted right after."""
        net = Net(2)
        net.elect("n1")
        net.propose("n1", b"first")
        net.reconfigure("n1", Configuration(("n1",)))
        net.settle()
        net.crash("n2")
        net.crash("n1")
        net.restart("n1")
        net.elapse(1.0)
        self.assertEqual(net.leaders(), ["n1"])

    def test_until_it_governs(self) -> None:
        """Who is to lose its vote leads still, if it must, until the others have theirs."""
        net = Net(3, voters=["n1"], learners=["n2", "n3"], timing=Timing(alpha=4))
        net.elect("n1")
        net.propose("n1", b"first")
        net.settle()
        net.propose("n1", Configuration(("n2", "n3")))
        net.drop()
        net.write("n1")
        net.crash("n1")
        net.restart("n1")
        net.elapse(3.0)
        self.assertNotIn(net.leaders(), ([], ["n1"]))
        self.assertEqual(net["n2"].configuration.voters, ("n2", "n3"))

    def test_nobody_knows_that_it_votes(self) -> None:
        """The new voter that was told nothing asks those who know, though they vote no more.

        1. n1 alone votes; n2 learns. The vote goes to n2, but n1 is not heard.
        2. n1 leads no more; n2 does not know that it could.
        """
        net = Net(2, voters=["n1"], learners=["n2"])
        net.elect("n1")
        net.propose("n1", b"first")
        net.settle()
        net.cut("n1", "n2")
        net.reconfigure("n1", Configuration(("n2",)))
        net.settle()
        self.assertEqual(net.leaders(), [])
        net.heal()
        net.elapse(3.0)
        self.assertEqual(net.leaders(), ["n2"])


class Standing(SynchronousTestCase):
    """Who stands for election, and who waits."""

    def test_learner(self) -> None:
        """A node without a vote never stands, however long it hears of no leader."""
        net = Net(4, learners=["n4"])
        for name in ("n1", "n2", "n3"):
            net.crash(name)
        net.elapse(5.0)
        self.assertEqual(net["n4"].elections, 0)

    def test_empty(self) -> None:
        """Two nodes that remember nothing wait for the third, which may know better."""
        net = Net(3)
        net.crash("n3")
        net.elapse(FOUNDING_SECONDS - 0.1)
        self.assertEqual(net.leaders(), [])
        self.assertEqual(net["n1"].elections + net["n2"].elections, 0)

    def test_empty_and_together(self) -> None:
        """Once all are linked, a new cluster is founded without more ado."""
        net = Net(3)
        net.crash("n3")
        net.elapse(1.0)
        net.restart("n3")
        net.elapse(1.5)
        self.assertEqual(len(net.leaders()), 1)

    def test_empty_for_long(self) -> None:
        """A new cluster of which one node is never started begins without it after some seconds."""
        net = Net(3)
        net.crash("n3")
        net.elapse(FOUNDING_SECONDS + 1.5)
        self.assertEqual(len(net.leaders()), 1)

    def test_empty_and_told(self) -> None:
        """Who hears that there is a cluster already neither founds another nor helps to do so."""
        net = Net(3)
        net.crash("n3")
        net["n2"].told(66)
        net.elapse(3 * FOUNDING_SECONDS)
        self.assertEqual((net.leaders(), net["n2"].elections), ([], 0))
        self.assertGreater(net["n1"].elections, 0)
        net["n2"].told(0)
        net.elapse(2.0)
        self.assertEqual(len(net.leaders()), 1)

    def test_not_empty(self) -> None:
        """Who remembers anything stands as soon as ever."""
        net = Net(3)
        net.elect("n1")
        net.crash("n1")
        net.crash("n3")
        net.restart("n3")
        net.elapse(1.5)
        self.assertEqual(len(net.leaders()), 1)

    def test_alone(self) -> None:
        """A node alone waits for nobody."""
        net = Net(1)
        net.elapse(0.1)
        self.assertEqual(net.leaders(), ["n1"])


class ComingIntoForce(SynchronousTestCase):
    """A configuration governs soon, also where nobody writes."""

    def test_idle(self) -> None:
        """On an idle cluster it governs after one round trip, and costs little."""
        net = Net(4, learners=["n4"])
        net.elect("n1")
        net.propose("n1", b"first")
        net.elapse(0.5)
        net.sent.clear()
        for member in net.members.values():
            member.saves = 0
        net.reconfigure("n1", Configuration(("n1", "n2", "n3", "n4")))
        self.assertTrue(net["n1"].is_changing)
        net.settle()
        self.assertFalse(net["n1"].is_changing)
        self.assertEqual(net["n1"].chosen, 1 + net.timing.alpha)
        self.assertEqual((net.sent["Accept"], net.sent["Accepted"]), (3, 3))
        self.assertLessEqual(sum(net.sent.values()), 24)
        self.assertLessEqual(max(member.saves for member in net.members.values()), 4)

    def test_found(self) -> None:
        """A new leader that finds one half done brings it into force."""
        net = Net(4, learners=["n4"], timing=Timing(alpha=8))
        net.elect("n1")
        net.propose("n1", b"first")
        net.settle()
        net.propose("n1", Configuration(("n1", "n2", "n3", "n4")))
        net.deliver(net.take(Accept, to="n3")[0])
        net.write("n3")
        net.bag.clear()
        net.crash("n1")
        net.elect("n2")
        net.settle()
        self.assertIn("n4", net["n2"].configuration.voters)
        self.assertFalse(net["n2"].is_changing)

    def test_under_load(self) -> None:
        """With the window full of writes it waits its turn, and they are done all the same."""
        net = Net(3, timing=Timing(alpha=4))
        net.elect("n1")
        net.propose("n1", b"1", b"2", b"3")
        net.reconfigure("n1", Configuration(("n1", "n2")))
        net.settle()
        self.assertEqual(net["n1"].configuration.voters, ("n1", "n2"))
        self.assertFalse(net["n1"].is_changing)
        self.assertEqual(net.log("n2")[:3], [b"1", b"2", b"3"])

    def test_one_at_a_time(self) -> None:
        """No second change is begun before the first is in force."""
        net = Net(3)
        net.elect("n1")
        self.assertRaises(AssertionError, net.reconfigure, "n1", Configuration(("n1",)))
        net.propose("n1", b"first")
        net.reconfigure("n1", Configuration(("n1", "n2")))
        self.assertRaises(AssertionError, net.reconfigure, "n1", Configuration(("n1",)))

    def test_forgotten(self) -> None:
        """What governs no slot any more is not kept, on the disk neither."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"first")
        net.reconfigure("n1", Configuration(("n1", "n2")))
        net.settle()
        net.propose("n1", b"later")
        net.settle()
        self.assertEqual([one.slot for one in net["n2"].governs], [net["n2"].knowledge])
        header: Header = net.members["n2"].disk.header
        self.assertEqual(header.governs, net["n2"].governs)

    def test_membership_of_a_slot(self) -> None:
        """Which configuration governs is known for each slot that may be open."""
        one, two = Configuration(("n1",)), Configuration(("n1", "n2"))
        membership = Membership((Governs(1, one),), 4)
        membership.learn(3, two)
        self.assertEqual([membership.at(6), membership.at(7)], [one, two])
        membership.passed(5)
        self.assertEqual(membership.since(6), (one, two))
        membership.passed(6)
        self.assertEqual((membership.since(7), membership.knowledge), ((two,), 7))
