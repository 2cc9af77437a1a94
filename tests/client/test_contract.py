"""The client over the real front end sits the examination of all clients."""

from __future__ import annotations

import random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.client import Client
from coord.store.machine import Store
from tests.client.contract import ClientContract, Clients
from tests.client.contract_sessions import SessionContract
from tests.client.wires import Server, settle, share_sessions


class _Servers(Clients, SynchronousTestCase):
    """Two clients of two servers that share one store."""

    def setUp(self) -> None:
        """Start the servers."""
        self.case = self
        self.clock = Clock()
        store = Store(100 if "too_late" in self.id() else 10_000)
        self.servers = [Server(self.clock, store) for _ in range(2)]
        share_sessions(*(server.coordinator for server in self.servers))
        self.client = Client(self.clock, self.servers, dice=random.Random(1))
        self.other = Client(self.clock, self.servers[::-1], dice=random.Random(2))

    def tearDown(self) -> None:
        """Close the clients and see that they leave nothing."""
        for client in (self.client, self.other):
            closed = client.close()
            self.advance(0)
            self.successResultOf(closed)
        self.assertEqual(self.servers[0].connections + self.servers[1].connections, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def advance(self, seconds: float) -> None:
        """Let time pass, a little at a time."""
        settle(self.clock)
        while seconds > 0:
            self.clock.advance(min(seconds, 0.1))
            seconds -= 0.1
            settle(self.clock)


class OverWires(ClientContract, _Servers):
    """The client asks and watches."""


class SessionsOverWires(SessionContract, _Servers):
    """The client has sessions and locks."""

    def expire(self, session: str) -> None:
        """Let a session expire."""
        self.servers[0].coordinator.expire(session)
