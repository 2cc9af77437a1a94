"""Sessions that wait for each other in a circle: what none of them can see by itself.

Who waits for a lock waits for its holders, and for those in line before it whose turn must end
first. A session that waits for nobody will go on; take it away, and then whoever waited for it
alone, and so on. What is left waits for itself. Where nobody waits for ever (``wait=``), such a
circle opens once the first has waited for long enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from coord.results import LockPlace, LockRow


@attrs.frozen
class Wait:
    """One session waits for another, at the lock ``path``: it holds that, or is before it."""

    session: str
    author: str
    path: str
    other: str
    is_held: bool


def deadlocks(locks: Iterable[LockRow]) -> list[list[Wait]]:
    """Return every circle of sessions that wait for each other, as the waits that make it.

    No session is in two of them: where circles meet one of them is told, for that has to be
    opened before any other can be.
    """
    waits: dict[str, list[Wait]] = {}
    for lock in locks:
        for wait in _waits(lock):
            waits.setdefault(wait.session, []).append(wait)
    found: list[list[Wait]] = []
    while True:
        _let_go(waits)
        if not waits:
            return found
        circle = _circle(waits)
        found.append(circle)
        for wait in circle:
            del waits[wait.session]


def _waits(lock: LockRow) -> Iterator[Wait]:
    """Yield who waits for whom at one lock, directly: what follows from that is left out.

    A lost holder is nobody's deadlock: its lock-delay ends by itself.
    """
    holders = [place for place in lock.holders if not place.is_lost]
    behind: list[tuple[LockPlace, bool]] = [(one, True) for one in holders]
    gate = [(one, True) for one in holders if not one.shared]
    for place in lock.queue:
        for other, is_held in gate if place.shared else behind:
            if other.session != place.session:
                yield Wait(place.session, place.author, lock.path, other.session, is_held)
        if place.shared:
            behind.append((place, False))
        else:
            behind = gate = [(place, False)]


def _let_go(waits: dict[str, list[Wait]]) -> None:
    """Take away, one after the other, all who wait for nobody that is left."""
    waiting_for: dict[str, list[str]] = {}
    count: dict[str, int] = {}
    for session, some in waits.items():
        count[session] = sum(wait.other in waits for wait in some)
        for wait in some:
            waiting_for.setdefault(wait.other, []).append(session)
    free = [session for session, number in count.items() if not number]
    while free:
        session = free.pop()
        del waits[session]
        for other in waiting_for.get(session, ()):
            count[other] -= 1
            if not count[other]:
                free.append(other)


def _circle(waits: dict[str, list[Wait]]) -> list[Wait]:
    """Return one circle of a graph in which everybody waits for somebody."""
    way: dict[str, Wait] = {}
    session = min(waits)
    while session not in way:
        way[session] = next(wait for wait in waits[session] if wait.other in waits)
        session = way[session].other
    steps = list(way.values())
    return steps[list(way).index(session) :]


def described(circle: Sequence[Wait]) -> list[str]:
    """Return a deadlock in lines: first that it is one, then who waits for whom."""
    names = ", ".join(sorted({wait.path for wait in circle}))
    return [
        f"DEADLOCK: {len(circle)} sessions wait for each other, at {names}",
        *map(_described, circle),
    ]


def _described(wait: Wait) -> str:
    how = "held by" if wait.is_held else "in line behind"
    return f"  {wait.session} ({wait.author}) waits for {wait.path}, {how} {wait.other}"
