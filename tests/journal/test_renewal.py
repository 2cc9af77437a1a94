"""A journal written anew after its disk failed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from types import SimpleNamespace

from coord.journal import renewal, tables
from coord.journal.directory import FILE_NAME, NEW_NAME, RENEWED_NAME, claim, put_renewed
from coord.journal.errors import CorruptionError, InUseError
from coord.journal.renewal import LostError, Renewal, probe
from coord.journal.sqlite import Journal, open_journal
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Save
from tests.journal.contract import INITIAL, Listener, header, save, value
from tests.journal.test_sqlite import REACTOR, SqliteTestCase


class Renewing(SqliteTestCase):
    """A journal with ten slots, of which nothing can be saved any more."""

    async def broken(self) -> Journal:
        """Return a journal whose disk failed."""
        journal = self.open()
        journal.recover()
        listener = Listener()
        journal.observe(listener)
        for ticket in range(1, 11):
            journal.save(save(ticket, ticket, ticket + 1, chosen=ticket - 1))
        await listener.until(10)

        def refuse(connection: sqlite3.Connection, saves: Sequence[Save]) -> int:
            raise sqlite3.OperationalError("disk I/O error")

        patched = self.patch(tables, "save", refuse)
        journal.save(save(11, 11, 12))
        await listener.until(11)
        patched.restore()
        self.assertEqual([str(error) for error in listener.errors], ["disk I/O error"])
        self.assertEqual(listener.tickets[-1], 10)
        return journal

    def files(self) -> set[str]:
        """Return the names of what is in the directory."""
        return {one.name for one in self.directory.iterdir()}

    def slots(self, journal: Journal) -> list[tuple[int, object]]:
        """Return what is in a journal that was opened again."""
        return [(vote.slot, vote.value) for vote in journal.recover().durable.votes]

    async def test_anew(self) -> None:
        """Everything that was acknowledged is in the new file, and nothing else is left."""
        journal = await self.broken()
        renewing = Renewal(self.directory)
        await journal.close()
        before = (self.directory / FILE_NAME).stat().st_ino
        renewing.run(journal.acknowledged)
        self.assertNotEqual((self.directory / FILE_NAME).stat().st_ino, before)
        self.assertEqual(self.files(), {FILE_NAME, "lock"})
        again = self.open()
        self.assertEqual(self.slots(again), [(slot, value(slot)) for slot in range(1, 11)])
        self.assertEqual(again.identity.incarnation, journal.identity.incarnation + 1)
        self.assertEqual(again.identity.disk, journal.identity.disk)

    async def test_nothing_synced_as_if(self) -> None:
        """The old file's log is neither synced nor dropped by closing the journal."""
        journal = await self.broken()
        log = self.directory / f"{FILE_NAME}-wal"
        renewing = Renewal(self.directory)
        self.addCleanup(renewing.close)
        before = log.read_bytes()
        await journal.close()
        self.assertTrue(before)
        self.assertEqual(log.read_bytes(), before)

    async def test_again(self) -> None:
        """A renewal that fails can be run again, wherever it had come."""
        journal = await self.broken()
        renewing = Renewal(self.directory)
        await journal.close()
        for name in ("verify", "sync_names", "put_renewed"):
            patched = self.patch(renewal, name, self.refuse)
            self.assertRaises(OSError, renewing.run, journal.acknowledged)
            patched.restore()
        renewing.run(journal.acknowledged)
        self.assertEqual(len(self.slots(self.open())), 10)

    def refuse(self, *_: object) -> None:
        """Fail as a disk does."""
        raise OSError("no more")

    async def test_damaged(self) -> None:
        """A record whose checksum does not fit is no news: the old file stays as it is."""
        journal = await self.broken()
        self.sql("UPDATE log SET checksum = checksum / 2 WHERE slot = 3")
        renewing = Renewal(self.directory)
        self.addCleanup(renewing.close)
        await journal.close()
        error = self.assertRaises(CorruptionError, renewing.run, journal.acknowledged)
        self.assertIn("slot 3 is damaged", str(error))
        self.assertFalse(self.files() & {NEW_NAME, RENEWED_NAME})

    async def test_set_back(self) -> None:
        """A file that lacks what was acknowledged is an older one."""
        journal = await self.broken()
        renewing = Renewal(self.directory)
        self.addCleanup(renewing.close)
        await journal.close()
        for lacking in (
            Save(10, header(9, Ballot(8, "n1")), ()),
            Save(10, header(10), ()),
            save(10, 10, 12, chosen=9),
        ):
            error = self.assertRaises(CorruptionError, renewing.run, lacking)
            self.assertIn("set back", str(error))
        renewing.run(save(10, 10, 11, chosen=9))


class Places(SqliteTestCase):
    """What stands in a directory when it is claimed, wherever an earlier life ended."""

    async def test_put(self) -> None:
        """A renewed file takes the journal's place, and no log of another is taken for its own."""
        journal = self.open()
        await journal.close()
        (self.directory / FILE_NAME).rename(self.directory / RENEWED_NAME)
        for left in ((FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"), (FILE_NAME,), ()):
            for name in left:
                (self.directory / name).write_bytes(b"of old")
            os.close(claim(self.directory))
            names = {one.name for one in self.directory.iterdir()}
            self.assertEqual(names, {FILE_NAME, "lock"})
            (self.directory / FILE_NAME).rename(self.directory / RENEWED_NAME)
        put_renewed(self.directory)
        again = self.open()
        self.assertEqual(again.identity.disk, journal.identity.disk)

    async def test_unfinished(self) -> None:
        """A new file that was not finished is thrown away."""
        await self.open().close()
        (self.directory / NEW_NAME).write_bytes(b"half")
        again = self.open()
        self.assertEqual(again.identity.incarnation, 2)
        self.assertFalse((self.directory / NEW_NAME).exists())

    async def test_claimed(self) -> None:
        """Who holds the directory for longer than a journal keeps all others out."""
        claimed = claim(self.directory)
        for _ in range(2):
            journal = open_journal(
                REACTOR, self.directory, node="n1", initial=INITIAL, claimed=claimed
            )
            await journal.close()
            self.assertRaises(InUseError, claim, self.directory)
        os.close(claimed)
        os.close(claim(self.directory))

    async def test_log_begun_afresh(self) -> None:
        """What an earlier life left in the log is in the file before anything is added to it."""
        journal = self.open()
        journal.recover()
        listener = Listener()
        journal.observe(listener)
        journal.save(save(1, 1, 2, size_bytes=500_000))
        await listener.until(1)
        copy = self.directory.with_name("copy")
        copy.mkdir()
        for name in (FILE_NAME, f"{FILE_NAME}-wal"):
            shutil.copy(self.directory / name, copy / name)
        self.directory = copy
        self.assertEqual(len(self.open().recover().durable.votes), 1)
        self.assertLess((copy / f"{FILE_NAME}-wal").stat().st_size, 100_000)


class Probes(SqliteTestCase):
    """Whether a disk works."""

    def setUp(self) -> None:
        """Make a directory with a journal, and claim it."""
        super().setUp()
        self.claimed = claim(self.directory)
        self.addCleanup(os.close, self.claimed)
        (self.directory / FILE_NAME).write_bytes(bytes(1000))

    def test_works(self) -> None:
        """A disk that works is left as it was."""
        before = set(self.directory.iterdir())
        probe(self.directory, self.claimed)
        self.assertEqual(set(self.directory.iterdir()), before)

    def test_gone(self) -> None:
        """A directory that is gone may come back."""
        self.directory.rename(self.directory.with_name("away"))
        self.assertRaises(FileNotFoundError, probe, self.directory, self.claimed)

    def test_another(self) -> None:
        """Another directory in its place is none of ours."""
        self.directory.rename(self.directory.with_name("away"))
        os.close(claim(self.directory))
        self.assertRaises(LostError, probe, self.directory, self.claimed)

    def test_no_room(self) -> None:
        """Without room for the journal once more it says how much that takes."""
        tight = SimpleNamespace(f_bavail=1, f_frsize=4096)
        self.patch(os, "statvfs", lambda _: tight)
        error = self.assertRaises(OSError, probe, self.directory, self.claimed)
        self.assertRegex(str(error), "4096 bytes are free, 1049576 are wanted")

    def test_refuses(self) -> None:
        """What was begun on a disk that refuses it is taken away again."""

        def refuse(_: int) -> None:
            raise OSError("no more")

        self.patch(os, "fsync", refuse)
        before = set(self.directory.iterdir())
        self.assertRaises(OSError, probe, self.directory, self.claimed)
        self.assertEqual(set(self.directory.iterdir()), before)
