"""What the protocol says of reads, of now and of the past."""

from __future__ import annotations

from coord.commands import List, Stat, Walk
from coord.errors import (
    BadGlob,
    BadRequest,
    NoEntry,
    TooLate,
)
from coord.results import Facts, Row, Rows, Value
from coord.store.machine import Store
from tests.store.case import StoreTestCase


class StatTests(StoreTestCase):
    """The facts of a node."""

    def test_all(self) -> None:
        """A node's facts are about its value, its children and its times."""
        self.set("/a", b"x")
        self.set("/a", b"xyz")
        self.set("/a/b")
        self.set("/a/c")
        self.delete("/a/b")
        self.assertEqual(
            self.facts("/a"),
            Facts(
                path="/a",
                rev=2,
                created=1,
                version=2,
                child_rev=5,
                child_version=3,
                children=1,
                size_bytes=3,
                created_ms=1001,
                modified_ms=1002,
            ),
        )

    def test_past(self) -> None:
        """A parent's facts of the past are those of then."""
        self.set("/a", b"x")
        self.set("/a/b")
        self.set("/a/c")
        self.assertEqual([self.facts("/a", rev).children for rev in (1, 2, 3)], [0, 1, 2])
        self.assertEqual([self.facts("/a", rev).child_rev for rev in (1, 2, 3)], [0, 2, 3])

    def test_missing(self) -> None:
        """What is not there has no facts."""
        self.refused(self.store.answer(Stat("/a")), NoEntry)


class ListTests(StoreTestCase):
    """The names of children."""

    def test_sorted(self) -> None:
        """They are sorted by code point, whatever is below them."""
        for path in ("/d/b/x", "/d/a\x01", "/d/a/y/z", "/d/a!", "/d/B", "/d/é", "/dd"):
            self.set(path)
        self.assertEqual(self.names("/d"), ["B", "a", "a\x01", "a!", "b", "é"])

    def test_leaf(self) -> None:
        """LIST of a leaf has no rows."""
        self.set("/a")
        self.assertEqual(self.names("/a"), [])

    def test_missing(self) -> None:
        """LIST of what is not there has no node."""
        self.refused(self.store.answer(List("/a")), NoEntry)

    def test_many(self) -> None:
        """However many children there are and however deep, each is told once."""
        names = [f"{number:04d}" for number in range(600)]
        for name in names:
            for below in ("", "/x", "/y/z"):
                self.set(f"/d/{name}{below}")
        self.assertEqual(self.names("/d"), names)


class WalkTests(StoreTestCase):
    """Nodes that match, in path order."""

    def test_order(self) -> None:
        """A node comes before its children, siblings by code point."""
        for path in ("/a!", "/a\x01", "/b", "/a/z", "/a", "/a/b/c"):
            self.set(path)
        expected = ["/a", "/a/b/c", "/a/z", "/a\x01", "/a!", "/b"]
        self.assertEqual(self.walk("/**"), expected)

    def test_only_values(self) -> None:
        """Nodes without a value are left out."""
        self.set("/a/b/c")
        self.assertEqual(self.walk("/**"), ["/a/b/c"])

    def test_rows(self) -> None:
        """A row is a node's path, the revision that last changed it, and its value."""
        self.set("/a", b"1")
        self.set("/a", b"2")
        self.set("/a/b", b"3")
        rows = self.store.answer(Walk("/a"))
        assert isinstance(rows, Rows)
        self.assertEqual(rows.rev, 3)
        self.assertEqual([row for row in rows.rows if row], [Row("/a", 2, b"2")])

    def test_after(self) -> None:
        """after= goes on behind a path, whether it is there or not."""
        for path in ("/a", "/a/b", "/a!", "/c"):
            self.set(path)
        self.assertEqual(self.walk("/**", after="/a"), ["/a/b", "/a!", "/c"])
        self.assertEqual(self.walk("/**", after="/a/b"), ["/a!", "/c"])
        self.assertEqual(self.walk("/**", after="/b"), ["/c"])
        self.assertEqual(self.walk("/**", after="/d"), [])
        self.assertEqual(self.walk("/c", after="/a"), ["/c"])

    def test_limit(self) -> None:
        """limit= is the most rows; with after= the rest can be had."""
        for path in ("/a", "/b", "/c"):
            self.set(path)
        self.assertEqual(self.walk("/*", limit=2), ["/a", "/b"])
        self.assertEqual(self.walk("/*", limit=2, after="/b"), ["/c"])

    def test_bad_glob(self) -> None:
        """A glob that is none is refused."""
        self.refused(self.store.answer(Walk("a*")), BadGlob)

    def test_while_writing(self) -> None:
        """A walk is one consistent picture, whatever is written while it is taken."""
        paths = [f"/d/{number:04d}" for number in range(500)]
        for path in paths:
            self.set(path, b"old")
        rows = self.store.answer(Walk("/d/**"))
        assert isinstance(rows, Rows)
        seen = []
        for row in rows.rows:
            if isinstance(row, Row):
                seen.append((row.path, row.value))
                self.set(row.path, b"new")
                self.delete(f"/d/{(len(seen) * 7) % 500:04d}")
                self.set(f"/d/{len(seen):04d}x")
        self.assertEqual(seen, [(path, b"old") for path in paths])


class PastTests(StoreTestCase):
    """Revisions that are kept can be read."""

    def setUp(self) -> None:
        """Keep five revisions."""
        super().setUp()
        self.store = Store(5)

    def test_values(self) -> None:
        """rev=N reads what was there at N."""
        self.set("/a", b"1")
        self.delete("/a")
        self.set("/a", b"3")
        self.assertEqual(self.get("/a", 1), Value(1, b"1"))
        self.refused(self.get("/a", 2), NoEntry)
        self.assertEqual(self.get("/a", 3), Value(3, b"3"))
        self.assertEqual(self.names("/", 1), ["a"])
        self.assertEqual(self.names("/", 0), [])
        self.assertEqual(self.walk("/**", 2), [])

    def test_horizon(self) -> None:
        """The last revisions can be read, as many as are kept; older ones are too late."""
        for _ in range(8):
            self.set("/a")
            self.store.seal()
        self.assertEqual(self.store.horizon, 4)
        self.assertEqual(self.get("/a", 4), Value(4, b"v"))
        for result in (
            self.get("/a", 3),
            self.store.answer(Stat("/a", rev=3)),
            self.store.answer(List("/", rev=3)),
            self.store.answer(Walk("/**", rev=3)),
        ):
            self.assertIn("4", self.refused(result, TooLate))

    def test_not_yet(self) -> None:
        """A revision that is not there yet is refused."""
        self.set("/a")
        for result in (self.get("/a", 2), self.store.answer(Walk("/**", rev=2))):
            self.refused(result, BadRequest)

    def test_not_there_then(self) -> None:
        """What was not there at a revision is told so, and not as if it were not there now."""
        self.set("/a")
        self.set("/b")
        then = self.refused(self.get("/b", 1), NoEntry)
        self.assertEqual(then, "/b was not there at revision 1")

    def test_unchanged_nodes_stay(self) -> None:
        """What did not change for longer than history goes back is still there."""
        self.set("/a", b"x")
        for _ in range(20):
            self.set("/b")
            self.store.seal()
        self.assertEqual(self.get("/a", self.store.horizon), Value(1, b"x"))

    def test_nothing_kept(self) -> None:
        """A store must keep the present at least."""
        self.assertRaises(ValueError, Store, 0)
