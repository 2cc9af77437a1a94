"""Who waits on this node for a lock: connections whose sessions have places in queues."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from coord.errors import CoordError, NoSession, NotHeld, SessionExpired, Unavailable
from coord.results import Granted
from coord.store.machine import Store
from coord.store.news import PlaceOver, SessionOver

Told: TypeAlias = Callable[[Granted | CoordError], None]
Call: TypeAlias = Callable[[], None]

_STOPPED: Final = Unavailable("this node has stopped serving; the place in the queue is kept")


class Places:
    """Those who wait, by session and path; ``calls`` are to be made once nothing is changing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, dict[str, dict[Told, None]]] = {}
        self._settled: dict[tuple[str, str], Granted | CoordError] = {}
        self._is_stopped = False

    def wait(self, path: str, session: str, told: Told) -> Call:
        """Tell what becomes of a place, perhaps at once; returns what ends the waiting."""
        if self._is_stopped:
            told(_STOPPED)
            return _nothing
        if self._store.place(path, session) is None:
            told(self._fate(path, session))
            return _nothing
        waiting = self._waiting.setdefault(session, {}).setdefault(path, {})
        waiting[told] = None
        return partial(self._wait_no_more, path, session, told)

    def place_over(self, news: PlaceOver) -> list[Call]:
        """Take note of what became of a place."""
        self._settled[news.path, news.session] = news.result
        waiting = self._forget(news.path, news.session)
        return [partial(told, news.result) for told in waiting]

    def session_over(self, news: SessionOver) -> list[Call]:
        """Take note that a session ended: its places are gone with it."""
        error: CoordError = NoSession("this session has ended")
        if news.is_expired:
            error = SessionExpired("this session is over")
        return self._end(news.session, error)

    @property
    def sessions(self) -> list[str]:
        """The sessions that wait somewhere."""
        return list(self._waiting)

    def look_again(self) -> list[Call]:
        """Look what became of all places, in a store of which it was not told how it came to be."""
        calls: list[Call] = []
        for session, paths in list(self._waiting.items()):
            for path in [one for one in paths if self._store.place(one, session) is None]:
                fate = self._fate(path, session)
                calls += [partial(told, fate) for told in self._forget(path, session)]
        return calls

    def fired(self) -> None:
        """Forget what became of places just now: those who asked for them have been told."""
        self._settled.clear()

    def stop(self) -> list[Call]:
        """Answer all who wait: this node learns no more of it."""
        self._is_stopped = True
        return [call for session in list(self._waiting) for call in self._end(session, _STOPPED)]

    def _end(self, session: str, error: CoordError) -> list[Call]:
        paths = self._waiting.pop(session, {})
        return [partial(told, error) for waiting in paths.values() for told in waiting]

    def _fate(self, path: str, session: str) -> Granted | CoordError:
        """Return what became of a place that is no more, to one who asks a moment too late."""
        settled = self._settled.get((path, session))
        if settled is not None:
            return settled
        if session not in self._store.timeouts_ms:
            return SessionExpired("this session is over")
        token = self._store.token(path, session)
        return NotHeld("the place in the queue is no more") if token is None else Granted(token)

    def _wait_no_more(self, path: str, session: str, told: Told) -> None:
        waiting = self._waiting.get(session, {}).get(path, {})
        waiting.pop(told, None)
        if not waiting:
            self._forget(path, session)

    def _forget(self, path: str, session: str) -> dict[Told, None]:
        """Forget a place and return who waited for it, without a look at the session's others."""
        paths = self._waiting.get(session)
        if paths is None:
            return {}
        waiting = paths.pop(path, {})
        if not paths:
            del self._waiting[session]
        return waiting


def _nothing() -> None:
    """End a waiting that has ended."""
