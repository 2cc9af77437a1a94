"""Transactions are done at one revision or not at all, and what they saw was so."""

from __future__ import annotations

from collections.abc import Iterator

from coord.commands import Check, Look, Transaction
from coord.errors import CoordError, NoEntry, NoSession, SessionExpired
from coord.results import Committed, Value
from coord.simulation.checkers.locks import Locks
from coord.simulation.chronicle import Chronicle
from coord.simulation.deeds import Deed, Ledger
from coord.simulation.history import Timeline


def check(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    """Return the transactions that were done by halves, or should not have been."""
    timeline = chronicle.timeline()
    revs = {event.value: event.rev for event in timeline.events if event.value is not None}
    found = [
        line
        for deed in ledger.deeds
        if isinstance(deed.write, Transaction)
        for line in _halves(deed, revs)
    ]
    return [*found, *_unguarded(chronicle, ledger, revs), *_blind(ledger, timeline)]


def _last_values(deed: Deed) -> list[bytes]:
    """Return the values that stand after a transaction: of one path the last."""
    last = {
        getattr(part, "path", ""): value
        for part in deed.parts()
        if (value := getattr(part, "value", None)) is not None
    }
    return list(last.values())


def _halves(deed: Deed, revs: dict[bytes, int]) -> Iterator[str]:
    """Yield what is wrong with where the values of a transaction are."""
    values = _last_values(deed)
    seen = {revs.get(value) for value in values}
    if len(seen) > 1:
        yield f"transactions: done by halves, at {seen}: {deed.describe()}"
    if isinstance(deed.outcome, Committed) and seen != {deed.outcome.rev}:
        yield f"transactions: its values are at {seen}: {deed.describe()}"
    if (deed.is_denied or deed.is_refused) and seen != {None} and not _is_named(deed):
        yield f"transactions: refused, and its values are at {seen}: {deed.describe()}"


def _is_named(deed: Deed) -> bool:
    """Say whether it may have been done when it was asked for at another time.

    An id is forgotten with its session: who asks again after that learns nothing.
    """
    is_over = isinstance(deed.outcome, SessionExpired | NoSession)
    return deed.command is not deed.write and (is_over or not deed.is_denied)


def _unguarded(chronicle: Chronicle, ledger: Ledger, revs: dict[bytes, int]) -> Iterator[str]:
    """Yield the transactions that were done under a token that was no more."""
    locks = Locks(chronicle, ledger)
    for deed in ledger.deeds:
        tokens = [one for one in deed.parts() if isinstance(one, Check) and one.token]
        rev = next((revs[one] for one in _last_values(deed) if one in revs), None)
        if rev is None:
            continue
        for guard in tokens:
            grant = locks.by_token.get((guard.path, guard.token or 0))
            if grant is None:
                yield f"transactions: no such token, at {rev}: {deed.describe()}"
            elif locks.is_surely_over(grant, rev - 1):
                yield f"transactions: the lock was lost before {rev}: {deed.describe()}"


def _blind(ledger: Ledger, timeline: Timeline) -> Iterator[str]:
    """Yield the transactions whose reads saw what was not so just before their revision."""
    for deed in ledger.deeds:
        if not isinstance(deed.outcome, Committed) or not isinstance(deed.write, Transaction):
            continue
        looks = [part for part in deed.parts() if isinstance(part, Look)]
        rows = [row for row in deed.outcome.rows if isinstance(row, Value | CoordError)]
        for look, row in zip(looks, rows, strict=True):
            was = timeline.held(look.path, deed.outcome.rev - 1)
            saw = (row.rev, row.value) if isinstance(row, Value) else None
            if saw != was or (saw is None and not isinstance(row, NoEntry)):
                yield f"transactions: {look!r} saw {row!r}, but it was {was!r}: {deed.describe()}"
