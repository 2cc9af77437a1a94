"""The steps of which writes are made: each does one thing to a draft, or says why not.

A write of its own is a draft with one step, a transaction one with several. What a step refuses
it refuses before it has changed anything.

"Changed" speaks of a node's value, or of an implied parent's creation: ``if=N`` does not
look at children.
"""

from __future__ import annotations

from typing import Final

from coord.commands import Add, Caller, Check, Delete, Level, Look, Set
from coord.errors import CoordError
from coord.limits import DELETE_NODES_MAX, PATH_BYTES_MAX, SESSION_NODES_MAX
from coord.paths import ROOT, from_order_key, order_key, parent
from coord.results import Value
from coord.store import refusals
from coord.store.access import ACL, is_control
from coord.store.draft import Draft
from coord.store.granting import Granting
from coord.store.sessions import Session
from coord.store.state import State
from coord.store.tree import Mark, Version

_READ: Final = int(Level.READ)
_WRITE: Final = int(Level.WRITE)
_ADMIN: Final = int(Level.ADMIN)


class Parts:
    """Every step that a transaction may have."""

    def __init__(self, state: State, granting: Granting) -> None:
        self._state = state
        self._granting = granting
        self._locks = state.locks.live

    def set(self, draft: Draft, part: Set, caller: Caller, verb: str = "SET") -> CoordError | None:
        """Give a node a value."""
        path = part.path
        key = order_key(path)
        old = draft.get(key)
        owner = self._owner(draft, part, old, caller)
        refusal = (
            self._state.unwritable(path, caller)
            or (owner if isinstance(owner, CoordError) else None)
            or self._locked(draft, key, caller)
            or changed(path, old, part.if_rev)
            or self._unruly(part)
        )
        if refusal is not None:
            return refusal
        assert not isinstance(owner, CoordError)
        ttl_ms = part.ttl_ms
        if ttl_ms is None:
            ttl_ms = 0 if old is None else old.ttl_ms
        lock = self._granting.own(draft, key)
        if lock is not None:  # the node is the lock's, and goes with it
            assert old is not None
            owner, ttl_ms = old.owner, 0
            self._granting.revalue(draft, lock, caller.session, part.value)
        elif part.ephemeral:
            draft.owned += 1
        mark = self._state.marks.of(caller, verb)
        draft.set(key, part.value, mark, owner, ttl_ms)
        return None

    def add(self, draft: Draft, part: Add, caller: Caller) -> str | CoordError:
        """Make a node that is not there yet; return its path."""
        path, number = part.path, None
        if part.sequential:
            path, number = _numbered(draft, path)
            if len(path.encode()) > PATH_BYTES_MAX:
                return refusals.too_long_numbered()
        key = order_key(path)
        owner = self._owner(draft, part, None, caller)
        refusal = (
            self._state.unwritable(path, caller, part.path)
            or (owner if isinstance(owner, CoordError) else None)
            or (None if draft.get(key) is None else refusals.existing(path))
            or self._unruly(part)
        )
        if refusal is not None:
            return refusal
        assert not isinstance(owner, CoordError)
        draft.owned += part.ephemeral
        mark = self._state.marks.of(caller, "ADD")
        draft.set(key, part.value, mark, owner, part.ttl_ms or 0, number)
        return path

    def delete(self, draft: Draft, part: Delete, caller: Caller) -> CoordError | None:
        """Delete a node, or all of a tree; the caller's own locks are given up."""
        path = part.path
        if path == ROOT:
            return refusals.root_stays()
        key = order_key(path)
        old = draft.get(key)
        if old is None or not part.tree:
            refusal = self._state.unwritable(path, caller)
            if refusal is not None:
                return refusal
        if old is None:
            return refusals.missing(path)
        keys = [key, *draft.below(key)] if part.tree and draft.children(key) else [key]
        refusal = (
            self._untouchable(draft, keys, caller)
            or changed(path, old, part.if_rev)
            or _too_large(draft, part, keys)
        )
        if refusal is not None:
            return refusal
        mark = self._state.marks.of(caller, "DEL")
        if self._locks:
            keys = self._without_kept(draft, keys, caller, mark)
        draft.lose(keys, mark)
        return None

    def _without_kept(self, draft: Draft, keys: list[str], caller: Caller, mark: Mark) -> list[str]:
        """Give up the locks among some nodes; leave out those that are somebody else's now."""
        kept = set[str]()
        for key in keys:
            lock = self._granting.own(draft, key)
            if lock is not None and self._granting.leave(
                draft, lock, caller.session, mark, is_deleted=True
            ):
                kept.add(key)
        return [key for key in keys if key not in kept] if kept else keys

    def check(self, draft: Draft, part: Check, caller: Caller) -> CoordError | None:
        """Go on only if a node has not changed, and if a lock is still held."""
        path = part.path
        if caller.level < _ADMIN and not self._state.access.rules.may(caller, _READ, path):
            return refusals.hidden(path)
        key = order_key(path)
        refusal = changed(path, draft.get(key), part.if_rev)
        if refusal is not None or part.token is None:
            return refusal
        holder = self._state.locks.holder(key, part.token)
        if (
            holder is None
            or holder.is_lost
            or (key in draft.left and holder.session == caller.session)
        ):
            return refusals.not_held_under(path, part.token)
        return None

    def look(self, draft: Draft, part: Look, caller: Caller) -> Value | CoordError:
        """Return what a node holds."""
        path = part.path
        if caller.level < _ADMIN and not self._state.access.rules.may(caller, _READ, path):
            return refusals.hidden(path)
        version = draft.get(order_key(path))
        if version is None:
            return refusals.missing(path)
        if version.value is None:
            return refusals.without_value(path)
        return Value(version.rev, version.value)

    # -- what may be in the way ---------------------------------------------------------
    def _owner(
        self, draft: Draft, part: Set | Add, old: Version | None, caller: Caller
    ) -> str | CoordError | None:
        """Return the session that a node will belong to."""
        owner = None if old is None else old.owner
        if not part.ephemeral:
            return owner
        session = self._state.sessions.find(caller.session)
        if isinstance(session, Session):
            if owner != session.id and len(session.nodes) + draft.owned >= SESSION_NODES_MAX:
                return refusals.too_many_nodes()
            return session.id
        return session

    def _locked(self, draft: Draft, key: str, caller: Caller) -> CoordError | None:
        if key in self._locks and self._granting.is_held_by_others(draft, key, caller.session):
            return refusals.locked(from_order_key(key))
        return None

    def _untouchable(self, draft: Draft, keys: list[str], caller: Caller) -> CoordError | None:
        """Return why some nodes may not be deleted by a caller."""
        path = from_order_key(keys[0])
        if is_control(path) or not self._state.access.rules.is_open_to(caller, _WRITE):
            for key in keys:
                version = draft.get(key)
                if version is not None and version.value is not None:
                    refusal = self._state.unwritable(from_order_key(key), caller, path)
                    if refusal is not None:
                        return refusal
        if self._locks:
            for key in keys:
                refusal = self._locked(draft, key, caller)
                if refusal is not None:
                    return refusal
        return None

    def _unruly(self, part: Set | Add) -> CoordError | None:
        """Return what is wrong with rules of access."""
        if part.path != ACL:
            return None
        if part.ephemeral or part.ttl_ms:
            return refusals.rules_stay()
        return self._state.access.refusal(part.value)


def changed(path: str, old: Version | None, if_rev: int | None) -> CoordError | None:
    """Return what ``if=`` has against a write, ``None`` where nothing."""
    if if_rev is None:
        return None
    if old is None:
        return refusals.missing(path) if if_rev else None
    if if_rev and old.rev <= if_rev:
        return None
    return refusals.changed(path, old.rev)


def _too_large(draft: Draft, part: Delete, keys: list[str]) -> CoordError | None:
    if not part.tree:
        children = draft.children(keys[0])
        return refusals.with_children(part.path, children) if children else None
    if draft.lost + len(keys) > DELETE_NODES_MAX:
        return refusals.too_many(part.path, draft.lost + len(keys))
    return None


def _numbered(draft: Draft, path: str) -> tuple[str, int]:
    """Return the next sequential name that is free, and its number."""
    number = draft.last(order_key(parent(path)))
    while True:  # past names made by hand, each of them once in the parent's life
        number += 1
        name = f"{path}{number:010d}"
        if draft.get(order_key(name)) is None:
            return name, number
