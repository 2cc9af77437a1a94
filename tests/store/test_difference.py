"""What a watch that comes too late is told first: how things differ."""

from __future__ import annotations

from coord.paths import Glob
from coord.results import Row
from coord.store.machine import Store
from tests.store.case import StoreTestCase


class DifferenceTests(StoreTestCase):
    """What is there now, and what of it is new."""

    def setUp(self) -> None:
        """Keep hardly any history: what differs is asked of the present alone."""
        super().setUp()
        self.store = Store(3)

    def difference(self, glob: bytes, after_rev: int) -> list[Row | str]:
        """Return all rows."""
        rows = self.store.difference(Glob.parse(glob), after_rev)
        self.assertEqual(rows.rev, self.store.rev)
        return [row for row in rows.rows if isinstance(row, Row | str)]

    def test_rows(self) -> None:
        """Changed nodes come with their value, others by name; what went is in neither."""
        for path in ("/s/kept", "/s/changed", "/s/gone", "/other"):
            self.set(path, b"old")
        self.set("/s/changed", b"new")
        self.delete("/s/gone")
        self.set("/s/made", b"new")
        for _ in range(10):
            self.set("/other")
            self.turn()
        self.assertEqual(
            self.difference(b"/s/**", 4),
            [Row("/s/changed", 5, b"new"), "/s/kept", Row("/s/made", 7, b"new")],
        )
        self.assertEqual(len(self.difference(b"/**", 4)), 4)
        self.assertEqual(self.difference(b"/s/kept", 4), ["/s/kept"])

    def test_children(self) -> None:
        """A node whose children alone have changed has not; a parent without a value is no row."""
        self.set("/a", b"x")
        self.set("/a/b/c", b"x")
        self.assertEqual(self.difference(b"/**", 1), ["/a", Row("/a/b/c", 2, b"x")])

    def test_come_again(self) -> None:
        """A node that went and came again has changed."""
        self.set("/a", b"x")
        self.delete("/a")
        self.set("/a", b"x")
        self.assertEqual(self.difference(b"/**", 1), [Row("/a", 3, b"x")])

    def test_one_picture(self) -> None:
        """It is one picture, whatever is written while it is taken."""
        for number in range(300):
            self.set(f"/d/{number:03d}")
        rows = self.store.difference(Glob.parse(b"/d/**"), 0)
        seen = []
        for row in rows.rows:
            if row is not None:
                seen.append(row)
                self.set(f"/d/{300 - len(seen):03d}", b"later")
                self.turn()
        self.assertEqual(seen, [Row(f"/d/{number:03d}", number + 1, b"v") for number in range(300)])

    def test_then_a_watch(self) -> None:
        """A watch from its revision on misses nothing and doubles nothing."""
        self.set("/a")
        rows = self.store.difference(Glob.parse(b"/**"), 0)
        watch = self.watch(after_rev=rows.rev)
        self.set("/b")
        self.turn()
        self.assertEqual([event.path for event in watch.take(9)], ["/b"])
        self.assertEqual([getattr(row, "path", row) for row in rows.rows if row], ["/a"])
