"""Who a client is where no secret and no certificate says so."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Level
from coord.frontends.gate import ANONYMOUS, OpenGate


class Open(SynchronousTestCase):
    """A gate without a lock."""

    def test_caller(self) -> None:
        """Everyone is anonymous, may do all, and is known by where it comes from."""
        for peer, address in (
            (IPv4Address("TCP", "10.0.0.7", 4711), "10.0.0.7:4711"),
            (IPv6Address("TCP", "::1", 4711), "[::1]:4711"),
            (UNIXAddress("/run/coord"), "unix"),
        ):
            caller = OpenGate().caller(StringTransport(peerAddress=peer))
            self.assertEqual((caller.who, caller.address), (ANONYMOUS, address))
            self.assertEqual((caller.level, caller.session), (Level.ADMIN, ""))

    def test_auth(self) -> None:
        """Any secret leaves a caller who it was."""
        caller = OpenGate().caller(StringTransport())
        self.assertEqual(self.successResultOf(OpenGate().auth(caller, b"x")), caller)
