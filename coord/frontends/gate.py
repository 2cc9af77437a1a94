"""Who a client is: what a front end asks of whoever knows secrets and certificates.

A front end knows nothing of either. It asks the gate once for each new connection, and again for
each secret that a client shows; what the `coord.commands.Caller` it gets may do is the store's to
say.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, ITransport

from coord.commands import Caller, Level

ANONYMOUS = "anonymous"
"""Who a client is that showed neither a secret nor a certificate."""


class IGate(Protocol):
    """Knows callers by what their connections and they themselves show. One for all connections."""

    def caller(self, transport: ITransport) -> Caller:
        """Return who a new connection is, by its address and its certificate; without a session.

        Called when the first bytes came, so that a TLS handshake is over and its certificate known.
        """

    def auth(self, caller: Caller, secret: bytes) -> Deferred[Caller]:
        """Fire with who ``caller`` is by this secret, as it then is in all but the session.

        It may take its time, more after failures; it is cancelled where the connection goes.
        Fails with `coord.errors.Denied` where the secret is none, and with
        `coord.errors.Overloaded` where too many are waiting; the caller is then who it was.
        """


class OpenGate:
    """Everyone is anonymous and may do everything; any secret is as good as none."""

    def caller(self, transport: ITransport) -> Caller:
        """Return an anonymous caller with the address that it comes from."""
        return Caller(ANONYMOUS, address_of(transport.getPeer()), Level.ADMIN)

    def auth(self, caller: Caller, secret: bytes) -> Deferred[Caller]:
        """Take whatever is shown."""
        return succeed(caller)


def address_of(address: IAddress) -> str:
    """Return an address as a text: ``host:port``, or ``unix`` for a socket of files."""
    match address:
        case IPv6Address(host=host, port=port):
            return f"[{host}]:{port}"
        case IPv4Address(host=host, port=port):
            return f"{host}:{port}"
    return "unix"
