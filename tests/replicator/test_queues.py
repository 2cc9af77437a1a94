"""What waits: bounds, deadlines, batches in flight, reads that share a question."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import (
    CLUSTER,
    Add,
    Caller,
    Delete,
    Get,
    Level,
    Read,
    Rev,
    Set,
    Write,
    weight_bytes,
)
from coord.errors import Overloaded, TooLarge, Unavailable, Unknown
from coord.limits import (
    BATCH_BYTES_SOFT,
    BATCHES_IN_FLIGHT,
    FRAME_BYTES_MAX,
    VALUE_BYTES_MAX,
    VALUE_OF_SLOT_BYTES_MAX,
)
from coord.replicator import queues
from coord.replicator.applier import Applied, Outcome
from coord.replicator.queues import Call, Group, Reads, SetBackError, Writes
from coord.results import Result, Value, Written
from coord.wire.values import Batch, decode, encode_batch, stamp
from tests.replicator.case import Asked

NAMES = st.tuples(st.sampled_from("a\u00e9\U0001f600"), st.integers(1, 500)).map(
    lambda one: one[0] * one[1]
)
"""Names in characters of one, two and four bytes."""


def group(*commands: Write | Read, deadline: float = 10.0) -> tuple[Group, Asked]:
    """Return a group and where its answer goes."""
    asked = Asked()
    return Group(commands, asked, deadline), asked


def call(calls: list[Call] | None) -> None:
    """Do what a queue wants called."""
    assert calls is not None
    for one in calls:
        one()


class Grouping(SynchronousTestCase):
    """Groups are answered once."""

    def test_once(self) -> None:
        """The first answer counts; later ones reach nobody."""
        one, asked = group(Set("/a", b"x"))
        one.settle([Written(1)])
        one.settle([Written(2)])
        one.refuse(Unavailable("no"))
        self.assertEqual(asked.results, [Written(1)])

    def test_refused(self) -> None:
        """Refused with two errors, writes get their fate and reads the other."""
        one, asked = group(Set("/a", b"x"), Get("/a"))
        one.refuse(Unavailable("no"), Unknown("who knows"))
        self.assertEqual([type(result) for result in asked.results], [Unknown, Unavailable])

    def test_local(self) -> None:
        """A group is local if everything in it is; a node's own revision is."""
        self.assertTrue(group(Get("/a", local=True), Rev())[0].is_local)
        self.assertFalse(group(Get("/a", local=True), Get("/a"))[0].is_local)

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(
        st.lists(NAMES, min_size=1, max_size=20),
        st.binary(),
    )
    def test_weight(self, names: list[str], value: bytes) -> None:
        """What a group weighs is never less than what it takes on the wire."""
        writes: list[Write] = []
        for name in names:
            writes += [Set("/" + name, value, 1 << 60), Add("/" + name, value), Delete("/" + name)]
        encoded = encode_batch(Batch("", 0, 0, tuple(writes)))
        self.assertLessEqual(len(encoded), weight_bytes(writes) + 16)


class Writing(SynchronousTestCase):
    """The queue of writes, and the batches in flight."""

    def setUp(self) -> None:
        """Begin the second life of n1."""
        self.writes = Writes("n1", 2)

    def add(self, *commands: Write | Read, deadline: float = 10.0) -> Asked:
        """Queue a group that is taken."""
        one, asked = group(*commands, deadline=deadline)
        self.assertIsNone(self.writes.add(one))
        return asked

    def land(self, number: int, *results: Result, applied: bool = True) -> None:
        """Let a batch be applied, or passed over."""
        call(self.writes.landed(Outcome("n1", 2, number, applied, results)))

    def test_one_batch(self) -> None:
        """What is queued becomes one batch; each group gets its share of the results."""
        first = self.add(Set("/a", b"1"), Set("/b", b"2"))
        second = self.add(Get("/a"), Set("/c", b"3"))
        self.assertIsNotNone(self.writes.next_batch())
        self.assertIsNone(self.writes.next_batch())
        self.land(1, Written(1), Written(2), Value(1, b"1"), Written(3))
        self.assertEqual(first.results, [Written(1), Written(2)])
        self.assertEqual(second.results, [Value(1, b"1"), Written(3)])
        self.assertTrue(self.writes.is_idle)

    def test_in_flight(self) -> None:
        """A few batches fly at once; more wait and grow together."""
        for number in range(BATCHES_IN_FLIGHT):
            self.add(Set(f"/{number}", b"x"))
            self.assertIsNotNone(self.writes.next_batch())
        self.add(Set("/more", b"x"))
        self.add(Set("/and more", b"x"))
        self.assertIsNone(self.writes.next_batch())
        self.land(1, Written(1))
        flight = self.writes.next_batch()
        assert flight is not None
        self.assertEqual((flight.number, len(flight.groups)), (BATCHES_IN_FLIGHT + 1, 2))

    def test_large_batches(self) -> None:
        """A batch is closed once it holds enough; what fits a slot fits a frame."""
        for _ in range(3):
            self.add(Set("/a", b"x" * VALUE_BYTES_MAX))
        flight = self.writes.next_batch()
        assert flight is not None
        self.assertEqual(len(flight.groups), 1)
        self.assertGreater(len(flight.payload), BATCH_BYTES_SOFT)
        self.assertLess(len(flight.payload), VALUE_OF_SLOT_BYTES_MAX)
        self.assertLess(VALUE_OF_SLOT_BYTES_MAX, FRAME_BYTES_MAX)

    def test_too_large(self) -> None:
        """A group that fits no slot is refused at once."""
        huge, _ = group(*[Set("/a", b"x" * VALUE_BYTES_MAX)] * 3)
        self.assertIsInstance(self.writes.add(huge), TooLarge)

    def test_too_many(self) -> None:
        """A queue that is full takes no more, and takes again when there is room."""
        self.patch(queues, "QUEUE_COMMANDS_MAX", 2)
        self.add(Set("/a", b"x"))
        self.add(Set("/b", b"x"))
        self.assertIsInstance(self.writes.add(group(Set("/c", b"x"))[0]), Overloaded)
        self.writes.next_batch()
        self.add(Set("/c", b"x"))

    def test_too_heavy(self) -> None:
        """Its bytes are bounded as well as its number."""
        self.patch(queues, "QUEUE_BYTES_MAX", 1000)
        self.add(Set("/a", b"x" * 800))
        self.assertIsInstance(self.writes.add(group(Set("/b", b"x" * 800))[0]), Overloaded)

    def test_expired_in_queue(self) -> None:
        """What waited too long in the queue is not done, and never will be."""
        late = self.add(Set("/a", b"x"), Get("/a"), deadline=1.0)
        kept = self.add(Set("/b", b"x"), deadline=2.0)
        call(self.writes.expire(1.0))
        self.assertEqual([type(one) for one in late.results], [Unavailable, Unavailable])
        self.assertFalse(kept.is_answered)
        flight = self.writes.next_batch()
        assert flight is not None
        self.assertEqual(flight.runs(), [((Set("/b", b"x"),), CLUSTER)])

    def test_expired_in_flight(self) -> None:
        """What was sent has an open fate; the batch flies on, and answers nobody twice."""
        late = self.add(Set("/a", b"x"), Get("/a"), deadline=1.0)
        self.writes.next_batch()
        call(self.writes.expire(1.0))
        self.assertEqual([type(one) for one in late.results], [Unknown, Unavailable])
        self.assertEqual(self.writes.expire(2.0), [])
        self.assertFalse(self.writes.is_idle)
        self.land(1, Written(1), Value(1, b"x"))
        self.assertEqual(len(late.answers), 1)
        self.assertTrue(self.writes.is_idle)

    def test_all_expired(self) -> None:
        """A queue of which all expired makes no batch, and takes no number."""
        self.add(Set("/a", b"x"), deadline=1.0)
        call(self.writes.expire(5.0))
        self.assertIsNone(self.writes.next_batch())
        self.add(Set("/a", b"x"))
        flight = self.writes.next_batch()
        assert flight is not None
        self.assertEqual(flight.number, 1)

    def test_callers(self) -> None:
        """A batch says who asked for what, neighbours of one caller in one word."""
        web, cli = Caller("web", "10.0.0.7:1", Level.WRITE), Caller("cli", "10.0.0.8:2")
        same = Caller("web", "10.0.0.7:1", Level.WRITE)
        for caller, count in ((web, 2), (same, 1), (CLUSTER, 1), (cli, 3), (CLUSTER, 2)):
            writes = [Set("/a", b"x") for _ in range(count)]
            self.assertIsNone(self.writes.add(Group([*writes, Get("/a")], Asked(), 10.0, caller)))
        flight = self.writes.next_batch()
        assert flight is not None
        batch = decode(stamp(flight.payload, 5))[1]
        self.assertEqual(batch.callers, ((3, web), (1, CLUSTER), (3, cli), (2, CLUSTER)))
        self.assertEqual([one for _, one in flight.runs()], [web, web, CLUSTER, cli, CLUSTER])

    def test_callers_of_writes(self) -> None:
        """Who only reads takes no room in a batch."""
        web = Caller("web", "10.0.0.7:1", Level.WRITE)
        self.writes.add(Group([Set("/a", b"x")], Asked(), 10.0))
        self.writes.add(Group([Get("/a")], Asked(), 10.0, web))
        flight = self.writes.next_batch()
        assert flight is not None
        self.assertEqual(decode(stamp(flight.payload, 5))[1].callers, ((1, CLUSTER),))

    def test_passed_over(self) -> None:
        """A batch that came too early has to be sent again; a repeated one has not."""
        for name in "ab":
            self.add(Set(f"/{name}", b"x"))
            self.writes.next_batch()
        self.assertIsNone(self.writes.landed(Outcome("n1", 2, 2, False)))
        self.land(1, Written(1))
        self.land(1, applied=False)
        self.assertEqual([flight.number for flight in self.writes.flights], [2])

    def test_not_ours(self) -> None:
        """What another node, or an earlier life of this one, had is nobody's here."""
        self.add(Set("/a", b"x"))
        self.writes.next_batch()
        for origin, incarnation in (("n2", 2), ("n1", 1)):
            self.assertEqual(self.writes.landed(Outcome(origin, incarnation, 1, True)), [])
            self.assertIsNone(self.writes.runs(Batch(origin, incarnation, 1, ()), b""))
        self.assertEqual(len(self.writes.flights), 1)

    def test_ours(self) -> None:
        """The batch in flight is known by what it holds; its reads are in their places."""
        self.add(Set("/a", b"x"), Get("/a"))
        flight = self.writes.next_batch()
        assert flight is not None
        batch = Batch("n1", 2, 1, (Set("/a", b"x"),))
        self.assertEqual(
            self.writes.runs(batch, stamp(flight.payload, 5)),
            [((Set("/a", b"x"), Get("/a")), CLUSTER)],
        )

    def test_never_sent(self) -> None:
        """A batch of ours that we never sent tells that this node's disk was set back."""
        for batch in (Batch("n1", 2, 1, ()), Batch("n1", 3, 1, ())):
            value = stamp(encode_batch(batch), 5)
            self.assertRaises(SetBackError, self.writes.runs, batch, value)
        self.add(Set("/a", b"x"))
        self.writes.next_batch()
        other = Batch("n1", 2, 1, (Set("/a", b"another"),))
        value = stamp(encode_batch(other), 5)
        self.assertRaises(SetBackError, self.writes.runs, other, value)


class Reading(SynchronousTestCase):
    """Reads that wait for their point."""

    def setUp(self) -> None:
        """Begin with nothing to read."""
        self.reads = Reads(1 << 32)

    def add(self, *, deadline: float = 10.0) -> Group:
        """Let a group wait."""
        one, _ = group(Get("/a"), deadline=deadline)
        self.assertIsNone(self.reads.add(one))
        return one

    def test_shared(self) -> None:
        """All that wait share one question; who comes after it was sent waits for the next."""
        first, second = self.add(), self.add()
        number = self.reads.next_question()
        assert number is not None
        third = self.add()
        self.assertIsNone(self.reads.next_question())
        self.reads.found(number, 7)
        self.assertEqual(self.reads.ready(7), [first, second])
        self.assertEqual(self.reads.next_question(), number + 1)
        self.reads.found(number + 1, 7)
        self.assertEqual(self.reads.ready(7), [third])
        self.assertEqual(self.reads.weight, 0)

    def test_not_yet(self) -> None:
        """A group waits until its point is applied."""
        one = self.add()
        number = self.reads.next_question()
        assert number is not None
        self.reads.found(number, 7)
        self.assertEqual(self.reads.ready(6), [])
        self.assertEqual(self.reads.ready(7), [one])

    def test_old_answer(self) -> None:
        """The answer to an earlier question answers nobody."""
        self.add(deadline=1.0)
        number = self.reads.next_question()
        assert number is not None
        call(self.reads.expire(1.0))
        self.add()
        self.assertEqual(self.reads.next_question(), number + 1)
        self.reads.found(number, 7)
        self.assertEqual(self.reads.ready(99), [])

    def test_expire(self) -> None:
        """Who waits too long, at whatever stage, is told that it is not available."""
        stages = []
        for _ in range(3):
            one, asked = group(Get("/a"), deadline=1.0)
            self.reads.add(one)
            stages.append(asked)
            number = self.reads.next_question()
            if number is not None and len(stages) == 1:
                self.reads.found(number, 99)
        call(self.reads.expire(0.5))
        self.assertFalse(any(asked.is_answered for asked in stages))
        call(self.reads.expire(1.0))
        for asked in stages:
            self.assertIsInstance(asked.results[0], Unavailable)
        self.assertEqual((self.reads.weight, self.reads.ready(99)), (0, []))

    def test_nothing_to_ask(self) -> None:
        """Nobody waits, nothing is asked."""
        self.assertIsNone(self.reads.next_question())

    def test_too_many(self) -> None:
        """The number of reads that wait is bounded."""
        self.patch(queues, "QUEUE_COMMANDS_MAX", 2)
        self.add()
        self.add()
        self.assertIsInstance(self.reads.add(group(Get("/a"))[0]), Overloaded)


class PassedOver(SynchronousTestCase):
    """An image of another node holds batches of this one, which is in its second life."""

    def setUp(self) -> None:
        """Have three batches in flight."""
        self.writes = Writes("n1", 2)
        self.asked: list[Asked] = []
        for number in range(3):
            one, asked = group(Set(f"/{number}", b""), Get("/a"))
            self.asked.append(asked)
            self.writes.add(one)
            self.writes.next_batch()

    def answered(self) -> list[bool]:
        """Say which groups are answered."""
        return [asked.is_answered for asked in self.asked]

    def test_some(self) -> None:
        """Those that it holds were done, nobody knows how; the others fly on."""
        call(self.writes.passed_over(Applied(2, 2)))
        self.assertEqual(self.answered(), [True, True, False])
        self.assertEqual([type(one) for one in self.asked[0].results], [Unknown, Unavailable])
        self.assertEqual([flight.number for flight in self.writes.flights], [3])

    def test_of_an_earlier_life(self) -> None:
        """Where it knows of an earlier life only, all fly on."""
        call(self.writes.passed_over(Applied(1, 77)))
        call(self.writes.passed_over(Applied(0, 0)))
        self.assertEqual(self.answered(), [False, False, False])

    def test_set_back(self) -> None:
        """Where it knows of more than was ever sent, this node's disk was set back."""
        self.assertRaises(SetBackError, self.writes.passed_over, Applied(2, 4))
        self.assertRaises(SetBackError, self.writes.passed_over, Applied(3, 1))
