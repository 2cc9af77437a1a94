"""Servers and wires in memory: the real front end over a store, reached through an endpoint.

The verbs tell the story: `Server.kill`, `Server.start`, `Server.freeze`, `Server.thaw`. Bytes
travel in the clock's next turn; a side that does not read is not delivered to, and its other
side is told to pause at 64 KiB, as by a socket.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from coord.frontends.line import LineFactory
from coord.replicator.places import Places
from coord.store.machine import Store
from tests.frontends.local import LocalCoordinator

HIGH_WATER = 65536


class End:
    """One end of a wire: the transport of the protocol at this end."""

    disconnecting = False

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.protocol: Any = None
        self.far: End = self
        self.inbox = bytearray()
        self.is_reading = True
        self.is_open = True
        self.is_frozen = False
        self.producer: Any = None
        self.is_pushing_back = False
        self.written = 0

    def getPeer(self) -> IPv4Address:
        """Return who is at the far end."""
        return IPv4Address("TCP", "127.0.0.1", 50000)

    def write(self, content: bytes) -> None:
        """Send bytes to the far end."""
        if self.is_open and not self.disconnecting:
            self.written += 1
            self.far.inbox += content
            self._press()
            self.clock.callLater(0, self.far.deliver)

    def deliver(self) -> None:
        """Hand over what came, unless this end does not read."""
        if self.is_open and self.is_reading and not self.is_frozen and self.inbox:
            content = bytes(self.inbox[:HIGH_WATER])
            del self.inbox[:HIGH_WATER]
            self.protocol.dataReceived(content)
            self.far.relax()
            self.clock.callLater(0, self.deliver)

    def _press(self) -> None:
        if self.producer is not None and len(self.far.inbox) > HIGH_WATER:
            self.is_pushing_back = True
            self.producer.pauseProducing()

    def relax(self) -> None:
        """Let the producer go on, once the far end has taken most."""
        if self.is_pushing_back and not self.far.inbox and self.is_open:
            self.is_pushing_back = False
            self.producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a producer to push back on."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Have none any more."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Stop reading."""
        self.is_reading = False

    def resumeProducing(self) -> None:
        """Read on."""
        self.is_reading = True
        self.clock.callLater(0, self.deliver)

    def loseConnection(self) -> None:
        """Close, once what was written has arrived."""
        self.disconnecting = True
        self.clock.callLater(0, self._close_behind)

    def _close_behind(self) -> None:
        if self.far.is_open and self.far.inbox and self.far.is_reading and not self.far.is_frozen:
            self.clock.callLater(0, self._close_behind)
        else:
            self.cut(ConnectionDone())

    def abortConnection(self) -> None:
        """Close at once."""
        self.clock.callLater(0, self.cut, ConnectionLost())

    def cut(self, why: Exception) -> None:
        """End the connection at both ends."""
        for end in (self, self.far):
            if end.is_open:
                end.is_open = False
                end.inbox.clear()
                end.clock.callLater(0, end.protocol.connectionLost, Failure(why))


@implementer(IStreamClientEndpoint)
class Server:
    """One server in memory: an endpoint to connect to, and its front end."""

    def __init__(self, clock: Clock, store: Store | None = None) -> None:
        self.clock = clock
        self.coordinator = LocalCoordinator()
        if store is not None:
            self.coordinator.store = store
            self.coordinator.places = Places(store)
        self.factory: Any = LineFactory(clock, self.coordinator)
        self.is_up = True
        self.is_frozen = False
        self.wires: list[End] = []
        self.dialled = 0

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Connect a client."""
        self.dialled += 1
        if not self.is_up:
            return fail(ConnectError(string="refused"))
        near, far = End(self.clock), End(self.clock)
        near.far, far.far = far, near
        near.protocol = protocolFactory.buildProtocol(None)
        far.protocol = self.factory.buildProtocol(None)
        far.is_frozen = self.is_frozen
        self.wires.append(far)
        far.protocol.makeConnection(far)
        near.protocol.makeConnection(near)
        return succeed(near.protocol)

    @property
    def connections(self) -> list[End]:
        """The wires that are open."""
        return [wire for wire in self.wires if wire.is_open]

    def kill(self) -> None:
        """Drop all connections and take no new ones."""
        self.is_up = False
        self.drop()

    def drop(self) -> None:
        """Drop all connections."""
        for wire in self.wires:
            wire.cut(ConnectionLost())

    def start(self) -> None:
        """Take connections again."""
        self.is_up = True

    def freeze(self) -> None:
        """Say and read nothing from now on, and drop nothing either."""
        self.is_frozen = True
        for wire in self.wires:
            wire.is_frozen = True

    def thaw(self) -> None:
        """Go on."""
        self.is_frozen = False
        for wire in self.wires:
            wire.is_frozen = False
            self.clock.callLater(0, wire.deliver)


def settle(clock: Clock, turns: int = 400) -> None:
    """Let everything happen that needs no time."""
    for _ in range(turns):
        clock.advance(0)
        calls = clock.getDelayedCalls()
        if not calls or min(call.getTime() for call in calls) > clock.seconds():
            return


def share_sessions(one: LocalCoordinator, *others: LocalCoordinator) -> None:
    """Have nodes of one store know of each other's sessions, and give no id twice."""
    for other in others:
        other.holds, other.places, other.patience = one.holds, one.places, one.patience
        other.new_session = one.new_session  # type: ignore[method-assign]
