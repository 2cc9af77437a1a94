"""Sessions: none is over before its time, and none lasts that nobody keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coord.commands import OpenSession, Resume
from coord.errors import SessionExpired
from coord.events import Trouble
from coord.results import Opened
from coord.simulation.chronicle import Chronicle
from coord.simulation.deeds import Ledger


def check(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    """Return the promises to clients that were not kept."""
    return [*_early(chronicle, ledger), *_false_words(chronicle, ledger), *_keys(ledger)]


def _early(chronicle: Chronicle, ledger: Ledger) -> Iterator[str]:
    """Yield the sessions that expired before the time that their clients were promised."""
    for life in ledger.lives.values():
        end = chronicle.ends.get(life.session)
        if end is None:
            continue
        if end.is_expired and end.seconds < life.lives_until:
            yield (
                f"sessions: {life.session} expired at {end.seconds:.3f}, and was promised to live"
                f" until {life.lives_until:.3f}: {life!r}"
            )
        if not end.is_expired and life.ended_at is None:
            yield f"sessions: {life.session} was ended, which nobody asked for"


def _false_words(chronicle: Chronicle, ledger: Ledger) -> Iterator[str]:
    """Yield what clients were told of the ends of sessions that had not ended."""
    for life in ledger.lives.values():
        end = chronicle.ends.get(life.session)
        for seconds, node, event in life.troubles:
            if event.kind is Trouble.EXPIRED and (end is None or end.seconds > seconds):
                yield f"sessions: {life.client} was told on {node} of {event!r}, but {end!r}"
    for deed in ledger.deeds:
        if isinstance(deed.outcome, SessionExpired) and deed.told_at is not None:
            end = chronicle.ends.get(deed.session)
            if end is None or end.seconds > deed.told_at:
                yield f"sessions: {deed.describe()}, but {end!r}"


def _keys(ledger: Ledger) -> Iterator[str]:
    """Yield who was given a session without its key."""
    for deed in ledger.deeds:
        if isinstance(deed.command, Resume) and isinstance(deed.outcome, Opened):
            if deed.command.key == "not the key":
                yield f"sessions: a wrong key opened {deed.describe()}"
        elif isinstance(deed.outcome, Opened) and not isinstance(deed.command, OpenSession):
            yield f"sessions: {deed.describe()} makes no sense"


def left_over(sessions: Iterable[str], what: str) -> list[str]:
    """Return what should be gone when all clients have been silent for long enough."""
    return [f"sessions: {what} {one} is still there, and nobody keeps it" for one in sessions]
