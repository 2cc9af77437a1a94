"""A real node in memory, and conch's own client to speak to its console over a wire in memory."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.session import packRequest_pty_req, packRequest_window_change
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.conch.ssh.userauth import SSHUserAuthClient
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect

from coord.frontends.console.keys import KeyFile, write_private_key
from coord.frontends.console.server import ConsoleFactory, ConsoleTransport
from coord.frontends.console.words import Subjects
from tests.replicator.case import Case


class Told:
    """Something that says one line of itself."""

    def __init__(self, line: str) -> None:
        self.line = line

    def describe(self) -> str:
        """Return the line."""
        return self.line


class Links:
    """The links of a node, as a transport tells them."""

    def describe(self) -> list[str]:
        """Return one peer."""
        return ["n2 dialled h:1 up"]


class Login(SSHUserAuthClient):
    """Offers one key, or a password."""

    def __init__(self, user: bytes, key: Key | None, then: SSHConnection) -> None:
        SSHUserAuthClient.__init__(self, user, then)
        self._keys = [key] if key is not None else []
        self.passwords_asked = 0

    def getPublicKey(self) -> Key | None:
        """Return the key, once."""
        self._key = self._keys.pop() if self._keys else None
        return self._key.public() if self._key is not None else None

    def getPrivateKey(self) -> Deferred[Key]:
        """Return its private half."""
        assert self._key is not None, "it was offered"
        return succeed(self._key)

    def getPassword(self, prompt: bytes | None = None) -> Deferred[bytes]:
        """Return a password; the console must never ask for one."""
        self.passwords_asked += 1
        return succeed(b"letmein")


class ClientTransport(SSHClientTransport):
    """A client that believes any host."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.lost: str | None = None

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[int]:
        """Believe it."""
        self.host_key = hostKey
        return succeed(1)

    def connectionSecure(self) -> None:
        """Log in; later, when keys were exchanged anew, do nothing."""
        if self.service is None:
            self.requestService(self.login)

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """Keep why the other end leaves."""
        self.lost = description.decode()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Keep that it is over."""
        self.lost = self.lost or "closed"
        SSHClientTransport.connectionLost(self, reason)


class Sessions(SSHConnection):
    """The client's side of a connection that was let in."""

    started = False

    def serviceStarted(self) -> None:
        """Take note."""
        self.started = True
        SSHConnection.serviceStarted(self)


class ClientSession(SSHChannel):
    """One session as a client has it: what came, and how it ended."""

    name = b"session"

    def __init__(self, window: int = 0) -> None:
        SSHChannel.__init__(self, localWindow=window)
        self.out = b""
        self.err = b""
        self.status: int | None = None
        self.is_open = False
        self.is_closed = False

    def channelOpen(self, specificData: bytes) -> None:
        """Take note."""
        self.is_open = True

    def dataReceived(self, data: bytes) -> None:
        """Keep what came."""
        self.out += data

    def extReceived(self, dataType: int, data: bytes) -> None:
        """Keep what went wrong."""
        self.err += data

    def request_exit_status(self, data: bytes) -> int:
        """Keep how it ended."""
        (self.status,) = struct.unpack(">L", data)
        return 1

    def closed(self) -> None:
        """Take note of the end."""
        self.is_closed = True


class Visit:
    """A client at the console: opens sessions, types, and hears."""

    def __init__(self, case: ConsoleCase, user: bytes, key: Key | None) -> None:
        self.case = case
        self.sessions = Sessions()
        self.login = Login(user, key, self.sessions)
        self.client = ClientTransport(self.login)
        server: Any = case.factory.buildProtocol(None)
        assert isinstance(server, ConsoleTransport)
        self.server = server
        client_end = FakeTransport(self.client, isServer=False)
        server_end = FakeTransport(self.server, isServer=True)
        self.pump: IOPump = connect(self.server, server_end, self.client, client_end)
        self.go_on()

    def go_on(self) -> None:
        """Let bytes flow and calls be made until nothing more happens."""
        for _ in range(1000):
            self.case.clock.advance(0)
            if not self.pump.pump() and not self._due():
                return
        raise AssertionError("it never ends")

    def _due(self) -> bool:
        calls = self.case.clock.getDelayedCalls()
        return any(call.getTime() <= self.case.clock.seconds() for call in calls)

    def session(self, window: int = 0) -> ClientSession:
        """Open a session."""
        channel = ClientSession(window)
        self.sessions.openChannel(channel)
        self.go_on()
        return channel

    def exec(self, line: str) -> ClientSession:
        """Ask for a word as ``ssh HOST word`` does; return how it went."""
        channel = self.session()
        self.sessions.sendRequest(channel, b"exec", NS(line.encode()))
        self.go_on()
        return channel

    def shell(
        self, terminal: bytes | None = b"xterm", window: int = 0, env: tuple[bytes, ...] = ()
    ) -> ClientSession:
        """Open a shell, on a terminal of 80 by 24 unless it has none."""
        channel = self.session(window)
        for name in env:
            self.sessions.sendRequest(channel, b"env", NS(name) + NS(b"1"))
        if terminal is not None:
            request = packRequest_pty_req(terminal, (24, 80, 0, 0), b"")
            self.sessions.sendRequest(channel, b"pty-req", request)
        self.sessions.sendRequest(channel, b"shell", b"")
        self.go_on()
        return channel

    def resize(self, channel: ClientSession, columns: int, rows: int) -> None:
        """Change the window."""
        request = packRequest_window_change((rows, columns, 0, 0))
        self.sessions.sendRequest(channel, b"window-change", request)
        self.go_on()

    def signal(self, channel: ClientSession, name: bytes) -> None:
        """Send a signal."""
        self.sessions.sendRequest(channel, b"signal", NS(name))
        self.go_on()

    def type(self, channel: ClientSession, keys: bytes | str) -> str:
        """Type, and return what came of it."""
        before = len(channel.out)
        channel.write(keys.encode() if isinstance(keys, str) else keys)
        self.go_on()
        return channel.out[before:].decode()

    def vanish(self) -> None:
        """Break the connection."""
        self.server.transport.abortConnection()
        self.go_on()


class ConsoleCase(Case):
    """Has a node of one with a console, an operator's key, a reader's and a stranger's."""

    def setUp(self) -> None:
        """Make the node and the keys."""
        super().setUp()
        self.found(1)
        node = self.nodes["n1"]
        self.store = node.replicator.store
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.operator, operators = self.key("operator", "alice@laptop")
        self.reader, readers = self.key("reader", "bob")
        self.stranger, _ = self.key("stranger", "mallory")
        self.subjects = Subjects(
            replicator=node.replicator,
            coordinator=node.coordinator,
            transport=Links(),
            journal=Told("journal of n1"),
            lines=Told("7 clients"),
        )
        write_private_key(self.folder / "host")
        self.factory = ConsoleFactory(
            self.clock,
            self.subjects,
            Key.fromString((self.folder / "host").read_bytes()),
            [
                KeyFile("authorized-keys", operators, is_operator=True),
                KeyFile("console-readers", readers, is_operator=False),
            ],
        )
        self.factory.doStart()
        self.addCleanup(self.factory.doStop)

    def key(self, name: str, comment: str) -> tuple[Key, Path]:
        """Make a key and a file of keys with it alone."""
        public = write_private_key(self.folder / name)
        path = self.folder / f"{name}.pub"
        path.write_text(f"{public} {comment}\n")
        return Key.fromString((self.folder / name).read_bytes()), path

    def visit(self, key: Key | None = None, user: bytes = b"alice") -> Visit:
        """Come in, with the operator's key unless told otherwise."""
        return Visit(self, user, key or self.operator)

    def write(self, path: str, value: bytes = b"x") -> None:
        """Have a value written and applied."""
        self.set("n1", path, value)
        self.advance(0.05)
