"""What tests of the whole store draw: callers with and without sessions, locks, transactions.

``Known`` is what a life has met so far, so that much of what is drawn makes sense: sessions
that are open, tokens that were given, revisions of nodes, spans of time under way.
"""

from __future__ import annotations

from random import Random
from typing import Any

from coord.commands import (
    Add,
    Caller,
    Check,
    Delete,
    EndSession,
    Lapse,
    Level,
    Lock,
    Look,
    Once,
    Revert,
    Set,
    Transaction,
    Unlock,
)
from coord.store.news import Delay, Lifetime, Patience
from tests.store.strategies import GLOBS, a_back, a_path, a_write

WHO = ("ann", "bob", "anonymous")
RULES = (
    b"",
    b"# nobody in particular\n\n",
    b"* may read /**\nann may write /a/**\nann write /a\nbob admin /**",
    b"* write /**",
    b"ann may write /*\nbob read /a/b\nanonymous may read /b*\nbob admin /ctl/acl",
    b"bob may write /a/*/b\n* read /*\n",
    b"ann may fly /**",
    b"* write a",
)
LOCKS = ("/a", "/a", "/a/b", "/a/b", "/b", "/b", "/a!", "/")
VALUES = (b"", b"x", b"\x00\xff", b"word")
WORDS = ("once", "twice", "again", "w1", "w2")


class Known:
    """What a life has met so far."""

    def __init__(self) -> None:
        self.sessions: list[str] = []
        self.open: list[str] = []
        self.holds: list[tuple[str, str]] = []
        self.tokens: list[tuple[str, int]] = []
        self.spans: list[Any] = []
        self.rev = 0


def a_caller(dice: Random, known: Known) -> Caller:
    """Return who asks; mostly somebody who may, and often one with a session."""
    who = dice.choice(WHO)
    level = dice.choice((Level.ADMIN, Level.ADMIN, Level.WRITE, Level.WRITE, Level.READ))
    level = Level.NONE if dice.random() < 0.03 else level
    session = ""
    if known.sessions and dice.random() < 0.85:
        some = known.open[-4:] if known.open and dice.random() < 0.9 else known.sessions[-4:]
        session = dice.choice(some)
    return Caller(who, f"h:{len(session)}", level, session)


def a_rev(dice: Random, known: Known) -> int:
    """Return a revision, often a recent one."""
    return max(0, known.rev - dice.choice((-1, 0, 0, 1, 2, 5, 9)))


def a_lock(dice: Random) -> Lock:
    """Return an attempt at one of a few locks."""
    value = dice.choice((None, *VALUES))
    shared, waits = dice.random() < 0.5, dice.random() < 0.7
    delay_ms = dice.choice((0, 0, 0, 700))
    return Lock(dice.choice(LOCKS), value, shared, 900 if waits else 0, delay_ms)


def a_transient(dice: Random) -> Set | Add:
    """Return a write of a node that goes by itself, or of what it takes it to stay."""
    ephemeral = dice.random() < 0.5
    ttl_ms = dice.choice((None, 0, 500, 800))
    if dice.random() < 0.5:
        return Set(a_path(dice), dice.choice(VALUES), None, ephemeral, ttl_ms)
    return Add(a_path(dice), dice.choice(VALUES), dice.random() < 0.3, ephemeral, ttl_ms)


def a_part(dice: Random, known: Known) -> Any:
    """Return a line of a transaction."""
    kind = dice.random()
    if kind < 0.2:
        return Look(a_path(dice))
    if kind < 0.3 and known.tokens:
        path, token = dice.choice(known.tokens[-5:])
        return Check(path, token=token if dice.random() < 0.9 else token + 1)
    if kind < 0.4:
        return Check(a_path(dice), a_rev(dice, known))
    if kind < 0.55:
        return a_transient(dice)
    return a_write(dice)


def a_lapse(dice: Random, known: Known) -> Lapse:
    """Return an end of some spans under way, and now and then of some long gone."""
    spans = dice.sample(known.spans, min(len(known.spans), dice.choice((0, 1, 1, 2))))
    sessions = dice.sample(known.sessions, min(len(known.sessions), dice.choice((0, 0, 0, 1))))
    return Lapse(
        sessions=tuple(sessions),
        nodes=tuple((one.path, one.rev) for one in spans if isinstance(one, Lifetime)),
        waits=tuple(
            (one.path, one.session, one.number) for one in spans if isinstance(one, Patience)
        ),
        delays=tuple((one.path, one.token) for one in spans if isinstance(one, Delay)),
    )


def a_plain_write(dice: Random, known: Known) -> Any:
    """Return a write that may have an id, from a client."""
    kind = dice.random()
    if kind < 0.3:
        return a_lock(dice)
    if kind < 0.42:
        return Unlock(dice.choice(LOCKS))
    if kind < 0.55:
        return a_transient(dice)
    if kind < 0.7:
        return Transaction(tuple(a_part(dice, known) for _ in range(dice.choice((1, 2, 3, 5)))))
    if kind < 0.74:
        if_rev = dice.choice((None, None, a_rev(dice, known)))
        return Revert(a_path(dice), a_rev(dice, known), if_rev, dice.choice(VALUES))
    if kind < 0.78:
        return Set(dice.choice(LOCKS), dice.choice(VALUES))
    if kind < 0.81:
        return Delete(dice.choice(LOCKS), None, dice.random() < 0.5)
    if kind < 0.84:
        return Set("/ctl/acl", dice.choice(RULES))
    return a_write(dice)


def _of_a_holder(dice: Random, known: Known, caller: Caller) -> tuple[Any, Caller]:
    """Return what somebody does with a lock that it holds."""
    session, path = dice.choice(known.holds)
    caller = Caller(caller.who, "h:9", Level.ADMIN, session)
    value, tree = dice.choice(VALUES), dice.random() < 0.5
    below = Set(f"{path.rstrip('/')}/{dice.choice(('a', 'b'))}", value)
    choices = (
        Unlock(path),
        Unlock(path),
        Unlock(path),
        Set(path, value),
        below,
        Delete(path, None, tree),
        Transaction((Set(path, value), a_part(dice, known), Delete(path, None, tree))),
        Transaction((Delete(path, None, tree), Set(path, value), a_part(dice, known))),
        Transaction((below, Delete(path, None, tree), below)),
        EndSession(session),
    )
    write: Any = dice.choice(choices)
    if dice.random() < 0.2 and not isinstance(write, EndSession):
        write = Once(dice.choice(WORDS), write)
    return write, caller


def a_whole_write(dice: Random, known: Known) -> tuple[Any, Caller]:
    """Return a write and who wants it, opening of sessions left out."""
    kind = dice.random()
    if kind < 0.08:
        return a_lapse(dice, known), Caller()
    caller = a_caller(dice, known)
    if kind < 0.2 and known.holds:
        return _of_a_holder(dice, known, caller)
    if kind < 0.23 and known.sessions:
        return EndSession(dice.choice(known.sessions)), caller
    if kind < 0.34:
        return Once(dice.choice(WORDS), a_plain_write(dice, known)), caller
    return a_plain_write(dice, known), caller


def a_whole_step(dice: Random, known: Known) -> tuple[Any, ...]:
    """Return a step in a life: the name of what to do, and what it takes."""
    if dice.random() < 0.5:
        return ("write", *a_whole_write(dice, known))
    glob, back, caller = dice.choice(GLOBS), a_back(dice), a_caller(dice, known)
    after, limit = dice.choice((None, None, a_path(dice))), dice.choice((None, None, 1, 3))
    draw: tuple[tuple[int, tuple[Any, ...]], ...] = (
        (4, ("open",)),
        (8, ("turn",)),
        (4, ("get", a_path(dice), back, caller)),
        (3, ("names", dice.choice(("/", "/ctl", a_path(dice))), back, caller)),
        (4, ("walk", glob, back, after, limit, caller)),
        (3, ("log", glob, limit, caller)),
        (2, ("blame", a_path(dice), caller)),
        (2, ("difference", glob, back, caller)),
        (3, ("ask_sessions", caller, dice.choice(WORDS))),
        (2, ("tables",)),
        (4, ("pull", dice.randrange(1, 5))),
        (2, ("drop", dice.randrange(3))),
        (3, ("watch", glob, back)),
        (2, ("look_back", glob, caller)),
        (5, ("take", dice.randrange(4), dice.randrange(1, 5))),
        (2, ("reload",)),
        (3, ("lasting",)),
        (5, ("image", dice.randrange(1, 3))),
    )
    return dice.choices([one for _, one in draw], weights=[weight for weight, _ in draw])[0]
