"""What a caller may read: reads, rows and events by the rules of the moment."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given

from coord.commands import Blame, Caller, Get, Level, List, Log, Stat, Walk
from coord.errors import CoordError, Denied, NoEntry
from coord.events import Event
from coord.paths import Glob
from coord.results import Entry, Facts, Row, Rows
from coord.store.access import Rules
from coord.store.machine import Store
from coord.store.watches import Watch
from tests.store.case import StoreTestCase
from tests.store.strategies import CALM, GLOBS, a_path, dice

RULES = b"""
bob may write /b/**
bob may read /shared/*/for-bob
* may read /public/**
"""
BOB = Caller("bob", "h:1", Level.WRITE)
ANN = Caller("ann", "h:2", Level.READ)
NOBODY = Caller("anonymous", "h:3", Level.NONE)
ADMIN = Caller("root", "h:4", Level.ADMIN)


class ReadableTestCase(StoreTestCase):
    """A tree of which each caller may read another part."""

    def setUp(self) -> None:
        """Fill it, and write the rules."""
        super().setUp()
        for path in ("/b/1", "/a/1", "/public/1", "/shared/x/for-bob", "/shared/x/other"):
            self.set(path)
        self.rule(RULES)

    def rule(self, text: bytes) -> None:
        """Write the rules."""
        self.set("/ctl/acl", text)

    def ask(self, read: Any, caller: Caller) -> Any:
        """Return what a caller is answered: of rows, those with something in them."""
        result = self.store.answer(read, caller)
        if not isinstance(result, Rows):
            return result
        return [getattr(row, "path", row) for row in result.rows if row is not None]


class NamedTests(ReadableTestCase):
    """Reads that name a path: what may not be read is refused."""

    def test_refused(self) -> None:
        """GET, STAT and BLAME of what one may not read are denied, whether it is there or not."""
        for read in (Get, Stat, Blame):
            for path in ("/a/1", "/a/2", "/", "/shared/x/other"):
                self.refused(self.store.answer(read(path), BOB), Denied)
            self.assertNotIsInstance(self.store.answer(read("/b/1"), BOB), CoordError)
            self.refused(self.store.answer(read("/b/2"), BOB), NoEntry)
            self.assertNotIsInstance(self.store.answer(read("/public/1"), NOBODY), CoordError)
            self.assertNotIsInstance(self.store.answer(read("/a/1"), ADMIN), CoordError)

    def test_past(self) -> None:
        """The rules of now hold for what was then, and the refusal tells nothing of then."""
        self.rule(b"ann may read /**")
        self.refused(self.store.answer(Get("/b/1", rev=5), BOB), Denied)
        self.refused(self.store.answer(Get("/b/1", rev=500), BOB), Denied)

    def test_text(self) -> None:
        """A refusal names the path as a line would."""
        text = self.refused(self.store.answer(Get("/a b"), BOB), Denied)
        self.assertEqual(text, "you may not read /a%20b")

    def test_without_rules(self) -> None:
        """Without rules a caller's level decides, everywhere."""
        self.delete("/ctl/acl")
        self.assertNotIsInstance(self.store.answer(Get("/a/1"), ANN), CoordError)
        self.refused(self.store.answer(Get("/a/1"), NOBODY), Denied)


class RowsTests(ReadableTestCase):
    """Reads of many: what may not be read is left out."""

    def test_list(self) -> None:
        """A list shows what may be read, and the way to what a rule names."""
        self.assertEqual(self.ask(List("/"), BOB), ["b", "public", "shared"])
        self.assertEqual(self.ask(List("/"), NOBODY), ["public"])
        self.assertEqual(self.ask(List("/"), ADMIN), ["a", "b", "ctl", "public", "shared"])
        self.assertEqual(self.ask(List("/b"), BOB), ["1"])
        self.assertEqual(self.ask(List("/shared"), BOB), [])
        self.refused(self.store.answer(List("/a"), BOB), Denied)
        self.refused(self.store.answer(List("/nowhere"), BOB), Denied)
        self.refused(self.store.answer(List("/b/2"), BOB), NoEntry)

    def test_walk(self) -> None:
        """A walk leaves out what may not be read; its limit counts what is shown."""
        self.assertEqual(self.ask(Walk("/**"), BOB), ["/b/1", "/public/1", "/shared/x/for-bob"])
        self.assertEqual(self.ask(Walk("/**", limit=2), BOB), ["/b/1", "/public/1"])
        self.assertEqual(self.ask(Walk("/a/**"), BOB), [])
        self.assertEqual(self.ask(Walk("/**", rev=5), NOBODY), ["/public/1"])

    def test_nothing_at_all(self) -> None:
        """Who may read nothing at all is told so, rather than shown an empty tree."""
        self.rule(b"bob read /b/**")
        for read in (Walk("/**"), Log("/**"), List("/")):
            self.refused(self.store.answer(read, NOBODY), Denied)
        self.delete("/ctl/acl")
        self.refused(self.store.answer(Walk("/**"), NOBODY), Denied)

    def test_rules_change_meanwhile(self) -> None:
        """What may be read no more when its row is taken is left out of a walk under way."""
        for number in range(100):
            self.set(f"/public/{number:03d}")
        rows = self.store.answer(Walk("/public/**"), ANN)
        assert isinstance(rows, Rows)
        seen = [row for row in (next(rows.rows) for _ in range(10)) if row is not None]
        self.assertGreater(len(seen), 5)
        self.rule(b"bob read /**")
        self.assertEqual([row for row in rows.rows if row is not None], [])

    def test_log(self) -> None:
        """A log leaves out what may not be read; its limit counts what is shown."""
        self.assertEqual(self.ask(Log("/**"), NOBODY), ["/public/1"])
        self.assertEqual(self.ask(Log("/**", limit=2), BOB), ["/shared/x/for-bob", "/public/1"])

    def test_difference(self) -> None:
        """So does the difference that a watch begins with."""
        rows = self.store.difference(Glob.parse(b"/**"), 3, BOB)
        self.assertEqual(rows.rev, 6)
        self.assertEqual(
            [row for row in rows.rows if row is not None],
            ["/b/1", "/public/1", Row("/shared/x/for-bob", 4, b"v")],
        )
        self.assertRaises(Denied, self.store.difference, Glob.parse(b"/a/**"), 3, BOB)


class WatchTests(ReadableTestCase):
    """Events of what a caller may not read are never told to it."""

    def begin(self, caller: Caller, glob: bytes = b"/**", after_rev: int | None = None) -> Watch:
        """Begin to watch for a caller."""
        return self.store.watch(Glob.parse(glob), after_rev, lambda: None, caller)

    def seen(self, watch: Watch) -> list[str]:
        """Return the paths of all events that there are."""
        events: list[Event] = []
        while watch.ready:
            events += watch.take(10)
        return [event.path for event in events]

    def test_each_its_own(self) -> None:
        """Watches on one glob see what their callers may read, and nobody is woken for nothing."""
        bob, nobody, admin = map(self.begin, (BOB, NOBODY, ADMIN))
        self.set("/a/2")
        self.assertEqual(self.turn(), [admin])
        self.set("/b/2")
        self.assertEqual(self.turn(), [bob])
        self.set("/public/2")
        self.assertEqual(self.turn(), [nobody])
        self.assertEqual(self.seen(bob), ["/b/2", "/public/2"])
        self.assertEqual(self.seen(nobody), ["/public/2"])
        self.assertEqual(self.seen(admin), ["/a/2", "/b/2", "/public/2"])

    def test_past(self) -> None:
        """What happened before is told by the rules of now."""
        self.assertEqual(
            self.seen(self.begin(BOB, after_rev=0)), ["/b/1", "/public/1", "/shared/x/for-bob"]
        )
        self.assertEqual(self.seen(self.begin(NOBODY, after_rev=0)), ["/public/1"])

    def test_rules_change_before_taken(self) -> None:
        """An event that waits to be taken is withheld once its path may not be read."""
        watch = self.begin(BOB)
        self.set("/b/2")
        self.set("/public/2")
        self.turn()
        self.rule(b"* may read /public/**")
        self.assertTrue(watch.ready)
        self.assertEqual([event.path for event in watch.take(10)], ["/public/2"])
        self.set("/b/3")
        self.assertEqual(self.turn(), [])

    def test_rules_change_while_open(self) -> None:
        """An open watch sees more once its caller may read more."""
        watch = self.begin(NOBODY)
        self.set("/a/2")
        self.turn()
        self.rule(b"* may read /a/**")
        self.set("/a/3")
        self.assertEqual(self.turn(), [watch])
        self.assertEqual(self.seen(watch), ["/a/3"])

    def test_same_turn(self) -> None:
        """Rules hold for a change that was written before them and is published after."""
        watch = self.begin(BOB)
        self.set("/b/2")
        self.rule(b"ann may read /**")
        self.assertEqual(self.turn(), [])
        self.assertFalse(watch.ready)

    def test_denied_at_once(self) -> None:
        """Who may read nothing that a glob could match is told so."""
        for caller, glob in ((BOB, b"/a/**"), (BOB, b"/a/1"), (NOBODY, b"/b/*")):
            with self.assertRaises(Denied) as raised:
                self.begin(caller, glob)
            self.assertIn(glob.decode(), raised.exception.text)
        self.assertEqual(self.store.watch_count, 0)

    def test_shared(self) -> None:
        """Callers with the same rights are asked for once, from wherever they come."""
        some = [
            self.begin(Caller("bob", f"h:{port}", Level.WRITE, f"s{port}"), b"/b/*")
            for port in range(50)
        ]
        self.turn()
        asked = []

        def may(_rules: Rules, _caller: Caller, _level: int, path: str) -> bool:
            asked.append(path)
            return True

        self.patch(Rules, "may", may)
        self.set("/b/2")
        self.assertEqual(self.turn(), some)
        self.assertEqual(asked, ["/b/2"])
        for watch in some:
            watch.close()
        self.assertEqual(self.store.watch_count, 0)
        self.assertEqual(self.store._watches._groups, {})


class FactsTests(ReadableTestCase):
    """What STAT and BLAME tell."""

    def test_blame(self) -> None:
        """BLAME tells who gave a node its value, when and how."""
        self.set("/b/1/below")
        self.assertEqual(
            self.store.answer(Blame("/b/1"), BOB), Entry(1, "/b/1", "SET", "cluster", 1001)
        )

    def test_plain(self) -> None:
        """A node that nobody owns, with no lifetime and no lock, says so."""
        facts = self.store.answer(Stat("/b/1"), BOB)
        assert isinstance(facts, Facts)
        self.assertEqual((facts.owner, facts.ttl_seconds, facts.token), (None, None, None))
        self.assertEqual((facts.holders, facts.shared, facts.waiting), ((), False, 0))


class LivesTests(ReadableTestCase):
    """Rules, writes and watches in any order."""

    @given(dice)
    @CALM
    def test_events(self, dice: Random) -> None:
        """After each turn every watch has just what its caller may read by the rules there are."""
        self.store = Store()
        callers = (BOB, ANN, NOBODY, ADMIN)
        watches: list[tuple[Watch, Caller]] = []
        for _ in range(60):
            before = self.store.rev
            for _ in range(dice.randrange(4)):
                self.set(a_path(dice))
                self.delete(a_path(dice), tree=True)
            if dice.random() < 0.3:
                self.rule(some_rules(dice))
            self.turn()
            rules = self.store._reader._access.rules
            happened = self.events(before)
            for watch, caller in watches:
                seen = []
                while watch.ready:
                    seen += watch.take(dice.randrange(1, 5))
                self.assertEqual(
                    seen,
                    [
                        event
                        for event in happened
                        if watch.glob.matches(event.path) and rules.sees(caller, event.path)
                    ],
                )
            if dice.random() < 0.3:
                glob, caller = Glob.parse(dice.choice(GLOBS).encode()), dice.choice(callers)
                if rules.may_match(caller, glob):
                    watches.append((self.store.watch(glob, None, lambda: None, caller), caller))
            if watches and dice.random() < 0.1:
                watches.pop(dice.randrange(len(watches)))[0].close()


def some_rules(dice: Random) -> bytes:
    """Return a text of a few rules, or of none."""
    lines = [
        f"{dice.choice(('bob', 'ann', 'anonymous', '*'))} read {dice.choice(GLOBS)}"
        for _ in range(dice.choice((0, 1, 2, 3)))
    ]
    return "\n".join(lines).encode()
