"""A write with an id is done at most once, and all who ask for it are answered alike."""

from __future__ import annotations

from collections.abc import Iterator

from coord.commands import Add, Delete, Lock, Once, Outcome, Revert, Set, Unlock
from coord.errors import NoEntry, NoSession, SessionExpired
from coord.events import Kind
from coord.results import Committed, Granted, Queued, Written
from coord.simulation.chronicle import Chronicle
from coord.simulation.deeds import Deed, Ledger


def check(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    """Return the writes that were done twice, or answered in two ways, or not as answered."""
    return [
        *_doubled(chronicle),
        *_answers(ledger),
        *_undone(chronicle, ledger),
        *_reverted(chronicle, ledger),
    ]


def _doubled(chronicle: Chronicle) -> Iterator[str]:
    """Yield the values that came more than once; a lock's node may be set back."""
    seen: dict[bytes, int] = {}
    for change in chronicle.changes:
        event = change.event
        if event.value is None or not event.path.startswith(("/e/", "/t/", "/g/", "/x/")):
            continue
        if event.value in seen:
            yield f"once: {event!r} was made at revision {seen[event.value]} already"
        seen[event.value] = event.rev


def _answers(ledger: Ledger) -> Iterator[str]:
    """Yield the ids with which two things were answered."""
    known: dict[tuple[str, str], Deed] = {}
    for deed in sorted(ledger.deeds, key=lambda one: one.told or 0):
        command = deed.command
        if not isinstance(command, Once | Outcome) or deed.is_open or deed.is_refused:
            continue
        if isinstance(deed.outcome, SessionExpired | NoSession):
            continue
        first = known.get((deed.session, command.word))
        if first is None:
            if not (isinstance(command, Outcome) and isinstance(deed.outcome, NoEntry)):
                known[deed.session, command.word] = deed
        elif not _alike(first, deed):
            yield f"once: {deed.describe()} was answered before: {first.describe()}"


def _alike(first: Deed, again: Deed) -> bool:
    """Say whether an id may be answered so, after it was answered otherwise."""
    if isinstance(first.outcome, Queued) and not isinstance(again.outcome, NoEntry):
        return True  # the place has become a lock, or is over
    if isinstance(again.command, Outcome) and first.told is not None and again.asked < first.told:
        return True
    return first.outcome == again.outcome


def _undone(chronicle: Chronicle, ledger: Ledger) -> Iterator[str]:
    """Yield what was answered as done and is not in the history so."""
    for deed in ledger.deeds:
        outcome, write = deed.outcome, deed.write
        if isinstance(outcome, Granted) and isinstance(write, Lock):
            continue  # the judge of locks looks at tokens
        if not isinstance(outcome, Written | Committed) or isinstance(write, Unlock):
            continue
        changes = {change.event.path: change.event for change in chronicle.at(outcome.rev)}
        for part in deed.parts():
            if isinstance(part, Set | Add) and isinstance(outcome, Written):
                event = changes.get(outcome.path or part.path)
                if event is None or event.value != part.value:
                    yield f"durability: nobody has {deed.describe()}, but {event!r}"
            elif isinstance(part, Delete) and isinstance(outcome, Written) and not part.tree:
                event = changes.get(part.path)
                is_lock = part.path.startswith("/l/")
                if event is None or not (event.kind is Kind.DEL or is_lock):
                    yield f"durability: nobody has {deed.describe()}, but {event!r}"


def _reverted(chronicle: Chronicle, ledger: Ledger) -> Iterator[str]:
    """Yield what was set back to anything but what it held."""
    timeline = chronicle.timeline()
    for deed in ledger.deeds:
        if isinstance(deed.write, Revert) and isinstance(deed.outcome, Written):
            held = timeline.held(deed.write.path, deed.write.rev)
            event = timeline.event(deed.outcome.rev, deed.write.path)
            if held is None or event is None or event.value != held[1]:
                yield f"durability: {deed.describe()}: it held {held!r}, and {event!r} was done"
