"""Paxos Made Simple, sentence by sentence."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.ballot import Ballot
from coord.paxos.messages import Accept, Accepted, Commit, Prepare, Promise, Refuse
from tests.paxos.net import Net, Parcel


class ChoosingAValue(SynchronousTestCase):
    """Section 2.2: which proposals may be accepted, and which values proposed."""

    def test_p1a(self) -> None:
        """An acceptor accepts a proposal exactly if it has not promised a higher ballot."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"late")
        late = net.take(Accept, to="n3")
        net.isolate("n1")
        net.elect("n2")
        net.heal()
        net.deliver(late[0])
        self.assertNotIn(b"late", [vote.value for vote in net.members["n3"].disk.votes.values()])
        refusals = [one for one in net.bag if isinstance(one.message, Refuse)]
        self.assertEqual([one.to for one in refusals], ["n1"])

    def test_p1a_equal(self) -> None:
        """A proposal of the very ballot that was promised is accepted."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"x")
        net.settle()
        self.assertEqual(net.copies(1), 3)

    def test_p2c(self) -> None:
        """A new leader proposes what a vote that it hears of says, not what it likes."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"first")
        net.deliver(net.take(Accept, to="n3")[0])
        net.write("n3")
        net.bag.clear()
        net.crash("n1")
        net.elect("n2")
        net.propose("n2", b"second")
        net.settle()
        self.assertEqual(net.log("n2"), [b"first", b"second"])

    def test_p2c_highest(self) -> None:
        """Of two values that were voted for, the one of the higher ballot is taken."""
        net = Net(5)
        net.elect("n1")
        net.propose("n1", b"low")
        net.drop(Accept)
        net.write("n1")
        net.isolate("n1")
        net.elect("n2")
        net.propose("n2", b"high")
        net.drop(Accept)
        net.write("n2")
        net.heal()
        net.isolate("n5")
        net.elect("n3")  # hears of both
        net.settle()
        self.assertEqual(net.log("n3"), [b"high"])

    def test_one_value(self) -> None:
        """Once a value is chosen, no later leader chooses another, whatever it was asked."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"chosen")
        net.drop(Accept, to="n3")
        net.settle()
        net.crash("n1")
        net.elect("n3")  # it never saw the value
        net.propose("n3", b"other")
        net.settle()
        self.assertEqual(net.log("n3"), [b"chosen", b"other"])

    def test_majorities(self) -> None:
        """A value is chosen by a majority of acceptors, and by nothing less."""
        net = Net(5)
        net.elect("n1")
        net.propose("n1", b"x")
        for name in ("n3", "n4", "n5"):
            net.drop(Accept, to=name)
        net.settle()
        self.assertEqual((net.copies_of(b"x"), net.log("n1")), (2, []))
        net.cut("n1", "n4")
        net.cut("n1", "n5")
        net.wait(net.timing.retry_seconds * 1.5)
        net.tick("n1")
        net.settle()
        self.assertEqual((net.copies_of(b"x"), net.log("n1")), (3, [b"x"]))

    def test_two_minorities(self) -> None:
        """Votes at different ballots for one value do not add up to its being chosen."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"x")
        net.write("n1")
        stray = net.take(Accept, to="n2")
        net.drop(Accept)
        net.isolate("n1")
        net.elect("n3")
        net.heal()
        net.deliver(stray[0])
        net.settle()
        self.assertEqual(net.log("n1"), [])


class WhatIsRemembered(SynchronousTestCase):
    """Section 2.5: what is in stable storage, and what a crash may take."""

    def test_promise_first(self) -> None:
        """A promise is on the disk before its answer is sent."""
        net = Net(3)
        net.wait(2.0)
        net.hold("n2")
        net.deliver(Parcel("n1", "n2", Prepare(Ballot(5, "n1"), 1)))
        self.assertEqual(net.drop(Promise), 0)
        net.write("n2", force=True)
        self.assertEqual(net.drop(Promise), 1)
        self.assertEqual(net.members["n2"].disk.header.promised, Ballot(5, "n1"))

    def test_promise_survives(self) -> None:
        """An acceptor that promised, crashed and came back keeps its promise."""
        net = Net(3)
        net.wait(2.0)
        net.deliver(Parcel("n1", "n2", Prepare(Ballot(5, "n1"), 1)))
        net.write("n2")
        net.crash("n2")
        net.restart("n2")
        net.wait(2.0)
        net.bag.clear()
        net.deliver(Parcel("n3", "n2", Prepare(Ballot(4, "n3"), 1)))
        self.assertEqual(net.bag.pop().message, Refuse(Ballot(4, "n3"), promised=Ballot(5, "n1")))

    def test_vote_first(self) -> None:
        """A vote is on the disk before its answer is sent."""
        net = Net(3)
        net.elect("n1")
        net.hold("n2")
        net.propose("n1", b"x")
        net.deliver(net.take(Accept, to="n2")[0])
        self.assertEqual(net.drop(Accepted), 0)
        net.write("n2", force=True)
        self.assertEqual(net.drop(Accepted), 1)

    def test_vote_lost(self) -> None:
        """A vote that a crash took was never answered for, and counts for nothing."""
        net = Net(3)
        net.elect("n1")
        net.hold("n2")
        net.propose("n1", b"x")
        net.drop(Accept, to="n3")
        net.settle()
        net.crash("n2")
        net.release("n2")
        net.restart("n2")
        net.settle()
        self.assertEqual(net.agreed, {})

    def test_own_vote(self) -> None:
        """A leader's own vote counts only once it is on its own disk."""
        net = Net(3)
        net.elect("n1")
        net.hold("n1")
        net.propose("n1", b"x")
        net.drop(Accept, to="n3")
        net.settle()
        self.assertEqual(net.log("n1"), [])
        net.release("n1")
        net.settle()
        self.assertEqual(net.log("n1"), [b"x"])

    def test_leader_writes_last(self) -> None:
        """A value is chosen by a majority of others while the leader's own disk is slow."""
        net = Net(3)
        net.elect("n1")
        net.hold("n1")
        net.propose("n1", b"x")
        net.settle()
        self.assertEqual([net.log(name) for name in net.members], [[b"x"]] * 3)
        self.assertEqual(net.copies(1), 2)

    def test_never_one_ballot_twice(self) -> None:
        """A node that crashed while it stood for election never uses that ballot again."""
        net = Net(3)
        net.elect("n1")
        used = net.members["n1"].disk.header.promised
        net.crash("n1")
        net.restart("n1")
        net.elect("n1")
        self.assertGreater(net.members["n1"].disk.header.promised, used)

    def test_no_prepare_before_own_promise(self) -> None:
        """A candidate asks nobody for a ballot that it has not promised on its own disk."""
        net = Net(3)
        net.hold("n1")
        net.wait(2.0)
        net.tick("n1")
        net.settle()
        self.assertEqual(net.sent["Prepare"], 0)
        net.release("n1")
        net.settle()
        self.assertEqual(net.sent["Prepare"], 2)

    def test_everybody_crashes(self) -> None:
        """What was chosen is known again after all nodes crashed at once."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"x", b"y")
        net.settle()
        for name in tuple(net.members):
            net.crash(name)
        net.bag.clear()
        for name in tuple(net.members):
            net.restart(name)
        net.elapse(3.0)
        self.assertEqual([net.log(name)[:2] for name in net.members], [[b"x", b"y"]] * 3)


class ManyInstances(SynchronousTestCase):
    """Section 3: one log of many instances."""

    def test_phase_one_once(self) -> None:
        """A new leader does phase 1 for infinitely many instances with one short message."""
        net = Net(3)
        net.elect("n1")
        for number in range(200):
            net.propose("n1", b"%d" % number)
            net.settle()
        self.assertEqual((net.frames["Prepare"], len(net.log("n2"))), (1, 200))

    def test_no_ops(self) -> None:
        """A new leader fills what may be gaps with values that do nothing."""
        net = Net(3)
        net.elect("n1")
        for value in (b"one", b"two", b"three"):
            net.propose("n1", value)
        for accept in net.take(Accept, to="n2"):
            assert isinstance(accept.message, Accept)
            if accept.message.slot == 3:
                net.deliver(accept)
        net.bag.clear()
        net.crash("n1")
        net.write("n2")
        net.elect("n3")
        self.assertEqual(net.log("n3"), [b"", b"", b"three"])

    def test_in_order(self) -> None:
        """Values are taken in the order of their slots, also when chosen in another."""
        net = Net(3)
        net.elect("n1")
        for value in (b"one", b"two", b"three"):
            net.propose("n1", value)
        for accept in reversed(net.take(Accept)):
            net.deliver(accept)
            net.settle()
        self.assertEqual([net.log(name) for name in net.members], [[b"one", b"two", b"three"]] * 3)

    def test_commit_by_ballot(self) -> None:
        """A node whose vote is of an older ballot does not take it for what was chosen."""
        net = Net(3)
        net.elect("n1")
        net.propose("n1", b"old")
        net.deliver(net.take(Accept, to="n3")[0])
        net.write("n3")
        net.bag.clear()
        net.crash("n1")
        net.isolate("n3")
        net.restart("n1")  # without the vote, which it had not saved
        net.elect("n2")
        net.propose("n2", b"new")
        net.settle()
        net.heal()
        net.deliver(Parcel("n2", "n3", Commit(net.members["n2"].disk.header.promised, 1)))
        self.assertEqual(net.log("n3"), [])
        net.settle()
        self.assertEqual(net.log("n3"), [b"new"])
