"""What every client of a store does: one examination for the real one and for the one in memory."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from coord import commands
from coord.client import Closed, Page, Verbs, Watch, exactly
from coord.errors import (
    BadGlob,
    BadPath,
    BadRequest,
    CoordError,
    Denied,
    Exists,
    IsDirectory,
    NoEntry,
    NotEmpty,
    RevisionMismatch,
    TimedOut,
    TooLarge,
    TooLate,
)
from coord.events import Event, Kind
from coord.results import Point, Row, Value, Written

T = TypeVar("T")
STRANGE = ["/a b", "/%", "/*", "/ä?", "/{3}", "/\n", "/\x7f/\u2028"]
VALUES = [b"", b"x", b" x ", b"{3}", b"\n", b"a\r", b"\xff\x00", "ä".encode(), b"y" * 5000]


class Clients:
    """Mixed with a test case whose clients share one store that keeps 100 revisions or more.

    ``advance(0)`` lets happen what needs no time.
    """

    client: Verbs
    other: Verbs
    case: SynchronousTestCase

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        raise NotImplementedError

    def now(self, deferred: Deferred[T]) -> T:
        """Return what a Deferred fires with without time passing."""
        self.advance(0)
        result: T = self.case.successResultOf(deferred)
        return result

    def refused(self, deferred: Deferred[Any], kind: type[CoordError]) -> str:
        """See that a Deferred carries an error; return its text."""
        self.advance(0)
        error = self.case.failureResultOf(deferred, kind).value
        assert isinstance(error, CoordError)
        return error.text


class ClientContract(Clients):
    """Requests and watches."""

    def pages(self, **options: Any) -> list[Page]:
        """Return all pages of a walk of ``/k/*``."""

        async def collect() -> list[Page]:
            return [page async for page in self.client.walk_pages("/k/*", **options)]

        return self.now(ensureDeferred(collect()))

    def take(self, watch: Watch, count: int) -> list[tuple[int, str, bytes | None]]:
        """Return the next events of a watch."""
        events = [self.now(watch.next()) for _ in range(count)]
        return [(event.rev, event.path, event.value) for event in events]

    # -- one node -------------------------------------------------------------------------------
    def test_values(self) -> None:
        """Any bytes come back as they were set, under any name."""
        case = self.case
        for path in STRANGE:
            for value in VALUES:
                written = self.now(self.client.set(path, value))
                found = self.now(self.other.get(path))
                case.assertEqual(found, Value(written.rev, value))

    def test_conditions(self) -> None:
        """A write with if_rev is done only where nothing has changed."""
        first = self.now(self.client.set("/a", b"1", if_rev=0))
        self.refused(self.client.set("/a", b"2", if_rev=0), RevisionMismatch)
        second = self.now(self.client.set("/a", b"2", if_rev=first.rev))
        self.case.assertEqual(second, Written(first.rev + 1))
        self.refused(self.client.delete("/a", if_rev=first.rev), RevisionMismatch)
        self.refused(self.client.set("/b", b"", if_rev=first.rev), NoEntry)

    def test_add(self) -> None:
        """Add makes what is not there, numbers what it is asked to, and names it."""
        self.case.assertEqual(self.now(self.client.add("/q/a b", b"")).path, "/q/a b")
        self.refused(self.client.add("/q/a b", b""), Exists)
        first = self.now(self.client.add("/q/n-", b"1", sequential=True))
        second = self.now(self.client.add("/q/n-", b"2", sequential=True))
        assert first.path is not None
        assert second.path is not None
        self.case.assertEqual(len(first.path), len("/q/n-") + 10)
        self.case.assertLess(first.path, second.path)

    def test_delete(self) -> None:
        """A node with children goes only with its tree."""
        self.now(self.client.set("/a/b", b""))
        self.refused(self.client.delete("/a"), NotEmpty)
        self.now(self.client.delete("/a", tree=True))
        self.refused(self.client.delete("/a"), NoEntry)
        self.refused(self.client.get("/a/b"), NoEntry)

    def test_refusals(self) -> None:
        """What the store says no to is an error of its own class, on the Deferred."""
        self.now(self.client.set("/d/x", b""))
        self.refused(self.client.get("/d"), IsDirectory)
        self.refused(self.client.get("/none"), NoEntry)
        self.refused(self.client.get("a"), BadPath)
        self.refused(self.client.get("/a//b"), BadPath)
        self.refused(self.client.get("/\ud800"), BadPath)
        self.refused(self.client.set("/" + "x" * 5000, b""), TooLarge)
        self.refused(self.client.set("/a", b"x" * (1024 * 1024 + 1)), TooLarge)
        self.refused(self.client.set("/ctl/x", b""), Denied)
        self.refused(self.client.walk("/%zz"), BadGlob)
        self.refused(self.client.watch("x").next(), BadGlob)
        self.case.assertRaises(TypeError, self.client.set, "/a", "text")

    def test_past(self) -> None:
        """Revisions that are kept can be read; ones that are not there yet are refused."""
        first = self.now(self.client.set("/a", b"1"))
        self.now(self.client.set("/a", b"2"))
        self.case.assertEqual(self.now(self.client.get("/a", rev=first.rev)).value, b"1")
        self.case.assertEqual(self.now(self.client.get("/a", local=True)).value, b"2")
        self.refused(self.client.get("/a", rev=10**9), CoordError)

    def test_facts(self) -> None:
        """Stat tells of a node what the store knows, and of a mere parent that it has no value."""
        written = self.now(self.client.set("/p/a", b"123"))
        facts = self.now(self.client.stat("/p/a"))
        self.case.assertEqual((facts.rev, facts.version, facts.size_bytes), (written.rev, 1, 3))
        parent = self.now(self.client.stat("/p"))
        self.case.assertEqual((parent.children, parent.size_bytes), (1, None))

    # -- many nodes -----------------------------------------------------------------------------
    def test_rows(self) -> None:
        """Lists and walks are in order, whole, and know their revision."""
        for path in STRANGE:
            written = self.now(self.client.set("/s" + path, b"{3}"))
        names = self.now(self.client.list("/s"))
        expected = sorted({path.split("/")[1] for path in STRANGE})
        self.case.assertEqual((names.rev, list(names.names)), (written.rev, expected))
        page = self.now(self.client.walk("/s/**", limit=2, after="/s/a b"))
        self.case.assertEqual(page.rows[0], Row("/s/{3}", page.rows[0].rev, b"{3}"))
        self.case.assertEqual(self.now(self.client.walk("/s/a b")).rows[0].path, "/s/a b")
        self.case.assertEqual(self.now(self.client.walk("/none/**")).rows, ())

    def test_exactly(self) -> None:
        """A glob made of a path matches that path alone."""
        for path in STRANGE:
            self.now(self.client.set(path, b""))
        for path in STRANGE:
            page = self.now(self.client.walk(exactly(path)))
            self.case.assertEqual([row.path for row in page.rows], [path])

    def test_pages(self) -> None:
        """A walk in pages is one picture, whatever is written meanwhile."""
        for number in range(10):
            self.now(self.client.set(f"/k/{number}", b"old"))
        rev = self.now(self.client.rev()).rev
        self.case.assertEqual([len(page.rows) for page in self.pages(page_rows=4)], [4, 4, 2])
        self.case.assertEqual([len(page.rows) for page in self.pages(page_rows=5)], [5, 5, 0])
        self.now(self.other.set("/k/5", b"new"))
        pages = self.pages(page_rows=3, rev=rev, after="/k/2")
        self.case.assertEqual({page.rev for page in pages}, {rev})
        values = {row.value for page in pages for row in page.rows}
        self.case.assertEqual((values, sum(len(page.rows) for page in pages)), ({b"old"}, 7))

    # -- watches --------------------------------------------------------------------------------
    def test_watch(self) -> None:
        """A watch tells what happens after it was opened, whoever does it."""
        self.now(self.client.set("/w/a", b"before"))
        watch = self.client.watch("/w/*")
        rev = self.now(watch.opened())
        self.case.assertEqual((watch.rev, watch.complete_rev), (rev, rev))
        self.now(self.other.set("/w/a", b"1"))
        self.now(self.other.set("/elsewhere", b"1"))
        self.now(self.other.delete("/w/a"))
        self.case.assertEqual(
            self.take(watch, 2), [(rev + 1, "/w/a", b"1"), (rev + 3, "/w/a", None)]
        )
        self.case.assertEqual((watch.rev, watch.complete_rev), (rev + 3, rev + 2))

    def test_watch_past(self) -> None:
        """A watch from a revision tells first what happened after it."""
        rev = self.now(self.client.set("/w", b"1")).rev
        self.now(self.client.set("/w", b"2"))
        watch = self.client.watch("/w", after_rev=rev - 1)
        self.case.assertEqual(self.take(watch, 2), [(rev, "/w", b"1"), (rev + 1, "/w", b"2")])
        later = watch.next()
        self.advance(0)
        self.case.assertNoResult(later)
        self.now(self.other.set("/w", b"3"))
        self.case.assertEqual(self.now(later), Event(rev + 2, Kind.SET, "/w", b"3"))

    def test_watch_ends(self) -> None:
        """A watch that is closed ends its loop and asks for nothing more."""
        watch = self.client.watch("/w")
        self.now(watch.opened())

        async def collect() -> list[int]:
            return [event.rev async for event in watch]

        collecting = ensureDeferred(collect())
        rev = self.now(self.client.set("/w", b"")).rev
        self.advance(0)
        watch.close()
        self.case.assertEqual(self.now(collecting), [rev])
        self.refused(watch.next(), Closed)
        self.now(self.client.set("/w", b""))

    def test_two_watches(self) -> None:
        """Two watches on one glob see the same, also after one of them was closed."""
        first, second = self.client.watch("/w"), self.client.watch("/w")
        self.now(first.opened())
        self.now(second.opened())
        rev = self.now(self.client.set("/w", b"1")).rev
        self.case.assertEqual(self.take(first, 1), self.take(second, 1))
        first.close()
        self.now(self.client.set("/w", b"2"))
        self.case.assertEqual(self.take(second, 1), [(rev + 1, "/w", b"2")])
        third = self.client.watch("/w", after_rev=rev)
        self.case.assertEqual(self.take(third, 1), [(rev + 1, "/w", b"2")])

    def test_watch_tree(self) -> None:
        """One revision may be several events; it is complete once more is known."""
        self.now(self.client.set("/t/a", b""))
        rev = self.now(self.client.set("/t/b", b"")).rev
        watch = self.client.watch("/t/**", after_rev=rev)
        self.now(self.client.delete("/t", tree=True))
        self.case.assertEqual(self.take(watch, 1), [(rev + 1, "/t/a", None)])
        self.case.assertEqual((watch.rev, watch.complete_rev), (rev + 1, rev))
        self.case.assertEqual(self.take(watch, 1), [(rev + 1, "/t/b", None)])

    def test_slow_watch(self) -> None:
        """A watch whose events nobody takes for long misses none of them."""
        watch = self.client.watch("/w", after_rev=self.now(self.client.rev()).rev)
        self.now(watch.opened())
        revs = []
        for number in range(3000):
            revs.append(self.client.set("/w", b"%d" % number))
            if number % 500 == 0:
                self.advance(1.0)
        self.advance(1.0)
        written = [self.now(one).rev for one in revs]
        self.case.assertEqual([rev for rev, _, _ in self.take(watch, 3000)], written)

    def test_many_events_in_a_callback(self) -> None:
        """Whoever asks for the next event as soon as he has one gets all, in order."""
        rev = self.now(self.client.rev()).rev
        for number in range(300):
            self.now(self.client.set("/w", b"%d" % number))
        watch = self.client.watch("/w", after_rev=rev)
        seen: list[bytes | None] = []

        async def collect() -> None:
            while len(seen) < 300:
                seen.append((await watch.next()).value)

        self.now(ensureDeferred(collect()))
        self.case.assertEqual(seen, [b"%d" % number for number in range(300)])

    def test_large_tree(self) -> None:
        """A tree of hundreds that goes at once is told in order to one who waits for it."""
        for number in range(300):
            self.now(self.client.set(f"/t/{number:03}", b""))
        watch = self.client.watch("/t/*")
        self.now(watch.opened())
        seen: list[str] = []

        async def collect() -> None:
            while len(seen) < 300:
                seen.append((await watch.next()).path)

        collecting = ensureDeferred(collect())
        self.now(self.client.delete("/t", tree=True))
        self.now(collecting)
        self.case.assertEqual(seen, [f"/t/{number:03}" for number in range(300)])

    def test_too_late(self) -> None:
        """A watch or a read of history that is gone fails, and names a revision."""
        watch = self.client.watch("/w", after_rev=0)
        self.now(watch.opened())
        for _ in range(150):
            self.now(self.client.set("/x", b""))
        late = self.client.watch("/w", after_rev=1)
        self.case.assertIn("revision", self.refused(late.next(), TooLate))
        self.case.assertTrue(late.is_closed)
        self.refused(self.client.get("/x", rev=1), TooLate)

    # -- waits ----------------------------------------------------------------------------------
    def test_wait(self) -> None:
        """A wait returns the first change, now or after a revision."""
        waiting = self.client.wait("/w")
        self.advance(0)
        rev = self.now(self.other.set("/w", b"1")).rev
        expected = Event(rev, Kind.SET, "/w", b"1")
        self.case.assertEqual(self.now(waiting), expected)
        again = self.client.wait("/w", after_rev=rev - 1, timeout_seconds=1)
        self.case.assertEqual(self.now(again), expected)

    def test_wait_ends(self) -> None:
        """A wait ends with its time, and when it is given up."""
        waiting = self.client.wait("/w", timeout_seconds=2.5)
        self.advance(2.4)
        self.case.assertNoResult(waiting)
        self.advance(0.2)
        self.refused(waiting, TimedOut)
        given_up = self.client.wait("/w")
        given_up.addErrback(lambda _: "given up")
        given_up.cancel()
        self.case.assertEqual(self.now(given_up), "given up")

    # -- the rest -------------------------------------------------------------------------------
    def test_server(self) -> None:
        """A client can ask how its server is, and whom it belongs to."""
        self.now(self.client.ping())
        self.case.assertIsNotNone(self.client.server)
        self.case.assertEqual(self.now(self.client.status())["role"], "leader")
        (member,) = self.now(self.client.members())
        self.case.assertEqual((member.part, member.is_up), ("voter", True))
        rev = self.now(self.client.set("/a", b"")).rev
        self.case.assertEqual(self.now(self.client.sync()), Point(rev))
        self.case.assertEqual(self.now(self.client.request(commands.Rev())), Point(rev))

    def test_members(self) -> None:
        """A client changes who the members are, or asks what that would come to."""
        (first,) = self.now(self.client.members())
        change = commands.ChangeMembers(commands.Deed.ADD, "n4", "h:1")
        planned = self.now(self.client.plan(change))
        self.case.assertIn("n4", planned[-1])
        self.case.assertEqual(len(self.now(self.other.members())), 1)
        self.now(self.client.add_member("n4", "h:1"))
        self.now(self.client.add_member("n5", "h:2", is_observer=True))
        self.case.assertEqual(self.parts()["n5"], ("h:2", "observer"))
        self.now(self.client.promote_member("n5"))
        self.now(self.client.replace_member("n4", "n6", "h:3"))
        self.now(self.client.remove_member(first.name))
        self.case.assertEqual(self.parts(), {"n5": ("h:2", "voter"), "n6": ("h:3", "voter")})

    def test_members_refused(self) -> None:
        """What does not fit the members that there are is refused, and what is no name as well."""
        (first,) = self.now(self.client.members())
        self.refused(self.client.add_member(first.name, "h:1"), Exists)
        self.refused(self.client.remove_member("n9"), NoEntry)
        self.refused(self.client.remove_member(first.name), BadRequest)
        self.refused(self.client.promote_member(first.name), Exists)
        self.refused(self.client.add_member("N 9", "h:1"), BadRequest)
        self.refused(self.client.replace_member(first.name, "n9", "h"), BadRequest)

    def parts(self) -> dict[str, tuple[str, str]]:
        """Return where each member is, and its part."""
        found = self.now(self.client.members())
        return {member.name: (member.address, member.part) for member in found}

    def test_close(self) -> None:
        """A closed client refuses everything and ends its watches."""
        watch = self.client.watch("/w")
        self.now(watch.opened())
        waiting = watch.next()
        self.now(self.client.close())
        self.refused(waiting, Closed)
        self.refused(self.client.get("/a"), Closed)
        self.refused(self.client.watch("/a").next(), Closed)
        self.case.assertIsNone(self.client.server)
        self.now(self.client.close())
