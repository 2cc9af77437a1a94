"""Paxos Made Moderately Complex: scouts, commanders, the window, reconfiguration."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.durable import Durable, Header, Vote
from coord.paxos.membership import Configuration, Governs
from coord.paxos.messages import Accept, Accepted, Endorse, Prepare, Promise, Refuse
from coord.paxos.replica import Replica
from coord.paxos.timing import Timing
from tests.paxos.net import Net, Parcel

NARROW = Timing(alpha=2)


class Scouts(SynchronousTestCase):
    """Section 2.2: how a leader comes to be, and ceases to be."""

    def test_pmax(self) -> None:
        """For each slot the value of the highest ballot in all promises is proposed again."""
        net = Net(5)
        net.wait(2.0)
        net.tick("n1")
        net.settle(but=Promise)
        net.bag.clear()
        ballot = Ballot(1, "n1")
        low, high = Ballot(0, "n2"), Ballot(0, "n3")
        two = (Vote(1, low, b"1 low"), Vote(2, high, b"2 high"))
        three = (Vote(1, high, b"1 high"), Vote(2, low, b"2 low"))
        net.deliver(Parcel("n2", "n1", Promise(ballot, 1, 0, 0, two)))
        net.deliver(Parcel("n3", "n1", Promise(ballot, 1, 0, 0, three)))
        accept = net.take(Accept, to="n2")[0].message
        self.assertEqual(accept, Accept(ballot, 1, (b"1 high", b"2 high"), 0))

    def test_preempted(self) -> None:
        """A leader that is refused for a higher ballot leads no more."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"late")
        late = net.take(Accept, to="n3")
        net.isolate("n1")
        net.elect("n2")
        net.heal()
        self.assertEqual(net.leaders(), ["n1", "n2"])
        net.deliver(late[0])
        for refusal in net.take(Refuse):
            net.deliver(refusal)
        self.assertEqual(net.leaders(), ["n2"])

    def test_refused_late(self) -> None:
        """A refusal of an earlier ballot of its own does not unseat a leader."""
        net = Net(3)
        net.elect("n1")
        net.deliver(Parcel("n2", "n1", Refuse(Ballot(0, "n1"), Ballot(9, "n2"))))
        self.assertEqual(net.leaders(), ["n1"])

    def test_long_promise(self) -> None:
        """A promise of more votes than fit in a message comes in pieces; none is missed."""
        net = Net(3)
        net.elect("n1")
        values = [b"%d" % number * 200_000 for number in range(9)]
        net.propose("n1", *values)
        for accept in net.take(Accept, to="n2"):
            net.deliver(accept)
        net.write("n2")
        net.bag.clear()
        net.crash("n1")
        net.elect("n3")
        net.settle()
        self.assertGreater(net.sent["Promise"], 3)
        self.assertEqual(net.log("n3"), values)


class Commanders(SynchronousTestCase):
    """Section 2.2 and 4: getting values chosen, again where need be."""

    def test_votes_counted_once(self) -> None:
        """One acceptor that answers twice is one vote."""
        net = Net(5)
        net.elect("n1")
        net.propose("n1", b"x")
        net.write("n1")
        net.deliver(net.take(Accept, to="n2")[0])
        net.write("n2")
        answer = net.take(Accepted)[0]
        net.bag.clear()
        net.deliver(answer)
        net.deliver(answer)
        self.assertEqual(net.log("n1"), [])

    def test_vote_of_a_stranger(self) -> None:
        """The vote of a node that only learns counts for nothing."""
        net = Net(4, learners=["n4"])
        net.elect("n1")
        net.propose("n1", b"x")
        net.drop(Accept, to="n2")
        net.drop(Accept, to="n3")
        net.settle()
        self.assertEqual((net.log("n1"), net.copies_of(b"x")), ([], 2))

    def test_sent_again(self) -> None:
        """What was lost is sent again, and only to those who did not answer."""
        net = Net(3)
        net.elect("n1")
        net.cut("n1", "n3")
        net.cut("n2", "n1")
        net.propose("n1", b"x")
        net.settle()
        net.heal()
        net.elapse(1.5 * net.timing.retry_seconds)
        self.assertEqual([net.log(name) for name in net.members], [[b"x"]] * 3)

    def test_silent_only(self) -> None:
        """Who answered is not sent the same again."""
        net = Net(5)
        net.elect("n1")
        for name in ("n3", "n4", "n5"):
            net.cut("n1", name)
        net.propose("n1", b"x")
        net.settle()
        net.wait(1.5 * net.timing.retry_seconds)
        net.tick("n1")
        again = [one.to for one in net.bag if isinstance(one.message, Accept)]
        self.assertEqual(again, ["n3", "n4", "n5"])

    def test_repeated(self) -> None:
        """A proposal that arrives twice is saved once and answered twice."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"x")
        accept = net.take(Accept, to="n2")[0]
        before = net.members["n2"].saves
        for _ in range(2):
            net.deliver(accept)
            net.write("n2")
        self.assertEqual(net.members["n2"].saves - before, 1)
        self.assertEqual(net.drop(Accepted), 2)


class Window(SynchronousTestCase):
    """Section 3: at most alpha slots are open."""

    def test_room(self) -> None:
        """A leader has room for alpha values beyond what is chosen, and for no more."""
        net = Net(3, timing=NARROW)
        net.elect("n1")
        self.assertEqual(net["n1"].room(net.now), 2)
        net.propose("n1", b"one", b"two")
        self.assertEqual(net["n1"].room(net.now), 0)
        net.settle()
        self.assertEqual(net["n1"].room(net.now), 2)

    def test_no_room_without_majority(self) -> None:
        """A leader that has lost its majority takes nothing new."""
        net = Net(3)
        net.elect("n1")
        net.crash("n2")
        self.assertGreater(net["n1"].room(net.now), 0)
        net.crash("n3")
        self.assertEqual(net["n1"].room(net.now), 0)

    def test_recovery_first(self) -> None:
        """Nothing new is proposed before all that phase 1 found is, a window at a time."""
        net = Net(3, timing=NARROW)
        net.crash("n2")
        votes = [Vote(slot, Ballot(0, "n9"), b"%d" % slot) for slot in range(1, 6)]
        net.members["n2"].disk.votes = {vote.slot: vote for vote in votes}
        net.restart("n2")
        net.wait(2.0)
        net.tick("n2")
        net.settle(but=Accept)
        accept = net.take(Accept, to="n1")[0].message
        assert isinstance(accept, Accept)
        self.assertEqual(accept.values, (b"1", b"2"))
        self.assertEqual(net["n2"].room(net.now), 0)
        net.elapse(0.5)
        self.assertEqual(len(net.log("n2")), 5)
        self.assertEqual(net["n2"].room(net.now), 2)

    def test_lone_slot_far_ahead(self) -> None:
        """A vote beyond the new leader's window waits until the slots before it are chosen."""
        net = Net(3, timing=NARROW)
        disk = net.members["n2"].disk
        net.crash("n2")
        disk.votes = {5: Vote(5, Ballot(0, "n9"), b"far")}
        net.restart("n2")
        net.elect("n2")
        self.assertEqual(net.log("n1"), [b"", b"", b"", b"", b"far"])


class Reconfiguration(SynchronousTestCase):
    """Section 3 (and PML 5.4): membership is a value; it governs alpha slots on."""

    def test_governs_later(self) -> None:
        """A configuration chosen in slot s governs from slot s + alpha, and not before."""
        net = Net(4, learners=["n4"], timing=NARROW)
        net.elect("n1")
        net.isolate("n4")
        net.propose("n1", Configuration(("n1", "n2", "n3", "n4")))
        net.drop(Accept, to="n3")
        net.settle()
        net.elapse(0.1)
        net.isolate("n3")  # the three of old still decided slot 2, two were enough
        self.assertEqual(len(net.log("n1")), 2)
        net.propose("n1", b"slot 3")  # now there are four, and three are needed
        net.settle()
        self.assertEqual(len(net.log("n1")), 2)
        net.heal()
        net.elapse(1.0)
        self.assertEqual(net.log("n4")[-1], b"slot 3")

    def test_remembered(self) -> None:
        """A configuration survives a crash of all nodes."""
        net = Net(4, learners=["n4"], timing=NARROW)
        net.elect("n1")
        after = Configuration(("n1", "n2", "n3", "n4"))
        net.propose("n1", after)
        net.settle()
        for name in tuple(net.members):
            net.crash(name)
            net.members[name].disk.image(1, cut=True)
            net.restart(name)
        self.assertEqual([net[name].configuration for name in net.members], [after] * 4)

    def test_one_to_be_removed_still_counts(self) -> None:
        """Until it governs no more, who is to go is asked still: others may be down."""
        net = Net(4, timing=NARROW)
        net.elect("n1")
        net.crash("n3")
        net.propose("n1", Configuration(("n1", "n2", "n3")), b"slot 2")
        net.settle()  # of n1, n2, n3, n4: three are needed
        self.assertEqual(net.log("n1")[1:], [b"slot 2"])

    def test_candidate_that_learns_of_new_voters(self) -> None:
        """Who learns while standing that others vote now needs a majority of those.

        1. n1 stands with a high ballot; n3 endorses it; the endorsement is slow.
        2. n2 leads; the voters become all five; n3 is cut off; n2, n4, n5 choose a value.
        3. n1 hears the endorsement. n1 and n3 were a majority of the voters that n1 knows.
        """
        net = Net(5, learners=["n4", "n5"], timing=NARROW)
        net.wait(2.0)
        net.deliver(Parcel("n3", "n1", Refuse(Ballot(1, "n1"), Ballot(9, "n3"))))
        net.tick("n1")
        net.settle(but=Endorse)
        slow = [one for one in net.take(Endorse) if one.sender == "n3"]
        net.isolate("n1")
        net.elect("n2")
        net.propose("n2", Configuration(("n1", "n2", "n3", "n4"), ("n5",)))
        net.settle()
        net.propose("n2", Configuration(("n1", "n2", "n3", "n4", "n5")))
        net.settle()
        net.propose("n2", b"slot 3")
        net.settle()
        net.isolate("n3")
        net.propose("n2", b"slot 4")
        net.settle()
        self.assertEqual(net.log("n5")[5], b"slot 4")
        net.heal()
        for name in ("n2", "n4", "n5"):
            net.cut("n1", name)
            net.cut(name, "n1")
        net.wait(2.0)
        net.deliver(slow[0])
        net.settle()
        self.assertEqual(net["n1"].chosen, 5)  # learnt from n3
        self.assertFalse(net["n1"].is_leading)

    def test_quiet_where_others_voted(self) -> None:
        """A node that is to be alone, but is not yet, keeps quiet after a restart as others do."""
        header = Header(
            Ballot(3, "n2"), 4, (Governs(1, Configuration(("n1", "n2"))),
            Governs(9, Configuration(("n1",)))),
        )  # fmt: skip
        durable = Durable(header, (), base=4)
        replica = Replica("n1", durable, Timing(), Random(1), 100.0)
        replica.start(100.0)
        effects = replica.step(100.1, "n2", Prepare(Ballot(7, "n2"), 5))
        self.assertIsInstance(effects.send[0].message, Refuse)
        self.assertLess(NEVER, header.promised)
