"""The store into the journal, in small pieces, so that the log can be cut.

An image holds the state after one slot: what the replicator knows beside the store (which
batches were applied, the last time stamped), then the store's own picture of itself. It is
made while writes go on, a piece at a time, each handed to the disk before the next is made,
with a return to the loop in between: so nobody waits for it, and it takes little memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from coord.limits import IMAGE_EVERY_BYTES, KIB, LOG_BYTES_KEPT, MIB
from coord.paxos.membership import Governs
from coord.replicator.applier import Applied, Applier, Origins
from coord.replicator.interfaces import IJournal
from coord.store.image import Loading
from coord.store.machine import Store


class Beside(msgspec.Struct, frozen=True, array_like=True):
    """The first piece of an image: what the replicator knows beside the store.

    ``log_bytes`` and ``marks`` are what `LogMarks` knew then. ``governs`` are the configurations
    known after ``slot``. Before ``log_begins_at`` the journal may hold what a node voted for and
    never knew to be chosen: what was chosen there it got as an image of another node.
    """

    version: int
    slot: int
    time_ms: int
    origins: tuple[tuple[str, Applied], ...]
    log_bytes: int = 0
    marks: tuple[tuple[int, int], ...] = ()
    governs: tuple[Governs, ...] = ()
    log_begins_at: int = 0


_VERSION: Final = 1
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Beside)
_MARK_BYTES: Final = 1 * MIB
_MARK_BYTES_MIN: Final = 1 * KIB
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
        apart_bytes = max(
            min(_MARK_BYTES, max(kept_bytes // 4, _MARK_BYTES_MIN)), kept_bytes // _MARKS_MAX
        )
        if not self._marks or self.size_bytes - self._marks[-1][1] >= apart_bytes:
            self._marks.append((slot, self.size_bytes))

    def cut(self, kept_bytes: int) -> int:
        """Return the last slot with more than ``kept_bytes`` of log after it, 0 for none."""
        found = 0
        while self._marks and self.size_bytes - self._marks[0][1] > kept_bytes:
            found = self._marks.popleft()[0]
        return found

    def clear(self) -> None:
        """Forget all marks: that log is gone."""
        self._marks.clear()

    def known(self) -> tuple[tuple[int, int], ...]:
        """Return what has to be kept with an image of the store."""
        return tuple(self._marks)


class Reading:
    """A node's state on its way from an image: `feed` it every piece in order, then `finish`."""

    def __init__(self, history_revisions: int) -> None:
        self.beside: Beside | None = None
        self._loading = Loading(history_revisions)

    def feed(self, piece: bytes) -> None:
        """Take the next piece; raises `ValueError` where it is damaged or of a later version."""
        if self.beside is not None:
            self._loading.feed(piece)
            return
        self.beside = _DECODER.decode(piece)
        if self.beside.version != _VERSION:
            raise ValueError(f"an image of version {self.beside.version} is not for this coord")

    @property
    def items(self) -> int:
        """How many nodes and revisions were read so far."""
        return self._loading.items

    def finish(self) -> Applier:
        """Return the state; raises `ValueError` where pieces are missing."""
        if self.beside is None:
            raise ValueError("an image without a piece")
        beside, store = self.beside, self._loading.finish()
        return Applier(store, Origins(beside.origins), beside.slot, beside.time_ms)


class Loaded(NamedTuple):
    """What a journal's image holds."""

    applier: Applier
    log_marks: LogMarks
    governs: tuple[Governs, ...] = ()
    log_begins_at: int = 0


def load(pieces: Iterator[bytes], history_revisions: int) -> Loaded:
    """Return what an image holds, or an empty store where there is no piece at all.

    :raises ValueError: when the image is damaged or of a later version.
    """
    reading = Reading(history_revisions)
    for piece in pieces:
        reading.feed(piece)
    beside = reading.beside
    if beside is None:
        return Loaded(Applier(Store(history_revisions), Origins(), 0, 0), LogMarks())
    marks = LogMarks(beside.log_bytes, beside.marks)
    return Loaded(reading.finish(), marks, beside.governs, beside.log_begins_at)


def encode_beside(beside: Beside) -> bytes:
    """Return the first piece of an image."""
    return _ENCODER.encode(beside)


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
        governs: Callable[[], tuple[Governs, ...]] = tuple,
        every_bytes: int = IMAGE_EVERY_BYTES,
        kept_bytes: int = LOG_BYTES_KEPT,
    ) -> None:
        self._governs = governs
        self._reactor = reactor
        self._journal = journal
        self._applier = applier
        self._log_marks = log_marks
        self._every_bytes = every_bytes
        self._kept_bytes = kept_bytes
        self._image_bytes = 0
        self._since_bytes = 0
        self._running: Deferred[None] | None = None
        self._held: dict[str, int] = {}
        self.is_paused = False
        self.images = 0

    def applied(self, slot: int, size_bytes: int) -> None:
        """Take note that a slot's value, of that size, was applied."""
        self._since_bytes += size_bytes
        self._log_marks.add(slot, size_bytes, self._kept_bytes)

    def consider(self) -> None:
        """Begin an image if enough was written since the last one. Called between turns."""
        due = self._since_bytes >= max(self._every_bytes, self._image_bytes)
        if due and self._running is None and not self.is_paused:
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

    # -- images that go to other nodes, or come from them -------------------------------------
    def pause(self) -> None:
        """Make no image until `resume`: the journal takes one of another node."""
        self.is_paused = True
        self.stop()

    def resume(self) -> None:
        """Make images again."""
        self.is_paused = False

    def hold(self, peer: str, slot: int) -> None:
        """Keep the log after ``slot``, which ``peer`` will ask for when it has its image."""
        self._held[peer] = slot

    def release(self, peer: str) -> None:
        """Keep no more log for ``peer``."""
        self._held.pop(peer, None)

    def adopted(self, slot: int, size_bytes: int) -> None:
        """Take note that the journal's image, and this node's state, is another node's now."""
        self._image_bytes, self._since_bytes = size_bytes, 0
        self._log_marks.clear()
        self._journal.trim(slot + 1)

    async def _make(self) -> None:
        beside = self.beside()
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

    def beside(self) -> Beside:
        """Return what has to be known beside the store as it is."""
        applier, marks = self._applier, self._log_marks
        return Beside(
            _VERSION,
            applier.slot,
            applier.time_ms,
            applier.origins.known(),
            marks.size_bytes,
            marks.known(),
            self._governs(),
            self._journal.oldest(),
        )

    def _trim(self, slot: int) -> None:
        """Cut the log, but for what the image needs after it and what lagging peers may ask."""
        last = self._log_marks.cut(self._kept_bytes)
        if last:
            self._journal.trim(min(slot, last, *self._held.values()) + 1)

    def _ended(self, result: object) -> None:
        self._running = None

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("the store could not be imaged", failure)
