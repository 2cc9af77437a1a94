"""Ephemeral nodes go exactly with their sessions, at one revision; others stay."""

from __future__ import annotations

from coord.commands import Add, Set
from coord.events import Kind
from coord.simulation.chronicle import Change, Chronicle
from coord.simulation.deeds import Deed, Ledger


def check(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    """Go through the history and keep account of who owns what."""
    by_value = ledger.by_value()
    ends: dict[int, list[str]] = {}
    for end in chronicle.ends.values():
        ends.setdefault(end.rev, []).append(end.session)
    owners: dict[str, str] = {}
    found: list[str] = []
    last = chronicle.changes[-1].event.rev if chronicle.changes else 0
    for rev in range(1, last + 1):
        changes = [one for one in chronicle.at(rev) if _is_judged(one.event.path)]
        found += _wrong_ends(rev, changes, owners, ends.get(rev, []))
        for change in changes:
            _own(change, owners, by_value.get(change.event.value or b""))
    over = {session: end.rev for session, end in chronicle.ends.items()}
    found += [
        f"ephemeral: {path} is there, and its session {session} ended at {over[session]}"
        for path, session in owners.items()
        if session in over
    ]
    return found


def _is_judged(path: str) -> bool:
    return path.startswith(("/e/", "/x/"))


def _wrong_ends(
    rev: int, changes: list[Change], owners: dict[str, str], ended: list[str]
) -> list[str]:
    """Hold what went at a revision against what had to go with the sessions that ended there."""
    gone = {one.event.path for one in changes if one.entry.verb in ("END", "EXPIRE")}
    wanted: set[str] = set()
    if changes and changes[0].entry.verb in ("END", "EXPIRE"):
        wanted = {path for path, session in owners.items() if session in ended}
    return [
        f"ephemeral: at revision {rev} {', '.join(sorted(gone))} went,"
        f" and {', '.join(sorted(wanted))} belonged to {', '.join(ended)}"
        for _ in range(gone != wanted)
    ]


def _own(change: Change, owners: dict[str, str], deed: Deed | None) -> None:
    """Note who owns a node after a change."""
    event = change.event
    if event.kind is Kind.DEL:
        owners.pop(event.path, None)
        return
    if deed is None:
        return
    for part in deed.parts():
        if isinstance(part, Set | Add) and part.value == event.value and part.ephemeral:
            owners[event.path] = deed.session
