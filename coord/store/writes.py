"""What each write does to the tree: the only place where revisions are made.

Every write ends in at most one call of `History.append` (`Genesis` is several writes); a
refused one leaves nothing behind. A node that comes or goes changes its parent too: the
parent's new record at that revision keeps ``STAT rev=N`` true. Records of one revision are in
path order, parents first.

"Changed" speaks of a node's value, or of an implied parent's creation: ``if=N`` does not
look at children.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from coord.commands import Add, Caller, Delete, Genesis, Set
from coord.errors import CoordError
from coord.limits import DELETE_NODES_MAX, PATH_BYTES_MAX
from coord.paths import CONTROL, ROOT, order_key, parent
from coord.results import Written
from coord.store import refusals
from coord.store.history import History
from coord.store.marks import Marks
from coord.store.sequences import Sequences
from coord.store.tree import ROOT_KEY, Directory, Mark, Tree, Version, above, tombstone

Outcome: TypeAlias = Written | CoordError

_BELOW_CONTROL: Final = CONTROL + "/"


class Writer:
    """The writes of a store; ``by_type`` finds the one for a command's type."""

    def __init__(self, tree: Tree, history: History, sequences: Sequences) -> None:
        self._tree = tree
        self._live = tree.live
        self._history = history
        self._sequences = sequences
        self._marks = Marks()
        self.by_type: dict[type, Callable[[Any, int, Caller], Outcome]] = {
            Genesis: self.genesis,
            Set: self.set,
            Add: self.add,
            Delete: self.delete,
        }

    def genesis(self, write: Genesis, time_ms: int, caller: Caller) -> Outcome:
        """Write the cluster's own first nodes, one revision each; only at revision 0."""
        if self._history.rev == 0:
            mark = self._marks.of(caller, "GENESIS")
            self._create(order_key(f"{CONTROL}/cluster"), write.cluster.encode(), time_ms, mark)
            for name, address in sorted(write.members):
                key = order_key(f"{CONTROL}/members/{name}")
                if key not in self._live:
                    self._create(key, address.encode(), time_ms, mark)
        return Written(self._history.rev)

    def set(self, write: Set, time_ms: int, caller: Caller) -> Outcome:
        """Give a node a value."""
        path = write.path
        if path.startswith(CONTROL) and _is_control(path):
            return refusals.denied()
        key = order_key(path)
        old = self._live.get(key)
        if write.if_rev is not None:
            refusal = _changed(path, old, write.if_rev)
            if refusal is not None:
                return refusal
        if old is None:
            mark = self._marks.of(caller, "SET")
            return Written(self._create(key, write.value, time_ms, mark))
        history = self._history
        rev = history.rev + 1
        version = Version(
            old.key,
            rev,
            rev,
            write.value,
            old.created,
            old.version + 1,
            old.created_ms,
            time_ms,
            old.directory,
            old.owner,
            old.ttl_ms,
            self._marks.of(caller, "SET"),
        )
        self._tree.put(version)
        history.append(version)
        return Written(rev)

    def add(self, write: Add, time_ms: int, caller: Caller) -> Outcome:
        """Make a node that is not there yet, and name it."""
        path, number = write.path, None
        if write.sequential:
            path, number = self._numbered(path)
            if len(path.encode()) > PATH_BYTES_MAX:
                return refusals.too_long_numbered()
        if _is_control(path):
            return refusals.denied()
        key = order_key(path)
        if key in self._live:
            return refusals.existing(path)
        mark = self._marks.of(caller, "ADD")
        return Written(self._create(key, write.value, time_ms, mark, number), path)

    def delete(self, write: Delete, time_ms: int, caller: Caller) -> Outcome:
        """Delete a node, or all of a tree in one revision."""
        path = write.path
        if path == ROOT:
            return refusals.root_stays()
        if _is_control(path):
            return refusals.denied()
        key = order_key(path)
        old = self._live.get(key)
        if old is None:
            return refusals.missing(path)
        if write.if_rev is not None:
            refusal = _changed(path, old, write.if_rev)
            if refusal is not None:
                return refusal
        if old.directory is None or not old.directory.children:
            return Written(self._remove([old], time_ms, self._marks.of(caller, "DEL")))
        if not write.tree:
            return refusals.with_children(path, old.directory.children)
        doomed = self._below(key)
        if len(doomed) > DELETE_NODES_MAX:
            return refusals.too_many(path, len(doomed))
        return Written(self._remove(doomed, time_ms, self._marks.of(caller, "DEL")))

    def _numbered(self, path: str) -> tuple[str, int]:
        """Return the next sequential name that is free, and its number."""
        key = order_key(parent(path))
        version = self._live.get(key)
        if version is None or version.directory is None:
            number = self._sequences.last(key)
        else:
            number = version.directory.sequence
        while True:  # past names made by hand, each of them once in the parent's life
            number += 1
            name = f"{path}{number:010d}"
            if order_key(name) not in self._live:
                return name, number

    def _create(
        self, key: str, value: bytes, time_ms: int, mark: Mark, sequence: int | None = None
    ) -> int:
        """Make a node and its missing parents; return the revision.

        :param sequence: the number in its name, for its parent to count.
        """
        rev = self._history.rev + 1
        changes = [Version(key, rev, rev, value, rev, 1, time_ms, time_ms, None, None, 0, mark)]
        key = above(key)
        while (version := self._live.get(key)) is None:
            directory = self._first_child(key, rev, sequence)
            changes.append(
                Version(key, rev, rev, None, rev, 0, time_ms, time_ms, directory, None, 0, mark)
            )
            key, sequence = above(key), None
        old = version.directory
        if old is None:
            directory = self._first_child(key, rev, sequence)
        else:
            number = old.sequence if sequence is None else sequence
            directory = Directory(old.children + 1, rev, old.child_version + 1, number)
        changes.append(_with_directory(version, rev, directory))
        changes.reverse()
        for change in changes:
            self._tree.put(change)
        self._history.append(tuple(changes))
        return rev

    def _first_child(self, key: str, rev: int, sequence: int | None) -> Directory:
        """Return what a parent knows that has its first child."""
        last = self._sequences.take(key)
        return Directory(1, rev, 1, last if sequence is None else sequence)

    def _below(self, key: str) -> list[Version]:
        """Return the node and all below it, in path order."""
        live = self._live
        keys = self._tree.order.span(key + "\0", key + "\x01", len(live) + len(self._tree.past))
        return [live[key], *(live[one] for one in keys if one in live)]

    def _remove(self, doomed: list[Version], time_ms: int, mark: Mark) -> int:
        """Delete a node and all below it, and the parents that go with it; return the revision.

        :param doomed: all of them, in path order.
        """
        rev = self._history.rev + 1
        version = self._live[above(doomed[0].key)]
        while _goes_with_child(version):
            doomed.insert(0, version)
            version = self._live[above(version.key)]
        old = version.directory
        assert old is not None, "a parent knows of its children"
        directory = Directory(old.children - 1, rev, old.child_version + 1, old.sequence)
        parent_left = _with_directory(version, rev, directory)
        self._tree.put(parent_left)
        stones = [tombstone(one, rev, time_ms, mark) for one in doomed]
        for one, stone in zip(doomed, stones, strict=True):
            if one.directory is not None:
                self._sequences.remember(one.key, one.directory.sequence)
            self._tree.bury(stone)
        self._history.append((parent_left, *stones))
        return rev


def _goes_with_child(version: Version) -> bool:
    """Say whether a parent is there only for its one child."""
    if version.value is not None or version.key == ROOT_KEY:
        return False
    return version.directory is not None and version.directory.children == 1


def _with_directory(version: Version, since: int, directory: Directory) -> Version:
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


def _is_control(path: str) -> bool:
    return path == CONTROL or path.startswith(_BELOW_CONTROL)


def _changed(path: str, old: Version | None, if_rev: int) -> CoordError | None:
    """Return what ``if=`` has against a write, ``None`` where nothing."""
    if old is None:
        return refusals.missing(path) if if_rev else None
    if if_rev and old.rev <= if_rev:
        return None
    return refusals.changed(path, old.rev)
