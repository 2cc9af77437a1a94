"""Listeners that know their clients by certificates, on real ports."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate, TLSVersion
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from coord.frontends.access import Gate
from coord.frontends.secrets import Secrets
from coord.node.authority import create_authority, issue, issue_client
from coord.node.certified import line_endpoint
from coord.node.doors import Door
from coord.node.settings import Refused


class Teller(Protocol):
    """Tells a client, at its first byte, who it is."""

    def dataReceived(self, data: bytes) -> None:
        """Tell it."""
        assert self.transport is not None
        caller = Gate(reactor, Secrets()).caller(self.transport)
        self.transport.write(f"{caller.who} {caller.level}".encode())
        self.transport.loseConnection()


class Asker(Protocol):
    """Says one byte and hears what comes back."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended: Deferred[str] = Deferred()

    def connectionMade(self) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(b"?")

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell what was heard; the reason where that was nothing."""
        assert reason is not None
        self.ended.callback(self.heard.decode() or repr(reason.value))


class Handshakes(TestCase):
    """Clients with and without certificates."""

    def setUp(self) -> None:
        """Issue certificates of two authorities."""
        self.folder = Path(self.mktemp())
        self.ours = create_authority(self.folder / "ca")
        self.node = issue(self.folder / "n1", self.ours, "n1")
        self.alice = issue_client(self.folder / "alice", self.ours, "alice")
        others = create_authority(self.folder / "other")
        self.mallory = issue_client(self.folder / "mallory", others, "alice")

    def open(self, *, required: bool) -> int:
        """Open a listener; return its port."""
        door = Door(
            reactor,
            "listen",
            f"ssl:0:interface=127.0.0.1:privateKey={self.node.key}:certKey={self.node.certificate}"
            f":clientCA={self.node.ca}",
            partial(line_endpoint, certificate_required=required),
        )
        door.open()
        self.addCleanup(door.close)
        ports: list[IListeningPort] = []
        door.listen(Factory.forProtocol(Teller)).addCallback(ports.append)
        address = ports[0].getHost()
        assert isinstance(address, IPv4Address)
        return address.port

    async def ask(self, port: int, shown: Any = None, **terms: Any) -> str:
        """Connect, with the certificate of some credentials; return what one is told."""
        if shown is not None:
            pem = shown.certificate.read_bytes() + shown.key.read_bytes()
            own = PrivateCertificate.loadPEM(pem)
            terms |= {"privateKey": own.privateKey.original, "certificate": own.original}
        client = SSL4ClientEndpoint(reactor, "127.0.0.1", port, CertificateOptions(**terms))
        asker: Asker = await connectProtocol(client, Asker())
        return await asker.ended

    async def test_certified(self) -> None:
        """A client with a certificate is its common name and may write, required or not."""
        for required in (True, False):
            self.assertEqual(await self.ask(self.open(required=required), self.alice), "alice 2")

    async def test_none(self) -> None:
        """A client without a certificate comes in only where none is required."""
        self.assertEqual(await self.ask(self.open(required=False)), "anonymous 3")
        self.assertNotIn("anonymous", await self.ask(self.open(required=True)))

    async def test_strange(self) -> None:
        """A certificate of another authority does not come in, not even as nobody."""
        for required in (True, False):
            told = await self.ask(self.open(required=required), self.mallory)
            self.assertNotIn("anonymous", told)
            self.assertNotIn("alice", told)

    async def test_old_versions(self) -> None:
        """TLS 1.2 is spoken, nothing older is."""
        port = self.open(required=True)
        newest = {"insecurelyLowerMinimumTo": TLSVersion.TLSv1_0}
        for version, wanted in ((TLSVersion.TLSv1_2, True), (TLSVersion.TLSv1_1, False)):
            told = await self.ask(port, self.alice, lowerMaximumSecurityTo=version, **newest)
            self.assertEqual(told == "alice 2", wanted)


class Refusals(SynchronousTestCase):
    """What cannot be such a listener."""

    def refusal(self, description: str) -> str:
        """Return what is said of an endpoint."""
        make = partial(line_endpoint, certificate_required=True)
        error = self.assertRaises(Refused, Door, MemoryReactor(), "listen", description, make)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_files(self) -> None:
        """Files that are not there, are something else or do not fit each other are named."""
        folder = Path(self.mktemp())
        authority = create_authority(folder / "ca")
        one, two = (issue(folder / name, authority, name) for name in ("n1", "n2"))
        for key, certificate, ca, said in (
            ("no/key", one.certificate, one.ca, "cannot read no/key"),
            (one.key, "no/cert", one.ca, "cannot read no/cert"),
            (one.key, one.certificate, "no/ca", "cannot read no/ca"),
            (one.certificate, one.certificate, one.ca, "not a key"),
            (one.key, one.key, one.ca, "not a certificate"),
            (one.key, one.certificate, one.key, "not a certificate"),
            (two.key, one.certificate, one.ca, "is not the key of"),
        ):
            text = f"ssl:1:privateKey={key}:certKey={certificate}:clientCA={ca}"
            self.assertIn(said, self.refusal(text))

    def test_words(self) -> None:
        """A word that it does not know, or a port that is none, is refused."""
        self.assertIn("no colour", self.refusal("ssl:1:clientCA=x:colour=red"))
        self.assertIn("no sslmethod", self.refusal("ssl:1:clientCA=x:sslmethod=SSLv23_METHOD"))
        self.assertIn("no port", self.refusal("ssl:x:clientCA=x"))
        self.assertIn("clientCA", self.refusal("tcp:1:clientCA=x"))

    def test_others(self) -> None:
        """Every other endpoint is Twisted's own."""
        make = partial(line_endpoint, certificate_required=True)
        here = MemoryReactor()
        Door(here, "listen", "tcp:7", make).open()
        self.assertEqual(here.tcpServers[0][0], 7)
