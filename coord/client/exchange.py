"""One request on the wire: its lines, and what the replies to them come to.

Most requests are one line and one reply; tables, lists and walks are one line and many rows. A
transaction is many lines, each answered, the last one with rows and its revision:

* Where ``BEGIN`` itself is refused, what follows it is no transaction, and a server would do
  each line for itself. If it did that, nobody can say of the whole what became of it.
* An ``ERR`` after ``COMMIT`` is a row where a ``GET`` is due and could not be answered, else it is
  the end.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from coord import commands, paths
from coord.client.errors import Junk
from coord.client.replies import Allowed, Credentials, Done, End, Item, Reply, Taken
from coord.client.requests import lines, named
from coord.client.rows import Entries, Names, Page
from coord.errors import (
    Aborted,
    CoordError,
    Denied,
    IsDirectory,
    NoEntry,
    Overloaded,
    Unknown,
)
from coord.events import Event
from coord.results import (
    Committed,
    Entry,
    Facts,
    Granted,
    Items,
    Point,
    Row,
    Value,
    Written,
)

_UNTAGGED: Final = frozenset(
    {commands.Set, commands.Add, commands.Delete, commands.Unlock, commands.Revert}
)
_IN_ORDER_UNLESS_LOCAL: Final = (commands.Get, commands.Stat, commands.Sync)
_ROWS: Final[dict[type, type]] = {
    commands.List: Item,
    commands.Walk: Row,
    commands.Log: Item,
    commands.Blame: Item,
    commands.Status: Item,
    commands.Members: Item,
    commands.Help: Item,
}
_ANSWERS: Final[dict[type, tuple[type, ...]]] = {
    commands.Get: (Value,),
    commands.Set: (Written,),
    commands.Add: (Written,),
    commands.Delete: (Written,),
    commands.Lock: (Written,),
    commands.Unlock: (Written,),
    commands.Revert: (Written,),
    commands.Stat: (Facts,),
    commands.Sync: (Written,),
    commands.Rev: (Written,),
    commands.Unwatch: (Written,),
    commands.Ping: (Done,),
    commands.Quit: (Done,),
    commands.Wait: (Event,),
    commands.Auth: (Allowed,),
    commands.Session: (Credentials, Written),
    commands.ChangeMembers: (Written,),
}
_POINTS: Final = (commands.Sync, commands.Rev, commands.Unwatch)
_OF_A_LOOK: Final = (NoEntry, IsDirectory, Denied)
_TOO_MUCH: Final = re.compile(r"[0-9]+ OVERLOADED ")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")


class Exchange:
    """One request, its lines, and what becomes of it.

    :param command: what is asked.
    :param tagged: whether it must have a tag, so that nothing waits behind it, nor it behind
        others; what needs one has it anyway.
    :raises CoordError: where no server would understand the command.
    """

    __slots__ = (
        "_first", "_is_astray", "_left", "command", "kind", "lines", "order", "rows", "tag",
        "tagged",
    )  # fmt: skip

    def __init__(self, command: commands.Command, *, tagged: bool = False) -> None:
        kind: type = type(command)
        write = command
        if kind is commands.Once:
            write = command.write  # type: ignore[union-attr]
            kind = type(write)
        self.command = command
        self.kind = kind
        self.lines = lines(command)
        self.tagged = tagged or (kind not in _UNTAGGED and _needs_tag(write))
        self.tag = b""
        self.order = 0
        """Its place among all that was asked on its connection."""
        self.rows: list[Any] | None = None

    def begin(self) -> None:
        """Take note that it is sent now: what was told of it before does not count."""
        self.rows = None
        self._left = len(self.lines) - 1
        self._first: Reply | None = None
        self._is_astray = False

    def call(self, word: str) -> None:
        """Have its write be sent with the id ``word``."""
        self.lines = named(self.lines, word)

    def relabel(self) -> None:
        """Have its write be sent as it was asked, without an id that was not its user's."""
        self.lines = lines(self.command)

    def told(self, outcome: Any) -> None:
        """Hear the answer: a result or a `CoordError`, as a value."""
        raise NotImplementedError

    def outcome(self, reply: Reply) -> Any:
        """Return what a reply makes of this; ``None`` where more is to come.

        :raises Junk: where it is no reply to this.
        """
        kind = self.kind
        if kind is commands.Set and type(reply) is Written:
            return reply
        if kind is commands.Transaction:
            return self._line_told(reply)
        if isinstance(reply, CoordError):
            return reply
        if kind is commands.Outcome:
            return self._committed(reply)
        row = Item if _is_plan(self.command) else _ROWS.get(kind)
        if row is not None:
            return self._row(row, reply)
        if type(reply) not in _ANSWERS[kind]:
            raise Junk(f"{type(reply).__name__} is no answer to {kind.__name__}")
        if kind in _POINTS:
            return Point(reply.rev)  # type: ignore[union-attr]
        if kind is commands.Lock:
            return Granted(reply.rev)  # type: ignore[union-attr]
        if kind is commands.Add and reply.path is None:  # type: ignore[union-attr]
            raise Junk("an answer to Add names the node")
        return reply

    def _row(self, row: type, reply: Reply) -> Any:
        """Take one of several rows, or what closes them."""
        if self.rows is None:
            self.rows = []
        if type(reply) is row:
            self.rows.append(reply)
            return None
        if type(reply) is not End:
            raise Junk(f"{type(reply).__name__} is no row of {self.kind.__name__}")
        rows, self.rows = self.rows, None
        return _table(self.kind, reply.rev, rows)

    # -- transactions -----------------------------------------------------------------------------
    def _line_told(self, reply: Reply) -> Any:
        """Take the answer to a line of a transaction."""
        if self._left:
            self._left -= 1
            if self._first is None:
                self._first = reply
            elif not isinstance(reply, CoordError | Taken):
                self._is_astray = True
            return None
        if isinstance(self._first, CoordError):
            text = "its BEGIN was refused, and lines of the transaction were done by themselves"
            return Unknown(text) if self._is_astray else self._first
        if not isinstance(reply, CoordError):
            return self._committed(reply)
        looks = self._looks()
        due = len(self.rows or ())
        if due < len(looks) and looks[due] and isinstance(reply, _OF_A_LOOK):
            self.rows = [*(self.rows or ()), reply]
            return None
        if isinstance(reply, Aborted) and _TOO_MUCH.match(reply.text):
            return Overloaded(reply.text)  # the server had no room for it at that moment
        return reply

    def _looks(self) -> list[bool]:
        """Return of each row that the answer has whether it is what a ``GET`` saw."""
        command: Any = self.command
        write: Any = command.write if isinstance(command, commands.Once) else command
        return [
            isinstance(part, commands.Look)
            for part in write.parts
            if isinstance(part, commands.Look) or getattr(part, "sequential", False)
        ]

    def _committed(self, reply: Reply) -> Any:
        """Take a row of a transaction's answer, or its end."""
        rows = self.rows if self.rows is not None else []
        if isinstance(reply, Value):
            rows.append(reply)
        elif isinstance(reply, Item):
            try:
                rows.append(paths.decode(reply.text))
            except CoordError as error:
                raise Junk(error.text) from None
        elif isinstance(reply, Written):
            if self.kind is commands.Outcome and not rows:
                return reply
            return Committed(reply.rev, tuple(rows))
        else:
            raise Junk(f"{type(reply).__name__} is no answer to {self.kind.__name__}")
        self.rows = rows
        return None


def _is_plan(command: commands.Command) -> bool:
    return isinstance(command, commands.ChangeMembers) and command.plan


def _needs_tag(command: commands.Command) -> bool:
    kind = type(command)
    if isinstance(command, commands.Lock):
        return command.wait_ms > 0
    if isinstance(command, commands.Session):
        return not command.end
    return kind not in _IN_ORDER_UNLESS_LOCAL or getattr(command, "local", False)


def _table(kind: type, rev: int, rows: list[Any]) -> Names | Page | Items | Entries:
    if kind is commands.Walk:
        return Page(rev, tuple(rows))
    try:
        if kind is commands.List:
            return Names(rev, tuple(paths.decode(b"/" + row.text)[1:] for row in rows))
        if kind is commands.Log or kind is commands.Blame:
            return Entries(rev, tuple(_entry(row.text) for row in rows))
    except (CoordError, ValueError) as error:
        raise Junk(str(error)) from None
    return Items(rev, tuple(row.text.decode("utf-8", "replace") for row in rows))


def _entry(text: bytes) -> Entry:
    """Return one change from ``rev path verb author time``."""
    rev, path, verb, author, time = text.split(b" ")
    said = time.decode("ascii")
    if not _TIME.fullmatch(said):
        raise Junk(f"no time: {said[:40]}")
    moment = datetime.fromisoformat(said.removesuffix("Z")).replace(tzinfo=UTC)
    time_ms = round(moment.timestamp() * 1000)
    who = "" if author == b"-" else unquote(author.decode())
    return Entry(int(rev), paths.decode(path), verb.decode().removesuffix("-"), who, time_ms)
