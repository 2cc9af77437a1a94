"""What a lasting watch is told beside events, and what the client makes of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord.client.conversation import Conversation
from coord.client.errors import Junk
from coord.client.exchange import Exchange
from coord.client.rows import Seen
from coord.commands import Watch
from coord.events import Event, Kind
from coord.results import Point
from coord.testing import MemoryClient


class Told(SynchronousTestCase):
    """Lines of a lasting watch."""

    def setUp(self) -> None:
        """Open one."""
        self.conversation = Conversation()
        self.conversation.watch(Exchange(Watch("/**", 4, lasting=True)))
        self.assertEqual(self.conversation.take_outbox(), b"#1 WATCH from=4 lasting /**\n")

    def receive(self, *lines: bytes) -> list[Any]:
        """Return what some lines come to."""
        content = b"".join(line + b"\n" for line in lines)
        return [outcome for _, outcome in self.conversation.receive(content)]

    def test_lifetime(self) -> None:
        """A lifetime belongs to the event that follows, and to no other."""
        told = self.receive(
            b"#1 OK 4", b"#1 ITEM ttl=1.5 /a", b"#1 EVENT 5 set /a x", b"#1 EVENT 6 set /b y"
        )
        events = [Event(5, Kind.SET, "/a", b"x", 1500), Event(6, Kind.SET, "/b", b"y")]
        self.assertEqual(told, [Point(4), *events])

    def test_seen(self) -> None:
        """How far it was looked is told by itself."""
        self.assertEqual(self.receive(b"#1 OK 4", b"#1 ITEM upto=9 /"), [Point(4), Seen(9)])

    def test_junk(self) -> None:
        """Anything else is no answer to it."""
        self.receive(b"#1 OK 4")
        self.assertRaises(Junk, self.receive, b"#1 ITEM what /")


class InMemory(SynchronousTestCase):
    """The same of a store in memory."""

    def test_quiet(self) -> None:
        """A watch knows how far it is although nothing that lasts has happened."""
        client = MemoryClient()
        watch = client.watch_lasting("/**")
        self.successResultOf(client.set("/up", b"x", ephemeral=True))
        waiting = watch.next()
        self.assertNoResult(waiting)
        self.assertEqual(watch.complete_rev, 1)
        self.successResultOf(client.set("/a", b"x", ttl_seconds=2))
        self.assertEqual(self.successResultOf(waiting), Event(2, Kind.SET, "/a", b"x", 2000))
