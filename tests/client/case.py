"""Two servers in memory and a client of both, for what befalls it."""

from __future__ import annotations

import random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.client import Client, Watch
from coord.store.machine import Store
from tests.client.wires import Server, settle

T = TypeVar("T")


class ClientCase(SynchronousTestCase):
    """Two servers with one store, and a client that prefers the first."""

    def setUp(self) -> None:
        """Start the servers."""
        self.clock = Clock()
        self.store = Store(10_000)
        self.first = Server(self.clock, self.store)
        self.second = Server(self.clock, self.store)
        self.clients: list[Client] = []
        self.client = self.client_of(self.first, self.second)
        self.addCleanup(self.farewell)

    def client_of(self, *servers: Server, **options: Any) -> Client:
        """Return a client that is closed at the end."""
        client = Client(self.clock, servers, dice=random.Random(1), **options)
        self.clients.append(client)
        return client

    def farewell(self) -> None:
        """Close all clients and see that they left no timer."""
        for client in self.clients:
            client.close()
        settle(self.clock)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def advance(self, seconds: float) -> None:
        """Let time pass, a little at a time."""
        settle(self.clock)
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(0.05, until - self.clock.seconds()))
            settle(self.clock)

    def now(self, deferred: Deferred[T]) -> T:
        """Return what a Deferred fires with without time passing."""
        settle(self.clock)
        result: T = self.successResultOf(deferred)
        return result

    def within(self, seconds: float, deferred: Deferred[T]) -> T:
        """Return what a Deferred fires with in some time."""
        self.advance(seconds)
        result: T = self.successResultOf(deferred)
        return result

    def events(self, watch: Watch, count: int) -> list[int]:
        """Return the revisions of the next events."""
        return [self.now(watch.next()).rev for _ in range(count)]
