"""Sessions and locks as the console shows them: one line for each, and for each place in line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from coord.frontends.console.colours import clean
from coord.frontends.console.deadlocks import deadlocks, described
from coord.results import LockPlace, LockRow, SessionRow

_PATHS_MAX: Final = 5
"""Paths named in the line of one session."""


def session_lines(
    rows: Sequence[SessionRow], is_here: Callable[[str], bool], most: int
) -> list[str]:
    """Return a line for each session, ``most`` of them.

    :param is_here: whether a connection to this node has a session.
    """
    lines = [_session(row, is_here(row.session)) for row in rows[:most]]
    if len(rows) > most:
        lines.append(f"... and {len(rows) - most} more")
    return lines or ["no session is open"]


def lock_lines(rows: Sequence[LockRow], wanted: Callable[[str], bool], most: int) -> list[str]:
    """Return a line for each holder and each who waits, after the deadlocks there are.

    :param rows: all locks there are.
    :param wanted: whether a lock, by its path, is to be told of.
    :param most: how many lines.
    """
    circles = [one for one in deadlocks(rows) if any(wanted(wait.path) for wait in one)]
    lines = [clean(line) for circle in circles for line in described(circle)][:most]
    places = list(islice(_places([row for row in rows if wanted(row.path)]), most + 1))
    lines += places[:most]
    if len(places) > most:
        lines.append("... and more")
    return lines or ["no lock is held"]


def _session(row: SessionRow, is_here: bool) -> str:
    words = [
        row.session,
        row.author,
        f"since {_moment(row.opened_ms)}",
        f"timeout {row.timeout_ms / 1000:g} s",
        f"{row.nodes} ephemeral",
        f"holds {_paths(row.locks)}",
    ]
    if row.waits:
        words.append(f"waits for {_paths(row.waits)}")
    if is_here:
        words.append("attached here")
    return clean("  ".join(words))


def _places(rows: Sequence[LockRow]) -> Iterator[str]:
    for row in rows:
        for place in row.holders:
            yield _place(row.path, "held", place)
        for number, place in enumerate(row.queue, 1):
            yield _place(row.path, f"{number}. in line", place)


def _place(path: str, part: str, place: LockPlace) -> str:
    words = [path, part + " shared" * place.shared, place.session, place.author]
    words.append(f"since {_moment(place.since_ms)}")
    if place.token is not None:
        words.append(f"token {place.token}")
    if place.is_lost:
        words.append("lost: its lock-delay runs")
    return clean("  ".join(words))


def _paths(paths: Sequence[str]) -> str:
    if not paths:
        return "-"
    more = f" and {len(paths) - _PATHS_MAX} more" if len(paths) > _PATHS_MAX else ""
    return " ".join(paths[:_PATHS_MAX]) + more


def _moment(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
