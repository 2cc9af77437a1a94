"""TLS to servers, on real ports: whom the client trusts, and what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.trial.unittest import TestCase

from coord.client import Client, NoServer, Tls
from coord.frontends.line import LineFactory
from coord.node.authority import create_authority, issue_client, issue_listener
from tests.frontends.local import LocalCoordinator


class Trust(TestCase):
    """A server whose certificate is of an authority that some clients trust."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Listen."""
        self.folder = Path(self.mktemp())
        ours = create_authority(self.folder / "ours")
        create_authority(self.folder / "theirs")
        self.own = issue_listener(self.folder / "node", ours, "127.0.0.1")
        self.me = issue_client(self.folder / "me", ours, "me")
        words = f"privateKey={self.own.key}:certKey={self.own.certificate}"
        endpoint = serverFromString(reactor, f"ssl:0:interface=127.0.0.1:{words}")
        factory: Any = LineFactory(reactor, LocalCoordinator())
        port = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def client(self, host: str, tls: Tls, seconds: float = 10.0) -> Client:
        """Return a client that is closed at the end."""
        client = Client(reactor, [f"{host}:{self.port}"], tls=tls, request_seconds=seconds)
        self.addCleanup(client.close)
        return client

    async def test_trusted(self) -> None:
        """A server of the authority that is trusted is talked to, under the name it has."""
        client = self.client("127.0.0.1", Tls(trust=self.own.ca))
        written = await client.set("/a", b"secret")
        self.assertEqual((await client.get("/a")).rev, written.rev)
        renamed = self.client("localhost", Tls(trust=self.own.ca), seconds=0.5)
        with self.assertRaises(NoServer) as caught:
            await renamed.set("/a", b"secret")
        self.assertIn("another name", str(caught.exception))

    async def test_not_trusted(self) -> None:
        """A server of another authority is not asked anything, and why is said."""
        for trust in (self.folder / "theirs" / "ca.pem", None):
            client = self.client("127.0.0.1", Tls(trust=trust), seconds=0.5)
            with self.assertRaises(NoServer) as caught:
                await client.set("/a", b"secret")
            self.assertIn("certificate", str(caught.exception))

    async def test_own_certificate(self) -> None:
        """A certificate and its key may be in one file or in two."""
        both = self.folder / "both.pem"
        both.write_bytes(self.me.key.read_bytes() + self.me.certificate.read_bytes())
        for tls in (
            Tls(trust=self.own.ca, certificate=self.me.certificate, key=self.me.key),
            Tls(trust=self.own.ca, certificate=both),
        ):
            await self.client("127.0.0.1", tls).ping()

    def test_files(self) -> None:
        """A file that is not there, or holds something else, is told when the client is made."""
        junk = self.folder / "junk.pem"
        junk.write_text("junk")
        self.assertRaises(OSError, self.client, "127.0.0.1", Tls(trust=self.folder / "none.pem"))
        self.assertRaises(ValueError, self.client, "127.0.0.1", Tls(trust=junk))
        self.assertRaises(ValueError, self.client, "127.0.0.1", Tls(certificate=junk))

    def test_what_does_not_belong_together(self) -> None:
        """A key that is another's, or is not there, is told of by the names of the files."""
        own, key = self.me.certificate, self.own.key
        for tls, said in (
            (Tls(certificate=own, key=key), f"{key} is not that of {own}"),
            (Tls(certificate=own), f"no private key in {own}"),
            (Tls(trust=key), f"{key} holds no certificate"),
        ):
            with self.assertRaises(ValueError) as caught:
                self.client("127.0.0.1", tls)
            self.assertIn(said, str(caught.exception))
