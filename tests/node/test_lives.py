"""A node's lives in one process: what ends one, and what the next one begins with."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from coord.commands import Get, Set
from coord.errors import Unavailable
from coord.journal import renewal, tables
from coord.journal.directory import FILE_NAME, claim
from coord.journal.errors import InUseError
from coord.node import lives
from coord.node.build import NodeService
from coord.node.life import Life
from coord.node.settings import Refused, Settings
from coord.paxos.durable import Save
from coord.results import Value, Written

reactor: Any = installed
WAIT_SECONDS = 60.0


class Lives(TestCase):
    """A node alone whose disk does what a test says."""

    def setUp(self) -> None:
        """Have the disk be looked at often."""
        self.patch(lives, "DISK_LOOK_SECONDS", 0.01)
        self.patch(lives, "DISK_LOOK_SECONDS_MAX", 0.05)
        self.folder = Path(self.mktemp()).absolute()
        self.settings = Settings(data=self.folder, listen=("tcp:0:interface=127.0.0.1",), web=None)

    def start(self) -> NodeService:
        """Start the node."""
        node = NodeService(reactor, self.settings)
        node.startService()
        self.addCleanup(lambda: node.stopService() if node.running else None)
        return node

    def life(self, node: NodeService) -> Life:
        """Return the life that a node is in."""
        assert node._lives._life is not None
        return node._lives._life

    def fault(self, node: NodeService) -> str | None:
        """Return why a node has stopped."""
        return self.life(node).node.replicator.faults.reason

    async def ask(self, node: NodeService, command: Set | Get) -> object:
        """Return what a node answers."""
        answered: Deferred[Any] = Deferred()
        self.life(node).node.coordinator.submit([command], answered.callback)
        (result,) = await answered
        return result

    async def eventually(self, holds: Callable[[], bool], what: str) -> None:
        """Return once something is so."""
        until = reactor.seconds() + WAIT_SECONDS
        while not holds():
            self.assertLess(reactor.seconds(), until, what)
            await deferLater(reactor, 0.005)

    async def serving(self) -> NodeService:
        """Return a node that took a write."""
        node = self.start()
        await self.eventually(self.life(node).node.replicator.account.serves, "it serves")
        self.assertIsInstance(await self.ask(node, Set("/before", b"1")), Written)
        return node

    async def broken(self, node: NodeService, error: Exception) -> Life:
        """Have one save fail; return the life that this ended."""

        def refuse(connection: sqlite3.Connection, saves: Sequence[Save]) -> int:
            raise error

        life, patched = self.life(node), self.patch(tables, "save", refuse)
        asked = self.ask(node, Set("/lost", b"1"))
        failed = self.patch(renewal, "_look_for_room", self.no_room)
        answer = await asked
        patched.restore()
        self.assertNotIsInstance(answer, Written)
        self.release = failed.restore
        self.flushLoggedErrors()
        return life

    async def next_life(self, node: NodeService, life: Life) -> None:
        """Return once another life serves."""
        await self.eventually(lambda: self.life(node) is not life, "a new life")
        await self.eventually(self.life(node).node.replicator.account.serves, "it serves")

    def no_room(self, _: Path) -> None:
        """Fail as a full disk does."""
        raise OSError(28, "no room yet")

    async def test_failed_save(self) -> None:
        """After a save that failed a new life begins, with all that was acknowledged."""
        node = await self.serving()
        life = await self.broken(node, sqlite3.OperationalError("disk I/O error"))
        wanted = "journal: disk I/O error; the disk, looked at again: no room yet"
        await self.eventually(lambda: self.fault(node) == wanted, "it says why")
        self.assertIs(self.life(node), life)
        self.assertIsInstance(await self.ask(node, Set("/refused", b"1")), Unavailable)
        self.assertIsInstance(await self.ask(node, Get("/before", local=True)), Value)
        self.assertRaises(InUseError, claim, self.folder)
        self.release()
        await self.next_life(node, life)
        self.assertIsNone(self.fault(node))
        self.assertIsInstance(await self.ask(node, Get("/before")), Value)
        self.assertIsInstance(await self.ask(node, Set("/after", b"1")), Written)
        before, after = life.journal.identity, self.life(node).journal.identity
        self.assertEqual(after.incarnation, before.incarnation + 1)
        self.assertRaises(InUseError, claim, self.folder)
        self.assertEqual(life.node.replicator.store.node_count, 1)

    async def test_again_and_again(self) -> None:
        """It may fail as often as it likes."""
        node = await self.serving()
        for _ in range(3):
            life = await self.broken(node, OSError(5, "Input/output error"))
            self.release()
            await self.next_life(node, life)
        self.assertIsInstance(await self.ask(node, Get("/before")), Value)

    async def test_fails_as_it_begins(self) -> None:
        """A disk that fails again while a life begins is looked at again."""
        node = await self.serving()
        life = await self.broken(node, sqlite3.OperationalError("disk I/O error"))
        made = []

        def first_fails(*given: Any) -> Life:
            made.append(given)
            if len(made) == 1:
                raise sqlite3.OperationalError("disk I/O error")
            return Life(*given)

        self.patch(lives, "Life", first_fails)
        self.release()
        await self.next_life(node, life)
        self.assertEqual(len(made), 2)

    async def test_bug(self) -> None:
        """A failure that is none of the disk's is for a person to look at."""
        node = await self.serving()
        await self.broken(node, ValueError("a mistake"))
        self.release()
        await self.eventually(lambda: "stays stopped" in (self.fault(node) or ""), "it says so")
        self.assertIsNone(node._lives._looking)

    async def test_other_fault_first(self) -> None:
        """A node that has stopped for another reason does not come back with its disk."""
        node = await self.serving()
        self.life(node).node.replicator.faults.withdraw("removed")
        self.life(node).node.replicator.failed(OSError("and the disk"))
        self.flushLoggedErrors()
        self.assertEqual(self.fault(node), "removed")
        self.assertIsNone(node._lives._looking)

    async def test_damaged(self) -> None:
        """A file that is damaged is not made good by writing it anew."""
        node = await self.serving()
        await self.broken(node, sqlite3.OperationalError("disk I/O error"))
        with sqlite3.connect(self.folder / FILE_NAME) as connection:
            connection.execute("UPDATE log SET checksum = checksum / 2 WHERE slot = 1")
        connection.close()
        self.release()
        await self.eventually(lambda: "stays stopped" in (self.fault(node) or ""), "it says so")
        self.assertIn("slot 1 is damaged", self.fault(node) or "")

    async def test_stopped_meanwhile(self) -> None:
        """A node that is stopped while it waits for its disk lets go of everything."""
        node = await self.serving()
        await self.broken(node, sqlite3.OperationalError("disk I/O error"))
        await node.stopService()
        os.close(claim(self.folder))

    async def test_refused(self) -> None:
        """A directory that cannot be used is refused in one line, and let go."""
        self.folder.mkdir()
        (self.folder / FILE_NAME).write_bytes(b"something else" * 100)
        node = NodeService(reactor, self.settings)
        error = self.assertRaises(Refused, node.startService)
        self.assertIn("cannot be used", str(error))
        await node.stopService()
        os.close(claim(self.folder))
