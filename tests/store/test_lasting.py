"""Lasting walks and watches: what there would be if all sessions ended at that moment."""

from __future__ import annotations

from random import Random

from coord.commands import Caller, Delete, EndSession, Level, Lock, OpenSession, Set, Unlock, Walk
from coord.commands import Write as AnyWrite
from coord.events import Kind
from coord.paths import Glob
from coord.results import Aside, Row, Rows
from coord.store.machine import Store
from coord.store.sessions import key_hash
from tests.store.case import StoreTestCase

SESSIONS = ("000000000000000a", "000000000000000b", "000000000000000c")
PATHS = ("/a", "/b", "/a/c", "/d")


def caller(session: str) -> Caller:
    """Return someone who has a session."""
    return Caller("x", "h:1", Level.ADMIN, session)


class LastingCase(StoreTestCase):
    """A store with some sessions."""

    def setUp(self) -> None:
        """Open them."""
        super().setUp()
        for session in SESSIONS:
            self.do(OpenSession(session, key_hash("k"), 10_000))

    def do(self, write: AnyWrite, session: str = "") -> object:
        """Do a write in the name of a session."""
        self.time_ms += 1
        return self.store.apply(write, self.time_ms, caller(session))

    def told(
        self, rev: int | None = None, store: Store | None = None
    ) -> list[tuple[str, str | bytes]]:
        """Return the rows of a lasting walk: value, or what was told beside."""
        rows = (store or self.store).answer(Walk("/**", rev=rev, lasting=True))
        assert isinstance(rows, Rows)
        return [
            (row.path, row.value) if isinstance(row, Row) else (row.what, row.path)
            for row in rows.rows
            if isinstance(row, Row | Aside)
        ]


class Walks(LastingCase):
    """What a lasting walk tells."""

    def test_ephemeral(self) -> None:
        """Ephemeral nodes are told by name, in their place, and not shown."""
        self.do(Set("/a", b"1", ephemeral=True), SESSIONS[0])
        self.set("/b", b"2")
        self.assertEqual(self.told(), [("ephemeral", "/a"), ("/b", b"2")])

    def test_lifetime(self) -> None:
        """A lifetime is told before the node that has it."""
        self.do(Set("/a", b"1", ttl_ms=90_000))
        self.do(Set("/b", b"1", ttl_ms=1_500))
        self.assertEqual(
            self.told(), [("ttl=90", "/a"), ("/a", b"1"), ("ttl=1.5", "/b"), ("/b", b"1")]
        )

    def test_lock(self) -> None:
        """A lock's node is told by name; with the value that it covers, where there is one."""
        self.set("/b", b"old")
        self.do(Lock("/a", b"me"), SESSIONS[0])
        self.do(Lock("/b", b"me"), SESSIONS[0])
        self.assertEqual(self.told(), [("lock", "/a"), ("lock", "/b"), ("/b", b"old")])

    def test_released_meanwhile(self) -> None:
        """What happens while a picture is taken does not change it."""
        self.set("/b", b"old")
        self.do(Lock("/a", b"me"), SESSIONS[0])
        self.do(Lock("/b", b"me"), SESSIONS[0])
        self.do(Set("/d", b"1", ephemeral=True), SESSIONS[0])
        rev, told = self.store.rev, self.told()
        self.do(Unlock("/b"), SESSIONS[0])
        self.set("/b", b"new")
        self.do(Lock("/b", b"again"), SESSIONS[1])
        self.do(EndSession(SESSIONS[0]))
        self.set("/a", b"plain")
        self.assertEqual(self.told(rev), told)

    def test_limit(self) -> None:
        """What is left out counts among the rows of a page, and one goes on after it."""
        self.do(Set("/a", b"1", ephemeral=True), SESSIONS[0])
        self.set("/b", b"2")
        page = self.store.answer(Walk("/**", limit=1, lasting=True))
        assert isinstance(page, Rows)
        self.assertEqual([row for row in page.rows if row], [Aside("/a", "ephemeral")])


class Watches(LastingCase):
    """What a lasting watch tells."""

    def seen(self, after_rev: int = 0) -> list[tuple[str, str, int]]:
        """Return what a lasting watch tells: kind, path and lifetime."""
        watch = self.store.watch(Glob.parse(b"/**"), after_rev, lambda: None, lasting=True)
        events = []
        while watch.ready:
            events += watch.take(100)
        watch.close()
        return [(event.kind.value, event.path, event.ttl_ms) for event in events]

    def test_sessions(self) -> None:
        """What comes and goes with a session is not told; a lifetime is."""
        self.do(Set("/a", b"1", ephemeral=True), SESSIONS[0])
        self.do(Lock("/b"), SESSIONS[0])
        self.do(Set("/d", b"1", ttl_ms=500))
        self.do(EndSession(SESSIONS[0]))
        self.assertEqual(self.seen(), [("set", "/d", 500)])

    def test_taken_over(self) -> None:
        """A node that lasted and is made ephemeral does not last any more."""
        self.set("/a")
        self.do(Set("/a", b"1", ephemeral=True), SESSIONS[0])
        self.assertEqual(self.seen(), [("set", "/a", 0), ("del", "/a", 0)])

    def test_covered(self) -> None:
        """A lock over a value does not take that away; who deletes it does."""
        self.set("/a")
        self.do(Lock("/a", b"x"), SESSIONS[0])
        self.assertEqual(self.seen(), [("set", "/a", 0)])
        self.do(Delete("/a"), SESSIONS[0])
        self.assertEqual(self.seen(), [("set", "/a", 0), ("del", "/a", 0)])

    def test_covered_and_handed_on(self) -> None:
        """Who deletes it while others wait for the lock, or share it, takes it away, too."""
        for path, shared in (("/a", False), ("/b", True)):
            self.set(path)
            self.do(Lock(path, b"x", shared), SESSIONS[0])
            self.do(Lock(path, b"y", shared, wait_ms=1000), SESSIONS[1])
            after_rev = self.store.rev
            self.do(Delete(path), SESSIONS[0])
            self.assertEqual(self.seen(after_rev), [("del", path, 0)])

    def test_following(self) -> None:
        """One that follows is woken, and tells the same as one that reads what was."""
        woken: list[None] = []
        glob = Glob.parse(b"/**")
        watch = self.store.watch(glob, None, lambda: woken.append(None), lasting=True)
        self.do(Set("/a", b"1", ephemeral=True), SESSIONS[0])
        for ready in self.turn():
            ready.wake()
        self.assertEqual(watch.take(10), [])
        self.set("/b")
        self.set("/d")
        for ready in self.turn():
            ready.wake()
        self.assertEqual([event.path for event in watch.take(10)], ["/b", "/d"])
        self.assertFalse(watch.ready)
        self.assertTrue(woken)


class AgainstEnding(LastingCase):
    """Compared with a store in which all sessions really end."""

    def random_write(self, dice: Random) -> tuple[AnyWrite, str]:
        """Return something to do, and in whose name."""
        path, session = dice.choice(PATHS), dice.choice(SESSIONS)
        value = b"%d" % dice.randrange(1000)
        writes: list[AnyWrite] = [
            Set(path, value),
            Set(path, value, ephemeral=True),
            Set(path, value, ttl_ms=dice.randrange(3) * 1000),
            Delete(path, tree=dice.random() < 0.5),
            Lock(path, dice.choice((None, value)), shared=dice.random() < 0.4, wait_ms=9000),
            Unlock(path),
        ]
        if dice.random() < 0.07:
            return EndSession(session), ""
        return dice.choice(writes), session

    def after_all_ended(self, writes: list[tuple[AnyWrite, str]]) -> dict[str, bytes]:
        """Return what is there once all sessions have ended after some writes."""
        store = Store()
        for number, (write, session) in enumerate(writes):
            store.apply(write, number, caller(session))
        for session in SESSIONS:
            store.apply(EndSession(session), 10_000)
        rows = store.answer(Walk("/**"))
        assert isinstance(rows, Rows)
        return {row.path: row.value for row in rows.rows if isinstance(row, Row)}

    def test_random(self) -> None:
        """A lasting walk of any moment, and a lasting watch up to it, show what would be left."""
        for seed in range(60):
            dice = Random(seed)
            writes: list[tuple[AnyWrite, str]] = [
                (OpenSession(session, key_hash("k"), 10_000), "") for session in SESSIONS
            ]
            store, wanted = Store(), dict[int, dict[str, bytes]]()
            for write, session in writes:
                store.apply(write, 0, caller(session))
            deleted: set[int] = set()
            for number in range(60):
                write, session = self.random_write(dice)
                before = store.rev
                writes.append((write, session))
                store.apply(write, number, caller(session))
                if store.rev > before:
                    wanted[store.rev] = self.after_all_ended(writes)
                    deleted |= {store.rev} if isinstance(write, Delete) else set()
            self.check_walks(store, wanted, deleted, seed)
            self.check_watch(store, wanted, seed)

    def check_walks(
        self, store: Store, wanted: dict[int, dict[str, bytes]], deleted: set[int], seed: int
    ) -> None:
        """See that walks of the past show what lasted then.

        But for a value under a lock whose holder deletes it later: it counts as gone before.
        """
        for rev, nodes in wanted.items():
            told = self.told(rev, store)
            shown = {path: value for path, value in told if isinstance(value, bytes)}
            if max(deleted, default=0) <= rev:
                self.assertEqual(shown, nodes, (seed, rev))
            else:
                self.assertLessEqual(shown.items(), nodes.items(), (seed, rev))

    def check_watch(self, store: Store, wanted: dict[int, dict[str, bytes]], seed: int) -> None:
        """See that the events of a watch, one after the other, make what lasted."""
        watch = store.watch(Glob.parse(b"/**"), 0, lambda: None, lasting=True)
        nodes: dict[str, bytes] = {}
        events = []
        while watch.ready:
            events += watch.take(1000)
        for rev in range(1, store.rev + 1):
            for event in events:
                if event.rev != rev:
                    continue
                if event.kind is Kind.SET:
                    nodes[event.path] = event.value or b""
                else:
                    nodes.pop(event.path, None)
            if rev == store.rev:
                self.assertEqual(nodes, wanted[rev], (seed, rev))
