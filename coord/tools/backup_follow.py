"""``coord-backup follow``: a folder that holds every moment of a cluster since it was begun.

Life of a record:

1. A base is dumped, and at the same time a watch of everything from the base's revision on is
   written into the first file of changes: the history that this needs may be gone when the base is
   done.
2. Changes are written as they come and are on the disk a moment later (`SYNC_SECONDS`). A
   *mark* then says up to which revision there are all of them, and when.
3. A file that has grown large or old is ended, at a revision's end, and the next is begun.
4. After an end of any kind, ours or the machine's, the last file is *mended*: what was torn is
   cut off, its last line is written. A new file goes on before the last revision, of which there
   may have been more to come.
5. Where the history after that is gone on all nodes, there is a gap, and a new base after it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from coord.client import Watch
from coord.client.verbs import Verbs
from coord.errors import CoordError, NoEntry, TooLate
from coord.events import Event
from coord.limits import MIB
from coord.paths import CONTROL
from coord.tools.backup_dump import Dump
from coord.tools.backup_files import Partial, Refused, pieces, stamp, sync_folder
from coord.tools.backup_record import look, part_name, parts
from coord.wire.backup import Content, Header, Mark, Writer
from coord.wire.backup_reader import Damage, Reader

SYNC_SECONDS: Final = 0.5
"""What was told is on the disk so much later at most."""
ROTATE_BYTES: Final = 64 * MIB
ROTATE_SECONDS: Final = 3600.0
QUIET_SECONDS: Final = 30.0
"""While nothing happens, the record says so often that it is up to date."""
LAST_WORD_SECONDS: Final = 2.0
LOCK_NAME: Final = ".lock"


class Changes:
    """One file of changes that is being written: ``NAME.open`` until it is ended."""

    def __init__(self, path: Path, header: Header, began: float) -> None:
        self._path = path
        self._open = path.with_name(f"{path.name}.open")
        self._writer = Writer(header)
        self._file: BinaryIO = self._open.open("xb")
        self.began = began
        self.size_bytes = 0
        self.rev = header.rev
        self.marked = header.rev
        self._is_synced = False
        self._put(self._writer.head())
        self.sync()
        sync_folder(path.parent)

    @property
    def name(self) -> str:
        """What the next file calls this one."""
        return self._writer.name

    def add(self, event: Event) -> None:
        """Write one change."""
        self.rev = event.rev
        self._put(self._writer.change(event))

    def mark(self, rev: int, time: str) -> None:
        """Write that everything up to ``rev`` is there."""
        self.marked = min(rev, self.rev)
        self._put(self._writer.mark(Mark(self.marked, time)))

    def sync(self) -> None:
        """See that all of it is on the disk."""
        if not self._is_synced:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._is_synced = True

    def end(self) -> bool:
        """Write the last line and give the file its name; say whether there was anything in it.

        A file of nothing is removed.
        """
        if not self._writer.lines:
            self.discard()
            return False
        self._put(self._writer.end())
        self.sync()
        self._file.close()
        self._open.rename(self._path)
        sync_folder(self._path.parent)
        return True

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self._open.unlink()

    def _put(self, line: bytes) -> None:
        self._file.write(line)
        self.size_bytes += len(line)
        self._is_synced = False


class Follower:
    """Keeps the record in ``folder`` current until it is stopped.

    :param dump: makes a `Dump` of the same cluster.
    :param note: is told, in a line, what a person may want to know.
    """

    def __init__(
        self,
        reactor: Any,
        client: Verbs,
        folder: Path,
        dump: Callable[[], Dump],
        note: Callable[[str], None],
        *,
        rotate_bytes: int = ROTATE_BYTES,
        rotate_seconds: float = ROTATE_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._folder = folder
        self._new_dump = dump
        self._note = note
        self._rotate_bytes = rotate_bytes
        self._rotate_seconds = rotate_seconds
        self._lock: int | None = None
        self._watch: Watch | None = None
        self._changes: Changes | None = None
        self._cluster = ""
        self._asking: Deferred[None] | None = None
        self._problem: BaseException | None = None
        self._pending: tuple[int, str] | None = None
        self._is_reached = True
        self._marked_at = 0.0
        self._seen_rev = 0
        self._next = 1
        self._after = ""
        self.rev = 0

    async def run(self) -> None:
        """Follow, for ever; cancel to stop, which ends the file being written.

        :raises Refused: where the folder is another cluster's, or somebody else follows there.
        :raises Spoiled: where what the folder holds cannot be gone on from.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _claim(self._folder)
        timer = LoopingCall(self._tick)
        timer.clock = self._reactor
        try:
            base = await self._take_up()
            timer.start(SYNC_SECONDS, now=False).addErrback(self._failed)
            while True:
                await self._follow(base)
                base = self._new_dump()
        finally:
            if timer.running:
                timer.stop()
            self._stop()

    # -- beginning -----------------------------------------------------------------------------
    async def _take_up(self) -> Dump | None:
        """Find out where to go on; return the dump to make first, if any."""
        _mend(self._folder, self._note)
        found = parts(self._folder)
        if not found:
            return self._new_dump()
        last = look(found[-1])
        self._next = found[-1].number + 1
        self._after = last.name
        self._cluster = last.header.cluster
        self.rev = max(last.header.rev, last.rev - 1) if last.lines else last.header.rev
        rev = (await self._client.sync()).rev
        named = await self._cluster_name()
        if named != self._cluster:
            raise Refused(
                f"{self._folder} follows {self._cluster}, not {named}: take another folder"
            )
        if rev < self.rev:
            raise Refused(
                f"the cluster is at revision {rev}, {self._folder} at {self.rev}:"
                " it is another one, or was set back; take another folder"
            )
        self._note(f"go on from revision {self.rev}")
        return None

    async def _cluster_name(self) -> str:
        try:
            found = await self._client.get(f"{CONTROL}/cluster")
        except NoEntry:
            return ""
        return found.value.decode("utf-8", "replace")

    async def _follow(self, base: Dump | None) -> None:
        """Write changes, after those there are or after a new ``base``, until history is gone."""
        basing: Deferred[None] | None = None
        first = self._next
        if base is not None:
            basing = ensureDeferred(self._base(base, await base.open()))
            basing.addErrback(self._failed)
        self._begin()
        watch = self._watch = self._client.watch_lasting("/**", after_rev=self.rev)
        if self._problem is not None:
            watch.close()
        try:
            async for event in watch:
                self._take(event)
            self._raise_problem()
        except TooLate as error:
            self._note(f"the history after revision {self.rev} is gone: {error.text}; a new base")
        finally:
            self._tick()
            await self._last_word()
            watch.close()
            if basing is not None:
                basing.cancel()
                await basing
            if base is not None and not base.is_done:
                self._discard()
                self._next = first
            self._end()

    def _failed(self, failure: Failure) -> None:
        """Take note of what befell the work beside the watch, which ends with it."""
        if not failure.check(CancelledError) and self._problem is None:
            self._problem = failure.value
        if self._watch is not None:
            self._watch.close()

    def _raise_problem(self) -> None:
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem

    async def _base(self, dump: Dump, header: Header) -> None:
        """Dump the base, whose number is that before the changes that go on from it."""
        number = self._next
        self._next += 1
        self._cluster = header.cluster
        self.rev = header.rev
        self._after = dump.name
        sink = Partial(self._folder / part_name(number, header.rev, Content.DUMP))
        try:
            await dump.write(sink)
        finally:
            sink.abandon()
        self._note(f"the base of revision {header.rev} holds {dump.nodes:,} nodes")

    # -- going on --------------------------------------------------------------------------------
    def _take(self, event: Event) -> None:
        changes = self._changes
        assert changes is not None
        if event.rev > changes.rev and self._is_due(changes):
            changes.mark(changes.rev, self._now())
            self._end()
            changes = self._begin()
        changes.add(event)

    def _is_due(self, changes: Changes) -> bool:
        aged = self._reactor.seconds() - changes.began > self._rotate_seconds
        return changes.size_bytes > self._rotate_bytes or (aged and changes.rev > changes.marked)

    def _tick(self) -> None:
        """Mark how far it is, and bring it to the disk."""
        changes, watch = self._changes, self._watch
        if changes is None or watch is None:
            return
        if not watch.is_closed and watch.complete_rev > changes.marked < changes.rev:
            changes.mark(watch.complete_rev, self._now())
        self._mark_pending()
        changes.sync()
        is_still = changes.rev == self._seen_rev
        self._seen_rev = changes.rev
        if changes.rev > changes.marked:
            due = is_still
        else:
            due = self._reactor.seconds() - self._marked_at > QUIET_SECONDS
        if due and self._asking is None:
            self._begin_to_ask()

    def _begin_to_ask(self) -> Deferred[None]:
        asking = ensureDeferred(self._ask())
        self._asking = None if asking.called else asking
        return asking

    def _mark_pending(self) -> None:
        """Mark what the cluster had when it was asked last, once all that lasts was seen of it."""
        changes, watch, pending = self._changes, self._watch, self._pending
        if changes is None or watch is None or pending is None or watch.is_closed:
            return
        rev, time = pending
        if rev in (changes.rev, watch.complete_rev) or watch.complete_rev > rev:
            self._pending = None
            changes.mark(rev, time)

    async def _ask(self) -> None:
        """Mark that nothing is missing and nothing more happened, where that is so."""
        self._marked_at = self._reactor.seconds()
        time = self._now()
        try:
            point = await self._client.sync()
            if not self._is_reached:
                self._is_reached = True
                self._note("the cluster answers again")
            self._pending = point.rev, time
            self._mark_pending()
        except CoordError as error:
            if self._is_reached:
                self._is_reached = False
                self._note(f"the cluster does not answer: {error.text}")
        finally:
            self._asking = None

    async def _last_word(self) -> None:
        """Mark what came last, if the cluster answers soon."""
        changes = self._changes
        if changes is None or changes.rev == changes.marked:
            return
        self._pending = None
        asking = self._begin_to_ask()
        asking.addTimeout(LAST_WORD_SECONDS, self._reactor)
        try:
            await asking
        except (TimeoutError, CancelledError):
            return

    def _begin(self) -> Changes:
        """Begin a file of changes after what there is for certain."""
        header = Header(
            content=Content.CHANGES,
            rev=self.rev,
            cluster=self._cluster,
            time=self._now(),
            after=self._after,
        )
        path = self._folder / part_name(self._next, self.rev, Content.CHANGES)
        self._changes = changes = Changes(path, header, self._reactor.seconds())
        self._marked_at = self._reactor.seconds()
        return changes

    def _end(self) -> None:
        """End the file being written."""
        changes, self._changes = self._changes, None
        if changes is not None and changes.end():
            self._after = changes.name
            self._next += 1
            self.rev = changes.rev

    def _discard(self) -> None:
        """Remove the file being written: what it goes on from never came to be."""
        changes, self._changes = self._changes, None
        if changes is not None:
            changes.discard()

    def _stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        if self._lock is not None:
            os.close(self._lock)

    def _now(self) -> str:
        return stamp(self._reactor.seconds())


def _claim(folder: Path) -> int:
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Refused(f"somebody else follows in {folder}: stop that one first") from None
    return lock


def _mend(folder: Path, note: Callable[[str], None]) -> None:
    """Bring a folder in order whose follower was ended in the middle of something."""
    for path in folder.glob("*.dump.partial"):
        path.unlink()
    found = parts(folder)
    for place, part in enumerate(found):
        if not part.is_open:
            continue
        name = look(found[place - 1]).name if place else ""
        _mend_open(part.path, name, note)


def _mend_open(path: Path, after: str, note: Callable[[str], None]) -> None:
    """End a file of changes; remove it where it goes on from nothing, or holds nothing."""
    reader = Reader(unfinished=True)
    writer: Writer | None = None
    try:
        with path.open("rb") as file:
            for record, line in reader.records_and_lines(pieces(file)):
                if isinstance(record, Header):
                    writer = Writer(record)
                assert writer is not None
                writer.resume(line)
    except Damage as damage:
        if writer is not None:
            note(f"{path.name} is damaged at {damage}: the rest is fetched again")
    if writer is None or not writer.lines or reader.header.after != after:
        path.unlink()
        return
    with path.open("r+b") as file:
        file.truncate(reader.sound_bytes)
        if reader.end is None:
            file.seek(0, os.SEEK_END)
            file.write(writer.end())
        file.flush()
        os.fsync(file.fileno())
    path.rename(path.with_suffix(""))
    sync_folder(path.parent)
