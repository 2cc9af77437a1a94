"""The client in memory sits the examination of all clients, and has bad days when told to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.client import Closed
from coord.errors import NoEntry, SessionExpired, Unavailable, Unknown
from coord.testing import MemoryClient, MemoryStore
from tests.client.contract import ClientContract
from tests.client.contract_sessions import SessionContract


class InMemory(SessionContract, ClientContract, SynchronousTestCase):
    """Two clients of one store in memory."""

    def setUp(self) -> None:
        """Begin with an empty store."""
        self.case = self
        self.store = MemoryStore(history_revisions=100 if "too_late" in self.id() else 10_000)
        self.client = MemoryClient(self.store)
        self.other = MemoryClient(self.store)

    def advance(self, seconds: float) -> None:
        """Let time pass, a little at a time."""
        self.store.clock.pump([0.0, *[0.1] * round(seconds * 10)])

    def expire(self, session: str) -> None:
        """Let a session expire."""
        self.store.expire(session)


class BadDays(SynchronousTestCase):
    """What a program has to live with can be had in its tests."""

    def setUp(self) -> None:
        """Begin with an empty store."""
        self.client = MemoryClient()

    def test_no_quorum(self) -> None:
        """Requests fail while they are told to, and nothing is done."""
        self.client.refuse_with(Unavailable("no quorum"))
        self.failureResultOf(self.client.set("/a", b"1"), Unavailable)
        self.client.refuse_with(None)
        self.failureResultOf(self.client.get("/a"), NoEntry)

    def test_lost_answer(self) -> None:
        """A write whose answer is lost is done all the same; a read is just not answered."""
        seen = self.client.wait("/a")
        self.client.refuse_with(Unknown("lost"))
        self.failureResultOf(self.client.set("/a", b"1"), Unknown)
        self.failureResultOf(self.client.get("/a"), Unavailable)
        self.client.refuse_with(None)
        self.assertEqual(self.successResultOf(self.client.get("/a")).value, b"1")
        self.assertEqual(self.successResultOf(seen).value, b"1")

    def test_shared(self) -> None:
        """A client that is closed leaves the store to the others."""
        other = MemoryClient(self.client.store)
        self.successResultOf(self.client.set("/a", b"1"))
        self.successResultOf(self.client.close())
        self.failureResultOf(self.client.get("/a"), Closed)
        self.assertEqual(self.successResultOf(other.get("/a")).value, b"1")
        self.assertIn("rev 1", other.store.describe())

    def test_session_unkept(self) -> None:
        """Where nobody answers a session is lost, before others have what it held."""
        session = self.client.session(timeout_seconds=5)
        lock = self.successResultOf(self.client.lock("/l"))
        other = MemoryClient(self.client.store)
        waiting = other.lock("/l", wait_seconds=None)
        self.client.refuse_with(Unavailable("no quorum"))
        lost = lock.lost()
        self.client.clock.pump([0.1] * 46)
        self.failUnlessIsInstance(self.successResultOf(lost), SessionExpired)
        self.assertNoResult(waiting)
        self.client.clock.pump([0.1] * 10)
        self.assertTrue(self.successResultOf(waiting).is_held)
        self.assertEqual(session.state, "over")

    def test_session_unopened(self) -> None:
        """A session that nobody opens is opened later, or fails."""
        self.client.refuse_with(Unavailable("no quorum"))
        session = self.client.session()
        opened = session.opened()
        self.client.clock.advance(5)
        self.client.refuse_with(None)
        self.successResultOf(self.client.set("/e", b"", ephemeral=True))
        self.assertIs(self.successResultOf(opened), session)

    def test_stopped(self) -> None:
        """A process that was stopped for long has lost its session."""
        lock = self.successResultOf(self.client.lock("/l"))
        self.client.clock.advance(60)
        self.assertFalse(lock.is_held)

    def test_lifetime(self) -> None:
        """A node with a lifetime goes after it, and not before."""
        self.successResultOf(self.client.set("/t", b"", ttl_seconds=5))
        self.client.clock.advance(4)
        self.successResultOf(self.client.set("/t", b""))
        self.client.clock.advance(4.9)
        self.successResultOf(self.client.get("/t"))
        self.client.clock.advance(0.2)
        self.failureResultOf(self.client.get("/t"), NoEntry)

    def test_delay(self) -> None:
        """A lock-delay keeps others out after the holder was lost."""
        lock = self.successResultOf(self.client.lock("/l", delay_seconds=5))
        other = MemoryClient(self.client.store)
        waiting = other.lock("/l", wait_seconds=None)
        self.client.store.expire(lock.session.id or "-")
        self.client.clock.pump([0.1] * 49)
        self.assertNoResult(waiting)
        self.client.clock.pump([0.1] * 2)
        self.assertTrue(self.successResultOf(waiting).is_held)

    def test_lost_answer_under_a_session(self) -> None:
        """A write with a word whose answer was lost can be asked for later."""
        self.successResultOf(self.client.session().opened())
        self.client.refuse_with(Unknown("lost"))
        self.failureResultOf(self.client.set("/a", b"1", word="w"), Unknown)
        self.client.refuse_with(None)
        written = self.successResultOf(self.client.outcome("w"))
        self.assertEqual(self.successResultOf(self.client.get("/a")).rev, written.rev)
