"""Who is told what happened.

A watch is in one of two states. It *follows*: every turn `Watches.publish` hands it the
events that match, and it keeps up to `WATCH_PENDING_EVENTS_MAX` of them until they are
taken. Or it has a *cursor*, the next change of the history to look at, because it began in the
past or was too slow to follow: then `Watch.take` reads the history itself, a bounded stretch
at a time, until it has caught up and follows again. The cursor stands exactly at the first
change that is not pending yet, and a watch that follows ignores revisions its cursor had
passed: so nothing is missed, doubled or out of order.

Where nothing will happen any more because the node takes part no more, all watches are ended: what
was pending is let go, since whoever watches goes on elsewhere from what was told.

A write asks only the watches whose glob's literal prefix is the changed path or lies above it,
and each distinct glob once, whoever wants it. A revision of very many changes is handed to nobody:
whoever watches at or above one of them reads it from the history.

What its caller may not read, a watch never tells. The rules are asked when a change is
published, once for all who have the same rights, so that nobody is woken for nothing; and again
when events are taken, by the rules of that moment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import chain
from operator import attrgetter
from typing import Final, TypeAlias

from coord.commands import Caller, Level
from coord.errors import CoordError, Lagged
from coord.events import Event
from coord.limits import WATCH_PENDING_EVENTS_MAX
from coord.paths import Glob, order_key
from coord.store import refusals
from coord.store.access import Access, Rules
from coord.store.history import History
from coord.store.lasting import Lasting
from coord.store.tree import ROOT_KEY, Version, above, event_of

_CHANGES_TOLD_MAX: Final = 2 * WATCH_PENDING_EVENTS_MAX
"""Changes of one revision that are handed out; of a larger one more than a watch keeps might be
wanted anyway, and to look at all of it in one turn would be a silence for everybody."""
_SCAN_CHANGES_MAX: Final = 2048
"""Changes looked at by one `Watch.take`: well under a millisecond."""
_ASKED_COST: Final = 16
"""As how many such changes one counts for which the rules are to be asked."""
_QUIET_MAX: Final = 16_384
"""Nodes of which it is remembered that nobody watches them or what is above them."""
_KNOWN_MAX: Final = 4096
"""Parents of which it is remembered who watches them or what is above them."""
_READ: Final = int(Level.READ)
_KEY: Final = attrgetter("key")


class Watch:
    """The changes that match one glob, after revision ``rev``, where it began.

    ``wake`` is called, by whoever called ``publish``, when it becomes ``ready``. ``lasting`` tells
    what lasts, where that alone is wanted.
    """

    __slots__ = (
        "_after",
        "_cursor",
        "_pending",
        "_problem",
        "_watches",
        "caller",
        "glob",
        "lasting",
        "prefix",
        "rev",
        "wake",
    )

    def __init__(
        self, watches: Watches, glob: Glob, rev: int, wake: Callable[[], None], caller: Caller
    ) -> None:
        self.glob = glob
        self.caller = caller
        self.lasting: Lasting | None = None
        self.prefix = order_key(glob.prefix)
        self.rev = rev
        self.wake = wake
        self._watches: Watches | None = watches
        self._after = rev
        self._cursor: tuple[int, int] | None = None
        self._pending: list[Event] = []
        self._problem: CoordError | None = None

    @property
    def ready(self) -> bool:
        """Whether to call `take`; when that then returns nothing, call it again later."""
        return bool(self._pending) or self._cursor is not None or self._problem is not None

    @property
    def seen_rev(self) -> int:
        """The revision up to which a lasting watch has looked; 0 while it still looks."""
        return self._after if self._cursor is None else 0

    def take(self, limit: int) -> list[Event]:
        """Return the next events, ``limit`` at most; none is ever returned twice.

        An empty list from a watch that is still ``ready`` says that a stretch of history
        held nothing of interest and more is to be looked at, best after others had their turn; from
        one that is not, that the caller may not read what there was.
        Raises `Lagged`, naming the revision to watch again from, where the history that is
        needed is gone, or why the watch was ended; it is closed then.
        """
        if self._pending:
            events = self._pending[:limit]
            del self._pending[:limit]
            return self._readable(events)
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
        if self._cursor is None or self._watches is None:
            return []
        return self._read(self._watches.history, *self._cursor, limit)

    def close(self) -> None:
        """Want nothing more; safe to call more than once."""
        if self._watches is not None:
            self._watches.remove(self)
            self._watches = None
        self._cursor = self._problem = None
        self._pending.clear()

    def end(self, problem: CoordError) -> None:
        """Have nothing more to tell but ``problem``, once."""
        self.close()
        self._problem = problem

    def read_from(self, rev: int) -> None:
        """Follow no more; read the history from revision ``rev`` on."""
        if self._cursor is None:
            self._cursor = (max(rev, self._after + 1), 0)

    def offer(self, event: Event, index: int) -> bool:
        """Take note of an event, the ``index``-th change of its revision.

        Returns whether the watch became ready by it.
        """
        if self._cursor is not None or event.rev <= self._after:
            return False
        if self.lasting is not None:  # it looks for itself at what lasts
            self._cursor = (event.rev, index)
            return True
        if len(self._pending) >= WATCH_PENDING_EVENTS_MAX:
            self._cursor = (event.rev, index)
            return False
        self._pending.append(event)
        return len(self._pending) == 1

    def _read(self, history: History, rev: int, index: int, limit: int) -> list[Event]:
        """Read the history from the cursor on and leave the cursor where that ended."""
        if rev <= history.horizon:
            self.close()
            raise Lagged(f"too slow to be kept: watch again from revision {history.foothold}")
        events: list[Event] = []
        rules = self._rules()
        looked_at = 0
        while rev <= history.rev:
            changes = history.changes(rev)
            until = len(changes)
            if until > _CHANGES_TOLD_MAX:
                index = max(index, bisect_left(changes, self.prefix, key=_KEY))
                until = bisect_left(changes, self.prefix + "\x01", key=_KEY)
            while index < until:
                if len(events) == limit or looked_at >= _SCAN_CHANGES_MAX:
                    self._cursor = (rev, index)
                    return events
                event = self._wanted(changes[index])
                if event is not None and rules is not None:
                    looked_at += _ASKED_COST
                    event = event if rules.may(self.caller, _READ, event.path) else None
                if event is not None:
                    events.append(event)
                looked_at += 1
                index += 1
            rev, index = rev + 1, 0
        self._cursor = None
        self._after = max(self._after, history.rev)
        return events

    def _wanted(self, version: Version) -> Event | None:
        if not version.key.startswith(self.prefix):
            return None
        event = event_of(version) if self.lasting is None else self.lasting.event(version)
        return event if event is not None and self.glob.matches(event.path) else None

    def _rules(self) -> Rules | None:
        """Return the rules to ask about each event, ``None`` where the caller may read all."""
        if self._watches is None:
            return None
        rules = self._watches.access.rules
        return None if rules.is_open_to(self.caller, _READ) else rules

    def _readable(self, events: list[Event]) -> list[Event]:
        """Return what the caller may read of some events, now."""
        rules = self._rules()
        if rules is None:
            return events
        return [event for event in events if rules.may(self.caller, _READ, event.path)]


class _Group:
    """The watches that want one glob, by those who have the same rights."""

    __slots__ = ("glob", "watches")

    def __init__(self, glob: Glob) -> None:
        self.glob = glob
        self.watches: dict[Caller, dict[Watch, None]] = {}

    def add(self, watch: Watch) -> None:
        """Take a watch in."""
        self.watches.setdefault(_rights(watch.caller), {})[watch] = None

    def remove(self, watch: Watch) -> None:
        """Forget a watch."""
        rights = _rights(watch.caller)
        alike = self.watches[rights]
        del alike[watch]
        if not alike:
            del self.watches[rights]

    def all(self) -> Iterator[Watch]:
        """Yield all watches."""
        return chain.from_iterable(self.watches.values())

    def offer(self, event: Event, index: int, rules: Rules) -> Iterator[Watch]:
        """Offer an event to those who may read it; yield those that become ready by it."""
        for rights, alike in self.watches.items():
            if rules.may(rights, _READ, event.path):
                for watch in alike:
                    if watch.offer(event, index):
                        yield watch


_Groups: TypeAlias = dict[str, _Group]
"""Those whose globs have one literal prefix, by the glob as written."""


class Watches:
    """All open watches: by the key of their glob's literal prefix, then by the glob."""

    __slots__ = (
        "_groups",
        "_known",
        "_left_behind",
        "_published",
        "_quiet",
        "access",
        "count",
        "history",
    )

    def __init__(self, history: History, access: Access) -> None:
        self.history = history
        self.access = access
        self.count = 0
        self._groups: dict[str, _Groups] = {}
        self._known: dict[str, tuple[_Groups, ...]] = {}
        self._quiet: set[str] = set()
        self._published = history.rev
        self._left_behind: list[Watch] = []

    def move(self, history: History, access: Access, lasting: Lasting) -> None:
        """Let all watches go on in another history of the same store, which goes further.

        Each reads by itself what it has not seen, from where it was; or is told that it is gone.
        """
        self._left_behind += self._fell_behind(self._published + 1)
        self.history, self.access, self._published = history, access, history.rev
        for watch in self._all():
            if watch.lasting is not None:
                watch.lasting = lasting

    def add(
        self, glob: Glob, after_rev: int | None, wake: Callable[[], None], caller: Caller
    ) -> Watch:
        """Begin a watch, after ``after_rev`` or now; see `coord.store.machine.Store.watch`."""
        if not self.access.rules.may_match(caller, glob):
            raise refusals.nothing_to_see(glob.written)
        history = self.history
        rev = history.rev if after_rev is None else after_rev
        if rev < history.horizon:
            raise refusals.left_behind(rev, history.foothold)
        watch = Watch(self, glob, rev, wake, caller)
        if rev < history.rev:
            watch.read_from(rev + 1)
        groups = self._groups.get(watch.prefix)
        if groups is None:
            groups = self._groups[watch.prefix] = {}
            self._forget()
        group = groups.get(glob.written)
        if group is None:
            group = groups[glob.written] = _Group(glob)
        group.add(watch)
        self.count += 1
        return watch

    def remove(self, watch: Watch) -> None:
        """Forget a watch; `Watch.close` calls this."""
        groups = self._groups[watch.prefix]
        group = groups[watch.glob.written]
        group.remove(watch)
        self.count -= 1
        if not group.watches:
            del groups[watch.glob.written]
            if not groups:
                del self._groups[watch.prefix]
                self._forget()

    def end(self, problem: CoordError) -> None:
        """End all watches; `publish` will say whom to wake for it."""
        for watch in [*self._all()]:
            if not watch.ready:
                self._left_behind.append(watch)
            watch.end(problem)

    def publish(self) -> list[Watch]:
        """Hand what happened since the last call to those who want it.

        Returns the watches that became ready, for the caller to wake.
        """
        history, ready = self.history, self._left_behind
        self._left_behind = []
        rules = self.access.rules
        first, self._published = self._published + 1, history.rev
        if not self.count:
            return ready
        if first < history.first:
            ready += self._fell_behind(first)
            first = history.first
        quiet = self._quiet
        for rev, changes in enumerate(history.after(first - 1), first):
            if isinstance(changes, Version):
                if changes.key not in quiet:
                    self._tell(changes, 0, rules, ready)
                continue
            if len(changes) > _CHANGES_TOLD_MAX:
                self._leave_to_read(rev, changes, ready)
                continue
            for index, version in enumerate(changes):
                if version.key not in quiet:
                    self._tell(version, index, rules, ready)
        return ready

    def _fell_behind(self, rev: int) -> list[Watch]:
        """Let those who follow read on by themselves: changes from ``rev`` on are gone already.

        Only a turn that applied more revisions than the whole history holds comes here.
        """
        ready = []
        for watch in self._all():
            if not watch.ready:
                ready.append(watch)
            watch.read_from(rev)
        return ready

    def _all(self) -> Iterator[Watch]:
        """Yield all watches."""
        groups = chain.from_iterable(groups.values() for groups in self._groups.values())
        return chain.from_iterable(group.all() for group in groups)

    def _leave_to_read(self, rev: int, changes: tuple[Version, ...], ready: list[Watch]) -> None:
        """Let those read a large revision by themselves whom it may concern, each in its turns."""
        for prefix, groups in self._groups.items():
            place = bisect_left(changes, prefix, key=_KEY)
            if place == len(changes) or changes[place].key >= prefix + "\x01":
                continue
            for group in groups.values():
                for watch in group.all():
                    if not watch.ready:
                        ready.append(watch)
                    watch.read_from(rev)

    def _tell(self, version: Version, index: int, rules: Rules, ready: list[Watch]) -> None:
        """Offer one change to the watches at its key and above it."""
        key = version.key
        here = self._groups.get(key)
        higher = self._higher(key[: key.rindex("\0")]) if key != ROOT_KEY else ()
        if here is None and not higher:
            self._leave_quiet(key)
            return
        event = event_of(version)
        if event is None:
            return
        for groups in higher if here is None else (here, *higher):
            for group in groups.values():
                if group.glob.matches(event.path):
                    ready.extend(group.offer(event, index, rules))

    def _leave_quiet(self, key: str) -> None:
        """Remember that nobody watches a key or above it, as it may change again soon."""
        if len(self._quiet) >= _QUIET_MAX:
            self._quiet.clear()
        self._quiet.add(key)

    def _forget(self) -> None:
        """Forget what is remembered of who watches where: it has changed."""
        self._quiet.clear()
        self._known.clear()

    def _higher(self, key: str) -> tuple[_Groups, ...]:
        """Return those at a key and above it; remembered, since siblings change together."""
        found = self._known.get(key)
        if found is None:
            groups = (self._groups.get(one) for one in _upward(key))
            found = tuple(one for one in groups if one is not None)
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[key] = found
        return found


def _upward(key: str) -> Iterator[str]:
    """Yield a key and those above it."""
    yield key
    while key != ROOT_KEY:
        key = above(key)
        yield key


def _rights(caller: Caller) -> Caller:
    """Return what of a caller decides about its rights, so that those alike are asked for once."""
    return Caller(caller.who, "", caller.level)
