"""The console's server: SSH connections, who may come in, and how many."""

from __future__ import annotations

from typing import Any, Final

from twisted.conch.error import ConchError, IgnoreAuthentication, ValidPublicKey
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION, SSHServerTransport
from twisted.conch.ssh.userauth import SSHUserAuthServer
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ISSHPrivateKey
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

import coord
from coord.frontends.console.channel import Session
from coord.frontends.console.colours import clean
from coord.frontends.console.keys import KeyFile, KnownKey, fingerprint
from coord.frontends.console.visitor import QUIET, Visit, Visitor
from coord.frontends.console.words import Subjects
from coord.frontends.gate import address_of
from coord.frontends.sockets import tune

CONNECTIONS_MAX: Final = 32
"""Connections of people who came in; files are kept for them beside those of clients."""
STRANGERS_MAX: Final = 16
"""Connections whose key is not known yet; past it the oldest gives way."""
LOGIN_SECONDS: Final = 30.0
ATTEMPTS_MAX: Final = 6
_KEY_EXCHANGES: Final = (
    b"curve25519-sha256",
    b"curve25519-sha256@libssh.org",
    b"ecdh-sha2-nistp256",
    b"ecdh-sha2-nistp384",
    b"ecdh-sha2-nistp521",
)
"""Those that take the node's thread for a millisecond and not for many."""
_SIGNATURES: Final = (
    b"ssh-ed25519",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"sk-ssh-ed25519@openssh.com",
    b"sk-ecdsa-sha2-nistp256@openssh.com",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)
_LOG: Final = Logger()


@implementer(ICredentialsChecker, IRealm)
class Gate:
    """Knows the keys, and hands each visitor a `Visit`."""

    credentialInterfaces = (ISSHPrivateKey,)

    def __init__(self, files: list[KeyFile], subjects: Subjects, clock: IReactorTime) -> None:
        self._files = files
        self._subjects = subjects
        self._clock = clock

    def requestAvatarId(self, credentials: Any) -> Any:
        """Return user and key where the key is known and the signature is its own."""
        user = clean(credentials.username.decode("utf-8", "replace"))[:64]
        known = self._find(credentials.blob, user)
        if known is None:
            raise UnauthorizedLogin(self._why_not(credentials.blob))
        if not credentials.signature:
            raise ValidPublicKey
        try:
            key = Key.fromString(known.blob, type="blob")
            is_own = key.verify(credentials.signature, credentials.sigData)
        except Exception as error:
            why = f"its signature with {known.fingerprint} cannot be read"
            raise UnauthorizedLogin(why) from error
        if not is_own:
            raise UnauthorizedLogin(f"its signature is not that of {known.fingerprint}")
        return user, known

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: object) -> Any:
        """Return a visit; where from is filled in by the connection."""
        user, known = avatarId
        visitor = Visitor(
            user=user, key=known, where="", subjects=self._subjects, clock=self._clock
        )
        return IConchUser, Visit(visitor, Session), lambda: None

    def _find(self, blob: bytes, user: str) -> KnownKey | None:
        for file in self._files:
            for key in file.known():
                if key.blob == blob and (not key.principals or user in key.principals):
                    return key
        return None

    def _why_not(self, blob: bytes) -> str:
        """Return why a key opens nothing, for the log; the visitor is not told."""
        name = fingerprint(blob)
        if any(key.blob == blob for file in self._files for key in file.known()):
            return f"the key {name} is for other user names"
        return f"the key {name} is not known"


class Login(SSHUserAuthServer):
    """Public keys, and nothing else."""

    transport: Any
    _log = QUIET
    loginTimeout = int(LOGIN_SECONDS)
    attemptsBeforeDisconnect = ATTEMPTS_MAX

    def serviceStarted(self) -> None:
        """Begin, on the node's own clock."""
        self.clock = self.transport.factory.clock
        SSHUserAuthServer.serviceStarted(self)

    def _cbFinishedAuth(self, result: Any) -> None:
        self.transport.came_in(result[1])
        SSHUserAuthServer._cbFinishedAuth(self, result)

    def _ebBadAuth(self, reason: Failure) -> None:
        if self.method != b"none" and not reason.check(IgnoreAuthentication):
            _LOG.warn(
                "console: {user} ({where}) was refused: {why}",
                user=clean((self.user or b"?").decode("utf-8", "replace"))[:64],
                where=self.transport.where,
                why=reason.getErrorMessage()
                if reason.check(UnauthorizedLogin, ConchError)
                else "what it sent makes no sense",
            )
            reason = Failure(UnauthorizedLogin("refused"))
        SSHUserAuthServer._ebBadAuth(self, reason)


class Connection(SSHConnection):
    """The sessions of one connection."""

    _log = QUIET


@implementer(IPushProducer)
class ConsoleTransport(SSHServerTransport):
    """One connection, from its first byte to its last."""

    factory: ConsoleFactory
    transport: Any
    _log = QUIET
    ourVersionString = f"SSH-2.0-coord_{coord.__version__}".encode()

    def __init__(self) -> None:
        self.visitor: Visitor | None = None
        self.where = "?"
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Begin; whoever says nothing is not waited for."""
        tune(self.transport)
        peer = self.transport.getPeer()
        self.where = address_of(peer)
        self._timer = self.factory.clock.callLater(LOGIN_SECONDS, self.transport.abortConnection)
        self.transport.registerProducer(self, True)
        SSHServerTransport.connectionMade(self)

    def sendExtInfo(self, extensions: list[tuple[bytes, bytes]]) -> None:
        """Name all kinds of keys that visitors may have; conch names the host key's alone."""
        named = dict(extensions) | {b"server-sig-algs": b",".join(_SIGNATURES)}
        SSHServerTransport.sendExtInfo(self, [*named.items()])

    def came_in(self, visit: Visit) -> None:
        """Take note of who it is."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        known = visit.visitor
        visit.visitor = self.visitor = Visitor(
            user=known.user,
            key=known.key,
            where=self.where,
            subjects=known.subjects,
            clock=known.clock,
        )
        self.factory.came_in(self)
        part = "words and Python" if known.is_operator else "words only"
        self.visitor.say(f"came in from {self.where}, {part}")

    def dataReceived(self, data: bytes) -> None:
        """Take what came; what makes no sense ends the connection, with one line in the log."""
        try:
            SSHServerTransport.dataReceived(self, data)
        except Exception as error:
            who = self.visitor.who if self.visitor is not None else "a stranger"
            _LOG.warn(
                "console: {who} ({where}) sends what makes no sense: {error}",
                who=who,
                where=self.where,
                error=clean(repr(error)),
            )
            self.transport.abortConnection()

    def loseConnection(self) -> None:
        """Send what was written, then close."""
        self.transport.unregisterProducer()
        SSHServerTransport.loseConnection(self)

    def connectionLost(self, reason: Failure | None = connectionDone) -> None:
        """Let go of everything."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.factory.lost(self)
        SSHServerTransport.connectionLost(self, reason)
        if self.visitor is not None:
            self.visitor.say("left")

    # -- as a producer -----------------------------------------------------------------------
    def pauseProducing(self) -> None:
        """Have the sessions take nothing more: the client does not read."""
        self._tell_sessions(True)

    def resumeProducing(self) -> None:
        """Have the sessions go on."""
        self._tell_sessions(False)

    def stopProducing(self) -> None:
        """Have the sessions take nothing more: the connection is going."""
        self._tell_sessions(True)

    def _tell_sessions(self, is_paused: bool) -> None:
        for session in [*getattr(self.service, "channels", {}).values()]:
            if isinstance(session, Session):
                session.connection_paused(is_paused)


class ConsoleFactory(SSHFactory):
    """Serves the console on any stream endpoint.

    ``files`` hold the keys of those who may come in, operators' first; ``host_key`` is the
    node's own.
    """

    noisy = False
    _log = QUIET
    protocol = ConsoleTransport
    services = {b"ssh-userauth": Login, b"ssh-connection": Connection}

    def __init__(
        self, clock: IReactorTime, subjects: Subjects, host_key: Key, files: list[KeyFile]
    ) -> None:
        self.clock = clock
        self.privateKeys = {b"ssh-ed25519": host_key}
        self.publicKeys = {b"ssh-ed25519": host_key.public()}
        gate = Gate(files, subjects, clock)
        self.portal = Portal(gate, [gate])
        self._strangers: dict[ConsoleTransport, None] = {}
        self._visitors: dict[ConsoleTransport, None] = {}
        _LOG.info("console: host key {name}", name=fingerprint(host_key.public().blob()))

    def describe(self) -> str:
        """Return the console in one line."""
        names = " ".join(one.visitor.user for one in self._visitors if one.visitor is not None)
        return f"console, {len(self._visitors)} of {CONNECTIONS_MAX} connections: {names or '-'}"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the protocol of a new connection; None where there are too many."""
        if len(self._visitors) >= CONNECTIONS_MAX:
            _LOG.warn("console: a connection too many was refused")
            return None
        if len(self._strangers) >= STRANGERS_MAX:
            next(iter(self._strangers)).transport.abortConnection()
        connection: Any = SSHFactory.buildProtocol(self, addr)
        assert isinstance(connection, ConsoleTransport), "the factory's protocol"
        connection.supportedKeyExchanges = [
            one for one in connection.supportedKeyExchanges if one in _KEY_EXCHANGES
        ]
        connection.supportedCiphers = [
            one for one in connection.supportedCiphers if one.endswith(b"-ctr")
        ]
        self._strangers[connection] = None
        return connection

    def came_in(self, connection: ConsoleTransport) -> None:
        """Take note that a stranger is one no more."""
        self._strangers.pop(connection, None)
        self._visitors[connection] = None

    def lost(self, connection: ConsoleTransport) -> None:
        """Forget a connection that is gone."""
        self._strangers.pop(connection, None)
        self._visitors.pop(connection, None)

    def close_all(self) -> None:
        """Close every connection; for a node that stops."""
        for connection in [*self._strangers, *self._visitors]:
            connection.sendDisconnect(DISCONNECT_BY_APPLICATION, b"the node stops")
