"""Who changed what: the kept history read backwards, as it is taken.

Nothing is held meanwhile: what falls behind the horizon before it was looked at is simply
further back than history goes. As elsewhere, ``None`` among the rows is a moment for others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final

from coord.paths import Glob, from_order_key, order_key
from coord.results import Entry
from coord.store.history import History
from coord.store.tree import Tree, Version

_LOOKED_AT_MAX: Final = 128
"""Records looked at between two turns of whoever takes the rows."""
_KEY: Final = attrgetter("key")


class Chronicle:
    """The changes of values in a store's history, newest first."""

    def __init__(self, tree: Tree, history: History) -> None:
        self._tree = tree
        self._history = history

    def entries(
        self, glob: Glob, rev: int, limit: int | None, may: Callable[[str], bool] | None
    ) -> Iterator[Entry | None]:
        """Yield the changes that match; those of one revision in path order.

        :param rev: the newest revision to look at.
        :param limit: the most rows, 1 or more.
        :param may: says of a path whether it may be shown; ``None``: all may.
        """
        key = order_key(glob.prefix)
        records = self._of_node(key, rev) if glob.literal else self._of_all(rev)
        rows = 0
        for count, version in enumerate(records, 1):
            if is_change(version) and version.key.startswith(key):
                path = from_order_key(version.key)
                if glob.matches(path) and (may is None or may(path)):
                    yield entry(version, path)
                    rows += 1
                    if rows == limit:
                        return
            if count % _LOOKED_AT_MAX == 0:
                yield None

    def _of_all(self, rev: int) -> Iterator[Version]:
        """Yield every record that is kept, from a revision back."""
        history = self._history
        while rev > history.horizon:
            yield from history.changes(rev)
            rev -= 1

    def _of_node(self, key: str, rev: int) -> Iterator[Version]:
        """Yield the records of one node, from a revision back, without a look at others.

        One revision may have two of them: a node that went and came again.
        """
        history, newest = self._history, self._tree.record(key, rev)
        while newest is not None and newest.since > history.horizon:
            changes = history.changes(newest.since)
            place = bisect_left(changes, key, key=_KEY)
            while place < len(changes) and changes[place].key == key:
                yield changes[place]
                place += 1
            newest = self._tree.record(key, newest.since - 1)


def is_change(version: Version) -> bool:
    """Say whether a record is that of a value gained, changed or lost."""
    return version.rev == version.since and (version.value is not None or version.version > 0)


def entry(version: Version, path: str) -> Entry:
    """Return who made a change, as ``LOG`` and ``BLAME`` tell it."""
    mark = version.mark
    return Entry(version.rev, path, mark.verb, mark.author, version.modified_ms)
