"""Many deadlines, most of which are put off before they come.

A heap in which a key stands once, and at no later than its deadline: to put one off is to
note it down, and it is looked at again when its place in the heap comes up. So ten thousand
sessions that are kept alive cost a note for each time one was heard of, and one step in
the heap for each timeout. What was dropped leaves its place behind; where more than half of
the places are such, the heap is made anew.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

from coord.limits import CLOCK_DRIFT_MAX

_STRETCH: Final = 1 + CLOCK_DRIFT_MAX
_SPARE_PLACES: Final = 64

Key = TypeVar("Key", bound=Hashable)


def counted_seconds(span_ms: int) -> float:
    """Return how long to count a span here, that it is over for whoever counts it elsewhere.

    Never early is by anybody's clock, and this node's may be the one that is fast.
    """
    return span_ms / 1000 * _STRETCH


class Deadlines(Generic[Key]):
    """Keys and when they are due; never given out early."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._places: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._serial = count()

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: Key) -> bool:
        return key in self._due

    def set(self, key: Key, due: float) -> None:
        """Let ``key`` be due then, whatever it was before."""
        self._due[key] = due
        place = self._places.get(key)
        if place is None or due < place:
            self._put(key, due)

    def put_off(self, key: Key, due: float) -> None:
        """Let ``key``, which is known, be due then, unless it is due later anyway."""
        if due > self._due[key]:
            self._due[key] = due

    def drop(self, key: Key) -> None:
        """Let ``key`` not be due at all."""
        self._due.pop(key, None)
        self._tidy()

    def take(self, now: float, limit: int) -> list[Key]:
        """Take the keys that are due, about in order, ``limit`` at most."""
        taken: list[Key] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(taken) < limit:
            place, _, key = heappop(heap)
            if self._places.get(key) != place:
                continue  # it was put forward, and had another place
            del self._places[key]
            due = self._due.get(key)
            if due is None:
                continue
            if due > now:
                self._put(key, due)
            else:
                del self._due[key]
                taken.append(key)
        return taken

    def _put(self, key: Key, due: float) -> None:
        self._places[key] = due
        heappush(self._heap, (due, next(self._serial), key))
        self._tidy()

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._due) + _SPARE_PLACES:
            self._places = dict(self._due)
            self._heap = [(due, next(self._serial), key) for key, due in self._due.items()]
            heapify(self._heap)
