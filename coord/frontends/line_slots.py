"""Replies in the making: what a connection's requests become until their bytes are written.

A *slot* is one reply, or the replies of one group, in its place. Untagged slots stand in a
queue and are rendered in that order, tagged ones beside it. Rendering is pulled: a slot
adds to a `Page` while there is room, keeps its place, and goes on when the client has read. So
results wait as what the store holds anyway, and bytes are made only for those who take them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from coord.commands import (
    Blame,
    List,
    Log,
    Read,
    Rev,
    Walk,
)
from coord.errors import CoordError
from coord.limits import REPLY_SLICE_BYTES, TURN_SECONDS
from coord.results import Aside, Entry, Point, Result, Row, Rows
from coord.wire import line_reply


class Page:
    """The bytes of one write in the making.

    ``room`` is what the source whose turn it is may still add; it may go over it by one
    reply. ``unfinished`` says that a source had more. ``freed`` are the tags whose replies ended.
    """

    __slots__ = ("_seconds", "_until", "freed", "pieces", "room", "unfinished")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._until = seconds() + TURN_SECONDS
        self.pieces: list[bytes] = []
        self.room = REPLY_SLICE_BYTES
        self.unfinished = False
        self.freed: list[bytes] = []

    def next_source(self) -> None:
        """Give the next source its room."""
        self.room = REPLY_SLICE_BYTES

    @property
    def is_late(self) -> bool:
        """Whether the page took so long to fill that others should have their turn."""
        return self._seconds() >= self._until

    def add(self, text: bytes) -> None:
        """Add what goes out next."""
        self.pieces.append(text)
        self.room -= len(text)


class Slot:
    """One place among a connection's replies.

    ``alone``: an untagged one begins only after everything before it was written, and
    nothing after it begins before it was. ``count`` and ``size_bytes`` are its share of what
    the connection may have pending.
    """

    alone = True
    count = 1
    size_bytes = 0
    midway = False
    """Whether its reply has begun and not ended."""

    def start(self) -> None:
        """Begin what the reply needs."""

    def render(self, page: Page) -> bool:
        """Add what is there and fits; say whether that was all of it."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; nobody wants the reply any more."""


class Ready(Slot):
    """A reply that is known already, tag and all; it frees no tag."""

    alone = False

    def __init__(self, text: bytes) -> None:
        self._text = text

    def render(self, page: Page) -> bool:
        """Add the reply."""
        if page.room <= 0:
            return False
        page.add(self._text)
        return True


class Asked(Slot):
    """A reply that is asked for when its turn has come: whole lines, ``None`` for not yet."""

    def __init__(
        self,
        tag: bytes,
        ask: Callable[[], Sequence[bytes] | None],
        *,
        start: Callable[[], None] | None = None,
        alone: bool = True,
        frees_tag: bool = True,
    ) -> None:
        self.alone = alone
        self._tag = tag
        self._ask = ask
        self._start = start
        self._frees_tag = frees_tag

    def start(self) -> None:
        """Begin what the reply needs."""
        if self._start is not None:
            self._start()

    def render(self, page: Page) -> bool:
        """Add the lines, once they are known."""
        if page.room <= 0:
            return False
        lines = self._ask()
        if lines is None:
            return False
        page.add(b"".join([self._tag + line for line in lines]))
        if self._tag and self._frees_tag:
            page.freed.append(self._tag)
        return True


class Told(Slot):
    """A reply of one line, or several at once, that comes when it comes.

    ``begin`` is given whom to tell the lines; then ``told`` is called.
    """

    def __init__(
        self,
        tag: bytes,
        begin: Callable[[Callable[..., None]], None],
        told: Callable[[Told], None],
    ) -> None:
        self.tag = tag
        self._begin = begin
        self._told = told
        self._lines: Sequence[bytes] = ()

    def start(self) -> None:
        """Begin what the reply needs."""
        self._begin(self._settle)

    def _settle(self, *lines: bytes) -> None:
        self._lines = lines
        self._told(self)

    def render(self, page: Page) -> bool:
        """Add the lines, once they are there."""
        if not self._lines or page.room <= 0:
            return False
        page.add(b"".join([self.tag + line for line in self._lines]))
        if self.tag:
            page.freed.append(self.tag)
        return True


class Stream(Slot):
    """Rows of ``LIST``, ``WALK``, ``LOG`` or ``BLAME``: taken from the store as the client does."""

    def __init__(
        self,
        command: List | Walk | Log | Blame,
        tag: bytes,
        submit: Callable[[Sequence[Read], Callable[[Sequence[Result]], None]], None],
        told: Callable[[Stream], None],
    ) -> None:
        self._command = command
        self._tag = tag
        self._submit = submit
        self._told = told
        self._result: Result | None = None
        self._rows: Iterator[Row | Aside | Entry | str | None] = iter(())
        self._closed = False

    def start(self) -> None:
        """Ask for the picture."""
        if isinstance(self._command, Blame):  # its one row is a picture of what?
            self._submit([self._command, Rev()], self._settle)
        else:
            self._submit([self._command], self._settle)

    def close(self) -> None:
        """Let go of the picture, now or when it comes."""
        self._closed = True
        if isinstance(self._result, Rows):
            self._result.close()

    def _settle(self, results: Sequence[Result]) -> None:
        self._result = results[0]
        if isinstance(self._result, Entry) and isinstance(results[1], Point):
            self._result = Rows(results[1].rev, iter([self._result]))
        if isinstance(self._result, Rows):
            self._rows = iter(self._result.rows)
        if self._closed:
            self.close()
        self._told(self)

    def render(self, page: Page) -> bool:
        """Add rows while there is room, then the line that closes them."""
        if self._result is None or page.room <= 0:
            return False
        if not isinstance(self._result, Rows):
            self._end(page, line_reply.reply(self._result))  # type: ignore[arg-type]
            return True
        self.midway = True
        try:
            last = self._fill(page)
        except CoordError as error:  # the picture was held for too long
            self._end(page, line_reply.error(error))
        else:
            if not last:
                return False
            self._end(page, line_reply.end(self._result.rev))
        self._result.close()
        return True

    def _fill(self, page: Page) -> bool:
        """Add rows while there is room; say whether there are no more."""
        tag, texts = self._tag, line_reply.ROWS
        for row in self._rows:
            if row is None:
                if page.is_late:
                    page.unfinished = True
                    return False
                continue
            page.add(tag + texts[type(row)](row))
            if page.room <= 0:
                return False
        return True

    def _end(self, page: Page, line: bytes) -> None:
        page.add(self._tag + line)
        if self._tag:
            page.freed.append(self._tag)
