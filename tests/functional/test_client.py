"""The client and real nodes: the node it talks to is killed under a watch and writes."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from coord.client import Client, Watch
from coord.errors import Unavailable, Unknown
from coord.events import Event
from tests.functional.cluster import HOST, PATIENCE_SECONDS, Cluster, Node
from tests.functional.load import Writers

reactor: Any = installed


class Fates(Writers):
    """Writes whose fate is noted, whatever it is.

    ``done`` maps numbers to the revisions answered; ``unknown`` are those whose fate is open,
    ``refused`` those that were certainly not done.
    """

    def __init__(self, client: Client) -> None:
        self.unknown: set[int] = set()
        self.refused: set[int] = set()
        super().__init__(client)

    async def write(self, number: int) -> None:
        """Make a node of its own."""
        try:
            written = await self.client.add(f"/load/{number}", b"%d" % number)
            self.done[number] = written.rev
        except Unknown:
            self.unknown.add(number)
        except Unavailable:
            self.refused.add(number)


class Killed(TestCase):
    """A cluster of three and a client of all of them."""

    timeout = 180

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Start three nodes."""
        self.cluster = await deferToThread(Cluster, 3)
        self.addCleanup(deferToThread, self.cluster.close)
        await deferToThread(self.cluster.start)
        servers = [f"{HOST}:{node.line_port}" for node in self.cluster.nodes]
        self.client = Client(reactor, servers, request_seconds=30)
        self.addCleanup(self.client.close)

    def served_by(self) -> Node:
        """Return the node that the client talks to."""
        ports = {f"{HOST}:{node.line_port}": node for node in self.cluster.nodes}
        assert self.client.server is not None
        return ports[self.client.server]

    async def collect(self, watch: Watch, until_rev: int) -> list[Event]:
        """Return the events of a watch up to a revision."""
        events: list[Event] = []
        while not events or events[-1].rev < until_rev:
            coming: Deferred[Event] = watch.next()
            events.append(await coming.addTimeout(PATIENCE_SECONDS, reactor))
        return events

    async def test_killed_and_killed_again(self) -> None:
        """No event is missed or told twice, and every write is done, not done, or unknown."""
        watch = self.client.watch("/load/*")
        await watch.opened()
        writers = Fates(self.client)
        for _ in range(3):
            await writers.more(100)
            node = self.served_by()
            await deferToThread(node.kill)
            await writers.more(100)
            self.assertIsNot(self.served_by(), node)
            node.start()
            await deferToThread(node.wait_until_serving)
        await writers.finish()
        self.assertEqual((writers.wrong, writers.refused), ([], set()))
        last = await self.client.set("/load/last", b"-1")
        events = await self.collect(watch, last.rev)
        page = await self.client.walk("/load/*")
        self.judge(writers, events, {row.path: row.rev for row in page.rows})

    def judge(self, writers: Fates, events: list[Event], held: dict[str, int]) -> None:
        """Compare what was told, what was answered, and what is there."""
        told = [event.rev for event in events]
        self.assertEqual(told, sorted(set(told)))
        self.assertEqual({event.path: event.rev for event in events}, held)
        for number, rev in writers.done.items():
            self.assertEqual(held[f"/load/{number}"], rev)
        known = {f"/load/{number}" for number in (*writers.done, *writers.unknown)}
        self.assertEqual(set(held) - known, {"/load/last"})

    async def test_frozen(self) -> None:
        """A node that stands still is left within seconds; a wait and a read go on elsewhere."""
        await self.client.set("/a", b"1")
        node = self.served_by()
        waiting = self.client.wait("/b")
        await self.client.sync()
        node.freeze()
        self.addCleanup(node.thaw)
        value = await self.client.get("/a")
        self.assertEqual(value.value, b"1")
        self.assertIsNot(self.served_by(), node)
        written = await self.client.set("/b", b"2")
        event = await waiting.addTimeout(PATIENCE_SECONDS, reactor)
        self.assertEqual((event.rev, event.value), (written.rev, b"2"))
