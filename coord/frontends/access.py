"""The gate of a node: who a client is by its connection, and by the secrets that it shows.

What a client may do that shows nothing hangs on what the node was given, and without any secret on
where the client is::

    secrets                  who shows none may
    none, on this machine    do all
    none, elsewhere          write (there, such a listener needs ``--open``)
    admin alone              write
    write, not read          read
    read                     nothing

A client with a certificate, at a listener that asks for them, is its certificate's common name
and may write. All this is where ``/ctl/acl`` has no rules: with rules, they say what everyone
below admin may do, by the name alone. Names and addresses are told as they are here; who writes
them into a line sees to it that they do not break it.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IAddress, IReactorTime, ITransport
from twisted.logger import Logger

from coord.commands import Caller, Level
from coord.errors import Denied, Overloaded
from coord.frontends.attempts import WAIT_SECONDS_MAX, Attempts, source_of
from coord.frontends.gate import ANONYMOUS, address_of
from coord.frontends.secrets import Secrets

_ALLOWED: Final = {Level.NONE: "do nothing", Level.READ: "read", Level.WRITE: "write"}
EVERYBODY: Final = "*"
"""Who rules mean by everybody."""
_PEER_CREDENTIALS: Final = struct.Struct("3i")
CONSOLE: Final = "console:"
"""What the names of people at the console begin with, and no client's."""


class Gate:
    """Knows callers, for the line protocol and for the web page; provides `IGate`."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, secrets: Secrets) -> None:
        self._clock = clock
        self._secrets = secrets
        self._attempts = Attempts(clock)

    def describe(self) -> str:
        """Return in a few words what it takes to come in."""
        level = self._secrets.stranger_level
        if level is None:
            return "no secrets: clients on this machine may do all, others write"
        return f"{len(self._secrets)} secrets: who shows none may {_ALLOWED[level]}"

    def stranger(self, address: IAddress) -> Caller:
        """Return a caller of whom nothing is known but where it is."""
        level = self._secrets.stranger_level
        if level is None:
            level = Level.ADMIN if is_here(address) else Level.WRITE
        return Caller(ANONYMOUS, address_of(address), level)

    def caller(self, transport: ITransport) -> Caller:
        """Return who a new connection is, by its address and its certificate."""
        address = transport.getPeer()
        certificate = _certificate(transport)
        if certificate is not None:
            return self._certified(certificate, address_of(address))
        caller = self.stranger(address)
        if isinstance(address, UNIXAddress):
            return Caller(caller.who, _user(transport), caller.level)
        return caller

    def auth(self, caller: Caller, secret: bytes) -> Deferred[Caller]:
        """Fire with who ``caller`` is by this secret, after the delay that failures have earned."""
        if not self._secrets:
            return fail(Denied("this node has no secrets: nothing is to be shown"))
        source = source_of(caller.address)
        seconds = self._attempts.wait_seconds(source)
        if seconds > WAIT_SECONDS_MAX:
            return fail(Overloaded("too many secrets are being tried from there: wait a minute"))
        found = self._secrets.find(secret)
        if found is None:
            self._attempts.failed(source)
            self._log.warn("a secret shown from {address} is none", address=caller.address)
            verdict: Caller | Denied = Denied("this is no secret of this node")
        else:
            verdict = Caller(found.name, caller.address, found.level)
        return self._told(verdict, seconds)

    def _told(self, verdict: Caller | Denied, seconds: float) -> Deferred[Caller]:
        """Fire with a verdict later; at once where nobody has to wait."""
        call = self._clock.callLater(seconds, lambda: _tell(told, verdict)) if seconds else None
        told: Deferred[Caller] = Deferred(lambda _: call.cancel() if call is not None else None)
        if call is None:
            _tell(told, verdict)
        return told

    def _certified(self, certificate: x509.Certificate, where: str) -> Caller:
        """Return who a certificate says it is; one without a name of use may do nothing."""
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(names[0].value) if len(names) == 1 else ""
        if not _is_name(name):
            self._log.warn("a certificate shown from {where} names nobody", where=where)
            return Caller(ANONYMOUS, where, Level.NONE)
        return Caller(name, where, Level.WRITE)


def _is_name(name: str) -> bool:
    """Say whether a name is one's own: not what rules and other front ends mean by something."""
    return name not in ("", ANONYMOUS, EVERYBODY) and not name.startswith(CONSOLE)


def _tell(told: Deferred[Caller], verdict: Caller | Denied) -> None:
    if isinstance(verdict, Denied):
        told.errback(verdict)
    else:
        told.callback(verdict)


def is_here(address: IAddress) -> bool:
    """Say whether an address is of this machine alone: loopback, or a socket in the file system."""
    if isinstance(address, UNIXAddress):
        return True
    if not isinstance(address, IPv4Address | IPv6Address):
        return False
    try:
        host = ipaddress.ip_address(address.host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(host, "ipv4_mapped", None)
    return bool((mapped or host).is_loopback)


def _user(transport: ITransport) -> str:
    """Return which user of this machine is at the other end of a socket, as ``unix:UID``."""
    handle: Any = getattr(transport, "socket", None)
    try:
        credentials = handle.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
        )
    except (AttributeError, OSError):  # not on this system, or gone already
        return "unix"
    return f"unix:{_PEER_CREDENTIALS.unpack(credentials)[1]}"


def _certificate(transport: ITransport) -> x509.Certificate | None:
    """Return the certificate that a client has shown; verified, or its handshake had failed."""
    show = getattr(transport, "getPeerCertificate", None)  # TLS has it, and provides no interface
    shown = show() if show is not None else None
    return shown.to_cryptography() if shown is not None else None
