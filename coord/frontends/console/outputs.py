"""What comes of a word: an answer, at once or later, a question first, or lines until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias

import attrs

DONE: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130


@attrs.frozen(repr=False)
class Answer:
    """Lines, whole at once; ``status`` is 0 where it was done, else what a script exits with."""

    lines: Sequence[str]
    status: int = DONE

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def __repr__(self) -> str:
        return "\n".join(self.lines)


class Source(Protocol):
    """What a `Stream` takes its items from: a watch, or a trace."""

    @property
    def ready(self) -> bool:
        """Whether to call `take`."""

    def take(self, limit: int) -> Sequence[Any]:
        """Return the next items; none where there is nothing yet."""

    def close(self) -> None:
        """Want nothing more; safe to call more than once."""


@attrs.frozen(repr=False)
class Stream:
    """Lines that go on until Ctrl-C. Nothing is opened before it is shown.

    ``open`` is handed what to call when there is something new; ``line`` makes a line of an item.
    """

    title: str
    open: Callable[[Callable[[], None]], Source]
    line: Callable[[Any], str]

    def __repr__(self) -> str:
        return f"<{self.title}; at the prompt it goes on until Ctrl-C>"


@attrs.frozen(repr=False)
class Later:
    """An answer that comes when it comes. Nothing is begun before it is shown.

    ``begin`` is handed whom to tell the answer, once; nobody may want to hear it any more then.
    """

    title: str
    begin: Callable[[Callable[[Answer], None]], None]

    def __repr__(self) -> str:
        return f"<{self.title}>"


@attrs.frozen(repr=False)
class Question:
    """Something that is done only if it is meant; ``yes`` does it, ``otherwise`` says how a script
    would have to say it.
    """

    text: str
    yes: Callable[[], Answer | Later]
    otherwise: str

    def __repr__(self) -> str:
        return f"{self.text} {self.otherwise}"


Output: TypeAlias = Answer | Later | Stream | Question
