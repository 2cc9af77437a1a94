"""Ids of writes: which may be under way, so that none is forgotten by the server too soon.

A server remembers, for each session, what it answered to the last `OUTCOMES_PER_SESSION_MAX`
writes with an id, and no more than `OUTCOME_BYTES_MAX` of ids and answers. A write sent again after
it was forgotten would be done again. So a client sends nothing that is too far ahead of the
oldest write that is not answered yet: half as many, and half as much, as is remembered.

A lock may be waited for as long as it takes, and must not hold others up for that. It does no harm
either where its id was forgotten: who holds a lock, or has its place, is told just that.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from coord import commands
from coord.limits import OUTCOME_BYTES_MAX, OUTCOMES_PER_SESSION_MAX

_COUNT_MAX: Final = OUTCOMES_PER_SESSION_MAX // 2
_BYTES_MAX: Final = OUTCOME_BYTES_MAX // 2
_BESIDE: Final = 256
"""About what a remembered answer takes beside the paths that it may name."""


class Number:
    """One write's place among those that have an id, and the id."""

    __slots__ = ("_size", "is_open", "word")

    def __init__(self, word: str, size: int) -> None:
        self.word = word
        self.is_open = True
        self._size = size


class Ids:
    """The ids that a session's client has given out.

    :param prefix: what sets these ids apart from those of another client of the session.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self._sizes = 0
        self._window: deque[Number] = deque()

    def take(self, command: commands.Command, word: str | None) -> Number | None:
        """Return the next number, with ``word`` or an id of its own; ``None`` for: not now."""
        if _locks(command):
            self._count += 1
            return Number(word or f"{self._prefix}-{self._count}", 0)
        size = _remembered_bytes(command)
        if self._window and (len(self._window) >= _COUNT_MAX or self._sizes + size > _BYTES_MAX):
            return None
        self._count += 1
        number = Number(word or f"{self._prefix}-{self._count}", size)
        self._window.append(number)
        self._sizes += size
        return number

    def close(self, number: Number) -> None:
        """Take note that a write was answered, or will never be sent again."""
        number.is_open = False
        while self._window and not self._window[0].is_open:
            self._sizes -= self._window.popleft()._size


def _locks(command: commands.Command) -> bool:
    write = command.write if isinstance(command, commands.Once) else command
    return isinstance(write, commands.Lock)


def _remembered_bytes(command: commands.Command) -> int:
    """Return how much the answer to a write may take in the server's memory."""
    write: Any = command.write if isinstance(command, commands.Once) else command
    if not isinstance(write, commands.Transaction):
        return _BESIDE + 4 * len(write.path)
    if any(isinstance(part, commands.Look) for part in write.parts):
        return _BYTES_MAX  # values of any size: nothing else goes beside it
    return _BESIDE + sum(4 * len(part.path) + 64 for part in write.parts)
