"""What sessions, locks and transactions cost, counted in work and not in time."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter, OrderedDict
from collections.abc import Callable, Container
from typing import Any

from coord.commands import Delete, Level, Look, OpenSession, Part, Set
from coord.results import Committed, Written
from coord.store import order
from coord.store.access import Rules
from coord.store.draft import Draft
from coord.store.order import Order
from coord.store.sessions import Sessions
from coord.store.state import State
from coord.store.tree import Tree
from tests.store.users import UsersTestCase, named

_LIVING = Order.living


class CountedOrder(OrderedDict[str, Any]):
    """A queue that counts who is looked at."""

    looks = 0

    def values(self) -> Any:
        """Return the values, counted as they are taken."""
        for value in super().values():
            self.looks += 1
            yield value

    def __iter__(self) -> Any:
        """Return the keys, counted as they are taken."""
        for key in super().__iter__():
            self.looks += 1
            yield key


class CountingTestCase(UsersTestCase):
    """Counts calls."""

    def count(self, owner: type, *names: str) -> Counter[str]:
        """Return a count of the calls of some methods, from now on."""
        calls = Counter[str]()
        for name in names:
            self.patch(owner, name, self._counted(calls, name, getattr(owner, name)))
        return calls

    def _counted(
        self, calls: Counter[str], name: str, original: Callable[..., Any]
    ) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return original(*arguments, **named)

        return counted


class CountedNodes:
    """Says of keys whether a node is there, and counts how often it is asked."""

    def __init__(self) -> None:
        self.live: Container[str] = ()
        self.asked = 0

    def __contains__(self, key: object) -> bool:
        """Say whether one is there."""
        self.asked += 1
        return key in self.live

    def living(self, keys: Order, start: str, until: str, live: Container[str]) -> list[str]:
        """Do what `Order.living` does."""
        self.live = live
        return _LIVING(keys, start, until, self)


class PlainTests(CountingTestCase):
    """Who uses none of it does not pay for it."""

    def test_no_draft(self) -> None:
        """A plain write of one node has a short way, whatever sessions and locks there are."""
        self.open("s1")
        self.token("s1", "/l")
        self.ephemeral("s1", "/e")
        self.set("/a/b")
        self.set("/a/c")
        drafts = self.count(State, "draft", "commit")
        for write in (Set("/a/b", b"1"), Set("/a/new", b"1", 0), Set("/e", b"2"), Delete("/a/c")):
            self.assertIsInstance(self.do("", write), Written)
        self.assertEqual(drafts, Counter())

    def test_the_same(self) -> None:
        """The short way does what the long one would."""
        writes = (
            Set("/a/b", b"1"), Set("/a/c", b"2"), Set("/a/b", b"3"), Set("/a/d", b"", 0),
            Delete("/a/c"), Set("/a", b"5"), Delete("/a/d"), Delete("/a/b"), Set("/a", b"6", 6),
        )  # fmt: skip
        for write in writes:
            self.store.apply(write, 7, named())
        images = []
        self.store.seal()
        images.append(list(self.store.picture().pieces()))
        self.setUp()
        for write in writes:
            draft = self.store._state.draft(7)
            step = self.store._writes[Set].__self__.by_part[type(write)]  # type: ignore[attr-defined]
            self.assertIsNone(step(draft, write, named()))
            self.store._state.commit(draft)
        self.store.seal()
        images.append(list(self.store.picture().pieces()))
        self.assertEqual(images[0], images[1])


class EndCostTests(CountingTestCase):
    """The end of a session costs what it owned."""

    def test_one_record_for_each_parent(self) -> None:
        """However many nodes go, each parent is counted down once and has one new record."""
        self.open("s1")
        for number in range(3000):
            self.ephemeral("s1", f"/d/{number % 3}/{number}")
        for parent in range(3):
            self.set(f"/d/{parent}/stays")
        calls = self.count(Draft, "_shrink", "_lose_one", "_count_gone")
        puts = self.count(Tree, "put", "bury")
        rev = self.made(self.lapse("s1"))
        self.assertEqual(len(self.store._history.changes(rev)), 3003)
        self.assertEqual(calls, Counter(_shrink=3, _count_gone=3))
        self.assertEqual(puts, Counter(put=3, bury=1))

    def test_a_parent_that_goes_as_well(self) -> None:
        """That a parent has older versions does not make its children more work."""
        self.open("s1")
        for number in range(1000):
            self.ephemeral("s1", f"/d/{number}")
        calls = self.count(Tree, "keep")
        self.made(self.lapse("s1"))
        self.assertLessEqual(calls["keep"], 4)

    def test_nobody_else(self) -> None:
        """What others own is not looked at."""
        self.open("s1", "s2")
        for number in range(1000):
            self.ephemeral("s2", f"/d/{number}")
        self.ephemeral("s1", "/d/mine")
        looks = self.count(Draft, "get")
        self.lapse("s1")
        self.assertLess(looks["get"], 10)

    def test_parents_that_go(self) -> None:
        """Parents that were there only for them go with them, each looked at once."""
        self.open("s1")
        for number in range(500):
            self.ephemeral("s1", f"/d/{number}/x")
        looks = self.count(Draft, "_shrink", "_count_gone")
        self.lapse("s1")
        self.assertEqual((self.store.node_count, looks["_shrink"]), (1, 500))
        self.assertLess(looks["_count_gone"], 1100)

    def test_untracked(self) -> None:
        """Sessions are nothing to the garbage collector, and take little memory."""
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(2000):
                write = OpenSession(f"{number:016x}", bytes([number % 256] * 32), 10_000)
                self.store.apply(write, number, named())
            self.store.seal()
            size_bytes = (tracemalloc.get_traced_memory()[0] - before) / 2000
        finally:
            tracemalloc.stop()
        self.assertLess(size_bytes, 1200)
        live = self.store._state.sessions.live
        self.assertFalse(any(gc.is_tracked(session) for session in live.values()))


class QueueCostTests(CountingTestCase):
    """A long queue costs no more than a short one."""

    def test_long(self) -> None:
        """To leave in the middle, to be next, to be given up: nobody else is looked at."""
        names = [f"s{number}" for number in range(2000)]
        self.open(*names)
        self.token("s0", "/l")
        numbers = {name: self.place(name, "/l") for name in names[1:]}
        lock = self.store._state.locks.live["\0l"]
        queue = lock.queue = CountedOrder(lock.queue)
        queue.looks = 0
        for name in names[1000:1100]:
            self.unlock(name, "/l")
        self.lapse(waits=tuple(("/l", name, numbers[name]) for name in names[1200:1300]))
        self.lapse(*names[1400:1500])
        self.assertLessEqual(queue.looks, 300)
        queue.looks = 0
        for name in names[:100]:
            self.assertEqual(self.holders("/l"), (name,))
            self.unlock(name, "/l")
        self.assertLessEqual(queue.looks, 200)

    def test_all_readers(self) -> None:
        """When many readers come in at once each is looked at once."""
        names = [f"s{number}" for number in range(500)]
        self.open(*names)
        self.token("s0", "/l")
        for name in names[1:]:
            self.place(name, "/l", shared=True)
        lock = self.store._state.locks.live["\0l"]
        queue = lock.queue = CountedOrder(lock.queue)
        queue.looks = 0
        self.unlock("s0", "/l")
        self.assertEqual((len(lock.holders), len(queue)), (499, 0))
        self.assertLessEqual(queue.looks, 500)


class TransactionCostTests(CountingTestCase):
    """A transaction costs what it touches."""

    def test_touched(self) -> None:
        """One line is one look or two, however large the tree and the transaction are."""
        for number in range(1000):
            self.set(f"/d/{number}")
        looks, spans = self.count(Draft, "get"), self.count(Tree, "at")
        parts = [Set(f"/d/{number}", b"") for number in range(500)]
        result = self.together(*parts, *[Look(f"/d/{number}") for number in range(500)])
        assert isinstance(result, Committed)
        self.assertLess(looks["get"], 4 * 1000)
        self.assertEqual(spans["at"], 0)

    def test_trees_made_within(self) -> None:
        """To delete what was made within looks at that, and not at all else that was made."""
        looks = self.count(Draft, "get")
        parts: list[Part] = [Delete("/t", tree=True)]
        for number in range(400, 0, -1):
            parts += Set(f"/t/{number}/a/b/c/d", b""), Delete(f"/t/{number}/a", tree=True)
        self.set("/t")
        self.assertEqual(self.together(*parts), Committed(2))
        self.assertLess(looks["get"], 40 * 400)
        self.assertEqual(self.store.node_count, 1)

    def test_trees_that_were(self) -> None:
        """To delete a tree costs no look at what was in it and went long ago."""
        self.patch(order, "_BLOCK_KEYS_MAX", 16)
        for number in range(1000):
            self.set(f"/q/{number:04}")
            self.delete(f"/q/{number:04}")
        self.set("/q/x")
        live = CountedNodes()
        self.patch(Order, "living", lambda *what: live.living(*what))
        self.do("", Delete("/q", tree=True))
        self.assertGreater(live.asked, 900)
        live.asked = 0
        self.set("/q/y")
        self.do("", Delete("/q", tree=True))
        self.assertLess(live.asked, 50)

    def test_tree_of_ones_own(self) -> None:
        """Who may write everywhere is not asked about for each node of a tree that it deletes."""
        asked = self.count(Rules, "may")
        caller = named(level=Level.WRITE)
        for rules in (None, b"anonymous write /**"):
            if rules is not None:
                self.set("/ctl/acl", rules)
            for number in range(200):
                self.set(f"/q/{number:04}")
            asked.clear()
            result = self.store.apply(Delete("/q", tree=True), 1, caller)
            assert isinstance(result, Written), result
            self.assertLess(asked["may"], 5)

    def test_tree_again_and_again(self) -> None:
        """Nor does each line of a transaction look at all that an earlier one deleted."""
        for number in range(1000):
            self.set(f"/q/{number:04}")
        calls = self.count(Draft, "get")
        lines: list[Part] = []
        for _ in range(100):
            lines += Set("/q/0007", b""), Delete("/q", tree=True)
        assert isinstance(self.together(*lines), Committed)
        self.assertLess(calls["get"], 10_000)

    def test_nothing_left_behind(self) -> None:
        """What was aborted leaves nothing at all."""
        self.open("s1")
        self.token("s1", "/l", b"1")
        self.set("/a")
        self.store.seal()
        before = list(self.store.picture().pieces())
        parts = (
            Set("/a", b"2"), Set("/e", b"", ephemeral=True), Set("/m", b"", ttl_ms=5),
            Set("/l", b"2"), Delete("/a"), Set("/a/b/c", b""), Delete("/l"), Delete("/nothing"),
        )  # fmt: skip
        self.together(*parts, session="s1")
        self.store.seal()
        self.assertEqual(list(self.store.picture().pieces()), before)
        self.assertEqual(self.store.nodes_of("s1"), 2)

    def test_sessions_counted(self) -> None:
        """To renew a session's nodes does not count them twice."""
        self.open("s1")
        owned = self.count(Sessions, "own")
        self.ephemeral("s1", "/e")
        for _ in range(5):
            self.ephemeral("s1", "/e")
        self.assertEqual(owned["own"], 1)
