"""What was answered OK is in the history of every node, as it was answered."""

from __future__ import annotations

from collections.abc import Iterable

from coord.commands import Add, Delete, Set
from coord.results import Written
from coord.simulation.history import Operation, Timeline


def check(operations: Iterable[Operation], timelines: dict[str, Timeline]) -> list[str]:
    """Return the answered writes that some node does not have, or has otherwise."""
    written = [one for one in operations if isinstance(one.outcome, Written)]
    return [
        f"durability: {node} has lost {operation.describe()}"
        for node, timeline in timelines.items()
        for operation in written
        if not shows(timeline, operation)
    ]


def shows(timeline: Timeline, operation: Operation) -> bool:
    """Say whether a history holds what an operation was told that it had done."""
    command, outcome = operation.command, operation.outcome
    assert isinstance(outcome, Written)
    assert isinstance(command, Set | Add | Delete)
    if isinstance(command, Delete) and command.tree:
        events = timeline.at_rev.get(outcome.rev, [])
        below = [event for event in events if event.path.startswith(command.path + "/")]
        return bool(below) and all(event.value is None for event in events)
    event = timeline.event(outcome.rev, outcome.path or command.path)
    if event is None:
        return False
    return event.value == (None if isinstance(command, Delete) else command.value)
