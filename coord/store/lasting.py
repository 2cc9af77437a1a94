"""What would be there if all sessions ended at this moment: what a backup wants.

An ephemeral node would go. The node of a lock would go, too, or have again what it held before it
was locked. A version tells that a node goes with a session (``owner``) and no more, and a walk may
come to a version long after it was the present one. But what follows shows which it was:

* The value of an ephemeral node is never followed by one without an owner; a loss comes before.
* A lock that is given up over a value puts it back, and that is the next without an owner.
* Where the version with an owner is still the present one, the lock itself knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from coord.events import Event, Kind
from coord.results import Aside, Row
from coord.store.locks import Lock as Held
from coord.store.tree import Tree, Version, event_of

LOCKING: Final = frozenset({"LOCK", "GRANT"})
"""The verbs by which a node becomes a lock's."""
_HANDED_ON: Final = frozenset({"GRANT", "DEL"})
"""Those by which the node of a lock stays a lock's after a holder has deleted it."""

LockAt: TypeAlias = Callable[[str], Held | None]
"""Finds the lock whose node has a key."""


class Lasting:
    """Tells what lasts, of any kept version."""

    def __init__(self, tree: Tree, lock_at: LockAt) -> None:
        self._tree = tree
        self._lock_at = lock_at

    def rows(self, path: str, version: Version, rev: int) -> Iterator[Row | Aside]:
        """Yield what a walk at ``rev`` tells of the node that has a value in ``version`` then."""
        if version.owner is None:
            yield from _plain(path, version.rev, version.value, version.ttl_ms)
            return
        is_lock, covered = self._covered(version, rev)
        yield Aside(path, "lock" if is_lock else "ephemeral")
        if covered is not None:
            yield from _plain(path, version.rev, *covered)

    def event(self, version: Version) -> Event | None:
        """Return what those who want only what lasts see of a change."""
        event = event_of(version)
        if event is None:
            return None
        if version.value is not None and version.owner is None:
            return Event(event.rev, event.kind, event.path, event.value, version.ttl_ms)
        before = self._tree.record(version.key, version.since - 1)
        if before is None or before.value is None:
            return None
        if version.value is not None and before.owner is None:
            if version.mark.verb in LOCKING:
                return None
        elif version.value is not None:
            if not self._is_forgotten(version, before):
                return None
        elif before.owner is not None and not self._may_have_lasted(before):
            return None
        return Event(event.rev, Kind.DEL, event.path)

    def _is_forgotten(self, version: Version, before: Version) -> bool:
        """Say whether a lock went on to others, and what it covered was deleted by one holder."""
        if version.mark.verb not in _HANDED_ON:
            return False
        lock = self._lock_at(version.key)
        return lock is not None and lock.before is None and self._may_have_lasted(before)

    def _may_have_lasted(self, version: Version) -> bool:
        """Say whether a node may have had a value that lasts before it went with a session.

        It is asked about a node that is gone. A lock's holder may have deleted what the lock
        covered: who knew of that has to hear that it is gone, and for others it does no harm.
        """
        for older in self._tree.before(version):
            if older.owner is None:
                return older.value is not None
            if older.version == 1:
                return False
        return True

    def _covered(self, version: Version, rev: int) -> tuple[bool, tuple[bytes, int] | None]:
        """Say whether it is a lock's, and what will be put back: value and lifetime.

        What its holder deletes while the picture is taken counts as gone before.
        """
        is_lock = version.mark.verb in LOCKING
        for later in self._tree.after(version.key, rev):
            if later.value is None:
                return is_lock, None
            if later.owner is None:
                return True, (later.value, later.ttl_ms)
        lock = self._lock_at(version.key)
        if lock is None:
            return is_lock, None
        before = lock.before
        if before is None or before.owner is not None:
            return True, None
        return True, (before.value, before.ttl_ms)


def _plain(path: str, rev: int, value: bytes | None, ttl_ms: int) -> Iterator[Row | Aside]:
    if value is None:
        return
    if ttl_ms:
        yield Aside(path, f"ttl={_seconds(ttl_ms)}")
    yield Row(path, rev, value)


def _seconds(span_ms: int) -> str:
    whole, rest = divmod(span_ms, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".") if rest else str(whole)
