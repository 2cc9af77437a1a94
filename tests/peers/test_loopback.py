"""Links over real sockets on loopback: what wires in memory could hide."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTCP
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from coord.node.authority import Authority, create_authority, issue
from coord.peers import identity
from coord.peers.identity import Credentials
from coord.peers.transport import Transport
from tests.peers.contract import Ear

TEST_SECONDS = 20
"""Far longer than any of these takes: a test that hangs ends."""


class AnyPort:
    """Listens on a free port of loopback, and says which."""

    def __init__(self) -> None:
        self.port = 0

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Open the port."""
        tcp = IReactorTCP(reactor)
        endpoint = TCP4ServerEndpoint(tcp, 0, interface="127.0.0.1")
        opening: Deferred[IListeningPort] = endpoint.listen(factory)
        return opening.addCallback(self._opened)

    def _opened(self, port: IListeningPort) -> IListeningPort:
        self.port = cast(IPv4Address, port.getHost()).port
        return port


class LoopbackTests(TestCase):
    """Nodes on loopback."""

    timeout = TEST_SECONDS

    def setUp(self) -> None:
        """Make a CA, and listen to the log."""
        self.place = Path(self.mktemp())
        self.authority = create_authority(self.place / "ca")
        self.ears = {name: Ear() for name in ("n1", "n2")}
        self.lines: list[str] = []
        self.waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        observer = cast(ILogObserver, self.note)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def note(self, event: LogEvent) -> None:
        """Keep the lines that a person should read."""
        if event["log_level"] is LogLevel.warn:
            self.lines.append(formatEvent(event))
        self.look()

    def look(self) -> None:
        """See whether something that a test waits for has happened."""
        for condition, waiter in self.waiting[:]:
            if condition() and not waiter.called:
                reactor.callLater(0, waiter.callback, None)
                self.waiting.remove((condition, waiter))

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Wait until something holds; looked at whenever anything is logged or received."""
        waiter: Deferred[None] = Deferred()
        self.waiting.append((condition, waiter))
        self.look()
        return waiter

    def issue(self, name: str, authority: Authority | None = None) -> Credentials:
        """Issue a certificate."""
        return issue(self.place / name, authority or self.authority, name)

    async def run_node(
        self, name: str, credentials: Credentials | None = None, **peers: int
    ) -> tuple[Transport, int]:
        """Start a node whose ``peers`` are at these ports; return it and its own port."""
        listen = AnyPort()
        node = Transport(
            reactor,
            node=name,
            cluster="cluster",
            incarnation=1,
            peers={peer: f"127.0.0.1:{port}" for peer, port in peers.items()},
            listen=listen,  # type: ignore[arg-type]
            credentials=credentials or self.issue(name),
            dice=random.Random(1),
        )
        node.observe(self.ears[name])
        self.addCleanup(node.stop)
        await node.start()
        return node, listen.port

    async def run_pair(
        self, first: Credentials | None = None, second: Credentials | None = None
    ) -> tuple[Transport, Transport]:
        """Start n2, then n1, which dials it."""
        listener, port = await self.run_node("n2", second, n1=1)
        dialler, _ = await self.run_node("n1", first, n2=port)
        return dialler, listener

    async def refusal(self, *credentials: Credentials | None) -> tuple[str, str]:
        """Start two nodes that do not link; return the first line of n1 and of n2."""
        nodes = await self.run_pair(*credentials)
        await self.until(lambda: len(self.lines) >= 2)
        for node in nodes:
            self.assertEqual(node.connected(), frozenset())
        dialler = next(line for line in self.lines if "no link with n2" in line)
        listener = next(line for line in self.lines if "no link with n2" not in line)
        return dialler, listener

    def expired(self, name: str) -> Credentials:
        """Issue a certificate that expires under a node which was started in time."""
        begin = datetime.now(UTC) - timedelta(days=10)
        self.patch(identity, "_check_trust", lambda *_: None)
        return issue(self.place / name, self.authority, name, timedelta(days=9), begin)

    async def test_frames(self) -> None:
        """Frames small and large go both ways, in order and whole."""
        first, second = await self.run_pair()
        await self.until(lambda: bool(first.connected() and second.connected()))
        frames = [b"%d" % number * 30 for number in range(2000)] + [b"x" * 3_000_000, b"end"]
        for frame in frames:
            first.send("n2", frame)
            second.send("n1", frame)
        for name in ("n1", "n2"):
            await self.arrived(name, len(frames))
            self.assertEqual([frame for _, frame in self.ears[name].frames], frames)
        self.assertEqual(self.lines, [])

    async def arrived(self, name: str, count: int) -> None:
        """Wait for frames."""
        ear = self.ears[name]
        take = ear.received

        def received(sender: str, frame: bytes) -> None:
            take(sender, frame)
            if len(ear.frames) == count:
                self.look()

        self.patch(ear, "received", received)
        await self.until(lambda: len(ear.frames) >= count)

    async def test_listener_of_another_authority(self) -> None:
        """A listener of another CA is refused, and both logs say why."""
        other = self.issue("n2", create_authority(self.place / "other"))
        dialler, listener = await self.refusal(None, other)
        self.assertIn("its certificate is not signed by our CA", dialler)
        self.assertIn("it refused our certificate: not signed by its CA", listener)
        self.assertIn("no link with 127.0.0.1 (127.0.0.1:", listener)

    async def test_dialler_of_another_authority(self) -> None:
        """A dialler of another CA is refused, and both logs say why."""
        other = self.issue("n1", create_authority(self.place / "other"))
        other.ca.write_bytes(other.ca.read_bytes() + self.authority.pem)
        dialler, listener = await self.refusal(other)
        self.assertIn("it refused our certificate: not signed by its CA", dialler)
        self.assertIn("its certificate is not signed by our CA", listener)

    async def test_expired_listener(self) -> None:
        """A listener whose certificate expired meanwhile is refused, and both logs say why."""
        dialler, listener = await self.refusal(None, self.expired("n2"))
        self.assertIn("its certificate has expired; issue a new certificate for it", dialler)
        self.assertIn("it refused our certificate: expired; issue a new", listener)

    async def test_expired_dialler(self) -> None:
        """A dialler whose certificate expired meanwhile is refused, and both logs say why."""
        dialler, listener = await self.refusal(self.expired("n1"))
        self.assertIn("it refused our certificate: expired", dialler)
        self.assertIn("its certificate has expired", listener)

    async def test_wrong_node(self) -> None:
        """A node that is not the one that was wanted is refused, and both logs say why."""
        self.ears["n3"] = Ear()
        _, port = await self.run_node("n3", n1=1)
        await self.run_node("n1", n2=port)
        await self.until(lambda: len(self.lines) >= 2)
        for line in self.lines[:2]:
            self.assertIn("the certificate there is of n3, not of n2", line)

    async def test_plaintext(self) -> None:
        """Who speaks no TLS on the peer port is shown the door."""
        _, port = await self.run_node("n2", n1=1)
        gone: Deferred[None] = Deferred()

        class Stranger(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"GET / HTTP/1.0\r\n\r\n")

            def connectionLost(self, reason: Failure = connectionDone) -> None:
                gone.callback(None)

        endpoint = TCP4ClientEndpoint(IReactorTCP(reactor), "127.0.0.1", port)
        await endpoint.connect(Factory.forProtocol(Stranger))
        await gone
        (line,) = self.lines
        self.assertIn("no link with 127.0.0.1 (127.0.0.1:", line)
        self.assertIn("it does not speak TLS but HTTP", line)
