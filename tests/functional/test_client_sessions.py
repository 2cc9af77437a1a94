"""Sessions, locks and ids on real nodes: the served node is killed, or stopped, under all of them.

None is lost, none is done twice, and who loses a lock hears of it before another has it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from coord.client import Client, Lock
from coord.client.dialler import endpoint
from coord.errors import NotHeld, SessionExpired
from coord.results import Written
from tests.functional.cluster import (
    HOST,
    PATIENCE_SECONDS,
    Cluster,
    Node,
    free_ports,
    surroundings,
)
from tests.functional.load import Writers

reactor: Any = installed


class Numbered(Writers):
    """Writers whose every write makes a numbered node: done twice it would leave two.

    ``done`` are the values whose nodes were named.
    """

    in_flight = 16

    async def write(self, number: int) -> None:
        """Make a node with the next number of all."""
        written = await self.client.add("/once/n-", b"%d" % number, sequential=True)
        assert written.path is not None
        self.done[number] = written.path


def cut_off(client: Client) -> None:
    """Let nothing that a client says arrive any more, as a broken cable would."""
    (link,) = client._links
    link.transport.write = lambda _: None
    nowhere = f"{HOST}:{free_ports(1)[0]}"
    client._servers = [(nowhere, endpoint(reactor, nowhere))] * len(client._servers)


HOLDER = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from coord.client import Client

def say(*words):
    print(*words, flush=True)

async def hold(client):
    client.session(timeout_seconds=2)
    lock = await client.lock("/lock", b"child")
    lock.lost().addCallback(lambda why: say("lost", type(why).__name__, lock.is_held))
    watch = client.watch("/noise")
    await watch.opened()
    say("held", lock.token)
    async for event in watch:
        say("event", lock.is_held)
        if event.value == b"enough":
            await client.close()
            reactor.stop()

client = Client(reactor, sys.argv[1:])
reactor.callWhenRunning(lambda: ensureDeferred(hold(client)).addErrback(lambda f: say(f)))
reactor.run()
"""


class Child:
    """A process of its own that holds a lock and tells what it hears."""

    def __init__(self, servers: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *servers],
            env=surroundings(),
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> list[str]:
        """Return the words of the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def rest(self) -> list[list[str]]:
        """Return all that it prints until it ends."""
        lines = []
        while words := self.line():
            lines.append(words)
        return lines

    def clean(self) -> None:
        """End it, whatever state it is in."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Three(TestCase):
    """A cluster of three and two clients of all of them."""

    timeout = 180

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Start three nodes."""
        self.cluster = await deferToThread(Cluster, 3)
        self.addCleanup(deferToThread, self.cluster.close)
        await deferToThread(self.cluster.start)
        self.client, self.rival = self.client_of(), self.client_of()

    def client_of(self) -> Client:
        """Return a client that is closed at the end."""
        servers = [f"{HOST}:{node.line_port}" for node in self.cluster.nodes]
        client = Client(reactor, servers, request_seconds=30)
        self.addCleanup(client.close)
        return client

    def served_by(self, client: Client) -> Node:
        """Return the node that a client talks to."""
        ports = {f"{HOST}:{node.line_port}": node for node in self.cluster.nodes}
        assert client.server is not None
        return ports[client.server]

    async def within(self, seconds: float, deferred: Deferred[Any]) -> Any:
        """Return what a Deferred fires with, in that time."""
        return await deferred.addTimeout(seconds, reactor)

    async def test_written_once(self) -> None:
        """Writes under a session are all answered, and each is done once, over three deaths.

        The second time the node is only stopped, so that what it had may still be done late.
        """
        await self.client.session().opened()
        writers = Numbered(self.client)
        for is_killed in (True, False, True):
            await writers.more(100)
            node = self.served_by(self.client)
            await deferToThread(node.kill if is_killed else node.freeze)
            await writers.more(100)
            await deferToThread(node.start if is_killed else node.thaw)
            await deferToThread(node.wait_until_serving)
        await writers.finish()
        self.assertEqual(writers.wrong, [])
        page = await self.rival.walk("/once/*")
        held = {int(row.value): row.path for row in page.rows}
        self.assertEqual(len(page.rows), len(held))
        self.assertEqual(held, writers.done)

    async def test_kept_over_deaths(self) -> None:
        """A session, its nodes, its lock and its place in a queue outlive a node that is killed."""
        session = self.client.session(timeout_seconds=3)
        await self.client.set("/here", b"", ephemeral=True)
        lock = await self.client.lock("/lock", b"mine")
        await self.rival.lock("/other")
        waiting = self.client.lock("/other", wait_seconds=None)
        lost = lock.lost()
        node = self.served_by(self.client)
        await deferToThread(node.kill)
        await deferLater(reactor, 4)
        self.assertEqual((session.state, lost.called), ("held", False))
        node.start()
        await deferToThread(node.wait_until_serving)
        facts = await self.client.stat("/lock")
        self.assertEqual((facts.holders, facts.token), ((session.id,), lock.token))
        self.assertEqual((await self.client.stat("/here")).owner, session.id)
        self.assertEqual((await self.rival.stat("/other")).waiting, 1)
        await self.rival.unlock("/other")
        taken: Lock = await self.within(PATIENCE_SECONDS, waiting)
        self.assertTrue(taken.is_held)

    async def test_frozen(self) -> None:
        """A node that stands still is left before the session could be lost, and nothing is."""
        session = self.client.session(timeout_seconds=2)
        lock = await self.client.lock("/lock")
        node = self.served_by(self.client)
        node.freeze()
        self.addCleanup(node.thaw)
        written = await self.client.set("/lock", b"still mine")
        self.assertIsInstance(written, Written)
        await deferLater(reactor, 2.5)
        self.assertTrue(lock.is_held)
        self.assertEqual((await self.rival.stat("/lock")).holders, (session.id,))

    async def test_lost_before_another_holds(self) -> None:
        """Who is cut off from all nodes hears of the loss before the lock is another's."""
        await self.client.session(timeout_seconds=2).opened()
        lock = await self.client.lock("/lock", b"mine")
        waiting = self.rival.lock("/lock", wait_seconds=None)
        await self.rival.sync()
        order: list[str] = []
        lock.lost().addCallback(lambda why: order.append(type(why).__name__))
        waiting.addCallback(self.note, order)
        cut_off(self.client)
        taken: Lock = await self.within(PATIENCE_SECONDS, waiting)
        self.assertEqual(order, [SessionExpired.__name__, "another"])
        self.assertGreater(taken.token, lock.token)
        self.assertRaises(NotHeld, lock.check)

    async def test_stopped_process(self) -> None:
        """A process that was stopped past its timeout hears of the loss before anything else."""
        servers = [f"{HOST}:{node.line_port}" for node in self.cluster.nodes]
        child = Child(servers)
        self.addCleanup(child.clean)
        self.assertEqual((await deferToThread(child.line))[0], "held")
        waiting = self.rival.lock("/lock", wait_seconds=None)
        await self.rival.set("/noise", b"heard")
        self.assertEqual(await deferToThread(child.line), ["event", "True"])
        child.process.send_signal(signal.SIGSTOP)
        for _ in range(3):
            await self.rival.set("/noise", b"said while it cannot hear")
        taken: Lock = await self.within(PATIENCE_SECONDS, waiting)
        self.assertTrue(taken.is_held)
        await self.rival.set("/noise", b"enough")
        child.process.send_signal(signal.SIGCONT)
        lines = await self.within(PATIENCE_SECONDS, deferToThread(child.rest))
        self.assertEqual(lines[0], ["lost", "SessionExpired", "False"])
        self.assertEqual(lines[1:], [["event", "False"]] * 4)

    def note(self, lock: Lock, order: list[str]) -> Lock:
        """Note that another has the lock."""
        order.append("another")
        return lock
