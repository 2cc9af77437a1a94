"""What every client does with sessions, locks, transactions, ids and authors: one examination."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from coord import commands
from coord.client import Closed, Difference
from coord.errors import (
    Aborted,
    BadRequest,
    CoordError,
    IsDirectory,
    Locked,
    NoEntry,
    NoSession,
    NotHeld,
    SessionExpired,
    TimedOut,
    TooLate,
)
from coord.events import Event
from coord.results import Row, Value, Written
from tests.client.contract import Clients


class SessionContract(Clients):
    """Sessions and what belongs to them."""

    def expire(self, session: str) -> None:
        """Let a session expire in the store."""
        raise NotImplementedError

    # -- sessions ---------------------------------------------------------------------------------
    def test_session(self) -> None:
        """A session is open, has an id that others see, and is kept for as long as it is wanted."""
        session = self.now(self.client.session(timeout_seconds=3).opened())
        self.case.assertEqual((session.state, session.timeout_seconds), ("held", 3))
        self.now(self.client.set("/e", b"", ephemeral=True))
        self.case.assertEqual(self.now(self.other.stat("/e")).owner, session.id)
        self.advance(10)
        self.case.assertTrue(session.is_held)
        self.now(session.end())
        self.refused(self.client.get("/e"), NoEntry)
        self.case.assertIsNone(self.now(session.lost()))
        self.refused(session.opened(), NoSession)

    def test_one_session(self) -> None:
        """A client has one session at a time, and says so to one who wants another."""
        session = self.now(self.client.session(timeout_seconds=3).opened())
        self.case.assertIs(self.client.session(), session)
        self.case.assertRaises(BadRequest, self.client.session, timeout_seconds=5)

    def test_expired(self) -> None:
        """Who loses a session hears of it once, locks first, and can have another."""
        session = self.now(self.client.session().opened())
        lock = self.now(self.client.lock("/l"))
        order: list[str] = []
        lock.lost().addCallback(lambda why: order.append(f"lock {type(why).__name__}"))
        session.lost().addCallback(lambda why: order.append(f"session {type(why).__name__}"))
        assert session.id is not None
        self.expire(session.id)
        self.advance(0)
        self.case.assertEqual(order, ["lock SessionExpired", "session SessionExpired"])
        self.now(self.client.set("/a", b""))
        self.now(self.client.set("/e", b"", ephemeral=True))
        again = self.client.session()
        self.case.assertNotEqual(again.id, session.id)

    def test_closed_with_session(self) -> None:
        """A client that is closed leaves nothing of its session behind."""
        self.now(self.client.set("/e", b"", ephemeral=True))
        lock = self.now(self.client.lock("/l"))
        lost = lock.lost()
        self.now(self.client.close())
        self.case.assertIsNotNone(self.now(lost))
        self.refused(self.other.get("/e"), NoEntry)
        self.now(self.other.lock("/l"))
        self.case.assertRaises(Closed, self.client.session)

    # -- locks ------------------------------------------------------------------------------------
    def test_lock(self) -> None:
        """A lock is one client's, until it is released; tokens only grow."""
        lock = self.now(self.client.lock("/l", b"mine"))
        self.refused(self.other.lock("/l"), Locked)
        self.refused(self.other.set("/l", b""), Locked)
        self.refused(self.client.lock("/l"), Locked)
        self.case.assertEqual(self.now(self.other.get("/l")).value, b"mine")
        self.now(lock.release())
        self.case.assertFalse(lock.is_held)
        self.case.assertIsNone(self.now(lock.lost()))
        again = self.now(self.other.lock("/l"))
        self.case.assertGreater(again.token, lock.token)
        self.refused(self.client.unlock("/l"), NotHeld)

    def test_queue(self) -> None:
        """Who waits is granted the lock in turn, or gives the place up, or has waited enough."""
        lock = self.now(self.client.lock("/l"))
        waiting = self.other.lock("/l", b"next", wait_seconds=None)
        self.advance(0)
        self.case.assertNoResult(waiting)
        self.now(lock.release())
        held = self.now(waiting)
        self.case.assertEqual(self.now(self.client.get("/l")), Value(held.token, b"next"))
        given_up = self.client.lock("/l", wait_seconds=None)
        self.advance(0)
        given_up.cancel()
        self.case.failureResultOf(given_up, CancelledError)
        self.advance(0)
        self.case.assertEqual(self.now(self.client.stat("/l")).waiting, 0)

    def test_queue_ends(self) -> None:
        """Who has waited for as long as it wanted to is told."""
        self.now(self.client.lock("/l"))
        waiting = self.other.lock("/l", wait_seconds=2)
        self.advance(1.9)
        self.case.assertNoResult(waiting)
        self.advance(11)
        self.case.failureResultOf(waiting, TimedOut)

    def test_shared(self) -> None:
        """Readers share, and a writer who waits comes before readers who come later."""
        self.now(self.client.lock("/l", shared=True))
        self.now(self.other.lock("/l", shared=True))
        facts = self.now(self.client.stat("/l"))
        self.case.assertEqual((len(facts.holders), facts.shared), (2, True))

    def test_place_goes_with_session(self) -> None:
        """A place in a queue goes with its session."""
        self.now(self.client.lock("/l"))
        session = self.now(self.other.session().opened())
        waiting = self.other.lock("/l", wait_seconds=None)
        self.advance(0)
        self.expire(session.id or "-")
        self.refused(waiting, SessionExpired)

    # -- transactions -----------------------------------------------------------------------------
    def test_transaction(self) -> None:
        """A transaction is done at one revision, and tells what it saw and made."""
        rev = self.now(self.client.set("/t/a", b"1")).rev
        done = self.now(
            self.client.transaction()
            .check("/t/a", if_rev=rev)
            .get("/t/a")
            .set("/t/a", b"\n2")
            .get("/t/a")
            .get("/t")
            .get("/none")
            .add("/t/n-", b"", sequential=True)
            .delete("/t/a")
            .commit()
        )
        kinds = [type(row) for row in done.rows]
        self.case.assertEqual(kinds, [Value, Value, IsDirectory, NoEntry, str])
        self.case.assertEqual(done.rows[:2], (Value(rev, b"1"), Value(done.rev, b"\n2")))
        self.case.assertEqual((done.rev, done.rows[4]), (rev + 1, "/t/n-0000000001"))

    def test_aborted(self) -> None:
        """The part that fails is named, and nothing is done."""
        refused = self.client.transaction().set("/t/a", b"").check("/t/b", if_rev=7).commit()
        self.case.assertTrue(self.refused(refused, Aborted).startswith("2 NOENT"))
        self.refused(self.client.get("/t/a"), NoEntry)
        bad = self.client.transaction().set("no path", b"").commit()
        self.advance(0)
        self.case.failureResultOf(bad, CoordError)

    def test_fencing(self) -> None:
        """A transaction can be bound to a lock that is still held."""
        lock = self.now(self.client.lock("/l"))
        fenced = self.other.transaction().check("/l", token=lock.token).set("/f", b"1")
        self.now(fenced.commit())
        self.now(lock.release())
        late = self.other.transaction().check("/l", token=lock.token).set("/f", b"2").commit()
        self.refused(late, Aborted)
        self.case.assertEqual(self.now(self.client.get("/f")).value, b"1")

    # -- ids --------------------------------------------------------------------------------------
    def test_word(self) -> None:
        """A write with a word is done once within its session, and its outcome can be asked for."""
        first = self.now(self.client.set("/a", b"1", word="w"))
        self.case.assertEqual(self.now(self.client.set("/a", b"2", word="w")), first)
        self.case.assertEqual(self.now(self.client.outcome("w")), first)
        self.case.assertEqual(self.now(self.client.get("/a")).value, b"1")
        self.refused(self.client.outcome("v"), NoEntry)
        self.refused(self.other.outcome("w"), NoEntry)

    def test_outcomes(self) -> None:
        """Errors and transactions are remembered as they were answered."""
        self.refused(self.client.delete("/none", word="d"), NoEntry)
        self.now(self.client.set("/none", b""))
        self.refused(self.client.delete("/none", word="d"), NoEntry)
        transaction = self.client.transaction().get("/none").add("/n", b"", sequential=True)
        done = self.now(transaction.commit(word="t"))
        self.case.assertEqual(self.now(self.client.outcome("t")), done)

    # -- what else --------------------------------------------------------------------------------
    def test_authors(self) -> None:
        """Who changed what and when can be asked, and set back."""
        first = self.now(self.client.set("/h", b"1"))
        self.now(self.client.delete("/h"))
        self.now(self.client.add("/h", b"3"))
        log = self.now(self.client.log("/h"))
        self.case.assertEqual([one.verb for one in log.entries], ["ADD", "DEL", "SET"])
        self.case.assertEqual(len(self.now(self.client.log("/h", limit=1)).entries), 1)
        blame = self.now(self.client.blame("/h"))
        self.case.assertEqual((blame, blame.path), (log.entries[0], "/h"))
        self.case.assertTrue(blame.author)
        self.now(self.client.revert("/h", first.rev))
        self.case.assertEqual(self.now(self.client.get("/h")).value, b"1")
        self.refused(self.client.revert("/none", first.rev), NoEntry)
        self.refused(self.client.blame("/none"), NoEntry)

    def test_lifetime(self) -> None:
        """A node may have a lifetime, which can be asked for and taken away."""
        self.now(self.client.set("/t", b"", ttl_seconds=60))
        self.case.assertEqual(self.now(self.client.stat("/t")).ttl_seconds, 60)
        self.now(self.client.set("/t", b"", ttl_seconds=0))
        self.case.assertIsNone(self.now(self.client.stat("/t")).ttl_seconds)
        self.now(self.client.add("/u", b"", ttl_seconds=1.5, ephemeral=True))
        self.case.assertEqual(self.now(self.client.stat("/u")).ttl_seconds, 1.5)

    def test_other_means(self) -> None:
        """What a client does by itself cannot be asked for."""
        for command in (commands.Begin(), commands.Auth(b"x"), commands.Session()):
            self.case.assertRaises(BadRequest, self.client.request, command)

    # -- differences ------------------------------------------------------------------------------
    def test_difference_too_late(self) -> None:
        """Where history is gone a watch tells how things differ, and goes on from there."""
        self.now(self.client.set("/d/kept", b"1"))
        self.now(self.client.set("/d/gone", b"1"))
        self.now(self.client.set("/d/changed", b"1"))
        rev = self.now(self.client.rev()).rev
        self.now(self.client.delete("/d/gone"))
        changed = self.now(self.client.set("/d/changed", b"2"))
        for _ in range(200):
            self.now(self.client.set("/x", b""))
        self.refused(self.client.watch("/d/*", after_rev=rev).next(), TooLate)
        watch = self.client.watch("/d/*", after_rev=rev, diff=True)
        seen = self.now(watch.next())
        assert isinstance(seen, Difference)
        self.case.assertEqual((seen.after_rev, seen.rev), (rev, rev + 202))
        self.case.assertEqual(seen.changed, (Row("/d/changed", changed.rev, b"2"),))
        self.case.assertEqual(seen.unchanged, ("/d/kept",))
        self.case.assertEqual(watch.complete_rev, seen.rev)
        written = self.now(self.client.set("/d/new", b""))
        event = self.now(watch.next())
        assert isinstance(event, Event)
        self.case.assertEqual((event.rev, event.path), (written.rev, "/d/new"))

    def test_no_difference(self) -> None:
        """Where history is kept a watch that would take differences is like any other."""
        written = self.now(self.client.set("/d", b"1"))
        watch = self.client.watch("/d", after_rev=written.rev - 1, diff=True)
        event = self.now(watch.next())
        self.case.assertEqual(Written(event.rev), written)
        fresh = self.client.watch("/d", diff=True)
        self.case.assertEqual(self.now(fresh.opened()), written.rev)
