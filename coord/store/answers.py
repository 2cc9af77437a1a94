"""What a session was answered to the writes that its client gave names to.

The last `OUTCOMES_PER_SESSION_MAX` answers are kept, and no more than `OUTCOME_BYTES_MAX` of
them; where one more comes, the oldest is forgotten. They are kept as they stand in an image:
small, and nothing to the garbage collector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import msgspec

from coord.errors import CATALOGUE, CoordError
from coord.limits import OUTCOME_BYTES_MAX, OUTCOMES_PER_SESSION_MAX
from coord.results import Committed, Granted, Opened, Queued, Value, Written

Answer: TypeAlias = Written | Granted | Queued | Opened | Committed | CoordError
"""What a write is answered."""

_WRITTEN, _GRANTED, _QUEUED, _COMMITTED, _ERROR, _OPENED = range(6)
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(tuple[object, ...]).decode
_ANSWER_BYTES: Final = 64
"""What an answer takes beside its word and itself."""


def encoded(answer: Answer) -> bytes:
    """Return an answer as it is kept."""
    match answer:
        case Written():
            return _ENCODE((_WRITTEN, answer.rev, answer.path))
        case Granted():
            return _ENCODE((_GRANTED, answer.token))
        case Queued():
            return _ENCODE((_QUEUED, answer.number))
        case Opened():
            return _ENCODE((_OPENED, answer.session, answer.timeout_ms))
        case Committed():
            return _ENCODE((_COMMITTED, answer.rev, [_row(one) for one in answer.rows]))
        case _:
            return _ENCODE((_ERROR, answer.code, answer.text))


def _row(row: Value | CoordError | str) -> object:
    if isinstance(row, Value):
        return row.rev, row.value
    return row if isinstance(row, str) else (row.code, row.text)


def decoded(kept: bytes) -> Answer:
    """Return the answer that was kept."""
    match _DECODE(kept):
        case (0, int(rev), str() | None as path):
            return Written(rev, path)
        case (1, int(token)):
            return Granted(token)
        case (2, int(number)):
            return Queued(number)
        case (3, int(rev), list(rows)):
            return Committed(rev, tuple(map(_read_row, rows)))
        case (4, str(code), str(text)):
            return CATALOGUE[code](text)
        case (5, str(session), int(timeout_ms)):
            return Opened(session, timeout_ms)
    raise ValueError("not an answer")


def _read_row(row: object) -> Value | CoordError | str:
    match row:
        case str():
            return row
        case [int(rev), bytes(value)]:
            return Value(rev, value)
        case [str(code), str(text)]:
            return CATALOGUE[code](text)
    raise ValueError("not a row of an answer")


class Answers:
    """The answers of one session, oldest first."""

    __slots__ = ("_kept", "_open", "_size_bytes")

    def __init__(self, kept: Iterable[tuple[str, bytes]] = ()) -> None:
        self._kept: dict[str, bytes] = {}
        self._size_bytes = 0
        self._open: dict[int, list[str]] = {}
        for word, answer in kept:
            self.add(word, answer)

    def __len__(self) -> int:
        return len(self._kept)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Return words and answers, oldest first."""
        return iter(self._kept.items())

    def get(self, word: str) -> bytes | None:
        """Return what was answered to the write of that name."""
        return self._kept.get(word)

    def add(self, word: str, answer: bytes) -> None:
        """Keep one more answer, and forget the oldest where there is too much."""
        kept = self._kept
        kept[word] = answer
        self._size_bytes += _size(word, answer)
        form, *parts = _DECODE(answer)
        if form == _QUEUED:
            words = self._open.setdefault(int(str(parts[0])), [])
            words.append(word)
            del words[:-OUTCOMES_PER_SESSION_MAX]
        self._forget()

    def _forget(self) -> None:
        """Forget the oldest where there is too much.

        Whatever grew: a store made from an image adds up what is kept and has to come to the same.
        """
        kept = self._kept
        while len(kept) > OUTCOMES_PER_SESSION_MAX or (
            self._size_bytes > OUTCOME_BYTES_MAX and len(kept) > 1
        ):
            oldest = next(iter(kept))
            self._size_bytes -= _size(oldest, kept.pop(oldest))

    def is_open(self, number: int) -> bool:
        """Say whether an answer was that there is a place of this number in a queue."""
        return number in self._open

    def settle(self, number: int, answer: bytes) -> Iterator[str]:
        """Put an answer in the place of all those which named a place in a queue.

        Yields the words whose answer it is now; what is too much by that is forgotten after them.
        """
        was = encoded(Queued(number))
        for word in self._open.pop(number):
            if self._kept.get(word) == was:
                self._kept[word] = answer
                self._size_bytes += len(answer) - len(was)
                yield word
        self._forget()


def _size(word: str, answer: bytes) -> int:
    return _ANSWER_BYTES + len(word) + len(answer)
