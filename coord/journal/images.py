"""One image of the store on its way into the file, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred

from coord.journal import tables
from coord.journal.writer import Connections, Work

_T = TypeVar("_T")

PIECES_IN_FLIGHT_MAX: Final = 8
"""Pieces of an image that may wait for the disk."""


class ImageWriter:
    """`IImageWriter` on SQLite: the pieces from ``first`` on. ``ended`` hears of its end."""

    def __init__(
        self,
        slot: int,
        first: int,
        queue: Callable[[Work], None],
        ended: Callable[[range, int | None], None],
    ) -> None:
        self._slot = slot
        self._pieces = range(first, first)
        self._queue = queue
        self._ended: Callable[[range, int | None], None] | None = ended
        self._in_flight = 0

    def add(self, piece: bytes) -> Deferred[None]:
        """Take one piece; fires once it is written."""
        if self._ended is None:
            raise ValueError("this image is ended")
        assert self._in_flight < PIECES_IN_FLIGHT_MAX, "wait for add() now and then"
        number = self._pieces.stop
        self._pieces = range(self._pieces.start, number + 1)
        self._in_flight += 1
        done: Deferred[None] = Deferred()
        done.addBoth(self._landed)

        def write(disk: Connections) -> bool:
            tables.add_piece(disk.steps, number, piece)
            return False

        self._queue(Work(write, len(piece), done))
        return done

    def finish(self) -> Deferred[None]:
        """Make this image the one that recovery reads; fires once it surely is."""
        done: Deferred[None] = Deferred()

        def write(disk: Connections) -> bool:
            tables.set_image(disk.saves, self._slot, self._pieces.start, self._pieces.stop)
            return False

        self._end(Work(write, 0, done), self._slot)
        return done

    def abandon(self) -> None:
        """Forget the image; its pieces are dropped."""
        if self._ended is not None:
            self._end(None, None)

    def _end(self, last: Work | None, slot: int | None) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("this image is ended")
        if last is not None:
            self._queue(last)
        ended(self._pieces, slot)

    def _landed(self, result: _T) -> _T:
        self._in_flight -= 1
        return result
