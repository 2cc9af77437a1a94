"""All that ever happened to the store, as the judges know it: written down as nodes apply it.

Every revision is written down when the first node has applied it, with the true time, which
no node can see. That all others, and all later lives, come to the same is for the judge of
digests. So the judges have the whole past, however short a history the nodes keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from coord.commands import Log
from coord.events import Event
from coord.paths import Glob
from coord.results import Entry, Rows
from coord.simulation.history import Timeline
from coord.store.machine import Store
from coord.store.news import Delay, Lifetime, News, Patience, PlaceOver, SessionOver

_ALL = Glob.parse(b"/**")
_TAKE = 10_000


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
        for event, entry in zip(_events(store, known), _entries(store, known), strict=True):
            change = Change(event, entry, seconds)
            self.changes.append(change)
            self._by_rev.setdefault(event.rev, []).append(change)

    def told(self, node: str, news: Iterable[News], seconds: float) -> None:
        """Write down, or compare, what a store told its owner."""
        for one in news:
            if isinstance(one, SessionOver):
                end = End(one.session, one.rev, one.is_expired, seconds)
                known = self.ends.setdefault(one.session, end)
                if (known.rev, known.is_expired) != (end.rev, end.is_expired):
                    self.violations.append(f"digests: {end!r} on {node} and {known!r}")
            elif isinstance(one, PlaceOver):
                self.places_over.setdefault(one, seconds)
            elif isinstance(one, Lifetime | Patience | Delay):
                self.begun.setdefault(one, seconds)


def _events(store: Store, after_rev: int) -> list[Event]:
    watch = store.watch(_ALL, after_rev, lambda: None)
    events: list[Event] = []
    while watch.ready:
        events += watch.take(_TAKE)
    watch.close()
    return events


def _entries(store: Store, after_rev: int) -> list[Entry]:
    """Return what ``LOG`` tells of the newest revisions, oldest first."""
    log = store.answer(Log("/**"))
    assert isinstance(log, Rows)
    newest_first: list[Entry] = []
    for row in log.rows:
        if isinstance(row, Entry):
            if row.rev <= after_rev:
                break
            newest_first.append(row)
    log.close()
    return sorted(newest_first, key=lambda entry: entry.rev)
