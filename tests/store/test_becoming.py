"""A store becomes another one, further on: those who hold on to it hardly notice."""

from __future__ import annotations

from coord.commands import Get, OpenSession, Walk
from coord.errors import Lagged
from coord.events import Event, Kind
from coord.paths import Glob
from coord.results import Row, Rows, Value
from coord.store.image import Loading
from coord.store.machine import Store
from coord.store.sessions import key_hash
from coord.store.watches import Watch
from tests.store.case import StoreTestCase


def imaged(store: Store, history: int) -> Store:
    """Return what an image of a store makes."""
    loading = Loading(history)
    for piece in store.picture().pieces():
        loading.feed(piece)
    return loading.finish()


def drained(watch: Watch) -> list[Event]:
    """Take all that there is."""
    seen: list[Event] = []
    while watch.ready:
        seen += watch.take(100)
    return seen


class Becoming(StoreTestCase):
    """A store is left behind, and becomes an image of the one that went on."""

    def setUp(self) -> None:
        """Let there be two stores that are the same, one of which is left behind."""
        super().setUp()
        for number in range(5):
            self.set(f"/k/{number}", b"old")
        self.turn()
        self.behind = imaged(self.store, 20)

    def go_on(self, count: int = 5) -> None:
        """Let the one go on, and the other become what it is."""
        for number in range(count):
            self.set(f"/k/{number}", b"new")
        self.turn()
        self.behind.become(imaged(self.store, 20))

    def watch_behind(self, *, lasting: bool = False) -> Watch:
        """Watch the store that is left behind."""
        return self.behind.watch(Glob.parse(b"/k/*"), None, lambda: None, lasting=lasting)

    def test_same(self) -> None:
        """It is the same in all that can be asked, and goes on alike."""
        self.go_on()
        self.assertEqual(self.behind.describe(), self.store.describe())
        self.assertEqual(self.behind.answer(Get("/k/1")), self.store.answer(Get("/k/1")))
        for store in (self.store, self.behind):
            store.apply(OpenSession("0" * 16, key_hash("key"), 1000), 99)
            store.seal()
        self.assertEqual(self.behind.digest, self.store.digest)

    def test_watch_reads_on(self) -> None:
        """A watch is woken, and sees what happened in between and after it, once."""
        watch = self.watch_behind()
        self.go_on()
        self.assertEqual(self.behind.publish(), [watch])
        expected = [Event(6 + n, Kind.SET, f"/k/{n}", b"new") for n in range(5)]
        self.assertEqual(drained(watch), expected)
        self.assertEqual(self.behind.publish(), [])

    def test_watch_with_events(self) -> None:
        """What a watch has not taken yet comes first."""
        watch = self.watch_behind()
        for store in (self.store, self.behind):
            self.store, kept = store, self.store
            self.set("/k/first", b"1")
            self.store = kept
        self.behind.publish()
        self.go_on()
        self.assertEqual([event.path for event in drained(watch)][:2], ["/k/first", "/k/0"])

    def test_unpublished(self) -> None:
        """What was applied and not yet told is told, too, and once."""
        watch = self.watch_behind()
        ahead, self.store = self.store, self.behind
        self.set("/k/first", b"1")
        self.store = ahead
        self.set("/k/first", b"1")
        self.go_on()
        self.behind.publish()
        paths = [event.path for event in drained(watch)]
        self.assertEqual(paths, ["/k/first", "/k/0", "/k/1", "/k/2", "/k/3", "/k/4"])

    def test_watch_too_far(self) -> None:
        """A watch is told where the history in between is gone, and from where to go on."""
        watch = self.watch_behind()
        self.go_on(count=60)
        self.behind.publish()
        error = self.assertRaises(Lagged, watch.take, 10)
        self.assertRegex(str(error), r"revision \d+$")
        self.assertEqual(self.behind.watch_count, 0)

    def test_lasting_watch(self) -> None:
        """A watch for what lasts asks the store as it is now."""
        watch = self.watch_behind(lasting=True)
        self.go_on()
        self.behind.publish()
        self.assertEqual(len(drained(watch)), 5)

    def test_walk_under_way(self) -> None:
        """A walk that has begun is of the store as it was, to its end."""
        rows = self.behind.answer(Walk("/k/*"))
        assert isinstance(rows, Rows)
        first = next(iter(rows.rows))
        self.go_on()
        rest = [row for row in rows.rows if isinstance(row, Row)]
        assert isinstance(first, Row)
        self.assertEqual({row.value for row in (first, *rest)}, {b"old"})
        rows.close()
        self.assertEqual(self.behind.answer(Get("/k/1")), Value(7, b"new"))

    def test_picture_under_way(self) -> None:
        """So is an image."""
        picture = self.behind.picture()
        pieces = picture.pieces()
        begun = [next(pieces)]
        self.go_on()
        loading = Loading(20)
        for piece in (*begun, *pieces):
            loading.feed(piece)
        self.assertEqual(loading.finish().answer(Get("/k/1")), Value(2, b"old"))

    def test_never_back(self) -> None:
        """A store becomes none that is behind it."""
        older = imaged(self.behind, 20)
        self.go_on()
        self.assertRaises(AssertionError, self.behind.become, older)

    def test_let_go(self) -> None:
        """A store that nobody asks any more holds nothing, whoever still has a hold of it."""
        watch = self.watch_behind()
        rows = self.behind.answer(Walk("/k/*"))
        assert isinstance(rows, Rows)
        self.behind.let_go()
        self.assertEqual((self.behind.rev, self.behind.watch_count), (0, 0))
        self.assertEqual(self.behind.publish(), [])
        self.assertIn("/k/4", [row.path for row in rows.rows if isinstance(row, Row)])
        watch.close()
