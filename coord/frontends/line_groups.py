"""Groups: commands of one connection that are handed over together and answered together.

What may share a group, and when it may begin, is decided in `coord.frontends.line_order`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from coord.commands import (
    Add,
    Command,
    Delete,
    Get,
    Lock,
    Once,
    Outcome,
    Read,
    Revert,
    Set,
    Stat,
    Sync,
    Transaction,
    Unlock,
    Write,
)
from coord.frontends.line_slots import Page, Slot
from coord.limits import BATCH_BYTES_SOFT, GROUP_COMMANDS_MAX
from coord.results import Committed, Queued, Result
from coord.wire import line_reply


class Kind(enum.Enum):
    """What a group needs: a majority's disks, a point to read at, or nothing."""

    WRITE = 1
    READ = 2
    LOCAL = 3


_KINDS: Final = {
    Set: Kind.WRITE,
    Add: Kind.WRITE,
    Delete: Kind.WRITE,
    Unlock: Kind.WRITE,
    Revert: Kind.WRITE,
    Transaction: Kind.WRITE,
    Get: Kind.READ,
    Stat: Kind.READ,
    Sync: Kind.READ,
    Outcome: Kind.READ,
}


def kind_of(command: Command) -> Kind | None:
    """Return the kind of group that takes ``command``; ``None`` where it goes by itself."""
    kind = _KINDS.get(type(command))
    if kind is Kind.READ and getattr(command, "local", False):
        return Kind.LOCAL
    if kind is None:
        plain = command.write if type(command) is Once else command
        if type(plain) is Lock:
            return None if plain.wait_ms else Kind.WRITE
        return _KINDS.get(type(plain))
    return kind


class Awaiting(Protocol):
    """Who takes over where a command of a group is answered with a place in a queue."""

    def wait(self) -> None:
        """Wait for what becomes of it."""


class Group(Slot):
    """Commands that are handed over together and answered together.

    Each has its tag, empty where it has none.
    """

    alone = False

    def __init__(self, kind: Kind, told: Callable[[Group], None]) -> None:
        self.kind = kind
        self.commands: list[Write | Read] = []
        self.tags: list[bytes] = []
        self.results: Sequence[Result | None] | None = None
        self.rendered = 0
        self.count = 0
        self.size_bytes = 0
        self._told = told
        self._awaiting: list[tuple[int, Awaiting]] = []
        self._rows = 0

    @property
    def is_full(self) -> bool:
        """Whether a further command should begin another group."""
        return self.count >= GROUP_COMMANDS_MAX or self.size_bytes >= BATCH_BYTES_SOFT

    def takes(self, kind: Kind) -> bool:
        """Say whether a command of ``kind`` may come in at the end.

        A read may join writes: it is evaluated at its place among them. A ``local`` one
        may not, since it is answered where writes cannot be.
        """
        if self.is_full:
            return False
        return kind is self.kind or Kind.LOCAL not in {kind, self.kind}

    def add(self, kind: Kind, command: Write | Read, tag: bytes, size_bytes: int) -> None:
        """Put a command at the end."""
        if kind is Kind.WRITE:
            self.kind = kind
        self.commands.append(command)
        self.tags.append(tag)
        self.count += 1
        self.size_bytes += size_bytes

    def add_awaited(self, command: Write, tag: bytes, size_bytes: int, by: Awaiting) -> None:
        """Put a tagged command at the end that may have to wait: then ``by`` answers it."""
        self._awaiting.append((self.count, by))
        self.add(Kind.WRITE, command, tag, size_bytes)

    def settle(self, results: Sequence[Result]) -> None:
        """Take the results, one for each command."""
        assert len(results) == self.count, "a result for each command"
        self.results = results
        if self._awaiting:
            self._hand_over(results)
        self._told(self)

    def _hand_over(self, results: Sequence[Result]) -> None:
        kept: list[Result | None] = [*results]
        self.results = kept
        for index, awaiting in self._awaiting:
            if isinstance(results[index], Queued):
                kept[index] = None
                awaiting.wait()

    def render(self, page: Page) -> bool:
        """Add replies while there is room."""
        results = self.results
        if results is None:
            return False
        reply, tags, pieces = line_reply.reply, self.tags, page.pieces
        index, count, room = self.rendered, self.count, page.room
        while index < count and room > 0:
            result = results[index]
            if type(result) is Committed and result.rows:
                page.room = room
                if not self._add_rows(page, result, tags[index]):
                    break
                room = page.room
            tag = tags[index]
            if not tag:
                text = reply(result)  # type: ignore[arg-type]
            elif result is not None:
                text = tag + reply(result)  # type: ignore[arg-type]
                page.freed.append(tag)
            else:  # who took it over has its tag
                text = b""
            pieces.append(text)
            room -= len(text)
            index += 1
        self.rendered, page.room = index, room
        return index == count

    def _add_rows(self, page: Page, result: Committed, tag: bytes) -> bool:
        """Add what a transaction read and made while there is room; say whether that was all."""
        rows = result.rows
        while self._rows < len(rows):
            self.midway = True
            if page.room <= 0:
                return False
            page.add(tag + line_reply.part(rows[self._rows]))
            self._rows += 1
        self._rows = 0
        self.midway = False
        return True
