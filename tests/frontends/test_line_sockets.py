"""The line protocol over real sockets on loopback: what only a kernel's buffers can show."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from coord.commands import Set
from coord.frontends.line import LineFactory
from tests.frontends.local import LocalCoordinator

COUNT = 100_000
reactor: Any = installed


class Collector(Protocol):
    """A client that keeps what it gets until the connection is closed."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell what came."""
        self.closed.callback(bytes(self.received))


class Sockets(TestCase):
    """A node on a free port."""

    timeout = 60

    def setUp(self) -> None:
        """Listen."""
        self.coordinator = LocalCoordinator()
        self.port: Any = reactor.listenTCP(
            0, LineFactory(reactor, self.coordinator), interface="127.0.0.1"
        )
        self.addCleanup(self.port.stopListening)

    async def connect(self) -> Collector:
        """Return a client that is connected."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        client = Collector()
        await connectProtocol(endpoint, client)
        return client

    async def test_pipelined(self) -> None:
        """A program that writes 100,000 requests at once gets all answers, in order."""
        client = await self.connect()
        requests = b"".join(b"SET /k%d %d\n" % (n % 100, n) for n in range(COUNT))
        client.transport.write(requests + b"QUIT\n")
        came = await client.closed
        expected = b"".join(b"OK %d\n" % rev for rev in range(1, COUNT + 1)) + b"OK\n"
        self.assertTrue(came == expected)

    async def test_unix(self) -> None:
        """A client at a UNIX socket is served like others, however much it asks at once."""
        path = self.mktemp()
        port: Any = reactor.listenUNIX(path, LineFactory(reactor, self.coordinator))
        self.addCleanup(port.stopListening)
        client = Collector()
        await connectProtocol(UNIXClientEndpoint(reactor, path), client)
        client.transport.write(b"SET /a 1\n" * COUNT + b"QUIT\n")
        came = await client.closed
        self.assertEqual(came, b"".join(b"OK %d\n" % rev for rev in range(1, COUNT + 1)) + b"OK\n")
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_half_closed(self) -> None:
        """A client that closes its half at once (nc -N) gets all answers, then the end."""
        client = await self.connect()
        client.transport.write(b"SET /a 1\nGET /a\nWAIT from=0 /a\n")
        client.transport.loseWriteConnection()
        self.assertEqual(await client.closed, b"OK 1\nVALUE 1 1\nEVENT 1 set /a 1\n")

    async def test_large_replies(self) -> None:
        """A hundred megabytes of replies go out as they are read; others are served meanwhile."""
        greedy, other = await self.connect(), await self.connect()
        value = b"x" * 1_000_000
        self.coordinator.store.apply(Set("/a", value), 0)
        greedy.transport.pauseProducing()
        greedy.transport.write(b"GET /a\n" * 100 + b"QUIT\n")
        other.transport.write(b"PING\nQUIT\n")
        self.assertEqual(await other.closed, b"OK\nOK\n")
        greedy.transport.resumeProducing()
        came = await greedy.closed
        self.assertEqual(len(came), 100 * len(b"VALUE 1 {1000000}\n%b\n" % value) + len(b"OK\n"))
