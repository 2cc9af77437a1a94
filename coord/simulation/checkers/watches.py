"""A watcher sees every change that it asked for: in order, none missed, none twice."""

from __future__ import annotations

import msgspec

from coord.events import Event
from coord.paths import Glob
from coord.simulation.history import Timeline


class Watched(msgspec.Struct, kw_only=True):
    """What one watcher saw, on whatever nodes it watched.

    ``after_rev`` is the revision from which on it was to see everything; ``settled`` says
    that it was watching when all had come to rest, so that nothing may be missing at the end.
    """

    name: str
    glob: str
    after_rev: int
    events: list[Event]
    settled: bool = False


def check(watched: Watched, timeline: Timeline) -> list[str]:
    """Return where what a watcher saw differs from what happened."""
    glob = Glob.parse(watched.glob.encode())
    expected = [
        event
        for event in timeline.events
        if event.rev > watched.after_rev and glob.matches(event.path)
    ]
    for number, (seen, happened) in enumerate(zip(watched.events, expected, strict=False)):
        if seen != happened:
            where = f"event {number} of {watched.name} on {watched.glob}"
            return [f"watches: {where} was {seen!r} and should have been {happened!r}"]
    if len(watched.events) > len(expected):
        extra = watched.events[len(expected)]
        return [f"watches: {watched.name} on {watched.glob} saw {extra!r}, which never happened"]
    if watched.settled and len(watched.events) < len(expected):
        missed = expected[len(watched.events)]
        return [f"watches: {watched.name} on {watched.glob} never saw {missed!r}"]
    return []
