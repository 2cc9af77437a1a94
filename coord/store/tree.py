r"""The versions of all nodes: those of now, and those that history still needs.

A node is known by its *key*, `coord.paths.order_key` of its path: the order of keys as text
is path order, all below a node lies between ``key + "\0"`` and ``key + "\x01"``, and the
key right after ``key`` in any list is ``key + "\0"`` or greater.

Versions never change, and the garbage collector does not walk them: a million nodes are one
dictionary of untracked values to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import Final, Generic, TypeVar

import msgspec

from coord.events import Event, Kind
from coord.paths import from_order_key
from coord.store.order import Order

ROOT_KEY: Final = ""
GONE: Final = -1
"""What stands in `Version.created` of a tombstone."""

_SINCE: Final = attrgetter("since")
_Item = TypeVar("_Item")


class Directory(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a node knows of its children.

    ``child_version`` counts the children made and deleted, ``child_rev`` is the last revision
    that did so, ``sequence`` the last number given to a sequential child.
    """

    children: int
    child_rev: int
    child_version: int
    sequence: int


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who made a change, and by which verb: one object for all changes that are alike.

    ``author`` is `coord.commands.Caller.author` of who asked, ``verb`` as in
    `coord.results.Entry`.
    """

    author: str
    verb: str


NOBODY: Final = Mark("", "")
"""The mark of what came from before there were marks, and of the empty root."""


class Version(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A node as it is from revision ``since`` on: one record of change.

    ``rev`` is the revision that last changed the value (of an implied parent: that made it),
    so ``rev == since`` tells a change of the value from one of the children. ``value`` is
    ``None`` for an implied parent and for a tombstone, ``version`` counts the values since
    the node was made, ``created`` is `GONE` in a tombstone. Where a value is lost, by a tombstone
    or because only the children stay, the count is that of the values there were: a record
    without a value and with a count is what watchers see as a loss, at the revision ``rev``.

    ``owner`` is the session that the node goes with, ``ttl_ms`` how long it lives after the last
    change of its value (0: for ever). ``mark`` and ``modified_ms`` tell who made the change at
    ``rev``, and when; a tombstone tells it of the end.
    """

    key: str
    since: int
    rev: int
    value: bytes | None
    created: int
    version: int
    created_ms: int
    modified_ms: int
    directory: Directory | None
    owner: str | None = None
    ttl_ms: int = 0
    mark: Mark = NOBODY


def empty_root() -> Version:
    """Return the root as it is at revision 0: a parent that nobody set, and that never goes."""
    return Version(ROOT_KEY, 0, 0, None, 0, 0, 0, 0, None)


def tombstone(version: Version, since: int, time_ms: int, mark: Mark) -> Version:
    """Return the record of a node's end, by whom and when."""
    values = 0 if version.value is None else version.version
    return Version(version.key, since, since, None, GONE, values, 0, time_ms, None, None, 0, mark)


def with_directory(version: Version, since: int, directory: Directory) -> Version:
    """Return a parent's record of a change among its children."""
    return Version(
        version.key,
        since,
        version.rev,
        version.value,
        version.created,
        version.version,
        version.created_ms,
        version.modified_ms,
        directory,
        version.owner,
        version.ttl_ms,
        version.mark,
    )


def above(key: str) -> str:
    """Return the key of a node's parent; the root has none."""
    return key[: key.rindex("\0")]


def event_of(version: Version) -> Event | None:
    """Return what watchers see of a change: only gains, changes and losses of a value."""
    if version.rev != version.since:
        return None
    if version.value is not None:
        return Event(version.rev, Kind.SET, from_order_key(version.key), version.value)
    if version.version:
        return Event(version.rev, Kind.DEL, from_order_key(version.key))
    return None


class Shelf(msgspec.Struct, Generic[_Item], gc=False):
    """A list that is cheap to shorten from the front: ``items`` from ``start`` on."""

    items: list[_Item]
    start: int = 0

    def __len__(self) -> int:
        return len(self.items) - self.start

    def pop(self) -> _Item:
        """Take the oldest item away; constant cost over many."""
        item = self.items[self.start]
        self.items[self.start] = self.items[-1]  # lets go of it now; the place goes later
        self.start += 1
        if self.start * 2 > len(self.items):
            del self.items[: self.start]
            self.start = 0
        return item


class Ended(msgspec.Struct, gc=False):
    """A node's last version, its end, and what there was before, if anything. As many of these as a
    session had nodes are made at one moment, so that they must cost less than a `Shelf` each.
    """

    version: Version
    stone: Version
    before: Version | Shelf[Version] | Ended | None = None


class Tree:
    """Every node's present version in ``live``; older ones and tombstones, if still needed.

    ``past`` holds, for a key, its one older version, or a `Shelf` of them, oldest first: most
    nodes change rarely, and a shelf costs more than a version. An `Ended` becomes a shelf when it
    is looked at. ``order`` holds every key that is in either.
    """

    __slots__ = ("live", "order", "past")

    def __init__(self) -> None:
        self.live: dict[str, Version] = {}
        self.past: dict[str, Version | Ended | Shelf[Version]] = {}
        self.order = Order()

    def put(self, version: Version) -> None:
        """Make ``version`` the present one of its node."""
        key = version.key
        old = self.live.get(key)
        if old is not None:
            self.keep(old)
        elif key not in self.past:
            self.order.add(key)
        else:
            self.order.revive(key)
        self.live[key] = version

    def bury(self, stones: list[Version]) -> list[Version]:
        """Let nodes that are there end with their `tombstone`; return what they were."""
        keys, past = [stone.key for stone in stones], self.past
        olds = list(map(self.live.pop, keys))
        for key, old, stone in zip(keys, olds, stones, strict=True):
            before = past.get(key)
            if type(before) is Ended and before.before is not None:
                before = self._past(key)  # a chain of them would grow with every life of the node
            past[key] = Ended(old, stone, before)
        return olds

    def _past(self, key: str) -> Version | Shelf[Version] | None:
        """Return the older versions of a node, where there are any."""
        past = self.past.get(key)
        if isinstance(past, Ended):
            past = self.past[key] = _on_a_shelf(past)
        return past

    def keep(self, version: Version) -> None:
        """Keep a version that is the present one no more, for those who read the past."""
        past = self._past(version.key)
        if past is None:
            self.past[version.key] = version
        elif isinstance(past, Version):
            self.past[version.key] = Shelf([past, version])
        else:
            past.items.append(version)

    def at(self, key: str, rev: int) -> Version | None:
        """Return a node's version at ``rev``, ``None`` where there was no such node."""
        version = self.live.get(key)
        if version is not None and version.since <= rev:
            return version
        found = self._older(key, rev)
        return None if found is None or found.created == GONE else found

    def record(self, key: str, rev: int) -> Version | None:
        """Return the last record of a node that is not newer than ``rev``, also of its end."""
        version = self.live.get(key)
        if version is not None and version.since <= rev:
            return version
        return self._older(key, rev)

    def after(self, key: str, rev: int) -> list[Version]:
        """Return the records of a node that are newer than ``rev``, oldest first."""
        past, live = self._past(key), self.live.get(key)
        older = [past] if isinstance(past, Version) else [] if past is None else past.items
        start = 0 if isinstance(past, Version) or past is None else past.start
        found = older[bisect_right(older, rev, lo=start, key=_SINCE) :]
        if live is not None and live.since > rev:
            found.append(live)
        return found

    def before(self, version: Version) -> Iterator[Version]:
        """Yield a record of a node and those before it that are kept, newest first."""
        past = self._past(version.key)
        yield version
        if isinstance(past, Shelf):
            place = bisect_right(past.items, version.since - 1, lo=past.start, key=_SINCE)
            yield from reversed(past.items[past.start : place])
        elif past is not None and past.since < version.since:
            yield past

    def _older(self, key: str, rev: int) -> Version | None:
        past = self._past(key)
        if past is None:
            return None
        if isinstance(past, Version):
            return past if past.since <= rev else None
        place = bisect_right(past.items, rev, lo=past.start, key=_SINCE)
        return past.items[place - 1] if place > past.start else None

    def forget(self, key: str, rev: int) -> None:
        """Drop what nobody needs who reads at ``rev`` or later, of a node that changed then."""
        past = self._past(key)
        if past is None:
            return
        if isinstance(past, Version):
            if _needless(past, rev):
                self._forget_last(key)
            return
        while _needless(past.items[past.start], rev):
            past.pop()
            if not past.items:
                self._forget_last(key)
                return

    def _forget_last(self, key: str) -> None:
        del self.past[key]
        if key not in self.live:
            self.order.remove(key)


def _on_a_shelf(ended: Ended) -> Shelf[Version]:
    """Return what an `Ended` says as a `Shelf`, that of before where there was one."""
    before = ended.before
    if isinstance(before, Ended):
        before = _on_a_shelf(before)
    if not isinstance(before, Shelf):
        before = Shelf([] if before is None else [before])
    before.items += (ended.version, ended.stone)
    return before


def _needless(oldest: Version, rev: int) -> bool:
    """Say whether a node's oldest version is not needed by who reads at ``rev`` or later.

    The node changed at ``rev``, so the next version, if any, is of ``rev`` at the latest.
    """
    return oldest.since < rev or (oldest.since == rev and oldest.created == GONE)
