"""The client and real nodes: the node it talks to is killed under a watch and writes."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from coord.client import Client, Watch
from coord.errors import Unavailable, Unknown
from coord.events import Event
from tests.functional.cluster import HOST, PATIENCE_SECONDS, Cluster, Node

reactor: Any = installed
IN_FLIGHT = 8


class Writers:
    """Writes that go on until told to stop, several at a time, each of a number of its own.

    ``done`` maps numbers to the revisions answered; ``unknown`` are those whose fate is open,
    ``refused`` those that were certainly not done.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.done: dict[int, int] = {}
        self.unknown: set[int] = set()
        self.refused: set[int] = set()
        self.wrong: list[BaseException] = []
        self._next = 0
        self._enough = False
        self._running = [ensureDeferred(self._write()) for _ in range(IN_FLIGHT)]

    async def _write(self) -> None:
        while not self._enough:
            number, self._next = self._next, self._next + 1
            try:
                written = await self.client.add(f"/load/{number}", b"%d" % number)
                self.done[number] = written.rev
            except Unknown:
                self.unknown.add(number)
            except Unavailable:
                self.refused.add(number)
            except Exception as error:
                self.wrong.append(error)
                return

    async def more(self, count: int) -> None:
        """Return once so many more writes were answered; fail where they are not in time."""
        until = len(self.done) + count
        deadline = reactor.seconds() + PATIENCE_SECONDS
        while len(self.done) < until and not self.wrong:
            assert reactor.seconds() < deadline, f"{count} more writes"
            await deferLater(reactor, 0.02)

    async def finish(self) -> None:
        """Let the writes under way end."""
        self._enough = True
        for running in self._running:
            await running


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
        writers = Writers(self.client)
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

    def judge(self, writers: Writers, events: list[Event], held: dict[str, int]) -> None:
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
