"""What things cost, counted in work and not in time."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from typing import Any

from coord.commands import READS, WRITES, Caller, Level, List, Walk
from coord.paths import Glob
from coord.results import Row, Rows
from coord.store import watches
from coord.store.access import Rules
from coord.store.machine import Store
from coord.store.order import Order
from coord.store.tree import Shelf, Tree, Version, above
from tests.store.case import StoreTestCase


class CountingTestCase(StoreTestCase):
    """Counts calls."""

    def count(self, owner: type, name: str) -> Counter[str]:
        """Return a count of the calls of one method, from now on."""
        calls = Counter[str]()
        original: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any) -> Any:
            calls[name] += 1
            return original(*arguments)

        self.patch(owner, name, counted)
        return calls


class DispatchTests(StoreTestCase):
    """Writes and reads are found in a table."""

    def test_total(self) -> None:
        """Every write and every read has its place there."""
        store = Store()
        self.assertEqual(set(store._writes), set(WRITES))
        self.assertEqual(set(store._reads), set(READS))


class WatchCostTests(CountingTestCase):
    """A watch costs nothing while nothing that it wants changes."""

    def test_other_watchers(self) -> None:
        """Ten thousand watchers of other paths are not touched by a write."""
        for number in range(10_000):
            self.watch(b"/other/%d/**" % number)
        offers = self.count(watches.Watch, "offer")
        rendered = []
        self.patch(watches, "event_of", lambda version: rendered.append(version))
        for number in range(10):
            self.set(f"/mine/{number}")
            self.assertEqual(self.turn(), [])
        self.assertEqual((offers["offer"], rendered), (0, []))

    def test_other_watchers_below(self) -> None:
        """Neither are they where all stand beside each other, nor are rules asked for them."""
        caller = Caller("bob", "h:1", Level.READ)
        for number in range(10_000):
            self.store.watch(Glob.parse(b"/all/%d" % number), None, lambda: None, caller)
        offers, asked = self.count(watches.Watch, "offer"), self.count(Rules, "may")
        matches = self.count(Glob, "matches")
        steps = Counter[str]()

        def counted(key: str) -> str:
            steps["above"] += 1
            return above(key)

        self.patch(watches, "above", counted)
        for number in range(100):
            self.set(f"/mine/{number}")
        self.assertEqual(self.turn(), [])
        self.assertEqual((offers["offer"], asked["may"], matches["matches"]), (0, 0, 0))
        self.assertLess(steps["above"], 10)

    def test_hot_nodes(self) -> None:
        """Nodes that change all the time are not looked up again, however many watch others."""
        for number in range(100):
            self.watch(b"/other/%d" % number)
        told = self.count(watches.Watches, "_tell")
        for number in range(1000):
            self.set(f"/mine/{number % 10}")
            self.turn()
        self.assertLess(told["_tell"], 15)

    def test_nobody(self) -> None:
        """Without any watch nothing is looked at."""
        told = self.count(watches.Watches, "_tell")
        self.set("/a")
        self.turn()
        self.assertEqual(told["_tell"], 0)

    def test_one_glob(self) -> None:
        """A glob that many want is matched once."""
        for _ in range(100):
            self.watch(b"/a/*")
        offers = self.count(watches.Watch, "offer")
        matches = self.count(Glob, "matches")
        self.set("/a/b/c")
        self.turn()
        self.assertEqual((offers["offer"], matches["matches"]), (0, 1))

    def test_one_right(self) -> None:
        """Rules are asked once for all watchers on a glob who have the same rights."""
        for number in range(100):
            caller = Caller("bob" if number % 2 else "ann", f"h:{number}", Level.READ)
            self.store.watch(Glob.parse(b"/a/*"), None, lambda: None, caller)
        asked = self.count(Rules, "may")
        self.set("/a/b")
        self.assertEqual(len(self.turn()), 100)
        self.assertEqual(asked["may"], 2)


class ReadCostTests(CountingTestCase):
    """Reads look at what they return, and a little more."""

    def test_list_skips(self) -> None:
        """LIST does not look at grandchildren one by one."""
        for child in range(3):
            for grandchild in range(2000):
                self.set(f"/d/{child}/{grandchild}")
        looked_at, asked = self.count(Tree, "at"), self.count(Order, "span")
        self.assertEqual(self.names("/d"), ["0", "1", "2"])
        self.assertLess(looked_at["at"], 10)
        self.assertLess(asked["span"], 10)

    def test_walk_begins_at_once(self) -> None:
        """A walk of much costs nothing before its rows are taken, and then by the row."""
        for number in range(3000):
            self.set(f"/d/{number}")
        looked_at = self.count(Tree, "at")
        rows = self.store.answer(Walk("/**"))
        assert isinstance(rows, Rows)
        self.assertEqual(looked_at["at"], 0)
        for _ in range(10):
            next(rows.rows)
        self.assertLess(looked_at["at"], 20)
        rows.close()

    def test_walk_gives_way(self) -> None:
        """A walk that finds nothing for long says so, at least every 256 nodes."""
        for number in range(3000):
            self.set(f"/d/{number:04d}/x")
        self.set("/d/2999/wanted")
        looked_at = self.count(Tree, "at")
        rows = self.store.answer(Walk("/d/*/wanted"))
        assert isinstance(rows, Rows)
        before, found = 0, []
        for row in rows.rows:
            self.assertLessEqual(looked_at["at"] - before, 256)
            before = looked_at["at"]
            if isinstance(row, Row):
                found.append(row.path)
        self.assertEqual(found, ["/d/2999/wanted"])

    def test_list_gives_way(self) -> None:
        """So does a list of nodes that are all gone."""
        for number in range(3000):
            self.set(f"/d/{number:04d}")
            self.delete(f"/d/{number:04d}")
        self.set("/d/x")
        looked_at = self.count(Tree, "at")
        rows = self.store.answer(List("/d"))
        assert isinstance(rows, Rows)
        before = looked_at["at"]
        for _ in rows.rows:
            self.assertLessEqual(looked_at["at"] - before, 256)
            before = looked_at["at"]

    def test_hot_node(self) -> None:
        """To read an old revision of a node that changed often is a search, not a walk."""
        for _ in range(2000):
            self.set("/hot")
        steps = 0

        class Counting(list[Version]):
            def __getitem__(self, at: Any) -> Any:
                nonlocal steps
                steps += 1
                return super().__getitem__(at)

        past = self.store._tree.past["\0hot"]
        assert isinstance(past, Shelf)
        past.items = Counting(past.items)
        self.assertEqual(getattr(self.get("/hot", 700), "rev", None), 700)
        self.assertLess(steps, 20)


class TrimCostTests(CountingTestCase):
    """History is dropped a little at a time."""

    def test_large_revision(self) -> None:
        """A revision of many changes is dropped over many batches."""
        self.store = Store(2)
        for number in range(3000):
            self.set(f"/t/{number}")
        self.store.seal()
        while self.store._history.first <= self.store.horizon:
            self.store.seal()
        self.delete("/t", tree=True)
        forgotten = self.count(Tree, "forget")
        self.set("/a")
        before = forgotten["forget"]
        batches = 0
        while len(self.store._tree.past) > 5:
            self.store.seal()
            self.assertLessEqual(forgotten["forget"] - before, 300)
            before = forgotten["forget"]
            batches += 1
        self.assertGreater(batches, 9)
        self.assertEqual(self.walk("/**"), ["/a"])

    def test_given_back(self) -> None:
        """What comes and goes leaves nothing behind once history has passed it."""
        self.store = Store(10)
        for number in range(500):
            self.set(f"/s/{number}/x")
            self.delete(f"/s/{number}/x")
            self.store.seal()
        self.assertLess(len(self.store._tree.order), 30)
        self.assertLess(len(self.store._tree.past), 30)
        self.assertLess(len(self.store._history._entries.items), 30)


class CollectorTests(StoreTestCase):
    """The garbage collector does not walk the nodes."""

    def test_untracked(self) -> None:
        """Neither versions nor the dictionary that holds them concern it."""
        for number in range(100):
            self.set(f"/d/{number}")
            self.set(f"/d/{number}")
        live = self.store._tree.live
        self.assertFalse(gc.is_tracked(live))
        self.assertFalse(any(gc.is_tracked(version) for version in live.values()))
        self.assertFalse(gc.is_tracked(self.store._tree.past))
