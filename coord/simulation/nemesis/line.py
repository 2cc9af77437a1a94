"""One connection to one node, that asks again nobody: what a client records is what was told.

`coord.client` hides lost connections and asks again; here everything is shown, so that a history
can be written. The line protocol itself is the client's: `Conversation` makes lines of commands
and results of replies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from coord import commands
from coord.client.conversation import Conversation
from coord.client.errors import Junk
from coord.client.exchange import Exchange
from coord.simulation.ports import HOST

Told = Callable[[Any], None]
DIAL_SECONDS = 2


class Lost(Exception):
    """The connection is gone, or silent for too long; what was asked may have been done."""


class _Question(Exchange):
    """One request, and who hears what is told of it."""

    __slots__ = ("_told",)

    def __init__(self, command: commands.Command, told: Told) -> None:
        super().__init__(command)
        self._told = told

    def told(self, outcome: Any) -> None:
        """Hand it on."""
        self._told(outcome)


class Line(Protocol):
    """A connection.

    :param troubled: hears what befalls the session of the connection.
    :param junk: hears of replies that fit nothing that was asked.
    """

    transport: Any

    def __init__(self, reactor: Any, troubled: Told, junk: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._junk = junk
        self._conversation = Conversation(_Question(commands.Ping(), troubled))
        self._open: dict[Deferred[Any], None] = {}
        self._over: Told | None = None
        self.is_lost = False

    def connectionMade(self) -> None:
        """Have no piece wait for another."""
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """Tell those who asked."""
        try:
            told = self._conversation.receive(data)
        except Junk as error:
            self._junk(f"junk: {error}")
            self.hang_up()
            return
        for exchange, outcome in told:
            exchange.told(outcome)
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell all who wait that nothing more will come."""
        self.is_lost = True
        waiting, self._open = self._open, {}
        for deferred in waiting:
            deferred.errback(Lost(reason.getErrorMessage()))
        if self._over is not None:
            self._over(None)

    def hang_up(self) -> None:
        """End the connection as a crash does."""
        if not self.is_lost:
            self.transport.abortConnection()

    def ask(self, command: commands.Command, seconds: float) -> Deferred[Any]:
        """Return what a command is answered, an error as a value; fails with `Lost`.

        Where nothing is told in so many seconds the connection is given up.
        """
        answer: Deferred[Any] = Deferred()
        if self.is_lost:
            answer.errback(Lost("no connection"))
            return answer
        self._open[answer] = None
        timer = self._reactor.callLater(seconds, self.hang_up)

        def told(outcome: Any) -> None:
            if answer in self._open:
                del self._open[answer]
                answer.callback(outcome)

        def settled(outcome: Any) -> Any:
            if timer.active():
                timer.cancel()
            return outcome

        answer.addBoth(settled)
        self._conversation.ask(_Question(command, told))
        self._flush()
        return answer

    def watch(self, command: commands.Watch, told: Told) -> None:
        """Have ``told`` hear a watch, and ``None`` when the connection is gone."""
        self._over = told
        self._conversation.watch(_Question(command, told))
        self._flush()

    def _flush(self) -> None:
        content = self._conversation.take_outbox()
        if content and not self.is_lost:
            self.transport.write(content)


async def dial(reactor: Any, port: int, troubled: Told, junk: Callable[[str], None]) -> Line:
    """Return a new connection to a node on loopback; raises `Lost`."""
    factory = Factory.forProtocol(lambda: Line(reactor, troubled, junk))
    factory.noisy = False
    endpoint = TCP4ClientEndpoint(reactor, HOST, port, timeout=DIAL_SECONDS)
    try:
        line: Any = await endpoint.connect(factory)
    except Exception as error:
        raise Lost(str(error)) from None
    assert isinstance(line, Line), "the factory makes nothing else"
    return line
