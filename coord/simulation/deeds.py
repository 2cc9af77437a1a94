"""What clients with sessions did, were told, and believe of their locks.

Times are true seconds of the world; the promises that the judges hold a run to are made in those.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from coord.commands import Add, Caller, Lock, Once, Part, Set, Transaction
from coord.commands import Command as AnyCommand
from coord.errors import CoordError, Overloaded, Unavailable, Unknown
from coord.events import SessionEvent
from coord.results import Granted, Result


class Deed(msgspec.Struct, kw_only=True):
    """One command of a client with a session. A retry with the same id is a deed of its own.

    ``asked_at`` and ``told_at`` are seconds, ``asked`` and ``told`` moments of the run.
    """

    client: str
    caller: Caller
    node: str
    command: AnyCommand
    asked: int
    asked_at: float
    told: int | None = None
    told_at: float | None = None
    outcome: Result | None = None

    @property
    def session(self) -> str:
        """The session of its client then."""
        return self.caller.session

    @property
    def write(self) -> AnyCommand:
        """What was asked, without the id."""
        return self.command.write if isinstance(self.command, Once) else self.command

    @property
    def is_open(self) -> bool:
        """Whether it is not known if it was done."""
        return self.outcome is None or isinstance(self.outcome, Unknown)

    @property
    def is_refused(self) -> bool:
        """Whether it was certainly not done, by no fault of its own."""
        return isinstance(self.outcome, Unavailable | Overloaded)

    @property
    def is_denied(self) -> bool:
        """Whether the store itself said no."""
        return isinstance(self.outcome, CoordError) and not (self.is_open or self.is_refused)

    def parts(self) -> tuple[AnyCommand | Part, ...]:
        """Return what it asked for, line by line."""
        write = self.write
        return write.parts if isinstance(write, Transaction) else (write,)

    def values(self) -> Iterator[bytes]:
        """Yield the values that it would write, each of them unique in a run."""
        for part in self.parts():
            if isinstance(part, Set | Add | Lock) and part.value is not None:
                yield part.value

    def describe(self) -> str:
        """Return the deed in one line."""
        return (
            f"{self.client} in {self.session[:6]} on {self.node}"
            f" [{self.asked_at:.3f}..{self.told_at or 0:.3f}] {self.command!r} -> {self.outcome!r}"
        )


class Hold(msgspec.Struct, kw_only=True):
    """A lock as its client believes to hold it: from when it was told, for as long as it has
    been promised that its session lives, and until it gave the lock up.
    """

    client: str
    session: str
    path: str
    shared: bool
    token: int
    told_at: float
    given_up_at: float | None = None


class Asking(msgspec.Struct, kw_only=True):
    """One request to keep a session, as a node took it.

    ``left_at`` is when its client had nothing to do with that node any more.
    """

    node: str
    asked_at: float
    answered_at: float | None = None
    left_at: float | None = None

    def is_open_at(self, seconds: float) -> bool:
        """Say whether its client still waited for an answer then."""
        answered = self.answered_at is not None and self.answered_at <= seconds
        return not answered and not (self.left_at is not None and self.left_at <= seconds)


class Attached(msgspec.Struct, kw_only=True):
    """The time in which a client with its session was connected to one node."""

    node: str
    since: float
    until: float | None = None


class SessionLife(msgspec.Struct, kw_only=True):
    """One session as its client knows it.

    ``keeps`` are when each confirmed request to keep it was sent; ``last_word_at`` when the
    client was last heard of at all; ``ended_at`` when it asked for the end.
    """

    client: str
    session: str
    timeout_seconds: float
    opened_at: float
    own: bool
    keeps: list[float]
    last_word_at: float
    troubles: list[tuple[float, str, SessionEvent]]
    ended_at: float | None = None
    asked: list[Asking] = msgspec.field(default_factory=list)
    attached: list[Attached] = msgspec.field(default_factory=list)

    def leave(self, seconds: float) -> None:
        """Note that its client has nothing to do with the node any more that it was at."""
        for one in self.asked:
            one.left_at = one.left_at or seconds
        for other in self.attached:
            other.until = other.until or seconds

    @property
    def lives_until(self) -> float:
        """Return how long it was promised to live."""
        return max([self.opened_at, *self.keeps]) + self.timeout_seconds


class Ledger:
    """All that clients with sessions have to tell the judges."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []
        self.holds: list[Hold] = []
        self.lives: dict[str, SessionLife] = {}
        self.waits: list[tuple[Deed, float, Granted | CoordError]] = []
        """What came of a place in a queue, and when its client was told."""

    def by_value(self) -> dict[bytes, Deed]:
        """Return the first deed that asked for each value."""
        found: dict[bytes, Deed] = {}
        for deed in self.deeds:
            for value in deed.values():
                found.setdefault(value, deed)
        return found
