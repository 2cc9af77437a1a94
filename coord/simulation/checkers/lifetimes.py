"""What lasts for a time is never over early: nodes with a ``ttl``, places in queues."""

from __future__ import annotations

from coord.commands import Set
from coord.errors import TimedOut
from coord.events import Kind
from coord.results import Queued
from coord.simulation.chronicle import Chronicle
from coord.simulation.deeds import Ledger
from coord.store.news import Patience


def check(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    """Return what was over before its time."""
    return _nodes(chronicle, ledger) + _waits(chronicle, ledger)


def _nodes(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    by_value = ledger.by_value()
    spans_ms: dict[str, int] = {}
    changed_at: dict[str, float] = {}
    found: list[str] = []
    for change in chronicle.changes:
        event = change.event
        if not event.path.startswith("/t/"):
            continue
        if event.kind is Kind.SET:
            deed = by_value.get(event.value or b"")
            write = deed.write if deed is not None else None
            if isinstance(write, Set) and write.ttl_ms is not None:
                spans_ms[event.path] = write.ttl_ms
            changed_at[event.path] = change.seconds
            continue
        span_ms = spans_ms.pop(event.path, 0)
        lived = change.seconds - changed_at.pop(event.path)
        if change.entry.verb == "EXPIRE" and not lived * 1000 >= span_ms > 0:
            found.append(f"lifetimes: {event!r} after {lived:.3f} s, its ttl was {span_ms} ms")
    return found


def _waits(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    places = {
        one.number: (one, seconds)
        for one, seconds in chronicle.begun.items()
        if isinstance(one, Patience)
    }
    found = []
    for deed, told_at, result in ledger.waits:
        if isinstance(result, TimedOut) and isinstance(deed.outcome, Queued):
            place, begun_at = places[deed.outcome.number]
            waited = told_at - begun_at
            if waited * 1000 < place.span_ms:
                found.append(f"lifetimes: {place!r} was over after {waited:.3f} s")
    return found
