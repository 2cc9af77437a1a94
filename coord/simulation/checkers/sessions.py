"""Sessions: none is over before its time, and none lasts that nobody keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from coord.commands import OpenSession, Resume
from coord.errors import SessionExpired
from coord.events import Trouble
from coord.results import Opened
from coord.simulation.chronicle import Chronicle
from coord.simulation.deeds import Ledger

WARNING_SECONDS = 0.4
"""How long a node may take to find that it is time to warn: a round of reports, and some ticks."""

TELLING_SECONDS = 0.05
"""How long a node that has applied an end may take to tell those whom it concerns."""


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


def untold(chronicle: Chronicle, ledger: Ledger) -> list[str]:
    """Return who was not told of the end of a session on the node where it was attached."""
    found = []
    for life in ledger.lives.values():
        for attached in life.attached:
            over_at = chronicle.ends_on.get((life.session, attached.node))
            if over_at is None or over_at <= attached.since:
                continue
            if attached.until is None or attached.until > over_at + TELLING_SECONDS:
                found.append(
                    f"sessions: nobody told {life.client} of the end at {over_at}: {life!r}"
                )
    return found


def unwarned(
    chronicle: Chronicle, ledger: Ledger, disturbed: Mapping[str, Sequence[float]]
) -> list[str]:
    """Return who was not told in time that a session could not be kept.

    :param disturbed: when nodes stood still, went on, or died; of those nothing can be asked.
    """
    found = []
    for life in ledger.lives.values():
        end = chronicle.ends.get(life.session)
        for asking in life.asked:
            due = asking.asked_at + life.timeout_seconds / 4 + WARNING_SECONDS
            is_over = end is not None and end.seconds <= due
            moved = any(asking.asked_at <= one <= due for one in disturbed[asking.node])
            if is_over or moved or not asking.is_open_at(due):
                continue
            told = [one for at, node, one in life.troubles if node == asking.node and at <= due]
            if not told or told[-1].kind is not Trouble.JEOPARDY:
                found.append(
                    f"sessions: {life.client} was not told of jeopardy: {asking!r}, {told!r}"
                )
    return found


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
