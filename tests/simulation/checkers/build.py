"""Histories made by hand."""

from __future__ import annotations

from coord.commands import Command
from coord.events import Event, Kind
from coord.simulation.history import History, Operation, Outcome, Timeline


def told(
    history: History,
    invoked: int,
    returned: int | None,
    command: Command,
    outcome: Outcome,
    client: str = "c",
) -> Operation:
    """Add one command that stands alone, and return it."""
    operation = Operation(
        client=client,
        connection=0,
        group=len(history.operations) + 1000,
        index=0,
        node="n1",
        command=command,
        invoked=invoked,
        returned=returned,
        outcome=outcome,
    )
    history.operations.append(operation)
    return operation


def timeline(*changes: tuple[int, str, bytes | None]) -> Timeline:
    """Return a history of (revision, path, value or ``None`` for a deletion)."""
    return Timeline(
        Event(rev, Kind.DEL if value is None else Kind.SET, path, value)
        for rev, path, value in changes
    )
