"""What clients with sessions ask for: the dice, and which words go with which names.

Every value is unique in a run, so that a change in the history names the request which asked for
it, but for what is reverted. ``/e`` holds ephemeral nodes, ``/t`` nodes with a lifetime, ``/l``
locks, ``/g`` what is written under a lock's token, ``/x`` what is written all at once, ``/r``
what is set back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final

from coord.commands import (
    Add,
    Blame,
    Check,
    Delete,
    EndSession,
    List,
    Lock,
    Log,
    Look,
    Once,
    Outcome,
    Part,
    Revert,
    Set,
    Stat,
    Transaction,
    Unlock,
)
from coord.commands import Command as AnyCommand
from coord.results import Items, Result, Rows, Written
from coord.simulation.deeds import Hold

LOCKS: Final = ("/l/a", "/l/b", "/l/c")
EPHEMERAL: Final = ("/e/a", "/e/b", "/e/c", "/e/d/x", "/e/d/y")
TRANSIENT: Final = ("/t/a", "/t/b", "/t/c")
TOGETHER: Final = ("/x/a", "/x/b/c", "/x/d")
REVERTED: Final = "/r/a"
LIFETIMES_MS: Final = (300, 700, 1500)
WAITS_MS: Final = (0, 0, 400, 2000, 2000)
DELAYS_MS: Final = (0, 0, 0, 300, 900)
MENU: Final = (
    ("ephemeral", 14),
    ("transient", 9),
    ("lock", 22),
    ("unlock", 10),
    ("change lock", 4),
    ("guarded", 10),
    ("together", 9),
    ("delete", 6),
    ("look around", 6),
    ("revert", 5),
    ("outcome", 4),
    ("again", 5),
    ("end", 2),
)
DELETIONS: Final = (
    *(Delete(path) for path in (*EPHEMERAL, *TRANSIENT, *TOGETHER)),
    *(Delete(path, tree=True) for path in ("/x", "/e/d") * 2),
)
_NAMES: Final = [name for name, _ in MENU]
_WEIGHTS: Final = [weight for _, weight in MENU]


class Errands:
    """Makes up what one client asks for next."""

    def __init__(self, client: str, dice: random.Random) -> None:
        self._client = client
        self._dice = dice
        self._written = 0
        self._words: list[str] = []
        self._named: Once | None = None
        self._session = ""
        self._rev = 1
        self._makers: dict[str, Callable[[], AnyCommand]] = {
            "ephemeral": self._ephemeral,
            "transient": self._transient,
            "lock": self._lock,
            "together": self._together,
            "delete": self._delete,
            "look around": self._look_around,
            "revert": self._revert,
        }

    def next(self, session: str, holds: dict[str, Hold]) -> AnyCommand:
        """Return a command for a client with these locks."""
        if session != self._session:
            self._session, self._words, self._named = session, [], None
        name = self._dice.choices(_NAMES, _WEIGHTS)[0]
        command = self._make(name, session, holds)
        releases = bool(self.gives_up(command, holds)) or isinstance(command, Unlock)
        if _may_be_named(command) and (releases or self._dice.random() < 0.4):
            self._words.append(f"{self._client}.{len(self._words)}")
            named = Once(self._words[-1], command)  # type: ignore[arg-type]
            if not isinstance(command, Lock):  # whose answer may be of a lock given up since
                self._named = named
            return named
        return command

    def ends(self, command: AnyCommand) -> bool:
        """Say whether a command ends the session."""
        return isinstance(command, EndSession)

    def gives_up(self, write: AnyCommand, holds: Iterable[str]) -> list[str]:
        """Return the locks that a write gives up if it is done."""
        parts: tuple[AnyCommand | Part, ...] = (write,)
        if isinstance(write, Transaction):
            parts = write.parts
        named = {part.path for part in parts if isinstance(part, Unlock | Delete)}
        return [path for path in holds if path in named or (_ends_all(write))]

    def taken(self, result: Result) -> Result:
        """Return a result with its rows, if it has any, taken to the end."""
        if isinstance(result, Written):
            self._rev = result.rev
        if not isinstance(result, Rows):
            return result
        rows = tuple(_shown(row) for row in result.rows if row is not None)
        return Items(result.rev, rows)

    def _value(self) -> bytes:
        self._written += 1
        return f"{self._client}:{self._written}".encode()

    def _make(self, name: str, session: str, holds: dict[str, Hold]) -> AnyCommand:
        dice = self._dice
        match name:
            case "unlock":
                return Unlock(dice.choice(list(holds) or LOCKS))
            case "change lock":
                path = dice.choice((*holds, *LOCKS))
                return dice.choice((Set(path, self._value()), Delete(path)))
            case "guarded":
                return self._guarded(holds)
            case "outcome":
                return Outcome(dice.choice([*self._words[-3:], "never"]))
            case "again":
                return self._named or self._ephemeral()
            case "end":
                return EndSession(session)
            case _:
                return self._makers[name]()

    def _transient(self) -> Set:
        ttl_ms = self._dice.choice((None, *LIFETIMES_MS))
        return Set(self._dice.choice(TRANSIENT), self._value(), ttl_ms=ttl_ms)

    def _delete(self) -> Delete:
        return self._dice.choice(DELETIONS)

    def _ephemeral(self) -> AnyCommand:
        if self._dice.random() < 0.3:
            return Add("/e/n-", self._value(), sequential=True, ephemeral=True)
        ephemeral = self._dice.random() < 0.8
        return Set(self._dice.choice(EPHEMERAL), self._value(), ephemeral=ephemeral)

    def _revert(self) -> AnyCommand:
        """Write what a node held some time ago, or something that may be set back later."""
        if self._dice.random() < 0.4:
            return Set(REVERTED, self._value())
        return Revert(REVERTED, rev=max(1, self._rev - self._dice.randrange(60)))

    def _lock(self) -> Lock:
        dice = self._dice
        return Lock(
            dice.choice(LOCKS),
            self._value(),
            shared=dice.random() < 0.4,
            wait_ms=dice.choice(WAITS_MS),
            delay_ms=dice.choice(DELAYS_MS),
        )

    def _guarded(self, holds: dict[str, Hold]) -> AnyCommand:
        """Write under a lock that is held, and now and then under one that was."""
        if not holds:
            return self._lock()
        hold = holds[self._dice.choice(list(holds))]
        token = hold.token - (1 if self._dice.random() < 0.05 else 0)
        guarded = f"/g/{hold.path[3:]}"
        check, write = Check(hold.path, token=token), Set(guarded, self._value())
        return Transaction((check, Look(guarded), write))

    def _together(self) -> Transaction:
        """Write several nodes, some of them by ways that may fail."""
        sets = [Set(path, self._value()) for path in TOGETHER]
        last = self._dice.choice(
            (
                Add("/x/n-", self._value(), sequential=True),
                Add("/x/e", self._value(), ephemeral=True),
                Delete("/x/e"),
                Check("/x/a", if_rev=0),
                Set("/x/d", self._value()),
            )
        )
        return Transaction((Look("/x/a"), Look("/x/d"), *sets, last))

    def _look_around(self) -> AnyCommand:
        return self._dice.choice(
            (
                List("/e"),
                List("/l"),
                Log("/l/*", limit=5),
                Log("/**", limit=3),
                Blame("/g/a"),
                Stat("/l/a"),
                Stat("/e/a"),
            )
        )


def _may_be_named(command: AnyCommand) -> bool:
    return isinstance(command, Set | Add | Delete | Lock | Unlock | Transaction | Revert)


def _ends_all(command: AnyCommand) -> bool:
    return isinstance(command, EndSession)


def _shown(row: object) -> str:
    return row if isinstance(row, str) else repr(row)
