"""Paxos Made Live: catching up, snapshots, master leases; and what keeps a cluster alive."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import MIB
from coord.paxos import acceptor, outbox
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Vote
from coord.paxos.messages import (
    Accept,
    Accepted,
    Answer,
    Beat,
    Commit,
    Fetch,
    Prepare,
    Query,
    Supply,
)
from coord.paxos.timing import Timing
from tests.paxos.net import Net, Parcel


def busy(count: int = 3, values: int = 5, timing: Timing | None = None) -> Net:
    """Return a cluster that n1 leads, with some values chosen."""
    net = Net(count, timing=timing)
    net.elect("n1")
    for number in range(values):
        net.propose("n1", b"%d" % number)
        net.settle()
    return net


class CatchingUp(SynchronousTestCase):
    """Section 5.1: a replica that was away gets what it missed from another one's log."""

    def test_after_absence(self) -> None:
        """A node that was cut off gets all it missed as soon as it hears the leader."""
        net = busy()
        net.isolate("n3")
        for number in range(20):
            net.propose("n1", b"missed %d" % number)
            net.settle()
        net.heal()
        net.elapse(0.2, "n1", "n2", "n3")
        self.assertEqual(net.log("n3"), net.log("n1"))

    def test_pieces(self) -> None:
        """It comes in pieces of bounded size, one question at a time."""
        net = busy()
        net.isolate("n3")
        for _ in range(6):
            net.propose("n1", b"x" * (MIB // 2))
            net.settle()
        net.heal()
        net.sent.clear()
        net.elapse(0.2)
        self.assertEqual(net.log("n3"), net.log("n1"))
        self.assertEqual((net.sent["Fetch"], net.sent["Supply"]), (3, 3))

    def test_from_the_journal(self) -> None:
        """What is no longer in memory is read from the log on the disk."""
        net = busy()
        net.crash("n3")
        net.members["n3"].disk.votes.clear()
        net.members["n3"].disk.header = net.members["n3"].disk.header.__class__(
            governs=net.members["n3"].disk.header.governs
        )
        for name in ("n1", "n2"):
            net.crash(name)
            net.members[name].disk.image(4)  # memory begins after it
            net.restart(name)
        net.restart("n3")
        net.elapse(3.0)
        self.assertEqual(net.log("n3")[:5], [b"0", b"1", b"2", b"3", b"4"])

    def test_asked_again(self) -> None:
        """A question that was lost is asked again."""
        net = busy()
        net.isolate("n3")
        net.propose("n1", b"missed")
        net.settle()
        net.heal()
        net.wait(0.1)
        net.tick("n1")
        net.settle(but=Fetch)
        self.assertEqual(net.drop(Fetch), 1)
        net.elapse(2 * net.timing.retry_seconds)
        self.assertEqual(net.log("n3"), net.log("n1"))

    def test_cut_log(self) -> None:
        """Where the log was cut already the answer says so, and does no harm."""
        net = busy()
        net.deliver(Parcel("n1", "n3", Supply(1, (), oldest=4)))
        self.assertEqual(net["n3"].chosen, 5)

    def test_answer_to_an_earlier_life(self) -> None:
        """A supply that does not join on to what a node knows is passed over."""
        net = busy()
        net.deliver(Parcel("n1", "n3", Supply(8, (b"of another life",))))
        self.assertEqual((net["n3"].chosen, net["n3"].target), (5, 5))

    def test_candidate_behind(self) -> None:
        """A candidate first learns what those who promise know to be chosen."""
        net = busy()
        net.isolate("n3")
        net.propose("n1", b"missed")
        net.settle()
        net.crash("n1")
        net.heal()
        net.elect("n3")
        self.assertEqual(net.log("n3")[5:], [b"missed"])

    def test_far_behind(self) -> None:
        """A node that knows much less than another is not endorsed by it."""
        net = busy(timing=Timing(alpha=2))
        net.isolate("n3")
        for number in range(5):
            net.propose("n1", b"missed %d" % number)
            net.settle()
        net.crash("n1")
        net.heal()
        net.wait(2.0)
        net.tick("n3")
        net.settle()
        self.assertEqual(net.sent["Prepare"], 2)  # those of n1

    def test_bases(self) -> None:
        """Restarted from an image alone, with the log cut at it, nodes go on from there."""
        net = busy()
        for name in tuple(net.members):
            net.crash(name)
            net.members[name].disk.image(4, cut=True)
            net.restart(name)
        net.elapse(3.0)
        leader = net.leaders()[0]
        net.propose(leader, b"next")
        net.settle()
        self.assertEqual([net.log(name)[-1] for name in net.members], [b"next"] * 3)

    def test_image_ahead_of_header(self) -> None:
        """An image may be newer than what the header on the disk says is chosen."""
        net = busy()
        net.crash("n3")
        disk = net.members["n3"].disk
        self.assertLess(disk.header.chosen, 5)
        disk.image(5, cut=True)
        net.restart("n3")
        self.assertEqual(net["n3"].chosen, 5)


class MasterLeases(SynchronousTestCase):
    """Section 5.2: reads without running Paxos."""

    def test_at_the_leader(self) -> None:
        """A leader with a lease answers at once."""
        net = busy()
        self.assertTrue(net["n1"].can_read(net.now))
        number = net.read("n1")
        self.assertEqual((net.point("n1", number), len(net.bag)), (5, 0))

    def test_lease_over(self) -> None:
        """Without a fresh lease it first asks whether it still leads."""
        net = busy()
        net.wait(net.timing.lease_seconds)
        self.assertFalse(net["n1"].can_read(net.now))
        number = net.read("n1")
        self.assertIsNone(net.point("n1", number))
        net.settle()
        self.assertEqual(net.point("n1", number), 5)

    def test_old_leader(self) -> None:
        """An old leader that was cut off does not answer from what it has."""
        net = busy()
        net.isolate("n1")
        net.elect("n2")
        net.propose("n2", b"new")
        net.settle()
        number = net.read("n1")
        net.settle()
        self.assertIsNone(net.point("n1", number))

    def test_leaseless(self) -> None:
        """Without leases each read asks a majority whether the leader still leads."""
        net = busy(timing=Timing(leases=False))
        net.sent.clear()
        number = net.read("n1")
        self.assertIsNone(net.point("n1", number))
        net.settle()
        self.assertEqual(net.point("n1", number), 5)
        self.assertEqual((net.sent["Beat"], net.sent["BeatAnswer"]), (2, 2))

    def test_answer_of_an_earlier_beat(self) -> None:
        """An answer to a beat sent before the question proves nothing."""
        net = busy(timing=Timing(leases=False))
        net.wait(0.1)
        net.tick("n1")
        for beat in net.take(Beat):
            net.deliver(beat)
        early = list(net.bag)
        net.bag.clear()
        number = net.read("n1")
        net.bag.clear()
        for answer in early:
            net.deliver(answer)
        self.assertIsNone(net.point("n1", number))

    def test_asked_again_waits_no_longer(self) -> None:
        """A question that is asked again while its proof is under way is answered by that."""
        net = busy(timing=Timing(leases=False))
        number = net.read("n2")
        net.settle(but=Beat)
        first = net.take(Beat)
        net.deliver(Parcel("n2", "n1", Query(number)))
        net.drop(Beat)
        for beat in first:
            net.deliver(beat)
        net.settle()
        self.assertEqual(net.point("n2", number), 5)

    def test_new_leader_recovers_first(self) -> None:
        """A new leader answers no read until what its predecessor had chosen is chosen."""
        net = busy()
        net.propose("n1", b"answered")
        net.settle(but=Commit)  # n1 may have told a client
        net.bag.clear()
        net.crash("n1")
        net.wait(2.0)
        number = net.read("n2")
        net.tick("n2")
        net.settle(but=Accepted)
        self.assertTrue(net["n2"].is_leading)
        self.assertIsNone(net.point("n2", number))
        net.settle()
        self.assertEqual(net.point("n2", number), 6)

    def test_stale_answer(self) -> None:
        """The answer to an earlier question is not taken for that of a later one."""
        net = busy()
        first = net.read("n2")
        net.settle(but=Answer)
        late = net.take(Answer)
        second = net.read("n2")
        net.bag.clear()
        for answer in late:
            net.deliver(answer)
        self.assertEqual((net.point("n2", first), net.point("n2", second)), (None, None))

    def test_question_outlives_leader(self) -> None:
        """A question that no leader could answer goes to the next one."""
        net = busy()
        net.crash("n1")
        number = net.read("n2")
        net.elapse(2.0)
        self.assertGreaterEqual(net.point("n2", number) or 0, 5)


class Alive(SynchronousTestCase):
    """What keeps a cluster going."""

    def test_leader_dies(self) -> None:
        """When the leader dies another is there within a lease and an election."""
        net = busy()
        net.crash("n1")
        net.elapse(1.0)
        self.assertEqual(len(net.leaders()), 1)

    def test_leader_hangs(self) -> None:
        """A leader that hangs with its links up is missed all the same."""
        net = busy()
        net.isolate("n1")
        net.elapse(1.2, "n2", "n3")
        self.assertIn(net["n2"].leader, ("n2", "n3"))

    def test_cut_off_and_back(self) -> None:
        """A node that was cut off for long disturbs nobody when it comes back."""
        net = busy()
        net.isolate("n3")
        net.elapse(10.0)
        ballot = net.members["n1"].disk.header.promised
        net.heal()
        net.elapse(1.0)
        self.assertEqual(net.leaders(), ["n1"])
        self.assertEqual(net.members["n3"].disk.header.promised, ballot)
        self.assertEqual(net["n3"].leader, "n1")

    def test_deaf_leader(self) -> None:
        """A leader that is heard but hears nobody makes room for another."""
        net = busy()
        net.cut("n2", "n1")
        net.cut("n3", "n1")
        net.elapse(3.0)
        self.assertIn(net["n3"].leader, ("n2", "n3"))
        self.assertNotIn("n1", net.leaders())

    def test_mute_leader(self) -> None:
        """So does one who hears everybody but is not heard."""
        net = busy()
        net.cut("n1", "n2")
        net.cut("n1", "n3")
        net.elapse(3.0)
        self.assertIn(net["n3"].leader, ("n2", "n3"))
        self.assertNotIn("n1", net.leaders())

    def test_one_bad_link(self) -> None:
        """Where two nodes cannot hear each other but a third hears both, one leads."""
        for leader in ("n1", "n3"):
            net = busy()
            net.elect(leader)
            net.cut("n1", "n2")
            net.cut("n2", "n1")
            net.elapse(4.0)
            leaders = net.leaders()
            self.assertEqual(len(leaders), 1)
            net.propose(leaders[0], b"x")
            net.settle()
            self.assertEqual(net.log(leaders[0])[-1], b"x")

    def test_alone(self) -> None:
        """A node alone leads as soon as it has saved its own promise."""
        net = Net(1)
        net.tick("n1")
        net.settle()
        self.assertEqual(net.leaders(), ["n1"])
        net.propose("n1", b"x")
        net.settle()
        self.assertEqual(net.log("n1"), [b"x"])

    def test_alone_and_paused(self) -> None:
        """A node alone that was stopped for a while leads on: nobody else can."""
        net = Net(1)
        net.elect("n1")
        net.wait(10.0)
        net.tick("n1")
        self.assertEqual(net.leaders(), ["n1"])
        self.assertTrue(net["n1"].can_read(net.now))

    def test_memory_is_full_of_votes(self) -> None:
        """Acceptors full of votes that a dead leader left still vote for the next one."""
        self.patch(acceptor, "AHEAD_BYTES_MAX", 10_000)
        net = Net(3)
        value, count = b"x" * 1000, 12
        for name in ("n2", "n3"):
            net.crash(name)
            votes = {slot: Vote(slot, Ballot(0, "n1"), value) for slot in range(1, count + 1)}
            net.members[name].disk.votes = votes
            net.restart(name)
        net.crash("n1")
        net.elapse(1.0 + 2 * net.timing.retry_seconds)
        self.assertEqual(net["n2"].chosen, count)

    def test_memory_has_a_bound(self) -> None:
        """An acceptor that does not learn what is chosen stops taking votes some day."""
        self.patch(acceptor, "AHEAD_BYTES_MAX", 10_000)
        net = Net(3)
        net.elect("n1")
        ballot = net.members["n1"].disk.header.promised
        value = b"x" * 1000
        for slot in range(2, 50):
            net.deliver(Parcel("n1", "n3", Accept(ballot, slot, (value,), 0)))
            net.write("n3")
        held = sum(acceptor.size_of(vote.value) for vote in net.members["n3"].disk.votes.values())
        self.assertLessEqual(held, 10_000 + acceptor.size_of(value))
        self.assertGreater(held, 5_000)

    def test_slow_disk(self) -> None:
        """A node whose disk is too slow for the others is left behind, and catches up later."""
        self.patch(outbox, "UNSAVED_BYTES_MAX", 5000)
        net = busy()
        net.hold("n3")
        for number in range(40):
            net.propose("n1", b"%d" % number * 200)
            net.settle()
            waiting = [vote for save in net.members["n3"].disk.pending for vote in save.votes]
            waiting_bytes = sum(acceptor.size_of(vote.value) for vote in waiting)
            self.assertLess(waiting_bytes, 6000)
        self.assertEqual(len(net.log("n2")), 45)
        net.release("n3")
        net.elapse(1.0)
        self.assertEqual(net.log("n3"), net.log("n1"))

    def test_leader_with_a_slow_disk(self) -> None:
        """A leader proposes no more than its own disk can take, though others would."""
        self.patch(outbox, "UNSAVED_BYTES_MAX", 5000)
        net = busy()
        net.hold("n1")
        count = 0
        while net["n1"].room(net.now):
            net.propose("n1", b"x" * 1000)
            net.settle()
            count += 1
        self.assertEqual(count, 5)
        net.release("n1")
        net.settle()
        self.assertGreater(net["n1"].room(net.now), 0)

    def test_promise_to_the_dead(self) -> None:
        """A promise of a high ballot to a node that died delays nobody for long."""
        net = busy()
        net.isolate("n1")
        net.wait(2.0)
        net.deliver(Parcel("n2", "n3", Prepare(Ballot(99, "n2"), 6)))
        net.settle()
        net.crash("n2")
        net.heal()
        net.elapse(3.0)
        self.assertEqual(len(net.leaders()), 1)
