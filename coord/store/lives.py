"""Sessions begin and end, and what had its time comes to its end.

All that a session owned goes in one revision; what others gain by it that is not in that one
follows at once. What has changed since its end was proposed is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coord.commands import Caller, EndSession, Lapse, OpenSession
from coord.errors import CoordError
from coord.paths import from_order_key, order_key
from coord.results import Opened, Written
from coord.store import refusals
from coord.store.answers import Answer
from coord.store.draft import Draft
from coord.store.granting import Granting
from coord.store.news import Delay, Patience, SessionBegun, SessionOver, Span
from coord.store.sessions import Session
from coord.store.state import State, lifetime
from coord.store.tree import Mark


class Lives:
    """The writes that begin and end sessions; ``by_type`` finds the one for a command's type."""

    def __init__(self, state: State, granting: Granting) -> None:
        self._state = state
        self._granting = granting
        self.by_type: dict[type, Callable[[Any, int, Caller], Answer]] = {
            OpenSession: self.open,
            EndSession: self.end,
            Lapse: self.lapse,
        }

    def open(self, write: OpenSession, time_ms: int, caller: Caller) -> Opened | CoordError:
        """Open a session, for who may do anything at all; that makes no revision."""
        if self._state.access.rules.is_shut_to(caller):
            return refusals.shut()
        opened = self._state.sessions.open(write, time_ms, caller)
        if isinstance(opened, Opened):
            self._state.news.append(SessionBegun(opened.session, opened.timeout_ms))
        return opened

    def end(self, write: EndSession, time_ms: int, caller: Caller) -> Written | CoordError:
        """End a session, as its client wants."""
        session = self._state.sessions.find(write.session)
        if isinstance(session, CoordError):
            return session
        mark = self._state.marks.of(caller, "END")
        return Written(self._over(session, mark, time_ms, is_expired=False))

    def lapse(self, write: Lapse, time_ms: int, caller: Caller) -> Written:
        """Let everything end whose time is up."""
        state, mark = self._state, self._state.marks.of(caller, "EXPIRE")
        for one in write.sessions:
            session = state.sessions.live.get(one)
            if session is not None:
                self._over(session, mark, time_ms, is_expired=True)
        for path, rev in write.nodes:
            self._lapse_node(order_key(path), rev, mark, time_ms)
        for path, waiting, number in write.waits:
            self._granting.lapse_wait(path, waiting, number, time_ms)
        for path, token in write.delays:
            self._granting.lapse_delay(path, token, mark, time_ms)
        return Written(state.history.rev)

    def _lapse_node(self, key: str, rev: int, mark: Mark, time_ms: int) -> None:
        node = self._state.tree.live.get(key)
        if node is not None and node.ttl_ms and node.rev == rev:
            draft = self._state.draft(time_ms)
            draft.lose([key], mark)
            self._state.commit(draft)

    def _over(self, session: Session, mark: Mark, time_ms: int, *, is_expired: bool) -> int:
        """End a session and all that it owns, in one revision; return it."""
        state, granting = self._state, self._granting
        state.sessions.remove(session, is_expired=is_expired)
        places = sorted(session.waits)
        for key in places:
            lock, path = state.locks.live[key], from_order_key(key)
            granting.end_place(lock, lock.queue[session.id], refusals.gone_with(path, is_expired))
        draft = state.draft(time_ms)
        doomed = self._left_behind(draft, session, mark)
        locks = state.locks.live
        doomed += [key for key in session.nodes if key not in locks] if locks else session.nodes
        draft.lose(doomed, mark)
        rev = state.commit(draft)
        state.news.append(SessionOver(session.id, rev, is_expired))
        granting.settle([*draft.left, *places], time_ms)
        return rev

    def _left_behind(self, draft: Draft, session: Session, mark: Mark) -> list[str]:
        """Give up a session's locks; return the nodes that go with them."""
        doomed = []
        for key in sorted(session.locks):
            lock = self._state.locks.live[key]
            if lock.holders[session.id].delay_ms:
                self._granting.lose(lock, session.id)
            elif not self._granting.leave(draft, lock, session.id, mark):
                doomed.append(key)
        return doomed

    def spans(self) -> list[Span]:
        """Return every span of time that is under way."""
        live = self._state.tree.live
        found: list[Span] = [lifetime(live[key]) for key in self._state.mortal]
        for lock in self._state.locks.live.values():
            path = from_order_key(lock.key)
            found += [
                Patience(path, one.session, one.number, one.wait_ms) for one in lock.queue.values()
            ]
            found += [
                Delay(path, one.token, one.delay_ms) for one in lock.holders.values() if one.is_lost
            ]
        return found
