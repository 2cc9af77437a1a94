"""Numbers of sequential children, never given twice, also where the parent went meanwhile.

A parent counts its sequential children as long as it lives. An implied parent goes with its
last child, as in a queue that runs empty, and a parent that somebody set may be deleted; a new
one of the same name must not begin again at 1, or two jobs would have been called
``/jobs/job-0000000001``.

So the last numbers of parents that are gone are remembered here, `SEQUENCE_PARENTS_MAX` of
them. Where one more goes, the one that went first is forgotten and its number becomes a floor
under *all* parents made from then on. So nothing is ever given twice, memory is bounded,
and the price is that a new parent's first number may be greater than 1. All this is a function
of the log alone: neither the length of history nor any picture held has a say.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from coord.limits import SEQUENCE_PARENTS_MAX


class Sequences:
    """The last numbers given by parents that are gone, in the order in which they went."""

    __slots__ = ("_gone", "floor")

    def __init__(self, floor: int = 0, gone: Iterable[tuple[str, int]] = ()) -> None:
        self.floor = floor
        self._gone: OrderedDict[str, int] = OrderedDict(gone)

    def last(self, key: str) -> int:
        """Return the last number that a parent not there any more may have given."""
        return self._gone.get(key, self.floor)

    def take(self, key: str) -> int:
        """Return the same to the parent's new life, which counts on from there."""
        return self._gone.pop(key, self.floor)

    def remember(self, key: str, number: int) -> None:
        """Note the last number of a parent that goes."""
        if number <= self.floor:
            return
        self._gone[key] = number
        if len(self._gone) > SEQUENCE_PARENTS_MAX:
            _, forgotten = self._gone.popitem(last=False)
            self.floor = max(self.floor, forgotten)

    def gone(self) -> tuple[tuple[str, int], ...]:
        """Return the parents and their numbers, the one that went first in front."""
        return tuple(self._gone.items())
