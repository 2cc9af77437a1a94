"""What a run has really met: a promise that was never tried proves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from coord.commands import Once, Outcome
from coord.errors import Aborted, NoEntry, TimedOut
from coord.paxos.membership import Configuration, Governs
from coord.results import Granted
from coord.simulation.chronicle import Chronicle
from coord.simulation.deeds import Ledger
from coord.store.news import Delay

_KINDS: Final = {
    ("/l/", "LOCK"): "locks given at once",
    ("/l/", "GRANT"): "locks given in turn",
    ("/l/", "UNLOCK"): "locks given up",
    ("/l/", "EXPIRE"): "locks lost with a session, and free",
    ("/l/", "DEL"): "locks deleted",
    ("/e/", "EXPIRE"): "ephemeral nodes gone with a session that expired",
    ("/e/", "END"): "ephemeral nodes gone with a session that ended",
    ("/t/", "EXPIRE"): "lifetimes over",
    ("/g/", "SET"): "writes under a token",
}


def tally(chronicle: Chronicle, ledger: Ledger) -> Counter[str]:
    """Return how often each thing happened."""
    counts: Counter[str] = Counter()
    for change in chronicle.changes:
        kind = _KINDS.get((change.event.path[:3], change.entry.verb))
        if kind is not None:
            counts[kind] += 1
    for end in chronicle.ends.values():
        counts["sessions that expired" if end.is_expired else "sessions that ended"] += 1
    counts["holders lost"] = sum(isinstance(one, Delay) for one in chronicle.begun)
    for place in chronicle.places_over:
        if isinstance(place.result, TimedOut):
            counts["waits over"] += 1
        elif isinstance(place.result, Granted):
            counts["waits granted"] += 1
    counts["transactions aborted"] = sum(isinstance(one.outcome, Aborted) for one in ledger.deeds)
    counts["ids answered from memory"] = _remembered(ledger)
    counts["outcomes told"] = sum(
        isinstance(one.command, Outcome)
        and one.told is not None
        and not isinstance(one.outcome, NoEntry)
        for one in ledger.deeds
    )
    return +counts


def changes(governs: Sequence[Governs]) -> Counter[str]:
    """Return how often members changed, and in what way."""
    counts: Counter[str] = Counter()
    for before, after in pairwise(one.configuration for one in governs):
        counts["configurations"] += 1
        is_other = False
        for what, number in _steps(before, after).items():
            counts[what] += number
            is_other = is_other or number > 0
        counts["configurations that only bind disks"] += not is_other
    return +counts


def _steps(before: Configuration, after: Configuration) -> dict[str, int]:
    """Return what happened to how many nodes between two configurations."""
    voted, votes = set(before.voters), set(after.voters)
    known, knows = set(before.nodes), set(after.nodes)
    won, lost = votes - voted, voted - votes
    emptied = [
        one
        for one in before.members
        if one.disk and (new := after.member(one.node)) and not new.disk
    ]
    return {
        "members: joined": len(knows - known),
        "members: observers joined": sum(
            not one.wants_vote and one.node not in votes and one.node not in known
            for one in after.members
        ),
        "members: gone": len(known - knows),
        "members: voters that lost their vote": len(lost),
        "members: promoted": len(won),
        "members: swapped": min(len(won), len(lost)),
        "members: to be admitted on another disk": len(emptied),
    }


def _remembered(ledger: Ledger) -> int:
    """Return how many writes with an id were answered, and had been answered before."""
    seen: Counter[tuple[str, str]] = Counter(
        (one.session, one.command.word)
        for one in ledger.deeds
        if isinstance(one.command, Once) and not one.is_open and not one.is_refused
    )
    return sum(seen.values()) - len(seen)
