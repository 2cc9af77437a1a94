"""A journal in memory, for tests: durable is what was flushed, and a crash loses the rest.

A `MemoryDisk` outlives the journals opened on it, as a directory does::

    disk = MemoryDisk()
    journal = MemoryJournal(disk, initial=...)
    journal.save(...)
    journal.flush()                             # now saved() is told
    journal = MemoryJournal(disk, initial=...)  # after a crash: what was not flushed is gone
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from coord.journal.errors import ClosedError, CorruptionError
from coord.paxos.durable import Durable, Header, Save, Value, Vote
from coord.paxos.membership import Governs
from coord.replicator.interfaces import IImageWriter, IJournalObserver, Recovered
from coord.wire.journal import encode_value

_T = TypeVar("_T")


class MemoryDisk:
    """What survives a crash; ``name`` is its own, made at random where none is given."""

    def __init__(self, name: str = "") -> None:
        self.name = name or secrets.token_hex(8)
        self.incarnation = 0
        self.header: Header | None = None
        self.votes: dict[int, Vote] = {}
        self.image_slot = 0
        self.image: tuple[bytes, ...] = ()


class MemoryJournal:
    """`IJournal` on a `MemoryDisk`.

    With a ``clock`` everything queued in one turn is flushed by a ``callLater(0)``; without
    one, when `flush` is called.
    """

    def __init__(
        self, disk: MemoryDisk, *, initial: tuple[Governs, ...], clock: IReactorTime | None = None
    ) -> None:
        self._disk = disk
        self._initial = initial
        self._clock = clock
        self._observer: IJournalObserver | None = None
        self._queue: list[Callable[[], None]] = []
        self._ticket = self._told = 0
        self._error: Exception | None = None
        self._oldest = 1
        self._image_slot = disk.image_slot
        self._imaging = False
        self._scheduled = False
        disk.incarnation += 1

    # -- IJournal -------------------------------------------------------------------
    def recover(self) -> Recovered:
        """Read what is there; see ``IJournal``."""
        disk = self._disk
        header = disk.header or Header(governs=self._initial)
        votes = tuple(vote for slot, vote in sorted(disk.votes.items()) if slot > disk.image_slot)
        slots = {vote.slot for vote in votes}
        for slot in range(disk.image_slot + 1, header.chosen + 1):
            if slot not in slots:
                raise CorruptionError(f"the log lacks slot {slot}, which was chosen")
        known = max(header.chosen, disk.image_slot)
        self._oldest = min(disk.votes, default=known + 1)
        self._oldest = min(self._oldest, known + 1)
        durable = Durable(header, votes, disk.image_slot)
        return Recovered(disk.incarnation, durable, iter(disk.image), disk.name)

    def observe(self, observer: IJournalObserver) -> None:
        """Say who is told what happened."""
        self._observer = observer

    def save(self, save: Save) -> None:
        """Queue a save. After a failure or `close` it is dropped, unacknowledged."""
        if self._error is None:
            self._later(lambda: self._save(save))

    def read(self, slot: int, until: int, size_bytes_max: int) -> Deferred[Sequence[Value]]:
        """Fire with consecutive values from ``slot`` on; see ``IJournal``."""
        if self._error is None and slot < self._oldest:
            return succeed(())
        return self._ask(lambda: self._read(slot, until, size_bytes_max))

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
        return MemoryImageWriter(slot, self._ask, self._set_image, self._image_ended)

    def trim(self, slot: int) -> None:
        """Drop the log before ``slot``; not beyond the last finished image."""
        if slot > self._image_slot + 1:
            raise ValueError(f"no image holds the slots up to {slot - 1}: cannot trim them")
        self._oldest = max(self._oldest, slot)
        self._later(lambda: self._trim(slot))

    def close(self) -> Deferred[None]:
        """Flush, then do nothing any more."""
        self.flush()
        if self._error is None:
            self._error = ClosedError("the journal is closed")
        return succeed(None)

    # -- for tests ---------------------------------------------------------------------
    def flush(self) -> None:
        """Make all that is queued durable, then tell."""
        self._scheduled = False
        while self._queue:
            queue, self._queue = self._queue, []
            for one in queue:
                one()
            if self._error is None and self._ticket > self._told:
                self._told = self._ticket
                self._of_observer().saved(self._ticket)

    def fail(self, error: Exception) -> None:
        """Let the disk fail: what is queued is lost, and its Deferreds carry ``error``."""
        if self._error is None:
            self._error = error
            self._of_observer().failed(error)
            self.flush()

    # -- inside ------------------------------------------------------------------------
    def _of_observer(self) -> IJournalObserver:
        assert self._observer is not None, "observe() comes before the first save"
        return self._observer

    def _later(self, act: Callable[[], None]) -> None:
        self._queue.append(act)
        if self._clock is not None and not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self.flush)

    def _ask(self, act: Callable[[], _T]) -> Deferred[_T]:
        """Return what fires with what ``act`` returns, once all before it is done."""
        if isinstance(self._error, ClosedError):
            return fail(self._error)
        done: Deferred[_T] = Deferred()

        def answer() -> None:
            if self._error is None:
                done.callback(act())
            else:
                done.errback(self._error)

        self._later(answer)
        return done

    def _save(self, save: Save) -> None:
        if self._error is None:
            self._disk.header = save.header
            self._disk.votes.update((vote.slot, vote) for vote in save.votes)
            self._ticket = save.ticket

    def _read(self, slot: int, until: int, size_bytes_max: int) -> Sequence[Value]:
        values: list[Value] = []
        size_bytes = 0
        while slot < until and slot in self._disk.votes:
            value = self._disk.votes[slot].value
            size_bytes += len(encode_value(value))
            if values and size_bytes > size_bytes_max:
                break
            values.append(value)
            slot += 1
        return values

    def _trim(self, slot: int) -> None:
        if self._error is None:
            for one in [one for one in self._disk.votes if one < slot]:
                del self._disk.votes[one]

    def _set_image(self, slot: int, pieces: Sequence[bytes]) -> None:
        self._disk.image_slot, self._disk.image = slot, tuple(pieces)

    def _image_ended(self, slot: int | None) -> None:
        self._imaging = False
        if slot is not None:
            self._image_slot = slot


class MemoryImageWriter:
    """`IImageWriter` of a `MemoryJournal`; ``ask`` does something in its turn."""

    def __init__(
        self,
        slot: int,
        ask: Callable[[Callable[[], None]], Deferred[None]],
        set_image: Callable[[int, Sequence[bytes]], None],
        ended: Callable[[int | None], None],
    ) -> None:
        self._slot = slot
        self._pieces: list[bytes] = []
        self._ask = ask
        self._set_image = set_image
        self._ended: Callable[[int | None], None] | None = ended

    def add(self, piece: bytes) -> Deferred[None]:
        """Take one piece; fires at the next flush."""
        if self._ended is None:
            raise ValueError("this image is ended")
        return self._ask(lambda: self._pieces.append(piece))

    def finish(self) -> Deferred[None]:
        """Make this image the one that recovery reads."""
        self._end(self._slot)
        return self._ask(lambda: self._set_image(self._slot, self._pieces))

    def abandon(self) -> None:
        """Forget the image."""
        if self._ended is not None:
            self._end(None)

    def _end(self, slot: int | None) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("this image is ended")
        ended(slot)
