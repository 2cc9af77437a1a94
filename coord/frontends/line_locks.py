"""``LOCK wait=`` of one connection: from the request to the grant, or the end of the patience.

The request itself is a write like others: it takes its place in the queue of the lock in the
order sent, and has the time that requests have. If it has to wait, the waiting takes no place
among the writes: whatever becomes of it is told by the node's own copy of the store.

The place in the queue is kept for ``wait`` by the cluster, not here. Where no word comes of it for
as long, and the time of a request on top, there is no quorum to end it: then its fate is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from coord.commands import Lock, Once
from coord.errors import CoordError, Unknown
from coord.frontends.line_alarm import Alarm
from coord.frontends.line_groups import Group
from coord.frontends.line_session import Standing
from coord.frontends.line_slots import Page, Slot
from coord.limits import REQUEST_SECONDS
from coord.results import Granted, Queued, Result
from coord.wire import line_reply


def lock_of(request: object) -> Lock | None:
    """Return the lock that a request may have to wait for, if any."""
    lock = request.write if isinstance(request, Once) else request
    return lock if isinstance(lock, Lock) and lock.wait_ms else None


class Locking(Slot):
    """The reply to one ``LOCK wait=``.

    Untagged it asks for itself; a tagged one is asked for by the group that it joined, which
    says `wait` where the answer was `Queued`. ``waits`` is called when the waiting
    begins, ``told`` when it is over. ``trailing`` are tagged writes that were sent after it while
    it had not begun: they begin with it.
    """

    def __init__(
        self,
        standing: Standing,
        clock: IReactorTime,
        request: Lock | Once,
        tag: bytes,
        waits: Callable[[Locking], None],
        told: Callable[[Locking], None],
    ) -> None:
        self.tag = tag
        self.trailing: Group | None = None
        self._standing = standing
        self._clock = clock
        self._request = request
        self._waits = waits
        self._told = told
        self._result: Result | None = None
        self._alarm: Alarm | None = None
        self._cancel: Callable[[], None] | None = None
        self._closed = False

    def start(self) -> None:
        """Ask for the lock."""
        self._standing.submit([self._request], self._asked)

    def _asked(self, results: Sequence[Result]) -> None:
        if self._closed:
            return
        if isinstance(results[0], Queued):
            self.wait()
        else:
            self._decide(results[0])

    def wait(self) -> None:
        """Wait for what becomes of the place in the queue."""
        lock = lock_of(self._request)
        assert lock is not None, "only who may wait is queued"
        self._waits(self)
        if self._closed:
            return
        patience = lock.wait_ms / 1000 + REQUEST_SECONDS
        self._alarm = Alarm(self._clock, patience, self._lose_patience)
        cancel = self._standing.await_lock(lock.path, self._decide)
        if self._result is None:
            self._cancel = cancel

    def _lose_patience(self) -> None:
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()
        self._decide(Unknown("no quorum has ended the wait; the lock may be granted or not"))

    def _decide(self, result: Result) -> None:
        if self._closed or self._result is not None:
            return
        self._result = result
        if self._alarm is not None:
            self._alarm.cancel()
        self._told(self)

    def render(self, page: Page) -> bool:
        """Add the reply, once it is known."""
        result = self._result
        if result is None or page.room <= 0:
            return False
        assert isinstance(result, Granted | CoordError), f"{result!r} is no answer to a LOCK"
        page.add(self.tag + line_reply.reply(result))
        if self.tag:
            page.freed.append(self.tag)
        return True

    def close(self) -> None:
        """Wait no longer; the place in the queue is the session's, and stays."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._cancel is not None:
            self._cancel()
