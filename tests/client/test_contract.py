"""The client over the real front end sits the examination of all clients."""

from __future__ import annotations

import random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.client import Client
from coord.store.machine import Store
from tests.client.contract import ClientContract
from tests.client.wires import Server, settle


class OverWires(ClientContract, SynchronousTestCase):
    """Two clients of two servers that share one store."""

    def setUp(self) -> None:
        """Start the servers."""
        self.case = self
        self.clock = Clock()
        store = Store(100 if "too_late" in self.id() else 10_000)
        self.servers = [Server(self.clock, store) for _ in range(2)]
        self.client = Client(self.clock, self.servers, dice=random.Random(1))
        self.other = Client(self.clock, self.servers[::-1], dice=random.Random(2))

    def tearDown(self) -> None:
        """Close the clients and see that they leave nothing."""
        for client in (self.client, self.other):
            self.now(client.close())
        self.assertEqual(self.servers[0].connections + self.servers[1].connections, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def advance(self, seconds: float) -> None:
        """Let time pass, a little at a time."""
        settle(self.clock)
        while seconds > 0:
            self.clock.advance(min(seconds, 0.1))
            seconds -= 0.1
            settle(self.clock)
