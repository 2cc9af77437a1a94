"""Answers from the tree as it is, or as it was at a revision that is still kept.

What a caller may not read is refused where it names it, and left out where it does not. The rules
of now hold, also for what was there at another revision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from coord.commands import Blame, Caller, Get, Level, List, Log, Rev, Stat, Sync, Walk
from coord.errors import CoordError
from coord.paths import Glob, order_key
from coord.results import Facts, Point, Result, Rows, Value
from coord.store import log, refusals
from coord.store.access import Access
from coord.store.history import History, Pins
from coord.store.lasting import Lasting
from coord.store.tree import Directory, Tree, Version
from coord.store.views import May, Pinned, children, shown, walk

_NO_CHILDREN: Final = Directory(0, 0, 0, 0)
_READ: Final = int(Level.READ)
_ADMIN: Final = int(Level.ADMIN)


class Holding(msgspec.Struct, frozen=True, gc=False):
    """How a lock stands: see `coord.results.Facts`."""

    holders: tuple[str, ...] = ()
    shared: bool = False
    token: int | None = None
    waiting: int = 0


def _unlocked(_path: str) -> None:
    """Say that there is no lock."""


class Reader:
    """The reads of a store; ``by_type`` finds the one for a command's type.

    :param holding: says how the lock at a path stands now; ``None`` where there is none.
    """

    def __init__(
        self,
        tree: Tree,
        history: History,
        pins: Pins,
        access: Access,
        holding: Callable[[str], Holding | None] = _unlocked,
        lasting: Lasting | None = None,
    ) -> None:
        self._tree = tree
        self._live = tree.live
        self._history = history
        self._pins = pins
        self._access = access
        self._holding = holding
        self._lasting = lasting or Lasting(tree, lambda key: None)
        self._chronicle = log.Chronicle(tree, history)
        self.by_type: dict[type, Callable[[Any, Caller], Result]] = {
            Get: self.get,
            Stat: self.stat,
            List: self.list,
            Walk: self.walk,
            Sync: self.point,
            Rev: self.point,
            Log: self.log,
            Blame: self.blame,
        }

    def get(self, read: Get, caller: Caller) -> Result:
        """Return a node's value."""
        version = self._find(read.path, read.rev, caller)
        if isinstance(version, CoordError):
            return version
        if version.value is None:
            return refusals.without_value(read.path)
        return Value(version.rev, version.value)

    def stat(self, read: Stat, caller: Caller) -> Result:
        """Return a node's facts; of a lock they are those of now."""
        version = self._find(read.path, read.rev, caller)
        if isinstance(version, CoordError):
            return version
        facts = _facts(read.path, version)
        if version.owner is not None or version.ttl_ms:
            ttl_seconds = version.ttl_ms / 1000 if version.ttl_ms else None
            facts = replace(facts, owner=version.owner, ttl_seconds=ttl_seconds)
        if read.rev is not None and read.rev != self._history.rev:
            return facts
        lock = self._holding(read.path)
        return facts if lock is None else _with_lock(facts, lock)

    def blame(self, read: Blame, caller: Caller) -> Result:
        """Return who gave a node its value."""
        version = self._find(read.path, None, caller)
        if isinstance(version, CoordError):
            return version
        if version.value is None:
            return refusals.without_value(read.path)
        return log.entry(version, read.path)

    def list(self, read: List, caller: Caller) -> Result:
        """Return the names of a node's children."""
        if not self._access.rules.shows(caller, read.path):
            return refusals.hidden(read.path)
        version = self._at(read.path, read.rev)
        if isinstance(version, CoordError):
            return version
        picture = self._picture(read.rev)
        names = children(picture, version.key)
        if caller.level < _ADMIN:
            names = shown(names, read.path, self._shows(caller))
        return Rows(picture.rev, picture.held(names))

    def walk(self, read: Walk, caller: Caller) -> Result:
        """Return the nodes that match a glob."""
        glob = self._glob(read.glob, read.rev, caller)
        if isinstance(glob, CoordError):
            return glob
        picture = self._picture(read.rev)
        lasting = self._lasting if read.lasting else None
        rows = walk(picture, glob, read.after, read.limit, self._may(caller), lasting=lasting)
        return Rows(picture.rev, picture.held(rows))

    def log(self, read: Log, caller: Caller) -> Result:
        """Return who changed what matches a glob."""
        glob = self._glob(read.glob, None, caller)
        if isinstance(glob, CoordError):
            return glob
        rev = self._history.rev
        return Rows(rev, self._chronicle.entries(glob, rev, read.limit, self._may(caller)))

    def point(self, read: Sync | Rev, caller: Caller) -> Result:
        """Return the store's revision."""
        return Point(self._history.rev)

    def difference(self, glob: Glob, after_rev: int, caller: Caller) -> Rows:
        """Return what matches; of what did not change after a revision only the path.

        :raises Denied: the caller may read nothing that matches.
        """
        if not self._access.rules.may_match(caller, glob):
            raise refusals.nothing_to_see(glob.written)
        picture = self._picture(None)
        rows = walk(picture, glob, may=self._may(caller), known_rev=after_rev)
        return Rows(picture.rev, picture.held(rows))

    def _find(self, path: str, rev: int | None, caller: Caller) -> Version | CoordError:
        """Return a node now or at ``rev``, if the caller may read it."""
        if caller.level < _ADMIN and not self._access.rules.may(caller, _READ, path):
            return refusals.hidden(path)
        if rev is not None:
            return self._at(path, rev)
        version = self._live.get(order_key(path))
        return refusals.missing(path) if version is None else version

    def _at(self, path: str, rev: int | None) -> Version | CoordError:
        """Return a node now or at ``rev``, whoever asks."""
        refusal = self._unreadable(rev)
        if refusal is not None:
            return refusal
        version = self._tree.at(order_key(path), self._history.rev if rev is None else rev)
        return refusals.missing(path, rev) if version is None else version

    def _glob(self, written: str, rev: int | None, caller: Caller) -> Glob | CoordError:
        """Return a glob, if it is one and there is something to be read by it."""
        refusal = self._unreadable(rev)
        if refusal is not None:
            return refusal
        if self._access.rules.is_shut_to(caller):
            return refusals.shut()
        try:
            return Glob.parse(written.encode())
        except CoordError as error:
            return error

    def _unreadable(self, rev: int | None) -> CoordError | None:
        history = self._history
        if rev is None:
            return None
        if rev > history.rev:
            return refusals.to_come(rev, history.rev)
        if rev < history.horizon:
            return refusals.gone(rev, history.horizon)
        return None

    def _picture(self, rev: int | None) -> Pinned:
        return Pinned(self._tree, self._pins, self._history.rev if rev is None else rev)

    def _may(self, caller: Caller) -> May | None:
        """Return what says which paths a caller may read, by the rules of that moment."""
        if caller.level >= _ADMIN:
            return None
        access = self._access
        return lambda path: access.rules.sees(caller, path)

    def _shows(self, caller: Caller) -> May:
        access = self._access
        return lambda path: access.rules.shows(caller, path)


def _facts(path: str, version: Version) -> Facts:
    """Return the facts that every node has."""
    directory = version.directory or _NO_CHILDREN
    return Facts(
        path=path,
        rev=version.rev,
        created=version.created,
        version=version.version,
        child_rev=directory.child_rev,
        child_version=directory.child_version,
        children=directory.children,
        size_bytes=None if version.value is None else len(version.value),
        created_ms=version.created_ms,
        modified_ms=version.modified_ms,
    )


def _with_lock(facts: Facts, lock: Holding) -> Facts:
    return replace(
        facts,
        holders=lock.holders,
        shared=lock.shared,
        token=lock.token,
        waiting=lock.waiting,
    )
