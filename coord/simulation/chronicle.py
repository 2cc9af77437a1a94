"""All that ever happened to the store, as the judges know it: written down as nodes apply it.

Every revision is written down when the first node has applied it, with the true time, which
no node can see. That all others, and all later lives, come to the same is for the judge of
digests. So the judges have the whole past, however short a history the nodes keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from coord.commands import Get, Log
from coord.events import Event, Kind
from coord.results import Entry, Rows, Value
from coord.simulation.history import Timeline
from coord.store.machine import Store
from coord.store.news import Delay, Lifetime, News, Patience, PlaceOver, SessionOver


class Change(msgspec.Struct, frozen=True):
    """One change of one node's value: what watchers saw, what ``LOG`` tells, and when it was.

    ``seconds`` is the true time at which the first node had it.
    """

    event: Event
    entry: Entry
    seconds: float


class End(msgspec.Struct, frozen=True):
    """The end of a session, and the true time at which the first node had it."""

    session: str
    rev: int
    is_expired: bool
    seconds: float


class Chronicle:
    """What nodes have told of their stores; ``violations`` are ends of sessions that differ."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.changes: list[Change] = []
        self.ends: dict[str, End] = {}
        self.begun: dict[Lifetime | Patience | Delay, float] = {}
        self.ends_on: dict[tuple[str, str], float] = {}
        self.places_over: dict[PlaceOver, float] = {}
        self.last_rev = 0
        self._by_rev: dict[int, list[Change]] = {}

    def timeline(self) -> Timeline:
        """Return what every path held after every revision."""
        return Timeline(change.event for change in self.changes)

    def at(self, rev: int) -> Sequence[Change]:
        """Return the changes of one revision."""
        return self._by_rev.get(rev, ())

    def applied(self, store: Store, seconds: float) -> None:
        """Write down what a store has made of a slot, if it is the first to do so."""
        known = self.last_rev
        if store.rev <= known:
            return
        self.last_rev = store.rev
        for change in _changes(store, known, seconds):
            self.changes.append(change)
            self._by_rev.setdefault(change.event.rev, []).append(change)

    def told(self, node: str, news: Iterable[News], seconds: float) -> None:
        """Write down, or compare, what a store told its owner."""
        for one in news:
            if isinstance(one, SessionOver):
                end = End(one.session, one.rev, one.is_expired, seconds)
                known = self.ends.setdefault(one.session, end)
                self.ends_on[one.session, node] = seconds
                if (known.rev, known.is_expired) != (end.rev, end.is_expired):
                    self.violations.append(f"digests: {end!r} on {node} and {known!r}")
            elif isinstance(one, PlaceOver):
                self.places_over.setdefault(one, seconds)
            elif isinstance(one, Lifetime | Patience | Delay):
                self.begun.setdefault(one, seconds)


def _changes(store: Store, after_rev: int, seconds: float) -> list[Change]:
    """Return the newest changes, oldest first: as ``LOG`` tells them, with their values."""
    log = store.answer(Log("/**"))
    assert isinstance(log, Rows)
    newest_first: list[Change] = []
    for row in log.rows:
        if isinstance(row, Entry):
            if row.rev <= after_rev:
                break
            newest_first.append(Change(_event(store, row), row, seconds))
    log.close()
    return sorted(newest_first, key=lambda change: change.entry.rev)


def _event(store: Store, entry: Entry) -> Event:
    found = store.answer(Get(entry.path, rev=entry.rev))
    if isinstance(found, Value):
        return Event(entry.rev, Kind.SET, entry.path, found.value)
    return Event(entry.rev, Kind.DEL, entry.path)
