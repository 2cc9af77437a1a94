"""The journal on SQLite: one directory, one file, one thread that writes.

This module stands in the reactor's thread. `coord.journal.directory` says whose the
directory is, `coord.journal.writer` is the thread, `coord.journal.tables` the SQL.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall

from coord.journal import tables
from coord.journal.directory import FILE_NAME, claim, identify
from coord.journal.errors import ClosedError
from coord.journal.images import ImageWriter
from coord.journal.recovery import recover
from coord.journal.tables import Identity
from coord.journal.writer import (
    Closed,
    Done,
    Failed,
    News,
    Reading,
    Saved,
    Work,
    Writer,
)
from coord.paxos.durable import Save, Value
from coord.paxos.membership import Governs
from coord.replicator.interfaces import IImageWriter, IJournalObserver, Recovered


class Reactor(Protocol):
    """What a journal asks of the reactor."""

    @property
    def running(self) -> bool:
        """Whether calls from threads are heard."""

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None:
        """Run something in the reactor's thread."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object) -> IDelayedCall:
        """Run something later."""


def open_journal(
    reactor: Reactor,
    directory: Path,
    *,
    node: str,
    cluster: str | None = None,
    initial: tuple[Governs, ...],
    claimed: int | None = None,
) -> Journal:
    """Open the journal of ``node`` in ``directory``, making it where there is none. Blocks.

    ``cluster`` ``None`` stands for the directory's own, or at first for one made at random.
    ``initial`` are the configurations to begin with where nothing has been saved yet.
    ``claimed`` is what `claim` returned to who keeps the directory for longer than one journal.

    :raise IdentityError: the directory is another node's or another cluster's.
    :raise InUseError: another process has it open.
    :raise SchemaError: a newer coord wrote it.
    :raise CorruptionError: its file is not a journal, or not any more.
    """
    lock = claim(directory) if claimed is None else os.dup(claimed)
    try:
        identity = identify(directory, node=node, cluster=cluster)
        return Journal(reactor, directory, lock, identity, initial)
    except BaseException:
        os.close(lock)
        raise


class Journal:
    """`IJournal` on SQLite; made by `open_journal`. ``identity`` says whose it is."""

    def __init__(
        self,
        reactor: Reactor,
        directory: Path,
        lock: int,
        identity: Identity,
        initial: tuple[Governs, ...],
    ) -> None:
        self.identity = identity
        self._reactor = reactor
        self._directory = directory
        self._lock = lock
        self._initial = initial
        self._observer: IJournalObserver | None = None
        self._news: deque[News] = deque()
        self._told = False
        self._oldest = 1
        self._image_slot = 0
        self._next_piece = 1
        self._imaging = False
        self._closing: list[Deferred[None]] = []
        self._closed = False
        self._failed = False
        self._handed = self._saved = 0
        self.acknowledged: Save | None = None
        """The last save that was said to be on the disk."""
        self._writer = Writer(directory, self._tell)
        self._writer.start()

    # -- IJournal ----------------------------------------------------------------------
    def recover(self) -> Recovered:
        """Read what is there; see ``IJournal``.

        :raise CorruptionError: a record is damaged, or a chosen slot is missing.
        """
        found = recover(self._directory, self._initial)
        self._oldest, self._next_piece = found.oldest, found.next_piece
        self._image_slot = found.durable.base
        for first, until in found.orphans:
            self._drop_pieces(first, until)
        identity = self.identity
        return Recovered(identity.incarnation, found.durable, found.image, identity.disk)

    def observe(self, observer: IJournalObserver) -> None:
        """Say who is told what happened."""
        self._observer = observer

    def save(self, save: Save) -> None:
        """Queue a save. After a failure or `close` it is dropped, unacknowledged."""
        if self._closing or self._failed:
            return
        self._handed = save.ticket
        self._writer.put(save)

    def read(self, slot: int, until: int, size_bytes_max: int) -> Deferred[Sequence[Value]]:
        """Fire with consecutive values from ``slot`` on; see ``IJournal``.

        May fail with `CorruptionError`, with what befell the disk, or with `ClosedError`.
        """
        if self._closing:
            return fail(ClosedError("the journal is closed"))
        if slot < self._oldest:
            return succeed(())
        done: Deferred[Sequence[Value]] = Deferred()
        self._writer.put(Reading(slot, until, size_bytes_max, done))
        return done

    def oldest(self) -> int:
        """Return the first slot that the log still has."""
        return self._oldest

    def start_image(self, slot: int) -> IImageWriter:
        """Begin an image of the state after ``slot``; at least that of the last image."""
        if self._imaging:
            raise ValueError("one image at a time")
        if slot < self._image_slot:
            raise ValueError(f"there is an image of slot {self._image_slot}, later than {slot}")
        self._imaging = True
        return ImageWriter(slot, self._next_piece, self._queue_work, self._image_ended)

    def trim(self, slot: int) -> None:
        """Drop the log before ``slot``, in small steps; not beyond the last finished image."""
        if slot > self._image_slot + 1:
            raise ValueError(f"no image holds the slots up to {slot - 1}: cannot trim them")
        if slot > self._oldest:
            self._oldest = slot
            self._queue_work(
                Work(lambda disk: tables.delete_log(disk.steps, slot), tables.STEP_WAL_BYTES)
            )

    def close(self) -> Deferred[None]:
        """Finish what is queued, then let go of the disk.

        Where no reactor runs this blocks until it is done, and news that the reactor would
        have brought are told inside the call.
        """
        if self._closed:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        if len(self._closing) == 1:
            self._writer.stop()
        if not self._reactor.running:  # nobody would hear a call from the thread
            self._writer.join()
            self._hear()
        return done

    def describe(self) -> str:
        """Return the journal in one line."""
        state = "failed" if self._failed else "closed" if self._closed else "open"
        try:
            size_bytes = (self._directory / FILE_NAME).stat().st_size
        except OSError:
            size_bytes = 0
        return (
            f"{state}, life {self.identity.incarnation}, log from slot {self._oldest},"
            f" image of slot {self._image_slot}{', another in the making' * self._imaging},"
            f" saved {self._saved} of {self._handed}, file {size_bytes} bytes"
        )

    # -- work behind the saves -------------------------------------------------------------
    def _queue_work(self, work: Work) -> None:
        if not self._closing:
            self._writer.put(work)
        elif work.done:
            work.done.errback(ClosedError("the journal is closed"))

    def _drop_pieces(self, first: int, until: int) -> None:
        self._queue_work(
            Work(lambda disk: tables.delete_pieces(disk.steps, first, until), tables.STEP_WAL_BYTES)
        )

    def _image_ended(self, pieces: range, slot: int | None) -> None:
        """Drop the pieces that an image which ended made useless: ``slot`` if it is whole."""
        self._imaging = False
        self._next_piece = pieces.stop
        if slot is None:
            self._drop_pieces(pieces.start, pieces.stop)
        else:
            self._image_slot = slot
            self._drop_pieces(0, pieces.start)

    # -- what the threads tell -----------------------------------------------------------------
    def _tell(self, news: News) -> None:
        """Keep news for the reactor; one call from a thread brings all that there are."""
        self._news.append(news)
        if not self._told:
            self._told = True
            self._reactor.callFromThread(self._hear)

    def _hear(self) -> None:
        self._told = False  # before the queue is looked at: what comes later calls again
        while self._news:
            match self._news.popleft():
                case Saved(ticket=ticket, last=last):
                    self._saved = ticket
                    self.acknowledged = last
                    self._of_observer().saved(ticket)
                case Done(deferred=deferred, result=result):
                    deferred.callback(result)
                case Failed(error=error):
                    self._failed = True
                    self._of_observer().failed(error)
                case Closed():
                    self._let_go()

    def _of_observer(self) -> IJournalObserver:
        assert self._observer is not None, "observe() comes before the first save"
        return self._observer

    def _let_go(self) -> None:
        self._writer.join()
        os.close(self._lock)
        self._closed = True
        for done in self._closing:
            done.callback(None)
