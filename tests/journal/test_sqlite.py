"""The journal on SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from coord.journal import writer
from coord.journal.directory import FILE_NAME, identify, schemas
from coord.journal.errors import CorruptionError, IdentityError, InUseError, SchemaError
from coord.journal.sqlite import Journal, Reactor, open_journal
from coord.journal.writer import Work
from coord.replicator.interfaces import IJournal
from coord.wire.journal import identity_checksum
from tests.journal.contract import INITIAL, JournalContract, Listener, header, save, votes

REACTOR = cast(Reactor, reactor)
DISK = "^[0-9a-f]{16}$"
"""The name of a directory."""


COLUMNS = {
    "identity": ("node", "cluster", "incarnation", "checksum", "disk"),
    "log": ("ballot", "node", "content", "checksum"),
    "image": ("slot", "first", "until", "checksum"),
    "piece": ("content", "checksum"),
}
"""What the tables hold, but for the numbers under which records are found."""
BLOB = "CAST(substr(content, 1, length(content) - 1) AS BLOB) || x'07'"
FLIPPED = {
    **{number: f"{number} | 1024" for number in ("incarnation", "ballot", "slot", "first")},
    "until": "until | 1024",
    "checksum": "(~(checksum & 1) & 1) | (checksum & ~1)",
    "node": "'p' || substr(node, 2)",
    "cluster": "'?' || substr(cluster, 2)",
    "disk": "'?' || substr(disk, 2)",
    "content": f"CAST({BLOB} AS BLOB)",
}
"""How to flip a bit of each, or a few."""


class SqliteTestCase(TestCase):
    """Open journals and close them at the test's end."""

    def setUp(self) -> None:
        """Choose a directory that is not there yet."""
        self.directory = Path(self.mktemp()) / "n1"

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Do something to the file, beside the journal."""
        with contextlib.closing(
            sqlite3.connect(self.directory / FILE_NAME, isolation_level=None)
        ) as connection:
            return connection.execute(statement, values).fetchall()

    def open(self) -> Journal:
        """Open the directory."""
        journal = open_journal(REACTOR, self.directory, node="n1", initial=INITIAL)
        self.addCleanup(journal.close)
        return journal


class SqliteContractTests(SqliteTestCase, JournalContract):
    """The journal on SQLite does what every journal must."""

    async def crash(self, journal: IJournal) -> None:
        """Close the journal; ``test_crash`` is about real ones."""
        await journal.close()

    async def settle(self, journal: IJournal) -> None:
        """Wait for work that stands behind all else."""
        assert isinstance(journal, Journal)
        done: Deferred[None] = Deferred()
        journal._queue_work(Work(lambda _: False, 0, done))
        with contextlib.suppress(sqlite3.Error):
            await done

    def empty(self) -> None:
        """Take away the file: its directory is another one from then on."""
        (self.directory / FILE_NAME).unlink()

    def break_disk(self, journal: IJournal) -> None:
        """Refuse all writing of saves."""
        assert isinstance(journal, Journal)
        journal._writer._connections.saves.execute("PRAGMA query_only = 1").fetchall()


class DirectoryTests(SqliteTestCase):
    """Whose a directory is, and who may open it."""

    def refuse(self, error: type[Exception], pattern: str, **wanted: Any) -> None:
        """See that opening fails, in one line, and changes nothing in the file."""
        before = self.sql("SELECT * FROM identity"), self.sql("PRAGMA user_version")
        with self.assertRaisesRegex(error, pattern) as caught:
            open_journal(REACTOR, self.directory, initial=INITIAL, **{"node": "n1", **wanted})
        self.assertNotIn("\n", str(caught.exception))
        self.assertEqual(
            before, (self.sql("SELECT * FROM identity"), self.sql("PRAGMA user_version"))
        )

    async def test_private(self) -> None:
        """The directory is its owner's alone."""
        self.open()
        self.assertEqual(stat.S_IMODE(self.directory.stat().st_mode), 0o700)

    async def test_safe_settings(self) -> None:
        """Saves go through a write-ahead log and wait for the disk."""
        saves = self.open()._writer._connections.saves
        self.assertEqual(saves.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertEqual(saves.execute("PRAGMA synchronous").fetchone(), (2,))

    async def test_identity_is_kept(self) -> None:
        """A cluster's name made at the first start is the directory's for ever."""
        journal = self.open()
        cluster = journal.identity.cluster
        await journal.close()
        again = self.open()
        self.assertEqual(again.identity.cluster, cluster)
        self.assertEqual((again.identity.node, again.identity.incarnation), ("n1", 2))
        self.assertGreaterEqual(len(cluster), 16)

    async def test_strangers(self) -> None:
        """Another node, or a node of another cluster, is refused and told whose it is."""
        await self.open().close()
        self.refuse(IdentityError, "belongs to node n1, not n2", node="n2")
        self.refuse(IdentityError, "belongs to cluster .*, not other", cluster="other")

    async def test_newer_schema(self) -> None:
        """A directory that a newer coord wrote is refused."""
        await self.open().close()
        self.sql("PRAGMA user_version = 99")
        self.refuse(SchemaError, "newer coord .schema 99")

    async def test_upgrade(self) -> None:
        """An older directory is copied, then brought to the newest schema with all it holds."""
        journal = self.open()
        await journal.close()
        identify(
            self.directory,
            node="n1",
            cluster=None,
            versions=(*schemas(), "CREATE TABLE more (one INTEGER) STRICT"),
        )
        self.assertEqual(self.sql("PRAGMA user_version"), [(len(schemas()) + 1,)])
        self.assertEqual(self.sql("SELECT cluster FROM identity"), [(journal.identity.cluster,)])
        self.assertEqual(self.sql("SELECT * FROM more"), [])
        copy = self.directory / f"{FILE_NAME}.schema-{len(schemas())}"
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            found = connection.execute("SELECT incarnation FROM identity").fetchall()
        self.assertEqual(found, [(1,)])

    async def test_upgrade_of_the_first(self) -> None:
        """A directory of the first schema, whose identity had no checksum, gets one."""
        self.directory.mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(self.directory / FILE_NAME)) as connection:
            connection.executescript(schemas()[0])
            connection.execute("INSERT INTO identity VALUES (1, 'n1', 'theirs', 6)")
            connection.execute("PRAGMA user_version = 1")
            connection.commit()
        journal = self.open()
        self.assertEqual((journal.identity.cluster, journal.identity.incarnation), ("theirs", 7))
        self.assertRegex(journal.identity.disk, DISK)
        await journal.close()
        self.sql("UPDATE identity SET incarnation = 6")
        self.refuse(CorruptionError, "whose journal this is is damaged")

    async def test_upgrade_of_the_second(self) -> None:
        """A directory of the second schema is copied, keeps all it holds, and gets a name."""
        journal = self.open()
        journal.observe(Listener())
        journal.save(save(1, 1, 6, chosen=5))
        await journal.close()
        self.sql("ALTER TABLE identity DROP COLUMN disk")
        self.sql("UPDATE identity SET checksum = ?", identity_checksum("n1", "theirs", 1))
        self.sql("UPDATE identity SET cluster = 'theirs'")
        self.sql("PRAGMA user_version = 2")
        journal = self.open()
        recovered = journal.recover()
        self.assertEqual(recovered.durable.votes, votes(1, 6))
        self.assertEqual(recovered.durable.header, header(5))
        self.assertEqual((journal.identity.cluster, recovered.incarnation), ("theirs", 2))
        self.assertRegex(recovered.disk, DISK)
        await journal.close()
        copy = self.directory / f"{FILE_NAME}.schema-2"
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            kept = connection.execute("SELECT * FROM log").fetchall()
            checksum = identity_checksum("n1", "theirs", 1)
            self.assertEqual(
                connection.execute("SELECT * FROM identity").fetchall(),
                [(1, "n1", "theirs", 1, checksum)],
            )
        self.assertEqual(kept, self.sql("SELECT * FROM log"))
        self.assertEqual(len(kept), 6)

    async def test_cut_upgrade(self) -> None:
        """A directory whose upgrade was cut short before it had a name gets one when opened."""
        await self.open().close()
        self.sql("UPDATE identity SET disk = '', checksum = ?", identity_checksum("n1", "c", 1))
        self.sql("UPDATE identity SET cluster = 'c'")
        self.assertRegex(self.open().identity.disk, DISK)

    async def test_lost_identity(self) -> None:
        """A journal that holds something and belongs to nobody is damaged, not new."""
        journal = self.open()
        journal.observe(Listener())
        journal.save(save(1, 1, 2, chosen=1))
        await journal.close()
        self.sql("DELETE FROM identity")
        self.refuse(CorruptionError, "whose journal this is is gone")

    async def test_one_process(self) -> None:
        """A directory that is open cannot be opened again until it is closed."""
        journal = self.open()
        self.refuse(InUseError, "in use by another process")
        await journal.close()
        self.open()

    def test_not_a_journal(self) -> None:
        """A file that is no journal, or no database at all, is refused and left as it is."""
        self.directory.mkdir(parents=True)
        path = self.directory / FILE_NAME
        path.write_bytes(b"this is not a database, but long enough to be one" * 20)
        content = path.read_bytes()
        self.assertRaises(CorruptionError, self.open)
        self.assertEqual(path.read_bytes(), content)
        path.unlink()
        self.sql("CREATE TABLE cats (name TEXT)")
        content = path.read_bytes()
        self.assertRaises(CorruptionError, self.open)
        self.assertEqual(path.read_bytes(), content)


class DamageTests(SqliteTestCase):
    """A flipped bit is found when it is read."""

    async def damage(self, statement: str) -> Journal:
        """Write a log and an image, damage the file, open it again."""
        journal = self.open()
        journal.recover()
        journal.observe(Listener())
        journal.save(save(1, 1, 10, chosen=6))
        image = journal.start_image(2)
        image.add(b"first")
        image.add(b"second")
        image.finish()
        await journal.close()
        self.sql(statement)
        return self.open()

    async def test_vote(self) -> None:
        """A damaged vote is named by its slot, in recovery and when it is read."""
        journal = await self.damage("UPDATE log SET content = x'c400' WHERE slot = 5")
        with self.assertRaisesRegex(CorruptionError, "slot 5"):
            journal.recover()
        with self.assertRaisesRegex(CorruptionError, "slot 5"):
            await journal.read(4, 7, 100)
        self.assertEqual(list(await journal.read(3, 5, 100)), [v.value for v in votes(3, 5)])

    async def test_ballot(self) -> None:
        """A vote with another ballot than was saved is damaged too."""
        journal = await self.damage("UPDATE log SET ballot = ballot + 1 WHERE slot = 7")
        with self.assertRaisesRegex(CorruptionError, "slot 7"):
            journal.recover()

    async def test_header(self) -> None:
        """A damaged header is found."""
        journal = await self.damage("UPDATE log SET checksum = checksum + 1 WHERE slot = 0")
        with self.assertRaisesRegex(CorruptionError, "header"):
            journal.recover()

    async def test_missing_vote(self) -> None:
        """A chosen slot that is gone is missed."""
        journal = await self.damage("DELETE FROM log WHERE slot = 4")
        with self.assertRaisesRegex(CorruptionError, "lacks slot 4"):
            journal.recover()

    async def test_piece(self) -> None:
        """A damaged piece of an image, or a missing one, is found when it is reached."""
        journal = await self.damage("UPDATE piece SET content = x'00' WHERE number = 2")
        image = journal.recover().image
        self.assertEqual(next(image), b"first")
        with self.assertRaisesRegex(CorruptionError, "piece 2"):
            next(image)

    async def test_image(self) -> None:
        """A damaged note of which slot the image holds is found."""
        journal = await self.damage("UPDATE image SET slot = 3")
        with self.assertRaisesRegex(CorruptionError, "image of slot 3"):
            journal.recover()

    async def test_lost_header(self) -> None:
        """A log whose header is gone is no new one: what was promised is lost with it."""
        journal = await self.damage("DELETE FROM log WHERE slot = 0")
        with self.assertRaisesRegex(CorruptionError, "header. is gone"):
            journal.recover()

    async def test_identity(self) -> None:
        """A damaged record of whose journal it is, or of how often it was opened, is found."""
        for changed in (
            "node = 'n3'",
            "cluster = 'd'",
            "disk = 'd'",
            "incarnation = 5",
            "checksum = 7",
        ):
            self.directory = Path(self.mktemp()) / "n1"
            with self.assertRaisesRegex(CorruptionError, "whose journal this is") as caught:
                await self.damage(f"UPDATE identity SET {changed}")
            self.assertNotIn("\n", str(caught.exception))

    async def test_every_byte(self) -> None:
        """Whichever column of whichever record has a bit flipped, reading it says so."""
        found = 0
        for table, columns in COLUMNS.items():
            for column in columns:
                self.directory = Path(self.mktemp()) / "n1"
                with self.assertRaises(CorruptionError, msg=f"{table}.{column}"):
                    journal = await self.damage(f"UPDATE {table} SET {column} = {FLIPPED[column]}")
                    list(journal.recover().image)
                found += 1
        self.assertEqual(found, sum(map(len, COLUMNS.values())))
        names = [name for (name,) in self.sql("SELECT name FROM sqlite_schema")]
        self.assertEqual(sorted(names), sorted(COLUMNS), "a table without a checksum")


class BoundTests(SqliteTestCase):
    """The file stays small, whatever goes through it."""

    async def finish_image(self, journal: Journal, slot: int, pieces: int) -> None:
        """Make an image of some pieces of 20 KB."""
        image = journal.start_image(slot)
        for _ in range(pieces):
            await image.add(bytes(20_000))
        await image.finish()

    async def test_bounded_file(self) -> None:
        """Saves, images and trims without end keep the file and its log under a bound."""
        self.patch(writer, "CHECKPOINT_BYTES", 200_000)
        journal = self.open()
        journal.recover()
        listener = Listener()
        journal.observe(listener)
        sizes = []
        for turn in range(1, 41):
            first = turn * 40 - 39
            for slot in range(first, first + 40):
                journal.save(save(slot, slot, slot + 1, chosen=slot, size_bytes=2000))
            await listener.until(first + 39)
            await self.finish_image(journal, first + 39, 5)
            journal.trim(first + 35)
            sizes.append(sum(one.stat().st_size for one in self.directory.iterdir()))
        # 40 * 40 * 2 KB of votes and 40 * 100 KB of images went through.
        self.assertLess(max(sizes), 3_000_000)  # on a busy machine the copying comes later
        await journal.close()
        self.assertEqual(self.sql("SELECT count(*) FROM log"), [(6,)])
        self.assertEqual(self.sql("SELECT count(*) FROM piece"), [(5,)])

    async def test_leftovers(self) -> None:
        """Pieces of an image that a crash cut short are dropped at the next start."""
        journal = self.open()
        journal.recover()
        journal.observe(Listener())
        journal.save(save(1, 1, 10, chosen=9))
        await self.finish_image(journal, 3, 2)
        cut = journal.start_image(9)
        await cut.add(b"never finished")
        await journal.close()
        self.assertEqual(self.sql("SELECT count(*) FROM piece"), [(3,)])
        journal = self.open()
        self.assertEqual(journal.recover().durable.base, 3)
        await journal.close()
        self.assertEqual(self.sql("SELECT count(*) FROM piece"), [(2,)])

    async def test_great_group(self) -> None:
        """A group of more votes than one statement takes is one save all the same."""
        journal = self.open()
        journal.recover()
        listener = Listener()
        journal.observe(listener)
        journal.save(save(1, 1, 3000, chosen=2999))
        await listener.until(1)
        await journal.close()
        self.assertEqual(self.open().recover().durable.votes, votes(1, 3000))


class StoppedReactor(Clock):
    """A reactor that does not run any more: calls from threads are never heard."""

    running = False

    def __init__(self) -> None:
        super().__init__()
        self.unheard: list[Callable[..., Any]] = []

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None:
        """Keep the call for ever."""
        self.unheard.append(callable)


class StoppedTests(SynchronousTestCase):
    """Closing works where no reactor runs."""

    def test_close(self) -> None:
        """Closing saves what is queued, tells so, and lets go of the directory at once."""
        directory = Path(self.mktemp())
        journal = open_journal(StoppedReactor(), directory, node="n1", initial=INITIAL)
        journal.recover()
        listener = Listener()
        journal.observe(listener)
        journal.save(save(1, 1, 2))
        self.assertIsNone(self.successResultOf(journal.close()))
        self.assertEqual(listener.tickets, [1])
        journal = open_journal(StoppedReactor(), directory, node="n1", initial=INITIAL)
        self.assertEqual(journal.recover().durable.header, header())
        self.successResultOf(journal.close())
