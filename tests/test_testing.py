"""The client in memory sits the examination of all clients, and has bad days when told to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.client import Closed
from coord.errors import NoEntry, Unavailable, Unknown
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
