"""Each role by itself: acceptor, learner, proposer, membership, outbox, reads, catching up."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import FETCH_AGAIN_SECONDS_MAX, RETRY_SECONDS
from coord.paxos.acceptor import Acceptor, size_of
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.catchup import Catchup
from coord.paxos.durable import Header, Value, Vote
from coord.paxos.effects import NOTHING, Chosen, Envelope, Readable, Recall
from coord.paxos.learner import Learner
from coord.paxos.membership import Configuration, Governs, Membership
from coord.paxos.messages import Answer, Commit, Promise
from coord.paxos.outbox import Outbox
from coord.paxos.proposer import NO_OP, Candidate, Slots
from coord.paxos.reads import Readers

ONE, TWO, THREE = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n1")
TRIO = Configuration(("n1", "n2", "n3"))


class Ballots(SynchronousTestCase):
    """The order of ballots."""

    def test_order(self) -> None:
        """Ballots are ordered by number, then by node; NEVER is below all."""
        self.assertLess(NEVER, Ballot(1, "n1"))
        self.assertLess(Ballot(1, "n9"), Ballot(2, "n1"))
        self.assertLess(Ballot(1, "n1"), Ballot(1, "n2"))

    def test_after(self) -> None:
        """The next ballot of a node is above any other node's of the same number."""
        self.assertGreater(Ballot(4, "n9").after("n1"), Ballot(4, "n9"))

    def test_describe(self) -> None:
        """A ballot is printed as number and node."""
        self.assertEqual(Ballot(7, "n2").describe(), "7.n2")


class Accepting(SynchronousTestCase):
    """The acceptor."""

    def setUp(self) -> None:
        """Promise a ballot."""
        self.acceptor = Acceptor(NEVER, ())
        self.acceptor.promise(TWO)

    def test_lower(self) -> None:
        """A lower ballot is not promised, and what was promised stays."""
        self.assertFalse(self.acceptor.promise(ONE))
        self.assertEqual(self.acceptor.promised, TWO)

    def test_unpromised(self) -> None:
        """To vote at another ballot than the promised one is a bug, not weather."""
        for ballot in (ONE, THREE):
            self.assertRaises(AssertionError, self.acceptor.vote, ballot, 1, b"x")

    def test_two_values(self) -> None:
        """Two values of one ballot in one slot are a bug."""
        self.acceptor.vote(TWO, 1, b"x")
        self.assertRaises(AssertionError, self.acceptor.vote, TWO, 1, b"y")

    def test_again(self) -> None:
        """The same vote again is nothing new to save; at a higher ballot it is."""
        self.assertIsNotNone(self.acceptor.vote(TWO, 1, b"x"))
        self.assertIsNone(self.acceptor.vote(TWO, 1, b"x"))
        self.acceptor.promise(THREE)
        self.assertEqual(self.acceptor.vote(THREE, 1, b"x"), Vote(1, THREE, b"x"))

    def test_report(self) -> None:
        """Votes are reported in the order of slots, in pieces that say where to go on."""
        for slot in (5, 3, 9):
            self.acceptor.vote(TWO, slot, b"x" * 84)
        first, until = self.acceptor.report(1, 200)
        rest, end = self.acceptor.report(until, 200)
        self.assertEqual([vote.slot for vote in (*first, *rest)], [3, 5, 9])
        self.assertEqual((until, end), (9, 0))

    def test_forget(self) -> None:
        """What is known to be chosen is forgotten, and its memory is free again."""
        before = self.acceptor._ahead_bytes
        self.acceptor.vote(TWO, 1, b"x")
        self.acceptor.promise(THREE)
        self.acceptor.vote(THREE, 1, b"longer")
        self.acceptor.forget(1)
        self.acceptor.forget(1)
        self.assertEqual((self.acceptor.votes, self.acceptor._ahead_bytes), ({}, before))

    def test_sizes(self) -> None:
        """A configuration has a size as well."""
        self.assertGreater(size_of(TRIO), 0)
        self.assertEqual(size_of(b"four") - size_of(b""), 4)


class Learning(SynchronousTestCase):
    """The learner."""

    def setUp(self) -> None:
        """Begin with nothing."""
        self.learner = Learner(0)

    def advance(self, *votes: Vote) -> list[tuple[Value, bool]]:
        """Take all that can be taken."""
        by_slot = {vote.slot: vote for vote in votes}
        taken = []
        while (step := self.learner.advance(by_slot)) is not None:
            taken.append(step)
        return taken

    def test_by_ballot(self) -> None:
        """A vote of the very ballot that was committed is the value chosen."""
        self.learner.commit(TWO, 2)
        votes = [Vote(1, TWO, b"1"), Vote(2, TWO, b"2"), Vote(3, TWO, b"3")]
        self.assertEqual(self.advance(*votes), [(b"1", True), (b"2", True)])

    def test_other_ballot(self) -> None:
        """A vote of another ballot says nothing; the slot is a gap to be fetched."""
        self.learner.commit(TWO, 1)
        self.assertEqual(self.advance(Vote(1, ONE, b"1")), [])
        self.assertTrue(self.learner.is_behind)
        self.learner.learn(1, b"other")
        self.assertEqual(self.advance(Vote(1, ONE, b"1")), [(b"other", False)])
        self.assertFalse(self.learner.is_behind)

    def test_higher_commit(self) -> None:
        """Of two ballots that committed, only the votes of the higher one are inferred from."""
        self.learner.commit(TWO, 5)
        self.learner.commit(ONE, 9)
        self.assertEqual(self.advance(Vote(1, ONE, b"1")), [])
        self.assertEqual(self.learner.target, 9)

    def test_no_gap(self) -> None:
        """What is known beyond a gap waits for the gap to close."""
        self.learner.learn(2, b"2")
        self.assertEqual(self.advance(), [])
        self.learner.learn(1, b"1")
        self.assertEqual([value for value, _ in self.advance()], [b"1", b"2"])

    def test_own_vote_of_another_ballot(self) -> None:
        """A value that stands on the disk already, at whatever ballot, need not be saved again."""
        self.learner.learn(1, b"same")
        self.assertEqual(self.advance(Vote(1, ONE, b"same")), [(b"same", True)])

    def test_disagreement(self) -> None:
        """Two values chosen in one slot are a bug, and are not passed over."""
        self.learner.learn(2, b"x")
        self.assertRaises(AssertionError, self.learner.learn, 2, b"y")

    def test_recall(self) -> None:
        """Recent values are recalled from any slot on, as many as fit; older ones are not."""
        learner = Learner(10)
        for slot in range(11, 16):
            learner.restore(b"%d" % slot)
        self.assertEqual(learner.recall(12, 14, 1000), (b"12", b"13"))
        self.assertEqual(learner.recall(14, 99, 1000), (b"14", b"15"))
        self.assertEqual(learner.recall(11, 99, 30), (b"11", b"12"))
        self.assertIsNone(learner.recall(10, 99, 1000))


class Gathering(SynchronousTestCase):
    """The candidate's promises."""

    def test_endorsed_once(self) -> None:
        """Phase 1 begins once, with the endorsement that makes the majority."""
        candidate = Candidate((TRIO,))
        self.assertEqual(
            [candidate.endorsed(name) for name in ("n1", "n1", "n9", "n2", "n3")],
            [False, False, False, True, False],
        )

    def test_every_configuration(self) -> None:
        """A majority is needed in each configuration that governs one of the slots."""
        candidate = Candidate((TRIO, Configuration(("n1", "n4", "n5"))))
        for name in ("n1", "n2", "n4"):
            candidate.endorsed(name)
        for name in ("n1", "n2"):
            candidate.promised(name, Promise(ONE, 1, 0, 0, ()))
        self.assertFalse(candidate.has_quorum())
        candidate.promised("n4", Promise(ONE, 1, 0, 0, ()))
        self.assertTrue(candidate.has_quorum())

    def test_unfinished(self) -> None:
        """A promise of which a piece is missing does not count yet."""
        candidate = Candidate((TRIO,))
        for name in ("n1", "n2"):
            candidate.endorsed(name)
        candidate.promised("n1", Promise(THREE, 1, 0, 0, ()))
        self.assertEqual(candidate.promised("n2", Promise(THREE, 1, 7, 0, ())), 7)
        self.assertFalse(candidate.has_quorum())
        candidate.promised("n2", Promise(THREE, 7, 0, 0, (Vote(8, ONE, b"x"),)))
        self.assertTrue(candidate.has_quorum())
        self.assertEqual(candidate.found(6), {7: NO_OP, 8: b"x"})

    def test_highest(self) -> None:
        """Of the votes for a slot the one of the highest ballot is kept, whoever came first."""
        for votes in ((ONE, TWO), (TWO, ONE)):
            candidate = Candidate((TRIO,))
            for ballot in votes:
                vote = Vote(1, ballot, ballot.describe().encode())
                candidate.promised(ballot.node, Promise(THREE, 1, 0, 0, (vote,)))
            self.assertEqual(candidate.found(0), {1: b"2.n2"})

    def test_chosen_meanwhile(self) -> None:
        """Votes for slots that are known to be chosen by now are of no interest."""
        candidate = Candidate((TRIO,))
        candidate.promised("n1", Promise(THREE, 1, 0, 4, (Vote(3, ONE, b"x"), Vote(6, ONE, b"y"))))
        self.assertEqual(candidate.found(4), {5: NO_OP, 6: b"y"})
        self.assertEqual(candidate.found(6), {})
        self.assertEqual((candidate.chosen, candidate.source), (4, "n1"))


class Opening(SynchronousTestCase):
    """The leader's slots."""

    def test_votes(self) -> None:
        """Slots are chosen one by one, in whatever order the votes come."""
        slots = Slots(10, {})
        for value in (b"a", b"b", b"c"):
            slots.open(value, TRIO, 0.0)
        self.assertEqual(list(slots.voted("n1", 11, 14)), [])
        self.assertEqual(list(slots.voted("n2", 13, 14)), [(13, b"c")])
        self.assertEqual(list(slots.voted("n3", 1, 99)), [(11, b"a"), (12, b"b")])
        self.assertEqual(slots.opened, {})

    def test_barrier(self) -> None:
        """Until what was found is chosen there is no room, and the leader is not recovered."""
        slots = Slots(10, {11: b"a", 12: b"b"})
        self.assertEqual((slots.room(14), slots.is_recovered(11)), (0, False))
        self.assertEqual(slots.refill(11), [b"a"])
        slots.open(b"a", TRIO, 0.0)
        self.assertEqual(slots.refill(12), [b"b"])
        slots.open(b"b", TRIO, 0.0)
        self.assertEqual((slots.room(16), slots.is_recovered(12)), (4, True))

    def test_overdue(self) -> None:
        """Slots that were sent long ago are overdue; those sent lately are not."""
        slots = Slots(0, {})
        slots.open(b"a", TRIO, 1.0)
        slots.open(b"b", TRIO, 2.0)
        self.assertEqual(slots.overdue(2.0), [1])


class Governing(SynchronousTestCase):
    """Which configuration governs a slot."""

    def setUp(self) -> None:
        """Begin with three voters and a window of ten."""
        self.membership = Membership((Governs(1, TRIO),), 10)
        self.pair = Configuration(("n1", "n2"))

    def test_later(self) -> None:
        """A configuration governs from alpha slots after the one in which it was chosen."""
        self.membership.learn(5, self.pair)
        self.assertEqual(self.membership.at(14), TRIO)
        self.assertEqual(self.membership.at(15), self.pair)
        self.assertEqual(self.membership.since(6), (TRIO, self.pair))
        self.assertEqual(self.membership.since(15), (self.pair,))

    def test_known_from_disk(self) -> None:
        """One that the disk knew already is not taken twice when the log is read again."""
        self.membership.learn(5, self.pair)
        self.membership.learn(5, self.pair)
        self.assertEqual(len(self.membership.known()), 2)

    def test_forgotten(self) -> None:
        """One that governs no more is forgotten when the next but one is learnt."""
        self.membership.learn(5, self.pair)
        self.membership.learn(40, TRIO)
        self.assertEqual(self.membership.known(), (Governs(15, self.pair), Governs(50, TRIO)))

    def test_quorums(self) -> None:
        """Any two majorities have a voter in common; who only learns is no part of one."""
        self.assertEqual([Configuration(tuple("abcde")[:n]).majority for n in range(1, 6)],
                         [1, 2, 2, 3, 3])  # fmt: skip
        self.assertFalse(Configuration(("n1", "n2"), ("n3",)).is_quorum(("n1", "n3", "n3")))


class Sending(SynchronousTestCase):
    """The outbox: what waits for the disk, and what does not."""

    def setUp(self) -> None:
        """Begin with nothing to send."""
        self.out = Outbox("n1")

    def test_waits(self) -> None:
        """A message that depends on a save comes out when that save is done, not before."""
        self.out.save(Vote(1, ONE, b"x"))
        self.out.after_save("n2", Commit(ONE, 1))
        list(self.out.inbox())
        effects = self.out.effects(Header())
        assert effects.save is not None
        self.assertEqual(effects.send, ())
        self.out.saved(effects.save.ticket)
        list(self.out.inbox())
        self.assertEqual(self.out.effects(Header()).send, (Envelope(("n2",), Commit(ONE, 1)),))

    def test_waits_for_earlier(self) -> None:
        """With nothing of its own to save, it waits for what was handed to the disk before."""
        self.out.save()
        first = self.out.effects(Header()).save
        assert first is not None
        self.out.after_save("n2", Commit(ONE, 1))
        list(self.out.inbox())
        self.assertEqual(self.out.effects(Header()), NOTHING)
        self.out.saved(first.ticket)
        list(self.out.inbox())
        self.assertEqual(len(self.out.effects(Header()).send), 1)

    def test_nothing_pending(self) -> None:
        """With nothing unsaved at all it leaves at once."""
        self.out.after_save("n2", Commit(ONE, 1))
        list(self.out.inbox())
        self.assertEqual(len(self.out.effects(Header()).send), 1)

    def test_to_itself(self) -> None:
        """What a node says to itself comes back in, at once or after the save."""
        self.out.send(("n1",), Commit(ONE, 1))
        self.out.save()
        self.out.after_save("n1", Commit(ONE, 2))
        self.assertEqual(list(self.out.inbox()), [Commit(ONE, 1)])
        self.out.effects(Header())
        self.out.saved(1)
        self.assertEqual(list(self.out.inbox()), [Commit(ONE, 2)])

    def test_one_save(self) -> None:
        """All votes of one input make one save, with the header as it is at the end."""
        self.out.save(Vote(1, ONE, b"x"))
        self.out.save(Vote(2, ONE, b"y"))
        save = self.out.effects(Header(chosen=7)).save
        assert save is not None
        self.assertEqual(([vote.slot for vote in save.votes], save.header.chosen), ([1, 2], 7))

    def test_handed_out_once(self) -> None:
        """What was handed out is gone."""
        self.out.chosen(1, b"x")
        self.out.readable(3, 1)
        self.out.recall("n2", 1, 5)
        effects = self.out.effects(Header())
        self.assertEqual(
            (effects.chosen, effects.readable, effects.recall),
            ((Chosen(1, b"x"),), (Readable(3, 1),), (Recall("n2", 1, 5),)),
        )
        self.assertEqual(self.out.effects(Header()), NOTHING)

    def test_to_nobody(self) -> None:
        """A message to nobody is none."""
        self.out.send((), Answer(1, 1))
        self.assertEqual(self.out.effects(Header()), NOTHING)


class Reading(SynchronousTestCase):
    """Questions that wait at a leader."""

    def test_confirmed(self) -> None:
        """A question is answered by a beat that was sent after it came, or by a lease."""
        readers = Readers()
        readers.wait("n1", 1, beat=4)
        readers.wait("n2", 2, beat=5)
        self.assertEqual(readers.take(3), [])
        self.assertEqual(readers.take(4), [("n1", 1)])
        self.assertEqual(readers.take(None), [("n2", 2)])
        self.assertEqual(len(readers), 0)

    def test_replaced(self) -> None:
        """A new question of a node takes the place of its old one; the same again does not."""
        readers = Readers()
        readers.wait("n1", 1, beat=4)
        readers.wait("n1", 1, beat=9)
        self.assertEqual(readers.take(4), [("n1", 1)])
        readers.wait("n1", 1, beat=4)
        readers.wait("n1", 2, beat=9)
        self.assertEqual(readers.take(4), [])


class Asking(SynchronousTestCase):
    """The one question of a node that catches up."""

    def test_one_at_a_time(self) -> None:
        """The same slot is asked for again only after a while; the next, or of another, at once."""
        catchup = Catchup()
        self.assertTrue(catchup.wants("n1", 5, 10.0))
        self.assertFalse(catchup.wants("n1", 5, 10.0 + RETRY_SECONDS / 2))
        self.assertTrue(catchup.wants("n1", 5, 10.0 + RETRY_SECONDS))
        self.assertTrue(catchup.wants("n1", 6, 10.0 + RETRY_SECONDS))
        self.assertTrue(catchup.wants("n2", 6, 10.0 + RETRY_SECONDS))

    def test_patience(self) -> None:
        """Unanswered, it asks ever more rarely, as a slow line needs, but never gives up."""
        catchup = Catchup()
        times = [hundredth / 100 for hundredth in range(2000)]
        asked = [now for now in times if catchup.wants("n1", 5, now)]
        pauses = [later - sooner for sooner, later in pairwise(asked)]
        self.assertLess(abs(pauses[0] - RETRY_SECONDS), 0.02)
        self.assertLess(abs(pauses[1] - 2 * RETRY_SECONDS), 0.02)
        self.assertLess(abs(pauses[-1] - FETCH_AGAIN_SECONDS_MAX), 0.02)
