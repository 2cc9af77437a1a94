"""Roads between nodes: a TCP proxy for each direction of dialling, which can be cut and slowed.

A road carries what one node dials to another, and what that answers. It does not look into the
TLS that goes by. Three things befall it:

* *cut*: what is open is torn down, and whoever comes is turned away at once;
* *silent*: connections stay, new ones are taken, and nothing arrives, in one direction or both;
* *slow*: every piece arrives later, and pieces keep their order.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from coord.simulation.ports import HOST

OUT: Final = "out"
BACK: Final = "back"


class _Half(Protocol):
    """One end of one connection on a road; ``heading`` is where its bytes go."""

    transport: Any

    def __init__(self, road: Road, heading: str) -> None:
        self._road = road
        self.heading = heading
        self.other: _Half | None = None
        self._early: list[bytes] = []
        self._due = 0.0
        self.is_lost = False

    def connectionMade(self) -> None:
        """Be part of the road, as it is now."""
        self.transport.setTcpNoDelay(True)
        self._road.joined(self)

    def dataReceived(self, data: bytes) -> None:
        """Hand a piece on, at once or when the road is done with it."""
        if self.other is None:
            self._early.append(data)
            return
        road = self._road
        self._due = max(self._due, road.now() + road.delay_seconds)
        if self._due <= road.now():
            self.other.deliver(data)
        else:
            road.later(self._due - road.now(), self.other.deliver, data)

    def deliver(self, data: bytes) -> None:
        """Let bytes out at this end."""
        if not self.is_lost:
            self.transport.write(data)

    def meet(self, other: _Half) -> None:
        """Have the other end, and hand it what came before it was there."""
        self.other = other
        early, self._early = self._early, []
        for piece in early:
            self.dataReceived(piece)

    def end(self) -> None:
        """Be torn down."""
        if not self.is_lost:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tear the other end down, too."""
        self.is_lost = True
        self._road.left(self)
        if self.other is not None:
            self.other.end()


class Road:
    """What one node dials to reach another: a port of ours, and all that goes through it."""

    def __init__(self, reactor: Any, name: str, target_port: int) -> None:
        self.name = name
        self.port = 0
        self.delay_seconds = 0.0
        self._reactor = reactor
        self._target_port = target_port
        self._is_cut = False
        self._silent: frozenset[str] = frozenset()
        self._halves: set[_Half] = set()
        self._listener: Any = None

    async def open(self) -> None:
        """Listen."""
        factory = Factory.forProtocol(self._taken)
        factory.noisy = False
        endpoint = TCP4ServerEndpoint(self._reactor, 0, interface=HOST)
        self._listener = await endpoint.listen(factory)
        self.port = self._listener.getHost().port

    async def close(self) -> None:
        """Have no connection and listen no more."""
        self.cut()
        if self._listener is not None:
            await self._listener.stopListening()

    # -- what befalls it ------------------------------------------------------------------------
    def cut(self) -> None:
        """Tear all down, and turn away whoever comes."""
        self._is_cut = True
        for half in [*self._halves]:
            half.end()

    def silence(self, *headings: str) -> None:
        """Carry nothing in these directions, and tear nothing down."""
        self._silent = frozenset(headings)
        self._listen()

    def mend(self) -> None:
        """Be as a road should be."""
        self._is_cut = False
        self.delay_seconds = 0.0
        self._silent = frozenset()
        self._listen()

    def _listen(self) -> None:
        for half in self._halves:
            if half.heading in self._silent:
                half.transport.pauseProducing()
            else:
                half.transport.resumeProducing()

    # -- for its halves -------------------------------------------------------------------------
    def now(self) -> float:
        """Return the time."""
        return float(self._reactor.seconds())

    def later(self, seconds: float, function: Any, *words: Any) -> None:
        """Do something in so many seconds."""
        self._reactor.callLater(seconds, function, *words)

    def joined(self, half: _Half) -> None:
        """Take a new half in, or turn it away."""
        self._halves.add(half)
        if self._is_cut:
            half.end()
        elif half.heading in self._silent:
            half.transport.pauseProducing()

    def left(self, half: _Half) -> None:
        """Forget a half."""
        self._halves.discard(half)

    def _taken(self) -> _Half:
        """Return what takes a connection, and dial the other end for it."""
        near = _Half(self, OUT)
        factory = Factory.forProtocol(lambda: _Half(self, BACK))
        factory.noisy = False
        dialled: Deferred[Any] = TCP4ClientEndpoint(
            self._reactor, HOST, self._target_port, timeout=5
        ).connect(factory)

        def met(far: _Half) -> None:
            if near.is_lost:
                far.end()
                return
            far.meet(near)
            near.meet(far)

        dialled.addCallbacks(met, lambda _: near.end() if near.transport is not None else None)
        return near
