"""Never two holders as clients understand it.

A client believes that it holds a lock from when it was told so, for as long as it was promised
that its session lives (its timeout, from when it sent the last request to keep it that was
confirmed), and until it sent word that it gives the lock up. No two such times overlap in true
time, unless the lock is shared.
"""

from __future__ import annotations

from coord.simulation.deeds import Hold, Ledger


def check(ledger: Ledger) -> list[str]:
    """Return the pairs of clients that believed to hold one lock at one time."""
    spans = [(hold, *believed(hold, ledger)) for hold in ledger.holds]
    return [
        f"beliefs: {one.client} and {other.client} both held {one.path}:"
        f" {one!r} until {until:.3f}, {other!r} until {other_until:.3f}"
        for number, (one, since, until) in enumerate(spans)
        for other, other_since, other_until in spans[:number]
        if one.path == other.path
        and not (one.shared and other.shared)
        and one.session != other.session
        and max(since, other_since) < min(until, other_until)
    ]


def believed(hold: Hold, ledger: Ledger) -> tuple[float, float]:
    """Return from when to when a client was certain of its lock."""
    life = ledger.lives.get(hold.session)
    until = 0.0 if life is None else life.lives_until
    if hold.given_up_at is not None:
        until = min(until, hold.given_up_at)
    return hold.told_at, until
