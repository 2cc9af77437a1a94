"""The line protocol's front end: connections, and bytes in and out of them.

Whatever a turn has to say to a connection leaves in one write. A connection whose client does
not read is not rendered for (the transport says when), and one that has too much pending is
not read from: so memory is bounded, whatever a client does.

A bug in one conversation ends that connection, with a failure in the log; the others are served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from coord.errors import Overloaded
from coord.frontends.gate import IGate, OpenGate
from coord.frontends.line_conversation import Conversation
from coord.frontends.line_watches import EventTexts
from coord.frontends.sockets import tune
from coord.limits import (
    CONNECTIONS_MAX,
    LINE_BYTES_MAX,
    TURN_SECONDS,
    VALUE_BYTES_MAX,
)
from coord.replicator.interfaces import ICoordinator
from coord.wire import line_reply
from coord.wire.line import Grammar, RequestParser

_LOG: Final = Logger()
_PINGS: Final = frozenset({b"PING\n", b"PING\r\n", b"ping\n"})
_PING_BYTES_MAX: Final = 6


@implementer(IHalfCloseableProtocol, IPushProducer)
class LineProtocol(Protocol):
    """One connection. It is also the producer of what its transport sends."""

    factory: LineFactory
    transport: Any  # a transport, a consumer and a producer at once

    def __init__(self, factory: LineFactory) -> None:
        self.factory = factory
        self.is_scheduled = False
        self._parser = RequestParser(factory.grammar, factory.line_bytes_max)
        self._conversation = Conversation(
            factory.coordinator,
            factory.gate,
            factory.clock,
            factory.grammar,
            factory.texts,
            progress=self.take_turn,
            soon=self._take_turn_soon,
        )
        self._unparsed_bytes = 0
        self._in_turn = False
        self._paused = False
        self._reading = True
        self._input_ended = False
        self._closed = False
        self._closed_here = False
        self._met = False

    # -- what the transport tells ----------------------------------------------------------
    def connectionMade(self) -> None:
        """Begin: the transport tells this producer when the client does not read."""
        tune(self.transport)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Take what came, start what it asks, and answer what can be answered at once.

        What clients with a session send most is a lone ``PING``: it has a short way.
        """
        if not (len(data) <= _PING_BYTES_MAX and data in _PINGS and self._answered_ping()):
            self._guarded(self._take, data)

    def _answered_ping(self) -> bool:
        """Answer a ``PING``, unless it has to wait its turn."""
        conversation = self._conversation
        if self._closed or self._paused or not conversation.is_idle or self._parser.is_midway:
            return False
        conversation.standing.touch()
        self._send(line_reply.OK)
        return True

    def readConnectionLost(self) -> None:
        """Finish, then close: the client asks nothing more, but may still read."""
        self._input_ended = True
        self._guarded(self._take_end)

    def writeConnectionLost(self) -> None:
        """Close: the client does not read any more."""
        self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of everything that the connection held."""
        self._closed = True
        left = not self._closed_here and reason.check(ConnectionDone) is not None
        self._conversation.abandon(left=left)
        self.factory.lost(self)

    # -- as a producer -----------------------------------------------------------------------
    def pauseProducing(self) -> None:
        """Render nothing: the client does not keep up."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on rendering."""
        self._paused = False
        self.take_turn()

    def stopProducing(self) -> None:
        """Render nothing ever: the connection is going."""
        self._closed = True

    # -- turns -------------------------------------------------------------------------------------
    def take_turn(self) -> None:
        """Render a page, write it, and see to what follows from that."""
        if not self._in_turn and not self._closed:
            self._guarded(self._turn)

    def _take(self, chunk: bytes) -> None:
        if self._closed or self._parser.broken:
            return
        if not self._met:  # only now a TLS handshake is over, and who this is known
            self._met = True
            self._conversation.standing.meet(self.factory.gate.caller(self.transport))
        self._conversation.standing.touch()
        self._unparsed_bytes += len(chunk)
        requests = self._parser.feed(chunk)
        if requests:
            size_bytes, self._unparsed_bytes = self._unparsed_bytes, 0
            self._in_turn = True  # answers that come at once wait for the page
            try:
                self._conversation.receive(requests, size_bytes)
            finally:
                self._in_turn = False
        if self._parser.broken:
            self._conversation.hang_up()
        self._turn()

    def _take_end(self) -> None:
        if not self._parser.broken:
            self._conversation.receive(self._parser.finish(), self._unparsed_bytes)
        self._conversation.end_input()
        self.take_turn()

    def _turn(self) -> None:
        conversation = self._conversation
        if not self._paused:
            self._in_turn = True
            try:
                page = conversation.render()
            finally:
                self._in_turn = False
            if page.pieces:
                self._send(b"".join(page.pieces))
            if page.unfinished and not self._paused:
                self._take_turn_soon()
        if conversation.is_over:
            self.close()
        elif not self._input_ended:
            self._regulate(not conversation.is_full)

    def _send(self, text: bytes) -> None:
        """Hand bytes to the kernel now, not after the reactor's next look at this connection.

        Past buffers, where those are empty: it saves telling the reactor that there is something to
        write, and that there is not, which costs more than the writing.
        """
        connection = self.transport
        if isinstance(connection, FileDescriptor) and not (
            connection.disconnecting or connection.dataBuffer or connection._tempDataBuffer
        ):
            sent = connection.writeSomeData(text)
            if sent == len(text):
                return
            text = text[sent:] if isinstance(sent, int) else text
        connection.write(text)
        if not self._paused:  # else this would go on page by page, and nobody else
            self._push()

    def _push(self) -> None:
        """Have the reactor's transport write what it holds; one that closes the reactor sees to."""
        connection = getattr(self.transport, "transport", self.transport)  # below TLS, if any
        if isinstance(connection, FileDescriptor) and not (
            connection.disconnected or connection.disconnecting
        ):
            connection.doWrite()

    def _regulate(self, may_read: bool) -> None:
        """Read from the client, or stop reading from it."""
        if may_read and not self._reading:
            self._reading = True
            self.transport.resumeProducing()
        elif not may_read and self._reading:
            self._reading = False
            self.transport.pauseProducing()

    def _take_turn_soon(self) -> None:
        if not self.is_scheduled and not self._closed:
            self.is_scheduled = True
            self.factory.schedule(self)

    def close(self) -> None:
        """Send what was written, then close."""
        if not self._closed:
            self._closed = self._closed_here = True
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _guarded(self, call: Callable[..., None], *arguments: bytes) -> None:
        try:
            call(*arguments)
        except Exception:
            _LOG.failure("a bug ended a connection: {what}", what=self._conversation.describe())
            self._closed = True
            self.transport.abortConnection()


class Refusal(Protocol):
    """A connection too many: it is told so, and closed."""

    def makeConnection(self, transport: ITransport) -> None:
        """Say why, and close."""
        transport.write(line_reply.error(Overloaded("too many connections on this node")))
        transport.loseConnection()


class LineFactory(ServerFactory):
    """Serves the line protocol on any stream endpoint.

    :param clock: the reactor, or a clock in tests.
    :param coordinator: whom requests go to.
    :param gate: who knows clients by what they show; without one everyone may do everything.
    :param line_bytes_max: longest request line.
    :param value_bytes_max: longest value.
    :param connections_max: connections served at once; one more is told OVERLOADED.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        coordinator: ICoordinator,
        *,
        gate: IGate | None = None,
        line_bytes_max: int = LINE_BYTES_MAX,
        value_bytes_max: int = VALUE_BYTES_MAX,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self.coordinator = coordinator
        self.gate: IGate = gate or OpenGate()
        self.clock = clock
        self.grammar = Grammar(value_bytes_max)
        self.line_bytes_max = line_bytes_max
        self.texts = EventTexts()
        self._connections_max = connections_max
        self._connections: set[LineProtocol] = set()
        self._scheduled: deque[LineProtocol] = deque()
        self._turns_due = False

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def describe(self) -> str:
        """Return the front end in one line."""
        return f"line protocol, {self.connections} of {self._connections_max} connections"

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol of a new connection."""
        if len(self._connections) >= self._connections_max:
            return Refusal()
        connection = LineProtocol(self)
        self._connections.add(connection)
        return connection

    def close_all(self) -> None:
        """Close every connection, sending what was written; for a node that stops."""
        for connection in [*self._connections]:
            connection.close()

    def lost(self, connection: LineProtocol) -> None:
        """Forget a connection that is gone."""
        self._connections.discard(connection)

    def schedule(self, connection: LineProtocol) -> None:
        """Give ``connection`` a turn, after others."""
        self._scheduled.append(connection)
        self._take_turns_soon()

    def _take_turns_soon(self) -> None:
        if not self._turns_due:
            self._turns_due = True
            self.clock.callLater(0, self._take_turns)

    def _take_turns(self) -> None:
        """Give a turn to those who want one; not to all at once where they are many."""
        self._turns_due = False
        until = self.clock.seconds() + TURN_SECONDS
        for _ in range(len(self._scheduled)):
            connection = self._scheduled.popleft()
            connection.is_scheduled = False
            connection.take_turn()
            if self.clock.seconds() >= until:
                break
        if self._scheduled:
            self._take_turns_soon()
