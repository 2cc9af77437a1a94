"""How sessions and locks stand, told to those who ask."""

from __future__ import annotations

from itertools import islice

from coord.commands import Caller, Outcome
from coord.errors import CoordError
from coord.limits import LOCK_HOLDERS_SHOWN
from coord.paths import from_order_key, order_key
from coord.results import LockPlace, LockRow, SessionRow
from coord.store import refusals
from coord.store.answers import Answer, decoded
from coord.store.locks import Holder, Lock, Place
from coord.store.reads import Holding
from coord.store.sessions import Session
from coord.store.state import State


class Standing:
    """Reads what stands beside the tree."""

    def __init__(self, state: State) -> None:
        self._sessions = state.sessions
        self._locks = state.locks

    def outcome(self, read: Outcome, caller: Caller) -> Answer:
        """Return what the caller's session was answered to a write of that name."""
        session = self._sessions.find(caller.session)
        if isinstance(session, CoordError):
            return session
        kept = None if session.answers is None else session.answers.get(read.word)
        return refusals.no_outcome(read.word) if kept is None else decoded(kept)

    def holding(self, path: str) -> Holding | None:
        """Return how the lock at a path stands, ``None`` where there is none."""
        lock = self._locks.live.get(order_key(path))
        if lock is None:
            return None
        newest = next(reversed(lock.holders.values()))
        there = (one.session for one in reversed(lock.holders.values()) if not one.is_lost)
        names = [*islice(there, LOCK_HOLDERS_SHOWN)]
        return Holding(tuple(reversed(names)), lock.shared, newest.token, len(lock.queue))

    def sessions(self) -> list[SessionRow]:
        """Return the open sessions, oldest first."""
        return [self._row(session) for session in self._sessions.live.values()]

    def _row(self, session: Session) -> SessionRow:
        identity, locks = session.identity, self._locks.live
        return SessionRow(
            session=identity.session,
            author=identity.author,
            opened_ms=identity.opened_ms,
            timeout_ms=identity.timeout_ms,
            nodes=sum(key not in locks for key in session.nodes),
            locks=tuple(map(from_order_key, sorted(session.locks))),
            waits=tuple(map(from_order_key, sorted(session.waits))),
        )

    def locks(self) -> list[LockRow]:
        """Return the locks in path order."""
        return [_lock_row(lock) for lock in self._locks.in_order()]


def _lock_row(lock: Lock) -> LockRow:
    return LockRow(
        from_order_key(lock.key),
        tuple(map(_holder, lock.holders.values())),
        tuple(map(_place, lock.queue.values())),
    )


def _holder(one: Holder) -> LockPlace:
    return LockPlace(
        session=one.session,
        author=one.author,
        since_ms=one.since_ms,
        shared=one.shared,
        token=one.token,
        is_lost=one.is_lost,
    )


def _place(one: Place) -> LockPlace:
    return LockPlace(
        session=one.session, author=one.author, since_ms=one.since_ms, shared=one.shared
    )
