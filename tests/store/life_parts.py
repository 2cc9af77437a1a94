"""What is under way in the life of a store beside its twin: rows, watches, images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from coord.commands import (
    Caller,
)
from coord.errors import Aborted, CoordError
from coord.events import Event
from coord.results import (
    Committed,
    Entry,
    Row,
    Rows,
)
from coord.store.image import Loading
from coord.store.machine import Store
from coord.store.news import PlaceOver
from coord.store.watches import Watch


def plain(result: Any) -> Any:
    """Return a result as the twin tells it: of an error the code, and which line it names."""
    if isinstance(result, Aborted):
        return f"ABORTED {' '.join(result.text.split()[:2])}"
    if isinstance(result, CoordError):
        return result.code
    if isinstance(result, Committed):
        return Committed(result.rev, tuple(map(plain, result.rows)))
    if isinstance(result, PlaceOver):
        return (result.path, result.session, plain(result.result))
    if isinstance(result, Row):
        return (result.path, result.rev, result.value)
    if isinstance(result, Entry):
        return msgspec.structs.astuple(result)
    return result


def loaded(store: Store, history: int) -> Store:
    """Return a store made from another one's image."""
    loading = Loading(history)
    for piece in store.picture().pieces():
        loading.feed(piece)
    return loading.finish()


class Reading:
    """Rows on their way, and what they should be."""

    def __init__(self, rows: Rows, expected: list[Any]) -> None:
        self.rows = rows
        self.expected = expected
        self.seen: list[Any] = []
        self.is_log = False
        self.rules: Any = None

    def is_whole(self, horizon: int) -> bool:
        """Say whether nothing is missing; of a log what history has let go of meanwhile may be."""
        wanted = (
            [row for row in self.expected if row[0] > horizon] if self.is_log else self.expected
        )
        return self.seen[: len(wanted)] == wanted and self.is_beginning()

    def is_beginning(self) -> bool:
        """Say whether all that was seen so far is as it should be."""
        return self.seen == self.expected[: len(self.seen)]

    def pull(self, count: int) -> bool:
        """Take some; return whether that was all."""
        iterator: Iterator[Any] = self.rows.rows
        for _ in range(count):
            row = next(iterator, self)
            if row is self:
                return True
            if row is not None:
                self.seen.append(plain(row))
        return False


class Watching:
    """A watch, where it began, and what it has seen."""

    def __init__(self, watch: Watch, glob: str) -> None:
        self.watch = watch
        self.glob = glob
        self.seen: list[Event] = []
        self.lagged = False


class Imaging:
    """An image on its way, and all that was done to its store meanwhile."""

    def __init__(self, store: Store, history: int) -> None:
        self.pieces = store.picture().pieces()
        self.loading = Loading(history)
        self.deeds: list[tuple[Any, int, Caller] | None] = []

    def take(self, count: int) -> bool:
        """Take some pieces; return whether those were all."""
        for _ in range(count):
            piece = next(self.pieces, None)
            if piece is None:
                return True
            self.loading.feed(piece)
        return False

    def caught_up(self) -> Store:
        """Return the store that was made of it, taken to where the other one is now."""
        store = self.loading.finish()
        for deed in self.deeds:
            if deed is None:
                store.seal()
            else:
                store.apply(*deed)
        store.news()
        return store
