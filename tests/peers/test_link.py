"""One end of one connection: how it writes."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.limits import PEER_WRITE_BYTES_SOFT
from coord.peers.link import Bounds, Link, Parties
from tests.descriptors import Eager


class Thin:
    """What TLS is to a link, without encryption."""

    def __init__(self, below: Eager) -> None:
        self.transport = below
        self.write = below.write


class Writing(SynchronousTestCase):
    """What is queued leaves at once where it is little, and a write a turn where it is much."""

    def setUp(self) -> None:
        """Make a link to a peer that takes everything."""
        self.below = Eager()
        self.link = Link(cast(Parties, None), Clock(), Bounds(), "n2")
        self.link.transport = cast(Any, Thin(self.below))
        self.below.registerProducer(self.link, True)

    def test_little(self) -> None:
        """A small frame is with the kernel when flush returns."""
        self.link.send(b"x" * 100)
        self.link.flush()
        self.assertEqual(len(self.below.taken), 104)

    def test_closing(self) -> None:
        """A connection that the other end closes is closed, whatever is flushed meanwhile."""
        self.below.loseConnection()  # what TLS does when the other end says goodbye
        self.below.unregisterProducer()
        self.link.send(b"x")
        self.link.flush()
        self.assertIn(self.below, self.below.memory_reactor.getWriters())
        self.assertIsNotNone(self.below.doWrite())

    def test_much(self) -> None:
        """Megabytes leave a write a turn, so that the node does something else in between."""
        count, size_bytes = 200, 100_000
        for _ in range(count):
            self.link.send(b"x" * size_bytes)
        self.link.flush()
        turns = 0
        while self.below.turn():
            turns += 1
            self.assertLess(len(self.below.taken), (turns + 1) * (PEER_WRITE_BYTES_SOFT + 200_000))
        self.assertEqual(len(self.below.taken), count * (4 + size_bytes))
        self.assertGreater(turns, 40)
