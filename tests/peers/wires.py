"""TCP in memory: connections that stall, break, and do not take more than their peer reads.

Everything happens on one ``task.Clock``, in `Wires.pump`; TLS on top of it is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

BUFFER_BYTES = 64 * 1024
"""A producer is paused when so much waits, as Twisted's transports do."""
PUMPS_MAX = 10_000


def place(text: str) -> IPv4Address:
    """Return ``host:port`` as an address."""
    host, _, port = text.rpartition(":")
    return IPv4Address("TCP", host, int(port))


@implementer(ITCPTransport)
class End:
    """One end of a connection: a transport that holds what was written until it is pumped."""

    def __init__(self, node: str, host: str, peer: str) -> None:
        self.node = node
        self.writes = 0
        self.waiting_bytes = 0
        self.over = False
        self.protocol: IProtocol
        self.other: End
        self._addresses = place(host), place(peer)
        self._outbox: list[bytes] = []
        self._producer: IPushProducer | None = None
        self._paused = False
        self._closing: Exception | None = None
        self._aborted = False

    # -- what a protocol calls -----------------------------------------------------------
    def write(self, data: bytes) -> None:
        """Hold bytes for the other end."""
        if self.over or self._closing is not None:
            return
        self.writes += 1
        self._outbox.append(data)
        self.waiting_bytes += len(data)
        if self.waiting_bytes > BUFFER_BYTES and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Hold bytes for the other end."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close once all is delivered."""
        self._closing = self._closing or ConnectionDone()

    def abortConnection(self) -> None:
        """Close, whatever is lost."""
        self._outbox.clear()
        self._closing = ConnectionLost()
        self._aborted = True

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Pause and resume ``producer`` from now on."""
        assert streaming
        assert self._producer is None, "registered twice"
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Leave the producer alone."""
        self._producer = None

    def getPeer(self) -> IPv4Address:
        """Return where the other end is."""
        return self._addresses[1]

    def getHost(self) -> IPv4Address:
        """Return where this end is."""
        return self._addresses[0]

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: nothing is delayed."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Do nothing: there is no kernel."""

    def getTcpNoDelay(self) -> bool:
        """Say that nothing is delayed."""
        return True

    def getTcpKeepAlive(self) -> bool:
        """Say that nothing is probed."""
        return False

    def loseWriteConnection(self) -> None:
        """Close: nobody here half-closes."""
        self.loseConnection()

    # -- what the wires call -------------------------------------------------------------
    def deliver(self) -> bool:
        """Move what was written to the other end, or the news that this end closed."""
        if self.over:
            return False
        if self._outbox:
            content = b"".join(self._outbox)
            self._outbox.clear()
            self.waiting_bytes = 0
            if not self.other.over:
                self.other.protocol.dataReceived(content)
            if self._paused and self._producer is not None:
                self._paused = False
                self._producer.resumeProducing()
            return True
        if self._closing is not None and (self._producer is None or self._aborted):
            self.lose(self._closing)
            self.other.lose(self._closing)
            return True
        return False

    def give_up(self) -> bool:
        """Forget the connection at this end alone, where it was aborted."""
        if self._closing is not None and self._aborted:
            self.lose(self._closing)
            return True
        return False

    def lose(self, why: Exception) -> None:
        """Tell the protocol, once, that there is no connection any more."""
        if not self.over:
            self.over = True
            self.protocol.connectionLost(Failure(why))


class Wires:
    """All connections between nodes, and what may befall them."""

    def __init__(self, clock: Clock) -> None:
        self.ends: list[End] = []
        self._clock = clock
        self._ports: dict[str, tuple[str, IProtocolFactory]] = {}
        self._cut: set[frozenset[str]] = set()
        self._stalled: set[frozenset[str]] = set()
        self._dialled = 0

    # -- verbs ---------------------------------------------------------------------------
    def sever(self, one: str, other: str) -> None:
        """Break the connections of two nodes; none can be made until `heal`."""
        self._cut.add(frozenset((one, other)))
        for end in self._between(one, other):
            end.lose(ConnectionLost())

    def stall(self, one: str, other: str) -> None:
        """Deliver nothing between two nodes until `heal`, and tell neither."""
        self._stalled.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        """Let everything through again."""
        self._cut.discard(frozenset((one, other)))
        self._stalled.discard(frozenset((one, other)))

    def pass_time(self, seconds: float, step_seconds: float = 0.02) -> None:
        """Let time pass, and all that happens meanwhile happen."""
        self.pump()
        end = self._clock.seconds() + seconds
        while self._clock.seconds() < end:
            self._clock.advance(step_seconds)
            self.pump()

    def pump(self) -> None:
        """Deliver until nothing moves any more."""
        for _ in range(PUMPS_MAX):
            self._clock.advance(0)
            live = [end for end in self.ends if not end.over]
            moved = [end.deliver() if self._flows(end) else end.give_up() for end in live]
            if not any(moved):
                return
        raise AssertionError("it never comes to rest")

    def live(self, one: str, other: str) -> list[End]:
        """Return the ends of the connections between two nodes, the dialler's first."""
        return [end for end in self._between(one, other) if not end.over]

    def _between(self, one: str, other: str) -> list[End]:
        return [end for end in self.ends if {end.node, end.other.node} == {one, other}]

    def _flows(self, end: End) -> bool:
        return frozenset((end.node, end.other.node)) not in self._stalled

    # -- endpoints -----------------------------------------------------------------------
    def dialling(self, node: str) -> Callable[[str], IStreamClientEndpoint]:
        """Return what makes an endpoint of an address, for ``node``."""
        return lambda address: Dialled(self, node, address)

    def listening(self, node: str, address: str) -> IStreamServerEndpoint:
        """Return an endpoint at which ``node`` can be reached."""
        return Listening(self, node, address)

    def listen(self, node: str, address: str, factory: IProtocolFactory) -> None:
        """Let connections to ``address`` reach ``factory``."""
        self._ports[address] = node, factory

    def close(self, address: str) -> None:
        """Let no more connections to ``address`` be made."""
        self._ports.pop(address, None)

    def connect(self, node: str, address: str, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Make a connection, or fail as TCP does."""
        there, listener = self._ports.get(address, ("", None))
        if listener is None or frozenset((node, there)) in self._cut:
            return fail(ConnectError(string="Connection refused"))
        self._dialled += 1
        here = f"{node}.test:{50_000 + self._dialled}"
        near, far = End(node, here, address), End(there, address, here)
        near.other, far.other = far, near
        near_protocol = factory.buildProtocol(place(address))
        far_protocol = listener.buildProtocol(place(here))
        if near_protocol is None or far_protocol is None:
            return fail(ConnectError(string="Connection refused"))
        near.protocol, far.protocol = near_protocol, far_protocol
        self.ends += (near, far)
        far.protocol.makeConnection(far)
        near.protocol.makeConnection(near)
        return succeed(near.protocol)


@implementer(IStreamClientEndpoint)
class Dialled:
    """Dials one address, for one node."""

    def __init__(self, wires: Wires, node: str, address: str) -> None:
        self._wires, self._node, self._address = wires, node, address

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Make a connection."""
        return self._wires.connect(self._node, self._address, factory)


@implementer(IStreamServerEndpoint, IListeningPort)
class Listening:
    """Listens at one address, for one node; also the port that it opens."""

    def __init__(self, wires: Wires, node: str, address: str) -> None:
        self._wires, self._node, self._address = wires, node, address

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Open the port."""
        self._wires.listen(self._node, self._address, factory)
        return succeed(self)

    def startListening(self) -> None:
        """Do nothing: `listen` did it."""

    def stopListening(self) -> None:
        """Close the port."""
        self._wires.close(self._address)

    def getHost(self) -> IPv4Address:
        """Return where it is."""
        return place(self._address)
