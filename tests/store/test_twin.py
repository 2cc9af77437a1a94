"""The store beside its naive twin, through random lives."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord import paths
from coord.commands import Get, List, Stat, Walk
from coord.errors import CoordError, Lagged, TooLate
from coord.events import Event
from coord.paths import Glob
from coord.results import Row, Rows, Value, Written
from coord.store import watches
from coord.store.image import Loading
from coord.store.machine import Store
from coord.store.watches import Watch
from tests.store.strategies import CALM, GLOBS, a_step, a_write, dice
from tests.store.twin import Twin


class Reading:
    """Rows on their way, and what they should be."""

    def __init__(self, rows: Rows, expected: list[Any]) -> None:
        self.rows = rows
        self.expected = expected
        self.seen: list[Any] = []

    def pull(self, count: int) -> bool:
        """Take some; return whether that was all."""
        iterator: Iterator[Any] = self.rows.rows
        for _ in range(count):
            row = next(iterator, self)
            if row is self:
                return True
            if isinstance(row, Row):
                self.seen.append((row.path, row.rev, row.value))
            elif row is not None:
                self.seen.append(row)
        return False


class Watching:
    """A watch, where it began, and what it has seen."""

    def __init__(self, watch: Watch, glob: str) -> None:
        self.watch = watch
        self.glob = glob
        self.seen: list[Event] = []
        self.lagged = False


class Life:
    """A store and its twin, taken through the same steps."""

    def __init__(self, test: SynchronousTestCase, history: int) -> None:
        self.test = test
        self.history = history
        self.store = Store(history)
        self.twin = Twin()
        self.readings: list[Reading] = []
        self.watchings: list[Watching] = []
        self.time_ms = 1000

    @property
    def horizon(self) -> int:
        """The oldest of the last revisions that the store was told to keep."""
        return max(0, self.twin.rev - self.history + 1)

    def step(self, step: Any) -> None:
        """Take one step."""
        if isinstance(step, tuple):
            getattr(self, step[0])(*step[1:])
        else:
            self.write(step)

    def write(self, write: Any) -> None:
        """Write to both."""
        self.time_ms += 7
        result = self.store.apply(write, self.time_ms)
        expected = self.twin.apply(write, self.time_ms)
        if isinstance(result, CoordError):
            self.test.assertEqual(result.code, expected)
        else:
            assert isinstance(result, Written)
            self.test.assertEqual((result.rev, result.path), expected)
        self.test.assertEqual(self.store.rev, self.twin.rev)
        self.test.assertEqual(self.store.horizon, self.horizon)

    def turn(self) -> None:
        """End a batch and a turn."""
        self.store.seal()
        for watch in self.store.publish():
            self.test.assertTrue(watch.ready)

    def rev(self, back: int | None) -> int | None:
        """Return the revision meant."""
        return None if back is None else max(0, self.twin.rev - back)

    def refused(self, result: Any, rev: int | None) -> bool:
        """Say whether ``rev`` cannot be read, and see that the store says so."""
        if rev is None or self.horizon <= rev <= self.twin.rev:
            return False
        self.test.assertEqual(result.code, "TOO_LATE" if rev < self.horizon else "BAD_REQUEST")
        return True

    def get(self, path: str, back: int | None) -> None:
        """Read a node and its facts."""
        rev = self.rev(back)
        value = self.store.answer(Get(path, rev=rev))
        facts = self.store.answer(Stat(path, rev=rev))
        if self.refused(value, rev) or self.refused(facts, rev):
            return
        at = self.twin.rev if rev is None else rev
        node = self.twin.copies[at].get(path)
        if node is None:
            assert isinstance(value, CoordError)
            assert isinstance(facts, CoordError)
            self.test.assertEqual((value.code, facts.code), ("NOENT", "NOENT"))
            return
        self.test.assertEqual(facts, self.twin.facts(path, at))
        if node.value is None:
            assert isinstance(value, CoordError)
            self.test.assertEqual(value.code, "ISDIR")
        else:
            self.test.assertEqual(value, Value(node.rev, node.value))

    def names(self, path: str, back: int | None) -> None:
        """Begin to list children."""
        rev = self.rev(back)
        result = self.store.answer(List(path, rev=rev))
        if self.refused(result, rev):
            return
        at = self.twin.rev if rev is None else rev
        if path not in self.twin.copies[at]:
            assert isinstance(result, CoordError)
            self.test.assertEqual(result.code, "NOENT")
            return
        self.begin(result, at, self.twin.names(path, at))

    def walk(self, glob: str, back: int | None, after: str | None, limit: int | None) -> None:
        """Begin to walk."""
        rev = self.rev(back)
        result = self.store.answer(Walk(glob, rev=rev, after=after, limit=limit))
        if self.refused(result, rev):
            return
        at = self.twin.rev if rev is None else rev
        self.begin(result, at, self.twin.walk(glob, at, after, limit))

    def begin(self, result: Any, rev: int, expected: list[Any]) -> None:
        """Keep rows that were begun."""
        self.test.assertEqual(result.rev, rev)
        self.readings.append(Reading(result, expected))

    def pull(self, count: int) -> None:
        """Read on in all that was begun."""
        for reading in list(self.readings):
            if reading.pull(count):
                self.test.assertEqual(reading.seen, reading.expected)
                self.readings.remove(reading)

    def drop(self, which: int) -> None:
        """Give up reading one."""
        if which < len(self.readings):
            reading = self.readings.pop(which)
            self.test.assertEqual(reading.seen, reading.expected[: len(reading.seen)])
            reading.rows.close()

    def watch(self, glob: str, back: int | None) -> None:
        """Begin to watch."""
        after = None if back is None else max(0, self.twin.rev - back)
        compiled = Glob.parse(glob.encode())
        if after is not None and after < self.horizon:
            with self.test.assertRaises(TooLate) as raised:
                self.store.watch(compiled, after, lambda: None)
            self.test.assertIn(f"from revision {self.horizon} ", raised.exception.text)
            return
        watch = self.store.watch(compiled, after, lambda: None)
        self.test.assertEqual(watch.rev, self.twin.rev if after is None else after)
        self.watchings.append(Watching(watch, glob))

    def take(self, which: int, limit: int) -> None:
        """Take events from one watch."""
        if which >= len(self.watchings):
            return
        watching = self.watchings[which]
        try:
            events = watching.watch.take(limit)
        except Lagged as error:
            self.test.assertIn(f"revision {self.horizon}", error.text)
            last = watching.seen[-1].rev if watching.seen else watching.watch.rev
            self.test.assertLessEqual(last, self.horizon)
            self.test.assertFalse(watching.watch.ready)
            watching.lagged = True
            self.watchings.remove(watching)
        else:
            self.test.assertLessEqual(len(events), limit)
            watching.seen += events
        expected = self.twin.events(watching.glob, watching.watch.rev)
        self.test.assertEqual(watching.seen, expected[: len(watching.seen)])

    def reload(self) -> None:
        """Go on with a store made from an image, and see that it is the same one."""
        self.store.seal()
        pieces = list(self.store.picture().pieces())
        loading = Loading(self.history)
        for piece in pieces:
            loading.feed(piece)
        again = loading.finish()
        self.test.assertEqual((again.rev, again.digest), (self.store.rev, self.store.digest))
        self.test.assertEqual(again.horizon, self.store.horizon)
        self.test.assertEqual(list(again.picture().pieces()), pieces)
        if not self.readings and not self.watchings:
            self.store = again

    def finish(self) -> None:
        """Read everything to its end and see that nothing is missing or left over."""
        while self.readings:
            self.pull(5)
        self.turn()
        for watching in list(self.watchings):
            while watching.watch.ready:
                self.take(self.watchings.index(watching), 2)
            if not watching.lagged:
                expected = self.twin.events(watching.glob, watching.watch.rev)
                self.test.assertEqual(watching.seen, expected)
            watching.watch.close()
        self.test.assertEqual(self.store.watch_count, 0)
        self.see_nothing_kept()

    def see_nothing_kept(self) -> None:
        """See that a store from an image, which begins with what it needs, has no less."""
        loading = Loading(self.history)
        for piece in self.store.picture().pieces():
            loading.feed(piece)
        again = loading.finish()
        self.test.assertEqual(kept(self.store), kept(again))
        for at in range(self.horizon, self.twin.rev + 1):
            self.begin(self.store.answer(Walk("/**", rev=at)), at, self.twin.walk("/**", at))
        for path in self.twin.copies[-1]:
            self.names(path, None)
            self.get(path, 0)
        while self.readings:
            self.pull(50)


def kept(store: Store) -> tuple[list[str], dict[str, list[int]]]:
    """Return the keys that a store knows, and from when it has older versions of them."""
    tree = store._tree
    older = {}
    for key, past in tree.past.items():
        items = [past] if hasattr(past, "since") else past.items[past.start :]
        older[key] = [version.since for version in items]
    return tree.order.span("", "\x01", 1 << 30), older


class TwinTests(SynchronousTestCase):
    """Nothing that the store says differs from what its twin says."""

    def setUp(self) -> None:
        """Make everything small, so that everything is met."""
        self.patch(watches, "WATCH_PENDING_EVENTS_MAX", 3)
        self.patch(watches, "_SCAN_CHANGES_MAX", 4)

    @CALM
    @given(st.sampled_from([1, 2, 5, 1000]), dice)
    def test_lives(self, history: int, random: Random) -> None:
        """Writes, reads of the past, walks and watches under way, images: all at random."""
        both = Life(self, history)
        for _ in range(80):
            both.step(a_step(random))
        both.finish()

    @CALM
    @given(dice)
    def test_watched_from_everywhere(self, random: Random) -> None:
        """Watches that began at every revision there is all see the same rest."""
        both = Life(self, 1000)
        for _ in range(20):
            both.write(a_write(random))
            both.watch(random.choice(GLOBS), None)
            both.watch(random.choice(GLOBS), both.twin.rev // 2)
            both.turn()
            for which in range(3):
                both.take(which, 2)
        both.finish()


class OrderTests(SynchronousTestCase):
    """What the store and its twin take for granted."""

    def test_names_are_tricky(self) -> None:
        """The names that lives are made of sort differently with and without their slash."""
        tricky = ["/a", "/a/b", "/a\x01", "/a!"]
        self.assertEqual(sorted(tricky, key=paths.order_key), tricky)
        self.assertNotEqual(sorted(tricky), tricky)
