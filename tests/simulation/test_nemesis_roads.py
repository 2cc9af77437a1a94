"""Roads between nodes carry what they are given, until they are cut, silenced or slowed."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from coord.simulation.nemesis.roads import BACK, OUT, Road

TARGET_PORT = 4711


class Wire(StringTransport):
    """One end in memory, which knows when it was torn down."""

    is_torn = False
    half: Any = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Be as a TCP transport is."""

    def abortConnection(self) -> None:
        """Tell the protocol at once, as a reactor does soon."""
        if not self.is_torn:
            self.is_torn = True
            self.half.connectionLost(Failure(ConnectionAborted()))


class Roads(SynchronousTestCase):
    """A road with somebody at either end."""

    def setUp(self) -> None:
        """Open it."""
        self.reactor: Any = MemoryReactorClock()
        self.road = Road(self.reactor, "n1 to n2", TARGET_PORT)
        ensureDeferred(self.road.open())

    def dial(self) -> tuple[Any, Wire, Any, Wire]:
        """Let somebody dial, and be put through; return both halves and their wires."""
        near = self.reactor.tcpServers[-1][1].buildProtocol(None)
        here, there = Wire(), Wire()
        here.half = near
        near.makeConnection(here)
        _host, port, factory, _, _ = self.reactor.tcpClients[-1]
        self.assertEqual(port, TARGET_PORT)
        far = factory.buildProtocol(None)
        there.half = far
        far.makeConnection(there)
        return near, here, far, there

    def test_carries(self) -> None:
        """What one end says the other hears, in both directions."""
        near, here, far, there = self.dial()
        near.dataReceived(b"hello")
        far.dataReceived(b"hello, too")
        self.assertEqual((there.value(), here.value()), (b"hello", b"hello, too"))

    def test_early(self) -> None:
        """What is said before the other end is there is not lost."""
        near = self.reactor.tcpServers[-1][1].buildProtocol(None)
        near.makeConnection(Wire())
        near.dataReceived(b"hello")
        far = self.reactor.tcpClients[-1][2].buildProtocol(None)
        there = Wire()
        far.makeConnection(there)
        self.assertEqual(there.value(), b"hello")

    def test_cut(self) -> None:
        """A road that is cut tears all down and turns everyone away, until it is mended."""
        _, here, _, there = self.dial()
        self.road.cut()
        self.assertTrue(here.is_torn and there.is_torn)
        _, late, _, _ = self.dial()
        self.assertTrue(late.is_torn)
        self.road.mend()
        near, _, _, again = self.dial()
        near.dataReceived(b"hello")
        self.assertEqual(again.value(), b"hello")

    def test_silent(self) -> None:
        """A road that is silent in one direction takes nothing there, and tears nothing down."""
        _, here, _, there = self.dial()
        self.road.silence(OUT)
        self.assertEqual((here.producerState, there.producerState), ("paused", "producing"))
        self.road.silence(OUT, BACK)
        self.assertEqual((here.producerState, there.producerState), ("paused", "paused"))
        self.road.mend()
        self.assertEqual((here.producerState, there.producerState), ("producing", "producing"))
        self.assertFalse(here.is_torn or there.is_torn)

    def test_slow(self) -> None:
        """A slow road brings everything later, in order, also where it gets faster meanwhile."""
        near, _, _, there = self.dial()
        self.road.delay_seconds = 1.0
        near.dataReceived(b"first ")
        self.road.mend()
        near.dataReceived(b"second")
        self.reactor.advance(0.9)
        self.assertEqual(there.value(), b"")
        self.reactor.advance(0.2)
        self.assertEqual(there.value(), b"first second")
