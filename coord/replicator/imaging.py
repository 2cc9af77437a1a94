"""The store into the journal, in small pieces, so that the log can be cut.

An image holds the state after one slot: what the replicator knows beside the store (which
batches were applied, the last time stamped), then the store's own picture of itself. It is
made while writes go on, a piece at a time, each handed to the disk before the next is made,
with a return to the loop in between: so nobody waits for it, and it takes little memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from coord.limits import IMAGE_EVERY_BYTES, LOG_BYTES_KEPT, MIB
from coord.replicator.applier import Applied, Applier, Origins
from coord.replicator.interfaces import IJournal
from coord.store.image import Loading
from coord.store.machine import Store


class Beside(msgspec.Struct, frozen=True, array_like=True):
    """The first piece of an image: what the replicator knows beside the store.

    ``log_bytes`` and ``marks`` are what `LogMarks` knew then.
    """

    version: int
    slot: int
    time_ms: int
    origins: tuple[tuple[str, Applied], ...]
    log_bytes: int = 0
    marks: tuple[tuple[int, int], ...] = ()


_VERSION: Final = 1
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Beside)
_MARK_BYTES: Final = 1 * MIB
_MARKS_MAX: Final = 256


class LogMarks:
    """How much log there is, and where it can be cut: marks of a slot and the bytes up to it.

    What an image saves of it comes back with the next start. Were each life to count from nothing,
    a node that is often restarted would never come to cut its log.
    """

    def __init__(self, size_bytes: int = 0, marks: Iterable[tuple[int, int]] = ()) -> None:
        self.size_bytes = size_bytes
        self._marks = deque(marks)

    def add(self, slot: int, size_bytes: int, kept_bytes: int) -> None:
        """Take note of a slot's value; of ``kept_bytes`` there are a few hundred marks."""
        self.size_bytes += size_bytes
        apart_bytes = max(_MARK_BYTES, kept_bytes // _MARKS_MAX)
        if not self._marks or self.size_bytes - self._marks[-1][1] >= apart_bytes:
            self._marks.append((slot, self.size_bytes))

    def cut(self, kept_bytes: int) -> int:
        """Return the last slot with more than ``kept_bytes`` of log after it, 0 for none."""
        found = 0
        while self._marks and self.size_bytes - self._marks[0][1] > kept_bytes:
            found = self._marks.popleft()[0]
        return found

    def known(self) -> tuple[tuple[int, int], ...]:
        """Return what has to be kept with an image of the store."""
        return tuple(self._marks)


def load(pieces: Iterator[bytes], history_revisions: int) -> tuple[Applier, LogMarks]:
    """Return what an image holds, or an empty store where there is no piece at all.

    :raises ValueError: when the image is damaged or of a later version.
    """
    first = next(pieces, None)
    if first is None:
        return Applier(Store(history_revisions), Origins(), 0, 0), LogMarks()
    beside = _DECODER.decode(first)
    if beside.version != _VERSION:
        raise ValueError(f"an image of version {beside.version} is not for this coord")
    loading = Loading(history_revisions)
    for piece in pieces:
        loading.feed(piece)
    store, origins = loading.finish(), Origins(beside.origins)
    applier = Applier(store, origins, beside.slot, beside.time_ms)
    return applier, LogMarks(beside.log_bytes, beside.marks)


class Imaging:
    """Decides when to make an image and how much log to keep, and does it."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        journal: IJournal,
        applier: Applier,
        log_marks: LogMarks,
        *,
        every_bytes: int = IMAGE_EVERY_BYTES,
        kept_bytes: int = LOG_BYTES_KEPT,
    ) -> None:
        self._reactor = reactor
        self._journal = journal
        self._applier = applier
        self._log_marks = log_marks
        self._every_bytes = every_bytes
        self._kept_bytes = kept_bytes
        self._image_bytes = 0
        self._since_bytes = 0
        self._running: Deferred[None] | None = None
        self.images = 0

    def applied(self, slot: int, size_bytes: int) -> None:
        """Take note that a slot's value, of that size, was applied."""
        self._since_bytes += size_bytes
        self._log_marks.add(slot, size_bytes, self._kept_bytes)

    def consider(self) -> None:
        """Begin an image if enough was written since the last one. Called between turns."""
        due = self._since_bytes >= max(self._every_bytes, self._image_bytes)
        if due and self._running is None:
            self._since_bytes = 0
            running = self._running = ensureDeferred(self._make())
            running.addErrback(self._failed)
            running.addBoth(self._ended)

    def describe(self) -> str:
        """Return the images and the log in one line."""
        state = "one in the making" if self._running is not None else "none in the making"
        return (
            f"images {self.images} in this life, {state},"
            f" {self._since_bytes} bytes of log since the last; {self._log_marks.size_bytes} in all"
        )

    def stop(self) -> None:
        """Give up the image under way, if any."""
        if self._running is not None:
            self._running.cancel()

    async def _make(self) -> None:
        beside = self._beside()
        slot = beside.slot
        writer = self._journal.start_image(slot)
        picture = self._applier.store.picture()
        size_bytes = 0
        try:
            await writer.add(_ENCODER.encode(beside))
            for piece in picture.pieces():
                size_bytes += len(piece)
                await writer.add(piece)
                await deferLater(self._reactor, 0)
            await writer.finish()
        except BaseException:
            writer.abandon()
            raise
        finally:
            picture.close()
        self._image_bytes = size_bytes
        self.images += 1
        self._trim(slot)

    def _beside(self) -> Beside:
        applier, marks = self._applier, self._log_marks
        return Beside(
            _VERSION,
            applier.slot,
            applier.time_ms,
            applier.origins.known(),
            marks.size_bytes,
            marks.known(),
        )

    def _trim(self, slot: int) -> None:
        """Cut the log, but for what the image needs after it and what lagging peers may ask."""
        last = self._log_marks.cut(self._kept_bytes)
        if last:
            self._journal.trim(min(slot, last) + 1)

    def _ended(self, result: object) -> None:
        self._running = None

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("the store could not be imaged", failure)
