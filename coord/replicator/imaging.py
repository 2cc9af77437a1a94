"""The store into the journal, in small pieces, so that the log can be cut.

An image holds the state after one slot: what the replicator knows beside the store (which
batches were applied, the last time stamped), then the store's own picture of itself. It is
made while writes go on, a piece at a time, each handed to the disk before the next is made,
with a return to the loop in between: so nobody waits for it, and it takes little memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
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
    """The first piece of an image: what the replicator knows beside the store."""

    version: int
    slot: int
    time_ms: int
    origins: tuple[tuple[str, Applied], ...]


_VERSION: Final = 1
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Beside)
_MARK_BYTES: Final = 1 * MIB


def load(pieces: Iterator[bytes], history_revisions: int) -> Applier:
    """Return what an image holds, or an empty store where there is no piece at all.

    :raises ValueError: when the image is damaged or of a later version.
    """
    first = next(pieces, None)
    if first is None:
        return Applier(Store(history_revisions), Origins(), 0, 0)
    beside = _DECODER.decode(first)
    if beside.version != _VERSION:
        raise ValueError(f"an image of version {beside.version} is not for this coord")
    loading = Loading(history_revisions)
    for piece in pieces:
        loading.feed(piece)
    return Applier(loading.finish(), Origins(beside.origins), beside.slot, beside.time_ms)


class Imaging:
    """Decides when to make an image and how much log to keep, and does it."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        journal: IJournal,
        applier: Applier,
        *,
        every_bytes: int = IMAGE_EVERY_BYTES,
        kept_bytes: int = LOG_BYTES_KEPT,
    ) -> None:
        self._reactor = reactor
        self._journal = journal
        self._applier = applier
        self._every_bytes = every_bytes
        self._kept_bytes = kept_bytes
        self._image_bytes = 0
        self._since_bytes = 0
        self._log_bytes = 0
        self._marks: deque[tuple[int, int]] = deque()
        self._running: Deferred[None] | None = None
        self.images = 0

    def applied(self, slot: int, size_bytes: int) -> None:
        """Take note that a slot's value, of that size, was applied."""
        self._since_bytes += size_bytes
        self._log_bytes += size_bytes
        if not self._marks or self._log_bytes - self._marks[-1][1] >= _MARK_BYTES:
            self._marks.append((slot, self._log_bytes))

    def consider(self) -> None:
        """Begin an image if enough was written since the last one. Called between turns."""
        due = self._since_bytes >= max(self._every_bytes, self._image_bytes)
        if due and self._running is None:
            self._since_bytes = 0
            running = self._running = ensureDeferred(self._make())
            running.addErrback(self._failed)
            running.addBoth(self._ended)

    def stop(self) -> None:
        """Give up the image under way, if any."""
        if self._running is not None:
            self._running.cancel()

    async def _make(self) -> None:
        slot = self._applier.slot
        beside = Beside(_VERSION, slot, self._applier.time_ms, self._applier.origins.known())
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

    def _trim(self, slot: int) -> None:
        """Cut the log, but for what the image needs after it and what lagging peers may ask."""
        keep_from = 0
        while self._marks and self._log_bytes - self._marks[0][1] > self._kept_bytes:
            keep_from = self._marks.popleft()[0]
        if keep_from:
            self._journal.trim(min(slot, keep_from) + 1)

    def _ended(self, result: object) -> None:
        self._running = None

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("the store could not be imaged", failure)
