"""What clients asked and were told, and what the store says happened.

An `Operation` is one command as its client saw it. Its moments number the run's
invocations and answers, so that "answered before the other was invoked" is a comparison of
two numbers. `Timeline` is a store's kept history, which tells the state of every path after
every revision.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from coord.commands import Add, Command, Delete, Set
from coord.errors import CoordError, Overloaded, Unavailable, Unknown
from coord.events import Event
from coord.paths import Glob, order_key
from coord.results import Entry, Facts, Point, Row, Value, Written


class Picture(msgspec.Struct, frozen=True):
    """The rows of a walk, taken to the end, and their revision."""

    rev: int
    rows: tuple[Row, ...]


class Names(msgspec.Struct, frozen=True):
    """The rows of a list or a log, taken to the end, and their revision."""

    rev: int
    rows: tuple[str | Entry, ...]


Outcome: TypeAlias = Written | Value | Point | Facts | Picture | Names | CoordError | None


class Operation(msgspec.Struct, kw_only=True):
    """One command of one client.

    ``outcome`` is ``None`` and ``returned`` too while nobody has told its client anything.
    Commands of one ``group`` were sent at one moment, in this order (``index``) and are
    answered at one moment. A guest is a client whom the rules of access concern.
    """

    client: str
    connection: int
    group: int
    index: int
    node: str
    command: Command
    invoked: int
    returned: int | None = None
    outcome: Outcome = None
    is_guest: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is not known if it was done."""
        return self.outcome is None or isinstance(self.outcome, Unknown)

    @property
    def is_refused(self) -> bool:
        """Whether it was certainly never done."""
        return isinstance(self.outcome, Unavailable | Overloaded)

    @property
    def is_write(self) -> bool:
        """Whether it can change the store."""
        return isinstance(self.command, Set | Add | Delete)

    def describe(self) -> str:
        """Return the operation in one line."""
        told = "nothing" if self.outcome is None else repr(self.outcome)
        return (
            f"{self.client} on {self.node} [{self.invoked}..{self.returned}]"
            f" {self.command!r} -> {told}"
        )


class History:
    """All operations of a run, in the order of their invocation."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def groups(self) -> list[list[Operation]]:
        """Return the operations by group, groups in the order of their invocation."""
        found: dict[int, list[Operation]] = {}
        for operation in self.operations:
            found.setdefault(operation.group, []).append(operation)
        return list(found.values())


Held: TypeAlias = tuple[int, bytes] | None
"""What a path holds: the revision that last changed it and its value; or nothing."""


class Span(msgspec.Struct, frozen=True):
    """A path held ``held`` after each revision from ``first`` to ``last`` (``None``: to now)."""

    first: int
    last: int | None
    held: Held


class Timeline:
    """The history of a store: what every path held after every revision."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = tuple(events)
        self.at_rev: dict[int, list[Event]] = {}
        self._revs: dict[str, list[int]] = {}
        self._held: dict[str, list[Held]] = {}
        for event in self.events:
            self.at_rev.setdefault(event.rev, []).append(event)
            held = None if event.value is None else (event.rev, event.value)
            self._revs.setdefault(event.path, []).append(event.rev)
            self._held.setdefault(event.path, []).append(held)
        self.last_rev = self.events[-1].rev if self.events else 0

    def held(self, path: str, rev: int) -> Held:
        """Return what ``path`` held after revision ``rev``."""
        index = bisect_right(self._revs.get(path, ()), rev) - 1
        return self._held[path][index] if index >= 0 else None

    def event(self, rev: int, path: str) -> Event | None:
        """Return what happened to ``path`` at ``rev``."""
        return next((one for one in self.at_rev.get(rev, ()) if one.path == path), None)

    def spans(self, path: str, rev: int = 0) -> Iterator[Span]:
        """Return what ``path`` held from revision ``rev`` on, span by span."""
        revs, held = self._revs.get(path, []), self._held.get(path, [])
        index = bisect_right(revs, rev) - 1
        while index < len(revs):
            first = revs[index] if index >= 0 else 0
            last = revs[index + 1] - 1 if index + 1 < len(revs) else None
            yield Span(first, last, held[index] if index >= 0 else None)
            index += 1

    def names(self, path: str, rev: int) -> tuple[str, ...]:
        """Return the names of a path's children at ``rev``: something below them has a value."""
        cut = len(path) + 1
        below = (one for one in self._revs if one.startswith(path + "/"))
        held = {one[cut:].split("/")[0] for one in below if self.held(one, rev) is not None}
        return tuple(sorted(held))

    def rows(self, glob: str, rev: int) -> tuple[Row, ...]:
        """Return what a walk over ``glob`` shows at ``rev``."""
        wanted = Glob.parse(glob.encode())
        paths = sorted((path for path in self._revs if wanted.matches(path)), key=order_key)
        held = [(path, self.held(path, rev)) for path in paths]
        return tuple(Row(path, one[0], one[1]) for path, one in held if one is not None)
