"""Every change in the history was asked for, and none was made twice.

Values are unique in a simulated run, so a change that set a value names the operation that
asked for it. A deletion has no value: those that nobody was told of may be as many as there
are deletions of that path whose outcome nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from coord.commands import Add, Delete, Set
from coord.events import Event
from coord.results import Written
from coord.simulation.history import Operation, Timeline

OTHERS: Final = ("/ctl/", "/e/", "/g/", "/l/", "/r/", "/t/", "/x/")
"""What the cluster writes, and clients with sessions, who have a judge of their own."""


def check(operations: Iterable[Operation], timeline: Timeline) -> list[str]:
    """Return the changes that nobody asked for, or that were made again."""
    writes = [one for one in operations if one.is_write]
    events = [event for event in timeline.events if not event.path.startswith(OTHERS)]
    return _check_values(writes, events) + _check_deletions(writes, events)


def _check_values(writes: list[Operation], events: list[Event]) -> list[str]:
    askers = {one.command.value: one for one in writes if isinstance(one.command, Set | Add)}
    found: list[str] = []
    seen: dict[bytes, int] = {}
    for event in events:
        if event.value is None:
            continue
        asker = askers.get(event.value)
        if event.value in seen:
            first = seen[event.value]
            found.append(f"at most once: {event!r} was made at revision {first} already")
        elif asker is None:
            found.append(f"at most once: nobody asked for {event!r}")
        elif not may_have_made(asker, event):
            found.append(f"at most once: {event!r} was made for {asker.describe()}")
        seen.setdefault(event.value, event.rev)
    return found


def may_have_made(operation: Operation, event: Event) -> bool:
    """Say whether what an operation's client was told allows this change to be its own."""
    if operation.is_open:
        return True
    outcome = operation.outcome
    return isinstance(outcome, Written) and outcome.rev == event.rev


def _check_deletions(writes: list[Operation], events: list[Event]) -> list[str]:
    deletions = [one for one in writes if isinstance(one.command, Delete)]
    told = {one.outcome.rev for one in deletions if isinstance(one.outcome, Written)}
    open_ones = Counter(one.command.path for one in deletions if one.is_open)  # type: ignore[union-attr]
    trees = open_ones.pop("/q", 0)
    late = {one.rev for one in events if one.value is None and one.path.startswith("/q/")} - told
    if len(late) <= trees:
        told |= late
    untold = Counter(one.path for one in events if one.value is None and one.rev not in told)
    return [
        f"at most once: {number} deletions of {path} of which nobody was told,"
        f" and {open_ones[path]} that were asked for without an answer"
        for path, number in sorted(untold.items())
        if number > open_ones[path]
    ]
