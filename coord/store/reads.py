"""Answers from the tree as it is, or as it was at a revision that is still kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coord.commands import Get, List, Rev, Stat, Sync, Walk
from coord.errors import CoordError
from coord.paths import Glob, order_key
from coord.results import Facts, Point, Result, Rows, Value
from coord.store import refusals
from coord.store.history import History, Pins
from coord.store.tree import Directory, Tree, Version
from coord.store.views import Pinned, children, walk

_NO_CHILDREN = Directory(0, 0, 0, 0)


class Reader:
    """The reads of a store; ``by_type`` finds the one for a command's type."""

    def __init__(self, tree: Tree, history: History, pins: Pins) -> None:
        self._tree = tree
        self._history = history
        self._pins = pins
        self.by_type: dict[type, Callable[[Any], Result]] = {
            Get: self.get,
            Stat: self.stat,
            List: self.list,
            Walk: self.walk,
            Sync: self.point,
            Rev: self.point,
        }

    def get(self, read: Get) -> Result:
        """Return a node's value."""
        version = self._find(read.path, read.rev)
        if isinstance(version, CoordError):
            return version
        if version.value is None:
            return refusals.without_value(read.path)
        return Value(version.rev, version.value)

    def stat(self, read: Stat) -> Result:
        """Return a node's facts."""
        version = self._find(read.path, read.rev)
        if isinstance(version, CoordError):
            return version
        directory = version.directory or _NO_CHILDREN
        return Facts(
            path=read.path,
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

    def list(self, read: List) -> Result:
        """Return the names of a node's children."""
        version = self._find(read.path, read.rev)
        if isinstance(version, CoordError):
            return version
        picture = self._picture(read.rev)
        return Rows(picture.rev, picture.held(children(picture, version.key)))

    def walk(self, read: Walk) -> Result:
        """Return the nodes that match a glob."""
        refusal = self._unreadable(read.rev)
        if refusal is not None:
            return refusal
        try:
            glob = Glob.parse(read.glob.encode())
        except CoordError as error:
            return error
        picture = self._picture(read.rev)
        return Rows(picture.rev, picture.held(walk(picture, glob, read.after, read.limit)))

    def point(self, read: Sync | Rev) -> Result:
        """Return the store's revision."""
        return Point(self._history.rev)

    def _find(self, path: str, rev: int | None) -> Version | CoordError:
        """Return a node now or at ``rev``."""
        if rev is None:
            version = self._tree.live.get(order_key(path))
        else:
            refusal = self._unreadable(rev)
            if refusal is not None:
                return refusal
            version = self._tree.at(order_key(path), rev)
        return refusals.missing(path) if version is None else version

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
