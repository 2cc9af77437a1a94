"""A watcher sees every change that it asked for: in order, none missed, none twice."""

from __future__ import annotations

import msgspec

from coord.events import Event
from coord.paths import Glob
from coord.results import Row
from coord.simulation.history import Timeline


class Watched(msgspec.Struct, kw_only=True):
    """What one watcher saw, on whatever nodes it watched.

    ``after_rev`` is the revision from which on it was to see everything; ``settled`` says
    that it was watching when all had come to rest, so that nothing may be missing at the end.
    Where history did not go back to where it was before, at ``difference_after_rev``, it was told
    the ``difference`` instead.
    """

    name: str
    glob: str
    after_rev: int
    events: list[Event]
    settled: bool = False
    difference: tuple[Row | str, ...] | None = None
    difference_after_rev: int = 0

    def whole_until(self) -> int:
        """Return the last revision of which all was seen, and forget what was seen after it.

        The last one may have had more events than were taken; they come again.
        """
        if self.events:
            last = self.events[-1].rev
            self.events = [event for event in self.events if event.rev < last]
            return max(last - 1, self.after_rev)
        return self.after_rev


def check(watched: Watched, timeline: Timeline) -> list[str]:
    """Return where what a watcher saw differs from what happened."""
    return _check_difference(watched, timeline) or _check_events(watched, timeline)


def _check_difference(watched: Watched, timeline: Timeline) -> list[str]:
    if watched.difference is None:
        return []
    expected = tuple(
        row if row.rev > watched.difference_after_rev else row.path
        for row in timeline.rows(watched.glob, watched.after_rev)
    )
    if watched.difference == expected:
        return []
    where = f"{watched.name} on {watched.glob} after {watched.difference_after_rev}"
    return [f"watches: {where} differed by {watched.difference!r}, and should by {expected!r}"]


def _check_events(watched: Watched, timeline: Timeline) -> list[str]:
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
