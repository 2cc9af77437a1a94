"""LOG: who changed what, newest first, as far back as history is kept."""

from __future__ import annotations

from coord.commands import Add, Blame, Caller, Delete, Genesis, Log, Set, Transaction
from coord.errors import BadGlob, IsDirectory, NoEntry
from coord.results import Entry, Rows
from coord.store import log
from coord.store.history import History
from coord.store.machine import Store
from coord.store.tree import Version
from tests.store.case import StoreTestCase

BOB = Caller("bob", "10.0.0.1:5")


class LogTestCase(StoreTestCase):
    """A store whose history is read backwards."""

    def log(self, glob: str = "/**", limit: int | None = None) -> list[Entry]:
        """Return all rows of a log."""
        rows = self.store.answer(Log(glob, limit=limit))
        assert isinstance(rows, Rows)
        return [row for row in rows.rows if isinstance(row, Entry)]

    def paths(self, glob: str = "/**", limit: int | None = None) -> list[tuple[int, str]]:
        """Return revision and path of each row."""
        return [(row.rev, row.path) for row in self.log(glob, limit)]


class RowsTests(LogTestCase):
    """What a log tells."""

    def test_rows(self) -> None:
        """A row is revision, path, verb, author and time; the newest comes first."""
        self.store.apply(Genesis("c", ()), 10)
        self.store.apply(Set("/a", b"x"), 20, BOB)
        self.store.apply(Add("/b/c", b"x"), 30)
        self.store.apply(Delete("/a"), 40, BOB)
        self.assertEqual(
            self.log(),
            [
                Entry(4, "/a", "DEL", "bob@10.0.0.1:5", 40),
                Entry(3, "/b/c", "ADD", "cluster", 30),
                Entry(2, "/a", "SET", "bob@10.0.0.1:5", 20),
                Entry(1, "/ctl/cluster", "GENESIS", "cluster", 10),
            ],
        )

    def test_only_values(self) -> None:
        """Parents that come and go by themselves, and counts of children, are no changes."""
        self.set("/a/b/c")
        self.set("/a/b/d")
        self.delete("/a", tree=True)
        self.assertEqual(self.paths(), [(3, "/a/b/c"), (3, "/a/b/d"), (2, "/a/b/d"), (1, "/a/b/c")])

    def test_glob(self) -> None:
        """A log shows what matches; a path alone is the history of one node."""
        for path in ("/a", "/a/b", "/ab", "/a", "/a/b/c"):
            self.set(path)
        self.delete("/a/b", tree=True)
        self.set("/a/b")
        self.assertEqual(self.paths("/a"), [(4, "/a"), (1, "/a")])
        self.assertEqual(self.paths("/a/b"), [(7, "/a/b"), (6, "/a/b"), (2, "/a/b")])
        self.assertEqual(self.paths("/a/*"), [(7, "/a/b"), (6, "/a/b"), (2, "/a/b")])
        self.assertEqual(self.paths("/nothing"), [])
        self.assertEqual(self.paths("/?"), [(4, "/a"), (1, "/a")])

    def test_gone_and_come_again(self) -> None:
        """A node that a transaction deletes and makes a parent of others lost its value."""
        self.set("/a")
        self.store.apply(Transaction((Delete("/a"), Set("/a/b", b""), Set("/c", b""))), 5)
        self.assertEqual(self.paths("/a"), [(2, "/a"), (1, "/a")])
        self.assertEqual(self.paths("/?"), [(2, "/a"), (2, "/c"), (1, "/a")])

    def test_limit(self) -> None:
        """limit= is the most rows."""
        for _ in range(5):
            self.set("/a")
        self.assertEqual(self.paths("/a", 2), [(5, "/a"), (4, "/a")])
        self.assertEqual(self.paths("/**", 2), [(5, "/a"), (4, "/a")])

    def test_refused(self) -> None:
        """A glob that is none is refused."""
        self.refused(self.store.answer(Log("a")), BadGlob)

    def test_empty(self) -> None:
        """A store in which nothing happened has a log without rows."""
        self.assertEqual(self.log(), [])
        self.assertEqual(self.log("/"), [])


class MeanwhileTests(LogTestCase):
    """A log is taken while history goes on, and away."""

    def test_consistent(self) -> None:
        """What is written while a log is taken is not in it."""
        self.set("/a")
        for glob in ("/**", "/a"):
            rows = self.store.answer(Log(glob))
            assert isinstance(rows, Rows)
            rev = self.store.rev
            self.set("/a")
            self.assertEqual(rows.rev, rev)
            self.assertEqual(max(row.rev for row in rows.rows if isinstance(row, Entry)), rev)

    def test_kept(self) -> None:
        """It goes back as far as history is kept, on every way it is read."""
        self.store = Store(4)
        for _ in range(10):
            self.set("/a")
            self.store.seal()
        expected = [(rev, "/a") for rev in (10, 9, 8)]
        self.assertEqual(self.paths("/**"), expected)
        self.assertEqual(self.paths("/a"), expected)

    def test_trimmed_meanwhile(self) -> None:
        """Where history goes while it is taken, it ends there; it holds nothing back."""
        self.store = Store(50)
        for _ in range(50):
            self.set("/a")
            self.turn()
        for glob in ("/**", "/a"):
            rows = self.store.answer(Log(glob))
            assert isinstance(rows, Rows)
            first = next(row for row in rows.rows if isinstance(row, Entry))
            begun = self.store.rev
            for _ in range(30):
                self.set("/a")
                self.turn()
            self.assertEqual(self.store._history.first, self.store.horizon + 1)
            rest = [row.rev for row in rows.rows if isinstance(row, Entry)]
            self.assertEqual([first.rev, *rest], list(range(begun, self.store.horizon, -1)))

    def test_gives_way(self) -> None:
        """Much that is not wanted is passed in stretches, with a moment for others between."""
        self.patch(log, "_LOOKED_AT_MAX", 10)
        self.set("/wanted")
        for number in range(40):
            self.set(f"/other/{number}")
        for glob in ("/want*", "/wanted"):
            rows = self.store.answer(Log(glob))
            assert isinstance(rows, Rows)
            self.assertEqual(sum(row is not None for row in rows.rows), 1)
        rows = self.store.answer(Log("/other"))
        assert isinstance(rows, Rows)
        self.assertEqual(list(rows.rows), [None] * 4)

    def test_one_node(self) -> None:
        """The log of one node does not look at the changes of others."""
        self.set("/a")
        for _ in range(500):
            self.set("/b")
        asked, changes = [], History.changes

        def counted(history: History, rev: int) -> tuple[Version, ...]:
            asked.append(rev)
            return changes(history, rev)

        self.patch(History, "changes", counted)
        self.assertEqual(self.paths("/a"), [(1, "/a")])
        self.assertEqual(asked, [1])


class BlameTests(LogTestCase):
    """BLAME: the author of the present value."""

    def test_author(self) -> None:
        """It is who last gave the node a value, whatever happened to its children since."""
        self.store.apply(Set("/a", b"x"), 20, BOB)
        self.set("/a/b")
        self.assertEqual(
            self.store.answer(Blame("/a")), Entry(1, "/a", "SET", "bob@10.0.0.1:5", 20)
        )

    def test_nothing(self) -> None:
        """No node, or one without a value: there is nobody to name."""
        self.set("/a/b")
        self.refused(self.store.answer(Blame("/a")), IsDirectory)
        self.refused(self.store.answer(Blame("/b")), NoEntry)

    def test_reloaded(self) -> None:
        """Authors are part of an image, of what is there and of what is kept."""
        self.store.apply(Set("/a", b"x"), 20, BOB)
        self.store.apply(Delete("/a"), 30, BOB)
        self.store.apply(Set("/b", b"x"), 40, BOB)
        self.store.seal()
        before = self.log()
        self.store = self.reloaded()
        self.assertEqual(self.log(), before)
