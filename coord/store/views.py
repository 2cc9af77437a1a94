"""Pictures of the tree at one revision, made as they are taken.

A row that is not there yet costs nothing; what history the rest needs is held by a pin until
the iterator ends, is closed, or is collected. Between two rows the tree may change at will:
an iterator remembers only the keys of a few nodes ahead, and a node that matters at a pinned
revision stays in the order of keys. ``None`` among the rows means that some work was done
and none came of it: whoever has other things to do may do them now.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, TypeVar

from coord.errors import TooLate
from coord.paths import ROOT, Glob, from_order_key, order_key
from coord.results import Aside, Row
from coord.store.history import Pins
from coord.store.lasting import Lasting
from coord.store.tree import Tree

_KEYS_FIRST: Final = 16
_KEYS_MAX: Final = 128
"""Nodes looked at between two turns of whoever takes the rows: some tens of microseconds."""

_KEYS_ASKED_MAX: Final = 32
"""As many where each is asked for whether it may be shown."""

_Row = TypeVar("_Row")
May: TypeAlias = Callable[[str], bool]
"""Says of a path whether it may be shown; ``None`` in its place: all may."""


class Pinned:
    """A tree as it was at ``rev``; see `held` for how long."""

    __slots__ = ("_pins", "rev", "tree")

    def __init__(self, tree: Tree, pins: Pins, rev: int) -> None:
        self.tree = tree
        self.rev = rev
        self._pins = pins

    def held(self, rows: Iterator[_Row | None]) -> Iterator[_Row | None]:
        """Return ``rows``; what they need is held from now until they end or are closed."""
        holding = self._hold(rows)
        next(holding)  # a generator that was never started would never come to its end
        return holding

    def _hold(self, rows: Iterator[_Row | None]) -> Iterator[_Row | None]:
        self._pins.hold(self.rev)
        try:
            yield None
            yield from rows
        finally:
            self._pins.release(self.rev)

    def span(self, start: str, until: str, count: int) -> list[str]:
        """Return the next keys; raise `TooLate` where the picture was held too long."""
        if self.rev < self._pins.void_before:
            raise TooLate(f"the picture of revision {self.rev} was held for too long")
        return self.tree.order.span(start, until, count)


def children(picture: Pinned, parent: str) -> Iterator[str | None]:
    """Yield the names of a node's children, sorted, without a look at all that is below them.

    :param parent: the node's key.
    """
    start, until, cut = parent + "\0", parent + "\x01", len(parent) + 1
    count = _KEYS_FIRST
    while keys := picture.span(start, until, count):
        start, place = keys[-1] + "\0", 0
        while place < len(keys):
            key = keys[place]
            end = key.find("\0", cut)
            if end < 0:
                if picture.tree.at(key, picture.rev) is not None:
                    yield key[cut:]
                place += 1
            else:
                behind = key[:end] + "\x01"  # all that is below this child
                place = bisect_left(keys, behind, lo=place)
                start = max(start, behind)
        yield None
        count = min(2 * count, _KEYS_MAX)


def walk(
    picture: Pinned,
    glob: Glob,
    after: str | None = None,
    limit: int | None = None,
    may: May | None = None,
    known_rev: int = -1,
    lasting: Lasting | None = None,
) -> Iterator[Row | Aside | str | None]:
    """Yield the nodes that match and hold a value, in path order.

    :param after: a path; only what comes behind it.
    :param limit: the most rows, 1 or more.
    :param known_rev: of values that did not change after this revision only the path is told.
    :param lasting: tells what lasts, where that alone is wanted.
    """
    start = order_key(glob.prefix)
    until = start + ("\0" if glob.literal else "\x01")
    if after is not None:
        start = max(start, order_key(after) + "\0")
    at, rev = picture.tree.at, picture.rev
    count, rows = _KEYS_FIRST, 0
    count_max = _KEYS_MAX if may is None else _KEYS_ASKED_MAX
    while keys := picture.span(start, until, count):
        for key in keys:
            version = at(key, rev)
            if version is None or version.value is None:
                continue
            path = from_order_key(key)
            if glob.matches(path) and (may is None or may(path)):
                if lasting is not None:
                    yield from lasting.rows(path, version, rev)
                else:
                    yield Row(path, version.rev, version.value) if version.rev > known_rev else path
                rows += 1
                if rows == limit:
                    return
        yield None
        start = keys[-1] + "\0"
        count = min(2 * count, count_max)


def shown(names: Iterator[str | None], parent: str, may: May) -> Iterator[str | None]:
    """Yield those of the children's names that may be shown.

    :param parent: the path that they are children of.
    """
    below = parent if parent == ROOT else parent + "/"
    for name in names:
        if name is None or may(below + name):
            yield name
