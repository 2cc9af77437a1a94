"""``LOG`` tells what happened, by whom: newest first, and as far back as history is kept."""

from __future__ import annotations

from coord.commands import Log
from coord.limits import HISTORY_REVISIONS
from coord.paths import Glob
from coord.results import Entry
from coord.simulation.chronicle import Chronicle
from coord.simulation.deeds import Deed
from coord.simulation.history import Names, Operation


def check_blame(deeds: list[Deed], chronicle: Chronicle) -> list[str]:
    """Return where ``BLAME`` told of who did something else, or nothing."""
    return [
        f"log: {deed.describe()}"
        for deed in deeds
        if isinstance(deed.outcome, Entry)
        and deed.outcome not in [change.entry for change in chronicle.at(deed.outcome.rev)]
    ]


def check(operations: list[Operation], chronicle: Chronicle, history_revisions: int) -> list[str]:
    """Return the logs that were not so."""
    found = []
    for operation in operations:
        command, outcome = operation.command, operation.outcome
        if not isinstance(command, Log) or not isinstance(outcome, Names) or operation.is_guest:
            continue
        glob = Glob.parse(command.glob.encode())
        oldest = max(0, outcome.rev - history_revisions + 1)
        entries = [
            change.entry
            for rev in range(outcome.rev, oldest, -1)
            for change in chronicle.at(rev)
            if glob.matches(change.event.path)
        ]
        wanted = tuple(entries[: command.limit])
        if history_revisions < HISTORY_REVISIONS:
            # What history let go of before it was looked at is further back than that goes.
            wanted = wanted[: len(outcome.rows)]
        if outcome.rows != wanted:
            found.append(f"log: {operation.describe()}, and it was {entries[: command.limit]!r}")
    return found
