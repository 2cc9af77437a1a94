"""``BEGIN`` to ``COMMIT``: what a connection has queued, and nobody has seen yet.

A transaction belongs to the tag under which it was begun, or to the untagged requests. Its lines
are answered as they come and are kept here; only ``COMMIT`` makes one write of them. So a
connection that is lost, and ``ABORT``, leave nothing.

A line that is refused has its number, too, and ``COMMIT`` names the first of them: a
transaction is never done without a line that its client meant to be in it.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from coord.commands import (
    Abort,
    Add,
    Auth,
    Begin,
    Check,
    Command,
    Commit,
    Delete,
    Get,
    Help,
    Look,
    Members,
    Once,
    Part,
    Ping,
    Quit,
    Rev,
    Set,
    Status,
    Transaction,
    Unwatch,
    weight_bytes,
)
from coord.errors import Aborted, BadRequest, CoordError, Overloaded, TooLarge
from coord.limits import (
    TRANSACTION_BYTES_MAX,
    TRANSACTION_PARTS_MAX,
    TRANSACTIONS_BYTES_MAX,
    TRANSACTIONS_PER_CONNECTION_MAX,
)
from coord.wire import line_reply

QUEUED: Final = b"OK QUEUED\n"
_BESIDE: Final = (Ping, Quit, Help, Rev, Status, Members, Unwatch, Auth)
"""What works inside a transaction as it does outside, and is no part of it."""
_WORDS: Final[dict[type, str]] = {Begin: "BEGIN", Commit: "COMMIT", Abort: "ABORT", Check: "CHECK"}


class Finished(msgspec.Struct, frozen=True):
    """A transaction that is to be done, and about how much memory it takes."""

    write: Transaction | Once
    weight_bytes: int


Taken: TypeAlias = bytes | Finished
"""What became of a line: its reply, or the write that ``COMMIT`` made."""


class Making:
    """One transaction in the making."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.weight_bytes = 0
        self._lines = 0
        self._refused: CoordError | None = None

    def add(self, request: Set | Add | Delete | Check | Get, room_bytes: int) -> bytes:
        """Queue a line, for which the connection has so much room."""
        self._lines += 1
        part = _part(request)
        if isinstance(part, CoordError):
            return self.refuse(part)
        if self._refused is not None:
            return QUEUED  # it will not be done; why should it be kept
        weight = weight_bytes([request])
        if self._lines > TRANSACTION_PARTS_MAX:
            return self.refuse(TooLarge(f"a transaction has {TRANSACTION_PARTS_MAX} lines at most"))
        if self.weight_bytes + weight > TRANSACTION_BYTES_MAX:
            return self.refuse(TooLarge(f"a transaction has {TRANSACTION_BYTES_MAX} bytes at most"))
        if weight > room_bytes:
            return self.refuse(Overloaded("this connection's transactions are too large together"))
        self.parts.append(part)
        self.weight_bytes += weight
        return QUEUED

    def refuse_line(self, problem: CoordError) -> bytes:
        """Count a line that cannot be queued."""
        self._lines += 1
        return self.refuse(problem)

    def refuse(self, problem: CoordError) -> bytes:
        """Answer the last line with what is wrong with it; the first such is kept."""
        if self._refused is None:
            self._refused = Aborted(f"{self._lines} {problem.code} {problem.text}")
            self.parts.clear()
            self.weight_bytes = 0
        return line_reply.error(problem)

    def finish(self, word: str | None) -> Taken:
        """Return the write that all lines make, or why there is none."""
        if self._refused is not None:
            return line_reply.error(self._refused)
        write = Transaction(tuple(self.parts))
        return Finished(write if word is None else Once(word, write), self.weight_bytes)


class Transactions:
    """The transactions in the making of one connection.

    ``open`` are they by tag; the untagged one is ``b""``.
    """

    def __init__(self) -> None:
        self.open: dict[bytes, Making] = {}

    def ends(self, tag: bytes, request: Command | CoordError) -> bool:
        """Say whether ``request`` is the ``COMMIT`` of a transaction under ``tag``."""
        return tag in self.open and isinstance(_without_id(request), Commit)

    def take(self, tag: bytes, request: Command | CoordError) -> Taken | None:
        """Return what becomes of a line; ``None`` where it is no transaction's concern."""
        found = self.open.get(tag)
        plain = _without_id(request)
        if found is None:
            return self._outside(tag, plain)
        match plain:
            case Commit():
                del self.open[tag]
                return found.finish(request.word if isinstance(request, Once) else None)
            case Abort():
                del self.open[tag]
                return line_reply.OK
            case Set() | Add() | Delete() | Check() | Get():
                if plain is not request:
                    return found.refuse_line(BadRequest("id= goes to COMMIT, which it names"))
                return found.add(plain, self._room_bytes())
            case CoordError():
                return found.refuse_line(plain)
            case Begin():
                return found.refuse_line(BadRequest("BEGIN within a transaction"))
        if isinstance(plain, _BESIDE):
            return None
        return found.refuse_line(
            BadRequest("a transaction takes SET, ADD, DEL, CHECK and GET; then COMMIT or ABORT")
        )

    def _outside(self, tag: bytes, request: Command | CoordError) -> bytes | None:
        word = _WORDS.get(type(request))
        if word is None:
            return None
        if not isinstance(request, Begin):
            return line_reply.error(BadRequest(f"{word} without BEGIN"))
        if len(self.open) >= TRANSACTIONS_PER_CONNECTION_MAX:
            return line_reply.error(Overloaded("too many transactions on this connection"))
        self.open[tag] = Making()
        return QUEUED

    def _room_bytes(self) -> int:
        return TRANSACTIONS_BYTES_MAX - sum(one.weight_bytes for one in self.open.values())


def _part(request: Set | Add | Delete | Check | Get) -> Part | CoordError:
    match request:
        case Get():
            if request.local or request.rev is not None:
                return BadRequest("GET in a transaction sees what is there then: no options")
            return Look(request.path)
        case Check():
            if request.if_rev is None and request.token is None:
                return BadRequest("CHECK wants if=N or token=N")
    return request


def _without_id(request: Command | CoordError) -> Command | CoordError:
    return request.write if isinstance(request, Once) else request
