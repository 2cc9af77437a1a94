"""What watchers see: every change, in order, none missed, none twice."""

from __future__ import annotations

from coord.commands import Genesis
from coord.errors import Lagged, TooLate, Unavailable
from coord.events import Event, Kind
from coord.limits import WATCH_PENDING_EVENTS_MAX
from coord.paths import Glob
from coord.store import watches
from coord.store.machine import Store
from coord.store.watches import Watch
from tests.store.case import StoreTestCase


def drained(watch: Watch, limit: int = 100) -> list[Event]:
    """Take all that there is."""
    seen: list[Event] = []
    while watch.ready:
        seen += watch.take(limit)
    return seen


class FollowingTests(StoreTestCase):
    """Watches that keep up."""

    def test_from_now(self) -> None:
        """A watch sees what happens after it began, at the revision that it names."""
        self.set("/a")
        watch = self.watch()
        self.assertEqual(watch.rev, 1)
        self.set("/b", b"x")
        self.assertEqual(self.turn(), [watch])
        self.assertEqual(drained(watch), [Event(2, Kind.SET, "/b", b"x")])

    def test_kinds(self) -> None:
        """A watch sees values gained, changed and lost."""
        watch = self.watch(b"/a")
        self.set("/a", b"1")
        self.set("/a", b"2")
        self.delete("/a")
        self.turn()
        self.assertEqual(
            drained(watch),
            [
                Event(1, Kind.SET, "/a", b"1"),
                Event(2, Kind.SET, "/a", b"2"),
                Event(3, Kind.DEL, "/a"),
            ],
        )

    def test_ended(self) -> None:
        """Watches that are ended tell why, once, and nothing of what was pending."""
        quiet, behind, closed = self.watch(), self.watch(), self.watch()
        self.set("/a")
        self.turn()
        drained(quiet)
        closed.close()
        self.store.end_watches(Unavailable("removed"))
        self.assertEqual(self.turn(), [quiet])
        for watch in (quiet, behind):
            self.assertTrue(watch.ready)
            self.assertRaises(Unavailable, watch.take, 1)
            self.assertEqual((watch.ready, watch.take(1)), (False, []))
        self.assertEqual((closed.ready, self.store.watch_count), (False, 0))
        self.set("/a")
        self.assertEqual(self.turn(), [])

    def test_only_its_glob(self) -> None:
        """A watch sees what matches its glob and nothing else."""
        watch = self.watch(b"/a/*")
        for path in ("/a", "/a/b", "/a/b/c", "/ab", "/a/c"):
            self.set(path)
        self.turn()
        self.assertEqual([event.path for event in drained(watch)], ["/a/b", "/a/c"])

    def test_not_ready(self) -> None:
        """Nothing to see: not woken, not ready, nothing to take."""
        watch = self.watch(b"/a")
        self.set("/b")
        self.assertEqual(self.turn(), [])
        self.assertFalse(watch.ready)
        self.assertEqual(watch.take(5), [])

    def test_woken_once(self) -> None:
        """A watch with events not yet taken is not woken for more."""
        watch = self.watch()
        self.set("/a")
        self.assertEqual(self.turn(), [watch])
        self.set("/a")
        self.assertEqual(self.turn(), [])
        self.assertEqual(len(drained(watch)), 2)
        self.set("/a")
        self.assertEqual(self.turn(), [watch])

    def test_nobody_is_called(self) -> None:
        """Nobody is called inside a change or a publish: collect, then fire."""
        calls = []
        self.store.watch(Glob.parse(b"/**"), None, lambda: calls.append(1))
        self.set("/a")
        ready = self.turn()
        self.assertEqual(calls, [])
        for watch in ready:
            watch.wake()
        self.assertEqual(calls, [1])

    def test_shared_events(self) -> None:
        """Watches that see one event share it, so that it is rendered once."""
        one, other = self.watch(b"/a/**"), self.watch(b"/**")
        self.set("/a/b")
        self.turn()
        self.assertIs(one.take(1)[0], other.take(1)[0])

    def test_same_glob_twice(self) -> None:
        """Two watches on one glob are two watches."""
        one, other = self.watch(), self.watch()
        self.set("/a")
        self.assertEqual(self.turn(), [one, other])
        one.close()
        self.set("/b")
        self.turn()
        self.assertEqual(len(drained(other)), 2)

    def test_begun_before_publish(self) -> None:
        """A watch that begins between a write and its publishing does not see that write."""
        self.set("/a")
        watch = self.watch()
        self.set("/b")
        self.turn()
        self.assertEqual([event.path for event in drained(watch)], ["/b"])

    def test_closed(self) -> None:
        """A closed watch sees nothing more, and may be closed again."""
        watch = self.watch()
        self.set("/a")
        self.turn()
        watch.close()
        watch.close()
        self.assertFalse(watch.ready)
        self.assertEqual(watch.take(1), [])
        self.assertEqual(self.store.watch_count, 0)
        self.set("/b")
        self.assertEqual(self.turn(), [])

    def test_counted(self) -> None:
        """Open watches are counted."""
        some = [self.watch(b"/a"), self.watch(b"/a"), self.watch(b"/b/*")]
        self.assertEqual(self.store.watch_count, 3)
        some[1].close()
        self.assertEqual(self.store.watch_count, 2)

    def test_come_and_gone(self) -> None:
        """Watches that come and go above a node that changes all the time are all served."""
        self.watch(b"/elsewhere")
        for glob in (b"/a/b/*", b"/a/**", b"/**", b"/a/b/c"):
            self.set("/a/b/c")
            self.assertEqual(self.turn(), [])
            watch = self.watch(glob)
            self.set("/a/b/c")
            self.assertEqual(self.turn(), [watch])
            watch.close()
        self.set("/a/b/c")
        self.assertEqual(self.turn(), [])

    def test_many_parents(self) -> None:
        """What is remembered of nodes is bounded, and forgetting it loses no watch."""
        self.patch(watches, "_KNOWN_MAX", 5)
        self.patch(watches, "_QUIET_MAX", 5)
        watch = self.watch(b"/p/**")
        for number in range(20):
            self.set(f"/p/{number}/x")
            self.set(f"/q/{number}/x")
        self.turn()
        self.assertEqual(len(drained(watch)), 20)
        self.assertLessEqual(len(self.store._watches._quiet), 5)
        self.assertLessEqual(len(self.store._watches._known), 5)

    def test_genesis(self) -> None:
        """The cluster's first nodes are changes like any other."""
        watch = self.watch(b"/ctl/**")
        self.store.apply(Genesis("c", (("n1", "h:1"),)), 1)
        self.turn()
        self.assertEqual(
            [event.path for event in drained(watch)], ["/ctl/cluster", "/ctl/members/n1"]
        )


class PastTests(StoreTestCase):
    """Watches that begin in the past, or in the future."""

    def test_from(self) -> None:
        """from=N first replays what happened after N, then goes on."""
        for number in range(6):
            self.set(f"/{number}")
        watch = self.watch(after_rev=2)
        self.assertEqual(watch.rev, 2)
        self.assertTrue(watch.ready)
        self.assertEqual([event.rev for event in watch.take(2)], [3, 4])
        self.set("/6")
        self.turn()
        self.assertEqual([event.rev for event in drained(watch)], [5, 6, 7])
        self.set("/7")
        self.assertEqual(self.turn(), [watch])
        self.assertEqual([event.rev for event in drained(watch)], [8])

    def test_read_ahead(self) -> None:
        """What a watch read from the history before it was published is not seen twice."""
        self.set("/a")
        watch = self.watch(after_rev=0)
        self.set("/b")
        self.assertEqual(len(drained(watch)), 2)
        self.assertEqual(self.turn(), [])
        self.assertFalse(watch.ready)

    def test_future(self) -> None:
        """A watch may begin after a revision still to come."""
        watch = self.watch(after_rev=2)
        self.assertFalse(watch.ready)
        self.set("/a")
        self.set("/a")
        self.assertEqual(self.turn(), [])
        self.set("/a")
        self.assertEqual(self.turn(), [watch])
        self.assertEqual([event.rev for event in drained(watch)], [3])

    def test_too_late(self) -> None:
        """Older history than there is: the error names the revision to begin at."""
        self.store = Store(3)
        for _ in range(10):
            self.set("/a")
            self.turn()
        with self.assertRaises(TooLate) as raised:
            self.watch(after_rev=7)
        self.assertIn("watch from revision 8", raised.exception.text)
        self.assertEqual([event.rev for event in drained(self.watch(after_rev=8))], [9, 10])
        self.assertEqual(self.store.watch_count, 1)

    def test_a_stretch_at_a_time(self) -> None:
        """Much history without interest is read in stretches, with nothing in between."""
        self.patch(watches, "_SCAN_CHANGES_MAX", 10)
        self.set("/wanted")
        for _ in range(35):
            self.set("/other")
        self.set("/wanted")
        watch = self.watch(b"/wanted", after_rev=0)
        taken = []
        while watch.ready:
            taken.append([event.rev for event in watch.take(5)])
        self.assertEqual(taken, [[1], [], [], [37]])

    def test_within_a_revision(self) -> None:
        """A revision of many changes may be taken in parts."""
        for name in "abcde":
            self.set(f"/t/{name}")
        self.delete("/t", tree=True)
        watch = self.watch(after_rev=5)
        self.assertEqual([event.path for event in watch.take(2)], ["/t/a", "/t/b"])
        self.assertEqual([event.path for event in watch.take(2)], ["/t/c", "/t/d"])
        self.assertEqual([event.path for event in drained(watch)], ["/t/e"])


class SlowTests(StoreTestCase):
    """Watches that do not keep up."""

    def test_bounded(self) -> None:
        """A watch that is not read holds no more than its bound, and still misses nothing."""
        watch = self.watch()
        count = WATCH_PENDING_EVENTS_MAX + 500
        for _ in range(count):
            self.set("/a")
            self.turn()
        self.assertEqual(len(watch._pending), WATCH_PENDING_EVENTS_MAX)
        self.assertEqual([event.rev for event in drained(watch)], list(range(1, count + 1)))
        self.set("/a")
        self.assertEqual(self.turn(), [watch])
        self.assertEqual([event.rev for event in drained(watch)], [count + 1])

    def test_too_much_at_once(self) -> None:
        """So it is with one revision of more changes than the bound."""
        count = WATCH_PENDING_EVENTS_MAX + 500
        for number in range(count):
            self.set(f"/t/{number:05d}")
        watch = self.watch()
        self.delete("/t", tree=True)
        self.turn()
        self.assertEqual(
            [event.path for event in drained(watch)],
            [f"/t/{number:05d}" for number in range(count)],
        )

    def test_lagged(self) -> None:
        """Where its history is gone, it is told once from where to watch again."""
        self.patch(watches, "WATCH_PENDING_EVENTS_MAX", 2)
        self.store = Store(3)
        watch = self.watch()
        for _ in range(10):
            self.set("/a")
            self.turn()
        self.assertEqual([event.rev for event in watch.take(9)], [1, 2])
        with self.assertRaises(Lagged) as raised:
            watch.take(9)
        self.assertEqual(raised.exception.text, "too slow to be kept: watch again from revision 8")
        self.assertFalse(watch.ready)
        self.assertEqual(watch.take(9), [])
        self.assertEqual(self.store.watch_count, 0)

    def test_turn_longer_than_history(self) -> None:
        """A turn of more batches than history holds is seen whole or reported, never cut."""
        self.store = Store(3)
        watch, late = self.watch(), self.watch(after_rev=20)
        for _ in range(10):
            self.set("/a")
            self.store.seal()
        self.assertEqual(self.store.publish(), [watch, late])
        self.assertRaises(Lagged, watch.take, 9)
        self.assertEqual(late.take(9), [])
        self.assertFalse(late.ready)
        self.assertEqual(self.store.watch_count, 1)
