"""What people are shown of the twin's sessions and locks."""

from __future__ import annotations

from collections.abc import Iterable

from coord.results import LockPlace, LockRow, SessionRow
from tests.store import twin_reads
from tests.store.twin import Twin
from tests.store.twin_world import Holder


def in_path_order(paths: Iterable[str]) -> list[str]:
    """Return paths in path order."""
    return sorted(paths, key=lambda path: path.split("/"))


def session_rows(twin: Twin) -> list[SessionRow]:
    """Return the sessions as people see them."""
    locks = twin.world.locks.items()
    return [
        SessionRow(
            session=name,
            author=one.author,
            opened_ms=one.opened_ms,
            timeout_ms=one.timeout_ms,
            nodes=twin_reads.nodes_of(twin, name),
            locks=tuple(in_path_order(path for path, lock in locks if lock.find(name))),
            waits=tuple(in_path_order(path for path, lock in locks if lock.place(name))),
        )
        for name, one in twin.world.sessions.items()
    ]


def lock_rows(twin: Twin) -> list[LockRow]:
    """Return the locks as people see them."""
    return [
        LockRow(
            path,
            tuple(lock_place(one, one.token) for one in lock.holders),
            tuple(lock_place(one, None) for one in lock.queue),
        )
        for path, lock in (
            (path, twin.world.locks[path]) for path in in_path_order(twin.world.locks)
        )
    ]


def lock_place(one: Holder, token: int | None) -> LockPlace:
    """Return a holder or a place as people see it."""
    return LockPlace(
        session=one.session,
        author=one.author,
        since_ms=one.since_ms,
        shared=one.shared,
        token=token,
        is_lost=one.lost,
    )
