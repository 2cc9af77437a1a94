"""A secret is shown first, on every connection; who is not known is told so at once."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import ITransport

from coord.client import Client
from coord.commands import Caller, Level
from coord.errors import Denied, Overloaded
from coord.frontends.gate import OpenGate
from coord.frontends.line import LineFactory
from tests.client.case import ClientCase
from tests.client.wires import Server


class _Door(OpenGate):
    """Knows one secret; takes its time where it is told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Caller]] = []
        self.is_slow = False
        self.is_full = False

    def caller(self, transport: ITransport) -> Caller:
        """Return one who may do nothing."""
        return Caller("anonymous", "here", Level.NONE)

    def auth(self, caller: Caller, secret: bytes) -> Deferred[Caller]:
        """Look at a secret."""
        if self.is_full:
            self.is_full = False
            return fail(Overloaded("too many are waiting"))
        if self.is_slow:
            self.asked.append(Deferred())
            return self.asked[-1]
        if secret != b"open \n sesame":
            return fail(Denied("no such secret"))
        return succeed(Caller("bob", "here", Level.WRITE))


class Secrets(ClientCase):
    """Servers that want a secret."""

    def setUp(self) -> None:
        """Have a door at both servers."""
        super().setUp()
        self.door = _Door()
        for server in (self.first, self.second):
            server.factory = LineFactory(self.clock, server.coordinator, gate=self.door)

    def knowing(self, *servers: Server) -> Client:
        """Return a client that knows the secret."""
        return self.client_of(*servers, secret=b"open \n sesame")

    def test_shown(self) -> None:
        """The secret is shown before anything else, on the next server as well."""
        client = self.knowing(self.first, self.second)
        session = client.session()
        self.now(client.set("/a", b""))
        self.assertEqual(self.now(client.blame("/a")).author, "bob@here")
        self.first.kill()
        self.within(1, client.set("/a", b""))
        self.assertEqual((session.state, client.server is None), ("held", False))

    def test_wrong(self) -> None:
        """A wrong secret is told at once to all who asked for anything."""
        client = self.client_of(self.first, self.second, secret=b"guess")
        read, watch, session = client.get("/a"), client.watch("/a"), client.session()
        lock = client.lock("/l", wait_seconds=None)
        self.advance(0.5)
        for asked in (read, watch.next(), session.opened(), lock):
            self.failureResultOf(asked, Denied)
        self.assertEqual(self.second.dialled, 0)

    def test_none(self) -> None:
        """Who has no secret where one is wanted is told at once, too."""
        read = self.client.get("/a")
        self.advance(0.5)
        self.assertIn("AUTH", self.failureResultOf(read, Denied).value.text)

    def test_slow(self) -> None:
        """A server that takes its time over a secret is waited for, one that is silent is not."""
        self.door.is_slow = True
        client = self.client_of(self.first, secret=b"open", request_seconds=30)
        write = client.set("/a", b"")
        self.advance(12)
        self.assertEqual(len(self.door.asked), 1)
        self.door.asked[0].callback(Caller("bob", "here", Level.WRITE))
        self.now(write)
        other = self.client_of(self.first, secret=b"open", request_seconds=30)
        other.ping().addErrback(lambda _: None)
        self.advance(0.1)
        self.first.freeze()
        self.advance(5)
        self.assertGreater(self.first.dialled, 2)

    def test_full(self) -> None:
        """Where too many wait at the door it is tried again."""
        self.door.is_full = True
        client = self.knowing(self.first, self.second)
        self.within(1, client.set("/a", b""))
