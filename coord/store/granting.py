"""What locks do to the nodes that stand for them: who gets one, and what a holder leaves behind.

A lock that is held always has its node. To grant it is to set that node, and the revision which
does so is the token; so tokens only grow. Where a holder leaves,

* the value of the newest of those who share the lock comes back;
* or the head of the queue has it, in the same revision;
* or the node is what it was before the lock: it holds the value it had, or goes.

Then, one revision each, all others at the head of the queue who may share it. The changes of the
node are made on a draft; those of the lock itself follow once that is committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from msgspec.structs import replace

from coord.commands import Caller, Lock, Unlock
from coord.errors import CoordError
from coord.limits import LOCK_WAITERS_MAX, SESSION_LOCKS_MAX
from coord.paths import from_order_key, order_key
from coord.results import Granted, Queued, Written
from coord.store import refusals
from coord.store.access import is_control
from coord.store.answers import encoded
from coord.store.draft import Draft
from coord.store.locks import Before, Holder, Place
from coord.store.locks import Lock as Held
from coord.store.news import Delay, Patience, PlaceOver
from coord.store.sessions import Session
from coord.store.state import State
from coord.store.tree import Mark


class Granting:
    """Grants locks and takes them back."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._live = state.locks.live
        self._sessions = state.sessions
        self._notes = state.notes

    # -- LOCK ------------------------------------------------------------------------
    def lock(self, write: Lock, time_ms: int, caller: Caller) -> Granted | Queued | CoordError:
        """Give a lock to the caller's session, or a place in the queue for it."""
        path, state = write.path, self._state
        refusal = state.unwritable(path, caller)
        if refusal is not None:
            return refusal
        session = self._sessions.find(caller.session)
        if isinstance(session, CoordError):
            return session
        if is_control(path):
            return refusals.denied()
        key = order_key(path)
        lock = self._live.get(key)
        standing = None if lock is None else _standing(lock, session, write.shared)
        if standing is not None:
            return standing
        if len(session.locks) + len(session.waits) >= SESSION_LOCKS_MAX:
            return refusals.too_many_locks()
        place = Place(
            session.id, caller.author(), time_ms, write.shared, 0, write.value, write.wait_ms,
            write.delay_ms,
        )  # fmt: skip
        if lock is not None and (lock.queue or not lock.allows(write.shared)):
            return self._line_up(lock, session, place)
        draft = state.draft(time_ms)
        self._give(draft, key, place, "LOCK")
        state.commit(draft)
        return Granted(draft.rev)

    def _line_up(self, lock: Held, session: Session, place: Place) -> Queued | CoordError:
        """Let a session wait behind all others."""
        path = from_order_key(lock.key)
        if not place.wait_ms:
            return refusals.locked(path)
        if len(lock.queue) >= LOCK_WAITERS_MAX:
            return refusals.too_many_waiters(path)
        locks = self._state.locks
        locks.number += 1
        place = replace(place, number=locks.number)
        lock.queue[session.id] = place
        session.waits[lock.key] = place.number
        self._notes.append(("wait", lock.key, place))
        self._state.news.append(Patience(path, session.id, place.number, place.wait_ms))
        return Queued(place.number)

    def _give(self, draft: Draft, key: str, place: Place, verb: str) -> None:
        """Let a session hold the lock from this draft's revision on."""
        node, lock = draft.get(key), self._live.get(key)
        here = None if node is None else node.value
        before = lock.before if lock is not None else None
        if lock is None and node is not None and node.value is not None:
            before = Before(node.value, node.owner, node.ttl_ms)
        value = (here or b"") if place.value is None else place.value
        mark = self._state.marks.by(place.author, verb)
        draft.set(key, value, mark, self._sessions.live[place.session].id)
        holder = Holder(
            place.session, place.author, draft.time_ms, place.shared, draft.rev, value,
            place.delay_ms,
        )  # fmt: skip
        draft.then.append(partial(self._given, key, before, place, holder))

    def _given(self, key: str, before: Before | None, place: Place, holder: Holder) -> None:
        lock = self._live.get(key)
        if lock is None:
            lock = self._live[key] = Held(key, before)
        self._state.locks.hold(key, holder)
        session = self._sessions.live[holder.session]
        session.locks[key] = None
        self._notes.append(("grant", key, holder))
        if place.number:
            self.end_place(lock, place, Granted(holder.token))

    # -- holders who leave -----------------------------------------------------------
    def unlock(self, write: Unlock, time_ms: int, caller: Caller) -> Written | CoordError:
        """Take back a lock, or a place in the queue."""
        path, state = write.path, self._state
        if not caller.session:
            return refusals.not_held(path)
        session = self._sessions.find(caller.session)
        if isinstance(session, CoordError):
            return session
        lock = self._live.get(order_key(path))
        if lock is not None and session.id in lock.queue:
            rev = state.history.rev
            self.end_place(lock, lock.queue[session.id], refusals.given_up(path))
            self.settle((lock.key,), time_ms)
            return Written(rev)
        if lock is None or lock.holder(session.id) is None:
            return refusals.not_held(path)
        mark = state.marks.of(caller, "UNLOCK")
        return Written(self._release(lock, session.id, mark, time_ms))

    def _release(self, lock: Held, session: str, mark: Mark, time_ms: int) -> int:
        """Let one holder leave, in a revision of its own; return it."""
        draft = self._state.draft(time_ms)
        if not self.leave(draft, lock, session, mark):
            draft.lose([lock.key], mark)
        rev = self._state.commit(draft)
        self.settle(draft.left, time_ms)
        return rev

    def leave(
        self, draft: Draft, lock: Held, session: str, mark: Mark, *, is_deleted: bool = False
    ) -> bool:
        """Let the node of a lock be what it has to be after a holder has left.

        :param is_deleted: it left by deleting the node, so what that was before is forgotten.
        :returns: whether the node stays; where not, its value is to be taken away.
        """
        key, before = lock.key, None if is_deleted else lock.before
        draft.left[key] = None
        draft.then.append(partial(self._left, lock, session, before))
        newest, place = lock.newest(session), lock.first()
        if newest is not None:
            draft.set(key, newest.value, mark, newest.session)
        elif place is not None:
            self._give(draft, key, place, "GRANT")
        elif before is not None and self._is_there(before.owner):
            draft.set(key, before.value, mark, before.owner, before.ttl_ms)
        else:
            return False
        return True

    def _is_there(self, owner: str | None) -> bool:
        return owner is None or owner in self._sessions.live

    def _left(self, lock: Held, session: str, before: Before | None) -> None:
        holder = lock.holders.pop(session)
        lock.before = before
        self._notes.append(("leave", lock.key, session, holder.token, before is None))
        del self._state.locks.tokens[lock.key, holder.token]
        owner = self._sessions.live.get(session)
        if owner is not None:
            del owner.locks[lock.key]
        if not lock.holders and not lock.queue:
            del self._live[lock.key]

    def is_held_by_others(self, draft: Draft, key: str, session: str) -> bool:
        """Say whether there is a lock that ``session`` does not hold, after the draft's steps."""
        lock = self._live.get(key)
        if lock is None:
            return False
        if key in draft.left:
            return bool(lock.queue) or len(lock.holders) > 1
        return lock.holder(session) is None

    def own(self, draft: Draft, key: str) -> Held | None:
        """Return the lock at a node, if it is still held after the draft's steps."""
        return None if key in draft.left else self._live.get(key)

    def revalue(self, draft: Draft, lock: Held, session: str, value: bytes) -> None:
        """Note that a holder has set the node: the value is its own from now on."""

        def then() -> None:
            lock.holders[session] = replace(lock.holders[session], value=value)
            self._notes.append(("value", lock.key, session, draft.rev))

        draft.then.append(then)

    def lose(self, lock: Held, session: str) -> None:
        """Let the lock of a session that is over wait for its lock-delay to pass."""
        holder = lock.holders[session] = replace(lock.holders[session], is_lost=True)
        self._notes.append(("lost", lock.key, holder.token))
        path = from_order_key(lock.key)
        self._state.news.append(Delay(path, holder.token, holder.delay_ms))

    # -- the queue -------------------------------------------------------------------
    def end_place(self, lock: Held, place: Place, result: Granted | CoordError) -> None:
        """Take a place out of the queue, and say why."""
        del lock.queue[place.session]
        session = self._sessions.live.get(place.session)
        if session is not None:
            del session.waits[lock.key]
            self._sessions.settle(session, place.number, encoded(result))
        if isinstance(result, CoordError):
            self._notes.append(("place", lock.key, place.number))
        path = from_order_key(lock.key)
        self._state.news.append(PlaceOver(path, place.session, result))

    def settle(self, keys: Iterable[str], time_ms: int) -> None:
        """Give locks to those at the head of their queues who may have them now."""
        for key in sorted(keys):
            lock = self._live.get(key)
            while (
                lock is not None
                and (place := lock.first()) is not None
                and lock.allows(place.shared)
            ):
                draft = self._state.draft(time_ms)
                self._give(draft, key, place, "GRANT")
                self._state.commit(draft)

    # -- time is up --------------------------------------------------------------------
    def lapse_wait(self, path: str, session: str, number: int, time_ms: int) -> None:
        """End a place in a queue, if it still is one."""
        lock = self._live.get(order_key(path))
        place = None if lock is None else lock.queue.get(session)
        if lock is not None and place is not None and place.number == number:
            self.end_place(lock, place, refusals.waited(path))
            self.settle((lock.key,), time_ms)

    def lapse_delay(self, path: str, token: int, mark: Mark, time_ms: int) -> None:
        """End a lock-delay, if it still runs."""
        key = order_key(path)
        holder = self._state.locks.holder(key, token)
        if holder is not None and holder.is_lost:
            self._release(self._live[key], holder.session, mark, time_ms)


def _standing(lock: Held, session: Session, shared: bool) -> Granted | Queued | CoordError | None:
    """Return how a session stands with a lock already."""
    holder, place = lock.holder(session.id), lock.queue.get(session.id)
    standing = holder or place
    if standing is None:
        return None
    if standing.shared != shared:
        return refusals.held_otherwise(from_order_key(lock.key), shared)
    return Granted(holder.token) if holder is not None else Queued(lock.queue[session.id].number)
