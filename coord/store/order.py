"""All keys of the tree in path order.

A sorted list cut into blocks, so that adding and removing move a few kilobytes at most,
whatever the number of keys. It answers one question: which keys come next from here?
Nobody iterates over it, so it may change between two questions.

Most keys of a queue, say, may be those of nodes that are gone and still read in the past. Who wants
those that are there (`Order.living`) looks at the others once: a block in which nothing lives is
*barren* until a key comes into it, or comes back.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container
from typing import Final

_BLOCK_KEYS_MAX: Final = 1024


class Order:
    """A sorted set of keys; no block is ever empty."""

    __slots__ = ("_barren", "_blocks", "_last")

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._barren: list[bool] = []
        self._last: list[str] = []

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    def add(self, key: str) -> None:
        """Take in a key that is not there yet."""
        last = self._last
        at = bisect_left(last, key)
        if at == len(last):
            self._append(key)
            return
        block = self._blocks[at]
        self._barren[at] = False
        insort(block, key)
        if len(block) > _BLOCK_KEYS_MAX:
            half = len(block) // 2
            self._blocks.insert(at, block[:half])
            self._barren.insert(at, False)
            last.insert(at, block[half - 1])
            del block[:half]

    def _append(self, key: str) -> None:
        """Take in a key that comes after all others; full blocks stay full."""
        if not self._blocks or len(self._blocks[-1]) >= _BLOCK_KEYS_MAX:
            self._blocks.append([key])
            self._barren.append(False)
            self._last.append(key)
        else:
            self._barren[-1] = False
            self._blocks[-1].append(key)
            self._last[-1] = key

    def remove(self, key: str) -> None:
        """Let go of a key that is there."""
        at = bisect_left(self._last, key)
        block = self._blocks[at]
        place = bisect_left(block, key)
        assert block[place] == key
        del block[place]
        if not block:
            del self._blocks[at], self._last[at], self._barren[at]
        elif place == len(block):
            self._last[at] = block[-1]

    def revive(self, key: str) -> None:
        """Take note that a key which is there is that of a living node again."""
        self._barren[bisect_left(self._last, key)] = False

    def living(self, start: str, until: str, live: Container[str]) -> list[str]:
        """Return all keys from ``start`` on that come before ``until`` and are in ``live``."""
        keys: list[str] = []
        at = bisect_left(self._last, start)
        while at < len(self._blocks):
            block = self._blocks[at]
            if block[0] >= until:
                break
            if not self._barren[at]:
                low = bisect_left(block, start) if block[0] < start else 0
                high = len(block) if block[-1] < until else bisect_left(block, until)
                found = [key for key in block[low:high] if key in live]
                keys += found
                self._barren[at] = not found and high - low == len(block)
            at += 1
        return keys

    def span(self, start: str, until: str, count: int) -> list[str]:
        """Return the first ``count`` keys from ``start`` on that come before ``until``."""
        at = bisect_left(self._last, start)
        if at == len(self._last):
            return []
        block = self._blocks[at]
        place = bisect_left(block, start)
        keys = block[place : place + count]
        while len(keys) < count and (at := at + 1) < len(self._blocks):
            keys += self._blocks[at][: count - len(keys)]
        if keys and keys[-1] >= until:
            del keys[bisect_left(keys, until) :]
        return keys
