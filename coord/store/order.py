"""All keys of the tree in path order.

A sorted list cut into blocks, so that adding and removing move a few kilobytes at most,
whatever the number of keys. It answers one question: which keys come next from here?
Nobody iterates over it, so it may change between two questions.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

_BLOCK_KEYS_MAX: Final = 1024


class Order:
    """A sorted set of keys; no block is ever empty."""

    __slots__ = ("_blocks", "_last")

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
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
        insort(block, key)
        if len(block) > _BLOCK_KEYS_MAX:
            half = len(block) // 2
            self._blocks.insert(at, block[:half])
            last.insert(at, block[half - 1])
            del block[:half]

    def _append(self, key: str) -> None:
        """Take in a key that comes after all others; full blocks stay full."""
        if not self._blocks or len(self._blocks[-1]) >= _BLOCK_KEYS_MAX:
            self._blocks.append([key])
            self._last.append(key)
        else:
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
            del self._blocks[at], self._last[at]
        elif place == len(block):
            self._last[at] = block[-1]

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
