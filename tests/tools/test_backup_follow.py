"""Records of every moment: point-in-time restores against a history that is known."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Genesis
from coord.errors import CoordError, Unavailable
from coord.results import Row
from coord.testing import MemoryClient, MemoryStore
from coord.tools.backup_dump import Dump
from coord.tools.backup_files import Refused, Sink, as_stamp, stamp
from coord.tools.backup_follow import Follower
from coord.tools.backup_record import Spoiled, check_all, find, parts, rebuilt
from coord.tools.progress import Progress
from coord.tools.reach import Reach
from coord.wire.backup import Content, Header, Writer

PATHS = ["/", "/a", "/a/b", "/a/b/c", "/d", "/d e", "/f/g"]


class MemoryDump(Dump):
    """A dump of a store in memory; ``held`` keeps it from going on."""

    def __init__(self, client: MemoryClient, held: Deferred[None] | None = None) -> None:
        reach = Reach(servers=["none:1"])
        super().__init__(client.clock, reach, Progress("nodes"), lambda text: None)
        self._client = client
        self._held = held
        self._rows: tuple[Row, ...] = ()

    async def open(self) -> Header:
        """Take the picture."""
        page = await self._client.walk("/**")
        self._rows = page.rows
        header = Header(
            content=Content.DUMP,
            rev=page.rev,
            cluster="c",
            time=stamp(self._client.clock.seconds()),
        )
        self._writer = Writer(header)
        self._head = self._writer.head()
        self.name = self._writer.name
        return header

    async def write(self, sink: Sink) -> None:
        """Write it, once nothing keeps us."""
        self.picture.rows = self._taken  # type: ignore[method-assign]
        await super().write(sink)

    async def _taken(self) -> AsyncIterator[list[Row]]:
        if self._held is not None:
            await self._held
        yield list(self._rows)


class Case(SynchronousTestCase):
    """A store in memory, a folder that follows it, and all that ever was."""

    def setUp(self) -> None:
        """Found a cluster; nobody follows yet."""
        self.folder = Path(self.mktemp())
        self.make_store()
        self.following: Deferred[None] | None = None
        self.addCleanup(self.stop)
        self.random = Random(5)

    def make_store(self, history: int = 100_000) -> None:
        """Begin with an empty store, a minute ago."""
        self.store = MemoryStore(history_revisions=history)
        self.store.clock.advance(1_700_000_000)
        self.store.perform(Genesis("c", (("n1", "h:1"),)))
        self.client = MemoryClient(self.store)
        self.past = {self.store.rev: self.present()}
        self.times: list[tuple[float, int]] = []
        self.notes: list[str] = []

    def present(self) -> tuple[Row, ...]:
        """Return what the store holds."""
        rows: tuple[Row, ...] = self.successResultOf(self.client.walk("/**")).rows
        return rows

    def follow(self, held: Deferred[None] | None = None, **options: Any) -> Follower:
        """Begin to follow."""
        follower = Follower(
            self.client.clock,
            self.client,
            self.folder,
            lambda: MemoryDump(self.client, held),
            self.notes.append,
            **options,
        )
        self.following = ensureDeferred(follower.run())
        return follower

    def stop(self) -> None:
        """Stop following, as Ctrl-C does."""
        following, self.following = self.following, None
        if following is not None:
            following.addErrback(lambda _: None)
            following.cancel()
            self.assertTrue(following.called)

    def live(self, steps: int) -> None:
        """Let things happen, and remember them."""
        for _ in range(steps):
            path = self.random.choice(PATHS)
            if self.random.random() < 0.25:
                done = self.client.delete(path, tree=self.random.random() < 0.7)
            else:
                done = self.client.set(path, self.random.randbytes(self.random.randrange(9)))
            done.addErrback(lambda failure: failure.trap(CoordError))
            self.past[self.store.rev] = self.present()
            if self.random.random() < 0.2:
                self.client.clock.advance(0.7)
                self.times.append((self.client.clock.seconds(), self.store.rev))

    def restored(self, at: int | str | None, folder: Path | None = None) -> tuple[Row, ...]:
        """Return what the record has of a moment."""
        with rebuilt(find(folder or self.folder, at)) as (count, rows, _):
            found = tuple(rows)
        self.assertEqual(count, len(found))
        return found


class Moments(Case):
    """Every moment since a record was begun can be had."""

    def test_every_revision(self) -> None:
        """Each revision since the base is brought back as it was."""
        self.live(40)
        self.follow()
        first = self.store.rev
        self.live(150)
        self.stop()
        for rev in range(first, self.store.rev + 1):
            self.assertEqual(self.restored(rev), self.past[rev])
        self.assertEqual(self.restored(None), self.present())

    def test_while_it_is_written(self) -> None:
        """A record can be read while it is being written; a moment later it is up to date."""
        self.follow()
        self.live(30)
        self.client.clock.pump([0.6] * 3)
        self.assertEqual(self.restored(None), self.present())
        self.assertTrue(parts(self.folder)[-1].is_open)

    def test_times(self) -> None:
        """A time means what the record had by then."""
        self.follow()
        began = self.client.clock.seconds()
        self.live(100)
        self.client.clock.pump([0.6] * 3)
        self.stop()
        self.assertEqual(self.restored(stamp(began)), self.past[2])
        for seconds, rev in self.times:
            moment = find(self.folder, stamp(seconds))
            self.assertLessEqual(moment.rev, rev)
            self.assertEqual(self.restored(stamp(seconds)), self.past[moment.rev])
        self.assertGreater(len({find(self.folder, stamp(at)).rev for at, _ in self.times}), 5)
        for wrong in (stamp(began - 1), stamp(self.client.clock.seconds() + 100)):
            self.assertRaises(Refused, find, self.folder, wrong)

    def test_quiet(self) -> None:
        """While nothing happens, the record goes on to say that it is up to date."""
        self.follow()
        self.live(3)
        self.client.clock.pump([1.0] * 300)
        self.stop()
        late = stamp(self.client.clock.seconds() - 60)
        self.assertEqual(self.restored(late), self.present())

    def test_passing(self) -> None:
        """What goes with a session is not in the record, which knows all the same how far it is."""
        self.follow()
        self.live(3)
        wanted = self.present()
        rev = self.store.rev
        other = MemoryClient(self.store)
        for number in range(100):
            self.successResultOf(other.set("/up", b"%d" % number, ephemeral=True))
            self.client.clock.advance(1.0)
        late = stamp(self.client.clock.seconds() - 60)
        self.successResultOf(other.close())
        self.stop()
        self.assertEqual(self.restored(late), wanted)
        self.assertEqual(find(self.folder, late).rev, rev)
        texts = [path.read_text() for path in self.folder.glob("*changes")]
        self.assertNotIn("/up", "".join(texts))

    def test_lifetimes(self) -> None:
        """A node's lifetime is in the record, and so is that it went."""
        self.follow()
        self.successResultOf(self.client.set("/t", b"x", ttl_seconds=40))
        rev = self.store.rev
        self.client.clock.pump([1.0] * 60)
        self.stop()
        self.assertEqual(self.restored(rev)[-1], Row("/t", rev, b"x", 40_000))
        self.assertNotIn("/t", [row.path for row in self.restored(None)])

    def test_outage(self) -> None:
        """An outage is told of once, and so is its end; the record says nothing of the time."""
        self.follow()
        self.live(3)
        self.client.clock.pump([1.0] * 3)
        self.client.refuse_with(Unavailable("no quorum"))
        self.client.clock.pump([1.0] * 200)
        during = stamp(self.client.clock.seconds())
        self.assertRaises(Refused, find, self.folder, during)
        self.client.refuse_with(None)
        self.client.clock.pump([1.0] * 100)
        told = [note for note in self.notes if "answer" in note]
        self.assertEqual(
            told, ["the cluster does not answer: no quorum", "the cluster answers again"]
        )
        self.stop()
        self.assertEqual(self.restored(during), self.present())

    def test_files_of_any_size(self) -> None:
        """Files are ended when they are large or old, and nothing is lost between them."""
        for options in ({"rotate_bytes": 600}, {"rotate_seconds": 1.5}):
            with self.subTest(options=options):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.make_store()
                self.follow(**options)
                self.live(100)
                self.stop()
                self.assertGreater(len(parts(self.folder)), 4)
                for rev in range(2, self.store.rev + 1):
                    self.assertEqual(self.restored(rev), self.past[rev])

    def test_restarts(self) -> None:
        """A record that was stopped time and again has no gap."""
        for _ in range(6):
            self.follow()
            self.live(self.random.randrange(20))
            self.stop()
            self.live(self.random.randrange(10))
        self.follow()
        self.stop()
        for rev in range(2, self.store.rev + 1):
            self.assertEqual(self.restored(rev), self.past[rev])

    def test_base_while_writes_go_on(self) -> None:
        """What happens while the base is dumped is in the record."""
        held: Deferred[None] = Deferred()
        self.live(10)
        first = self.store.rev
        self.follow(held)
        self.live(20)
        held.callback(None)
        self.live(20)
        self.stop()
        for rev in range(first, self.store.rev + 1):
            self.assertEqual(self.restored(rev), self.past[rev])

    def test_gap(self) -> None:
        """Where history is gone, a new base is made, and what was missed is not to be had."""
        self.make_store(history=20)
        self.follow()
        self.live(15)
        self.stop()
        before = self.store.rev
        self.live(60)
        self.follow()
        after = self.store.rev
        self.live(15)
        self.stop()
        self.assertTrue(any("a new base" in note for note in self.notes), self.notes)
        for rev in (*range(2, before + 1), *range(after, self.store.rev + 1)):
            self.assertEqual(self.restored(rev), self.past[rev])
        for rev in (before + 1, after - 1, self.store.rev + 1, 1):
            self.assertRaises(Refused, find, self.folder, rev)


class Crashes(Case):
    """What a crash leaves is gone on from."""

    def crash(self) -> None:
        """Let the follower be gone as it stands: what it wrote last is on the disk or is not."""
        left = Path(self.mktemp())
        shutil.copytree(self.folder, left)
        self.stop()
        shutil.rmtree(self.folder)
        left.rename(self.folder)
        for path in self.folder.glob("*.open"):
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.truncate(max(0, size - self.random.randrange(120)))

    def test_crashes(self) -> None:
        """After crashes that tear the last file anywhere, every revision is still there."""
        self.follow()
        self.client.clock.advance(1)
        for _ in range(12):
            self.live(self.random.randrange(15))
            self.client.clock.advance(0.6)
            self.crash()
            self.live(self.random.randrange(5))
            self.follow()
        self.stop()
        for rev in range(2, self.store.rev + 1):
            self.assertEqual(self.restored(rev), self.past[rev])

    def test_crash_in_the_base(self) -> None:
        """A base that was never finished, and what went on from it, is begun anew."""
        self.follow(Deferred())
        self.live(5)
        self.client.clock.advance(1)
        self.assertRaises(Refused, find, self.folder, None)
        self.crash()
        self.assertTrue(list(self.folder.glob("*.partial")))
        first = self.store.rev
        self.follow()
        self.live(5)
        self.stop()
        self.assertEqual(list(self.folder.glob("*.partial")), [])
        for rev in range(first, self.store.rev + 1):
            self.assertEqual(self.restored(rev), self.past[rev])

    def test_stopped_in_the_base(self) -> None:
        """Stopped before the base is there, nothing is left behind."""
        self.follow(Deferred())
        self.live(5)
        self.stop()
        self.assertEqual(parts(self.folder), [])


class Refusals(Case):
    """What is not gone on from, and not restored."""

    def refusal(self) -> str:
        """Return why nobody follows here."""
        self.follow()
        following, self.following = self.following, None
        assert following is not None
        return str(self.failureResultOf(following, Refused).value)

    def test_two(self) -> None:
        """Two cannot follow in one folder."""
        self.follow()
        first, self.following = self.following, None
        self.assertIn("somebody else", self.refusal())
        self.following = first

    def test_another_cluster(self) -> None:
        """A cluster of another name, or one that is further back, is not gone on with."""
        self.follow()
        self.live(20)
        self.stop()
        self.make_store()
        self.assertIn("another one, or was set back", self.refusal())
        self.store = MemoryStore()
        self.store.perform(Genesis("d", (("n1", "h:1"),)))
        self.client = MemoryClient(self.store)
        self.assertIn("follows c, not d", self.refusal())

    def test_damage(self) -> None:
        """A flipped bit, a lost file, a cut: nothing is restored from such a record."""
        self.follow(rotate_bytes=400)
        self.live(60)
        self.stop()
        list(check_all(self.folder))
        files = [part.path for part in parts(self.folder)]
        self.assertGreater(len(files), 4)
        for number, path in enumerate(files):
            whole = path.read_bytes()
            place = self.random.randrange(len(whole))
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            self.assertRaisesRegex(Spoiled, path.name, find, self.folder, None)
            path.write_bytes(whole[:place])
            self.assertRaisesRegex(Spoiled, path.name, find, self.folder, None)
            path.unlink()
            if number + 1 < len(files):
                self.assertRaises(Spoiled, find, self.folder, None)
            path.write_bytes(whole)
        list(check_all(self.folder))

    def test_empty_folder(self) -> None:
        """A folder without a backup is no backup."""
        self.folder.mkdir()
        self.assertRaises(Refused, find, self.folder, None)

    def test_full_disk(self) -> None:
        """Where the disk takes no more, following ends and says so."""
        self.follow()
        self.live(3)

        def full(_: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.live(3)
        self.client.clock.advance(0.6)
        following, self.following = self.following, None
        assert following is not None
        self.failureResultOf(following, OSError)


class Stamps(SynchronousTestCase):
    """Times as a backup writes them."""

    def test_as_stamp(self) -> None:
        """A time without a zone is UTC."""
        self.assertEqual(as_stamp("2026-11-20T06:01"), "2026-11-20T06:01:00.000Z")
        self.assertEqual(as_stamp("2026-11-20T06:01:22.115+02:00"), "2026-11-20T04:01:22.115Z")
        self.assertEqual(as_stamp(stamp(1_795_155_758.785)), stamp(1_795_155_758.785))
        self.assertRaises(ValueError, as_stamp, "yesterday")
