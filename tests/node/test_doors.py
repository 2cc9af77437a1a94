"""Ports: taken at once, opened later, given back."""

from __future__ import annotations

import socket

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from coord.node.doors import Door, with_backlog
from coord.node.settings import Refused


class Greeter(Protocol):
    """Says hello and hangs up."""

    def connectionMade(self) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Listener(Protocol):
    """Hears what is said until the end."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        """Tell what was heard."""
        self.ended.callback(self.heard)


class Real(TestCase):
    """Doors on real ports."""

    async def test_early(self) -> None:
        """Who connects before all is ready is answered once it is."""
        door = Door(reactor, "listen", "tcp:0:interface=127.0.0.1")
        door.open()
        self.addCleanup(door.close)
        port = port_of(door)
        with socket.create_connection(("127.0.0.1", port)) as early:
            door.listen(Factory.forProtocol(Greeter))
            client = clientFromString(reactor, f"tcp:127.0.0.1:{port}")
            late = await connectProtocol(client, Listener())
            self.assertEqual(await late.ended, b"hello")
            self.assertEqual(early.recv(5), b"hello")

    def test_taken(self) -> None:
        """A port that someone has is refused in words that name the option and the reason."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            door = Door(reactor, "web", f"tcp:{port}:interface=127.0.0.1")
            error = self.assertRaises(Refused, door.open)
        self.assertIn("--web", str(error))
        self.assertIn("Address already in use", str(error))

    def test_factory_hears_of_the_end(self) -> None:
        """The real factory is started and stopped as if it had listened itself."""
        factory = Factory.forProtocol(Greeter)
        door = Door(reactor, "listen", "tcp:0:interface=127.0.0.1")
        door.open()
        door.listen(factory)
        self.assertEqual(factory.numPorts, 1)
        closed = door.close()
        closed.addCallback(lambda _: self.assertEqual(factory.numPorts, 0))
        return closed  # type: ignore[return-value]

    async def test_lent(self) -> None:
        """Who listens no more lets nobody in; the port stays, and another may listen."""
        door = Door(reactor, "listen", "tcp:0:interface=127.0.0.1")
        door.open()
        self.addCleanup(door.close)
        port = port_of(door)
        former, latter = Factory.forProtocol(Greeter), Factory.forProtocol(Greeter)
        lent = await door.listen(former)
        client = clientFromString(reactor, f"tcp:127.0.0.1:{port}")
        lent.stopListening()
        self.assertEqual(former.numPorts, 0)
        turned_away = await connectProtocol(client, Listener())
        self.assertEqual(await turned_away.ended, b"")
        self.assertRaises(OSError, socket.create_server, ("127.0.0.1", port))
        door.listen(former)
        door.listen(latter)
        self.assertEqual((former.numPorts, latter.numPorts), (0, 1))
        self.assertEqual(await (await connectProtocol(client, Listener())).ended, b"hello")


def port_of(door: Door) -> int:
    """Return the number of a door's port."""
    ports: list[IListeningPort] = []
    door.listen(Factory()).addCallback(ports.append)
    address = ports[0].getHost()
    assert isinstance(address, IPv4Address)
    return address.port


class Crowds(SynchronousTestCase):
    """How many may come at one time."""

    def test_backlog(self) -> None:
        """Many may wait at a port unless its endpoint says otherwise."""
        for given, made in (
            ("tcp:1:interface=127.0.0.1", "tcp:1:interface=127.0.0.1:backlog=1024"),
            ("unix:/run/x", "unix:/run/x:backlog=1024"),
            ("tcp:1:backlog=5", "tcp:1:backlog=5"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ):
            self.assertEqual(with_backlog(given), made)

    def test_listens(self) -> None:
        """Every kind of endpoint that gets a backlog takes one."""
        reactor = MemoryReactor()
        for endpoint in ("tcp:1", "tcp6:1", f"unix:{self.mktemp()}"):
            Door(reactor, "listen", endpoint).open()
        self.assertEqual([one[2] for one in reactor.tcpServers], [1024, 1024])
        self.assertEqual([one[2] for one in reactor.unixServers], [1024])


class Refusals(SynchronousTestCase):
    """What cannot be a door."""

    def test_nonsense(self) -> None:
        """An endpoint that makes no sense is refused when it is read, with its option."""
        for text in ("", "pigeon:coop", "tcp", "tcp:x", "tcp:1:colour=red", "ssl:1:privateKey=no"):
            error = self.assertRaises(Refused, Door, MemoryReactor(), "listen", text)
            self.assertIn(f"--listen {text}", str(error))

    def test_no_sockets_from_systemd(self) -> None:
        """A socket that systemd did not hand over is refused."""
        said = self.assertRaises(Refused, Door, reactor, "listen", "systemd:domain=INET:index=0")
        self.assertIn("no such socket", str(said))

    def test_exposed(self) -> None:
        """A port that turns out to be reached from elsewhere is refused where that is not meant."""
        elsewhere = Door(MemoryReactor(), "listen", "tcp:80:interface=0.0.0.0")
        self.assertRaises(Refused, elsewhere.open, exposed=False)
        elsewhere.open(exposed=True)
