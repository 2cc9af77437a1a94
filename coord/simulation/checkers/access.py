"""Nobody does or sees what the rules forbid, as they are at the revision of the answer.

The rules of a run are simple ones, so that the judge needs no more than a look at each: the names
of clients, ``read`` and ``write``, and globs.
"""

from __future__ import annotations

from collections.abc import Iterator

from coord.commands import Get, List, Stat, Walk
from coord.errors import Denied
from coord.paths import Glob
from coord.results import Facts, Value, Written
from coord.simulation.checkers.watches import Watched
from coord.simulation.history import Operation, Picture, Timeline

RULES = "/ctl/acl"


def may(timeline: Timeline, rev: int, who: str, what: str, path: str) -> bool:
    """Say whether the rules of a revision let ``who`` read or write a path."""
    held = timeline.held(RULES, rev)
    lines = [] if held is None else [line.split() for line in held[1].decode().splitlines()]
    rules = [words for words in lines if words and words[0] != "#"]
    if not rules:
        return True
    wanted = ("read", "write") if what == "read" else ("write",)
    return any(
        name in (who, "*") and level in wanted and Glob.parse(glob.encode()).matches(path)
        for name, level, glob in rules
    )


def check(operations: list[Operation], timeline: Timeline) -> list[str]:
    """Return what was done or told against the rules, and what was refused without one."""
    return [line for one in operations if one.is_guest for line in _check(one, timeline)]


def check_watch(watched: Watched, timeline: Timeline) -> list[str]:
    """Return the events that a guest should not have seen, or not then."""
    found = []
    places = {event: number for number, event in enumerate(timeline.events)}
    last = -1
    for event in watched.events:
        place = places.get(event, -1)
        if place <= last:
            found.append(f"access: {watched.name} saw {event!r}, out of order or never so")
        revs = range(event.rev, timeline.last_rev + 1)
        if not any(may(timeline, rev, watched.name, "read", event.path) for rev in revs):
            found.append(f"access: {watched.name} saw {event!r}, and had no right to")
        last = max(last, place)
    return found


def _check(operation: Operation, timeline: Timeline) -> Iterator[str]:
    command, outcome, who = operation.command, operation.outcome, operation.client
    path = getattr(command, "path", "")
    match outcome:
        case Written():
            paths = [event.path for event in timeline.at_rev.get(outcome.rev, [])]
            if not all(may(timeline, outcome.rev - 1, who, "write", one) for one in paths):
                yield f"access: done without a right to it: {operation.describe()}"
        case Value() | Facts():
            revs = range(outcome.rev, timeline.last_rev + 1)
            if not any(may(timeline, rev, who, "read", path) for rev in revs):
                yield f"access: read without a right to it: {operation.describe()}"
        case Picture() if isinstance(command, Walk):
            revs = range(outcome.rev, timeline.last_rev + 1)
            for row in outcome.rows:
                if not any(may(timeline, rev, who, "read", row.path) for rev in revs):
                    yield f"access: {row.path} was shown: {operation.describe()}"
        case Denied() if not path.startswith("/ctl"):
            what = "read" if isinstance(command, Get | Stat | List) else "write"
            revs = range(timeline.last_rev + 1)
            if all(may(timeline, rev, who, what, path) for rev in revs):
                yield f"access: refused without a rule: {operation.describe()}"
        case _:
            pass
