"""What a chosen value does: once, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import CLUSTER, Caller, Genesis, Get, Lapse, Read, Set, Stat, Walk, Write
from coord.paxos.membership import Configuration, Member
from coord.replicator.applier import FOUNDER, Applied, Applier, Origins, Run
from coord.results import Facts, Row, Rows, Value, Written
from coord.store.machine import Store
from coord.wire.values import Batch, encode_batch, stamp


def batch(origin: str, incarnation: int, number: int, *writes: Write) -> Batch:
    """Return a batch."""
    return Batch(origin, incarnation, number, writes)


class Admission(SynchronousTestCase):
    """Which batches are applied."""

    def setUp(self) -> None:
        """Begin with no batch applied."""
        self.origins = Origins()

    def admitted(self, *batches: tuple[int, int], origin: str = "n1") -> list[bool]:
        """Return for each incarnation and number whether it was applied."""
        return [self.origins.admit(batch(origin, *one)) for one in batches]

    def test_in_order(self) -> None:
        """The batches of one life are applied one after the other."""
        self.assertEqual(self.admitted((1, 1), (1, 2), (1, 3)), [True] * 3)

    def test_duplicate(self) -> None:
        """One that was applied is not applied again."""
        self.assertEqual(self.admitted((1, 1), (1, 1), (1, 2), (1, 1)), [True, False, True, False])

    def test_gap(self) -> None:
        """One that overtook another is passed over, and may come again in its turn."""
        self.assertEqual(self.admitted((1, 2), (1, 1), (1, 2)), [False, True, True])

    def test_next_life(self) -> None:
        """A node that was restarted counts from one; what its former life left is void."""
        self.assertEqual(self.admitted((1, 1), (2, 1), (1, 2), (2, 2)), [True, True, False, True])

    def test_next_life_begins_at_one(self) -> None:
        """A life is not begun by any but its first batch."""
        self.assertEqual(self.admitted((1, 1), (2, 2), (1, 2), (2, 1)), [True, False, True, True])

    def test_nodes_apart(self) -> None:
        """Each node counts for itself."""
        self.assertEqual(self.admitted((1, 1), origin="n1"), [True])
        self.assertEqual(self.admitted((1, 1), origin="n2"), [True])
        self.assertEqual(self.origins.known(), (("n1", Applied(1, 1)), ("n2", Applied(1, 1))))

    def test_founder(self) -> None:
        """The founding write may come more than once; the store does it once."""
        self.assertEqual(self.admitted((0, 0), (0, 0), origin=FOUNDER), [True, True])

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), max_size=40))
    def test_twin(self, arrivals: list[tuple[int, int]]) -> None:
        """Whatever arrives, each life's batches are applied from one on, and once."""
        origins = Origins()
        done = [one for one in arrivals if origins.admit(batch("n1", *one))]
        lives = list(dict.fromkeys(life for life, _ in done))
        self.assertEqual(lives, sorted(lives))
        expected = [
            (life, number)
            for life in lives
            for number in range(1, 1 + sum(one[0] == life for one in done))
        ]
        self.assertEqual(done, expected)


class Nobody:
    """Who took no batch."""

    def runs(self, batch: Batch, value: bytes) -> Sequence[Run] | None:
        """Return None: the batch is another node's."""
        return None


class Mine:
    """Who took a batch, with a read among the writes."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    def runs(self, batch: Batch, value: bytes) -> Sequence[Run] | None:
        """Return the batch as it was taken."""
        return self._runs


class Remembering(Store):
    """A store that does as every store, and knows who asked."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[str] = []

    def apply(self, write: Write, time_ms: int, caller: Caller = CLUSTER) -> Any:
        """Do nothing."""
        self.callers.append(caller.who)
        return None

    def answer(self, read: Read, caller: Caller = CLUSTER) -> Any:
        """Answer nothing."""
        self.callers.append(caller.who)
        return None


class Applying(SynchronousTestCase):
    """Slots come in order; each value is applied to the store."""

    def setUp(self) -> None:
        """Begin with an empty store."""
        self.store = Store()
        self.applier = Applier(self.store, Origins(), 0, 0)

    def value(self, number: int, *writes: Write, time_ms: int = 5) -> bytes:
        """Return the value of a slot."""
        return stamp(encode_batch(batch("n1", 1, number, *writes)), time_ms)

    def test_another_nodes(self) -> None:
        """Another node's batch changes the store and gives no results."""
        outcome = self.applier.apply(1, self.value(1, Set("/a", b"x")), Nobody())
        assert outcome is not None
        self.assertEqual((outcome.is_applied, outcome.results), (True, ()))
        self.assertEqual(self.store.answer(Get("/a")), Value(1, b"x"))

    def test_reads_in_their_places(self) -> None:
        """A read among writes sees those before it and none after it."""
        first, read, last = Set("/a", b"1"), Get("/a"), Set("/a", b"2")
        outcome = self.applier.apply(
            1, self.value(1, first, last), Mine([((first, read, last), CLUSTER)])
        )
        assert outcome is not None
        self.assertEqual(list(outcome.results), [Written(1), Value(1, b"1"), Written(2)])

    def test_callers(self) -> None:
        """Each write is done, and each read answered, for whoever asked it, on every node."""
        store = Remembering()
        web, cli = Caller("web"), Caller("cli")
        writes = tuple(Set(f"/{name}", b"x") for name in "abcd")
        value = stamp(encode_batch(Batch("n1", 1, 1, writes, ((2, web), (1, cli)))), 5)
        asked = ["web", "web", "cli", ""]
        Applier(store, Origins(), 0, 0).apply(1, value, Nobody())
        self.assertEqual(store.callers, asked)
        store.callers.clear()
        one, two, three, four = writes
        own = Mine([((one, two, Get("/a")), web), ((three,), cli), ((Get("/a"), four), CLUSTER)])
        Applier(store, Origins(), 0, 0).apply(1, value, own)
        self.assertEqual(store.callers, ["web", "web", "web", "cli", "", ""])

    def test_before_there_were_callers(self) -> None:
        """A log of before callers were told means what it meant: nobody could write rules."""
        self.applier.apply(1, self.value(1, Set("/ctl/acl", b""), Set("/a", b"x")), Nobody())
        self.assertEqual(self.store.rev, 1)
        self.assertEqual(self.store.answer(Get("/a")), Value(1, b"x"))
        self.assertTrue(self.store.is_inherited)

    def test_words_of_the_cluster(self) -> None:
        """What a leader said of its own accord is handed on once it is applied; no batch is."""
        lapse = Lapse(("s",))
        value = stamp(encode_batch(batch(FOUNDER, 0, 0, lapse)), 5)
        outcome = self.applier.apply(1, value, Nobody())
        assert outcome is not None
        self.assertEqual((outcome.is_applied, tuple(outcome.commands)), (True, (lapse,)))
        outcome = self.applier.apply(2, self.value(1, Set("/a", b"x")), Nobody())
        assert outcome is not None
        self.assertEqual(outcome.commands, ())

    def test_passed_over(self) -> None:
        """A batch that is passed over changes nothing but the slot."""
        outcome = self.applier.apply(1, self.value(7, Set("/a", b"x")), Nobody())
        assert outcome is not None
        self.assertFalse(outcome.is_applied)
        self.assertEqual((self.store.rev, self.applier.slot), (0, 1))

    def test_nothing_to_do(self) -> None:
        """Values that do nothing, and configurations, change nothing but the slot."""
        self.assertIsNone(self.applier.apply(1, b"", Nobody()))
        self.assertIsNone(self.applier.apply(2, Configuration(("n1",)), Nobody()))
        self.assertEqual((self.store.rev, self.applier.slot), (0, 2))

    def test_order(self) -> None:
        """A slot out of turn is a bug."""
        self.assertRaises(AssertionError, self.applier.apply, 2, b"", Nobody())

    def test_time(self) -> None:
        """Time as the log tells it never goes back, whatever a leader's clock does."""
        self.applier.apply(1, self.value(1, Set("/a", b"x"), time_ms=900), Nobody())
        self.applier.apply(2, self.value(2, Set("/b", b"x"), time_ms=100), Nobody())
        self.assertEqual(self.applier.time_ms, 900)
        facts = self.store.answer(Stat("/b"))
        assert isinstance(facts, Facts)
        self.assertEqual(facts.modified_ms, 900)

    def test_junk(self) -> None:
        """A value that is no batch is not passed over in silence."""
        for slot, junk in enumerate((b"short", b"12345678junk"), 1):
            self.assertRaises(ValueError, self.applier.apply, slot, junk, Nobody())


class Members(SynchronousTestCase):
    """What a configuration does to the store."""

    def setUp(self) -> None:
        """Begin with a cluster that was founded by two nodes."""
        self.applier = Applier(Store(), Origins(), 0, 0)
        genesis = Genesis("c", (("n1", "n1:1"), ("n2", "n2:1")))
        value = stamp(encode_batch(Batch(FOUNDER, 0, 0, (genesis,))), 1000)
        self.applier.apply(1, value, Nobody())
        self.rev = self.applier.store.rev

    def members(self) -> dict[str, bytes]:
        """Return what stands under ``/ctl/members``."""
        rows = self.applier.store.answer(Walk("/ctl/members/*"))
        assert isinstance(rows, Rows)
        found = (row for row in rows.rows if isinstance(row, Row))
        return {row.path.removeprefix("/ctl/members/"): row.value for row in found}

    def learn(self, voters: str, learners: str, **members: str) -> int:
        """Apply a configuration; return how many revisions it made."""
        before = self.applier.store.rev
        listed = tuple(Member(node, where) for node, where in sorted(members.items()))
        named = Configuration(tuple(voters.split()), tuple(learners.split()), listed)
        self.applier.apply(self.applier.slot + 1, named, Nobody())
        return self.applier.store.rev - before

    def test_told_in_the_tree(self) -> None:
        """Who came, went or got a vote is seen under ``/ctl/members``, at one revision."""
        self.assertEqual(self.learn("n2", "n3", n2="n2:1", n3="n3:2"), 1)
        self.assertEqual(self.members(), {"n2": b"n2:1", "n3": b"n3:2 observer"})
        self.assertEqual(self.learn("n2 n3", "", n2="n2:1", n3="n3:2"), 1)
        self.assertEqual(self.members(), {"n2": b"n2:1", "n3": b"n3:2"})

    def test_nothing_new(self) -> None:
        """A configuration that says of the members what is known makes no revision."""
        before = self.applier.store.digest
        self.assertEqual(self.learn("n1 n2", "", n1="n1:1", n2="n2:1"), 0)
        self.assertEqual(self.applier.store.digest, before)

    def test_first_configuration(self) -> None:
        """One that says of its members nothing but names, as in old logs, touches nothing."""
        self.assertEqual(self.learn("n1", ""), 0)
        self.assertEqual(self.members(), {"n1": b"n1:1", "n2": b"n2:1"})

    def test_stamp(self) -> None:
        """The change carries the newest time that the log has told, and the cluster's name."""
        self.learn("n2", "", n2="n2:9")
        facts = self.applier.store.answer(Stat("/ctl/members/n2"))
        assert isinstance(facts, Facts)
        self.assertEqual((facts.modified_ms, facts.version), (1000, 2))
