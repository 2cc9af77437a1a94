"""A watch as its user has it: events in order, whoever they come from.

A `Watch` keeps what came until it is taken, and tells its source when it has enough and when
it wants more. What it knows of revisions is what lets a source go on elsewhere:

* ``_last`` and ``_count``: the last event's revision and how many events of that revision came. A
  revision may have several events (``DEL tree``), and a connection may end between two of
  them: so a source begins again *before* that revision and passes over so many.
* ``_known``: a revision up to which nothing is missing, told by the server when the watch was
  opened and from time to time while nothing happens; it keeps a quiet watch from asking for
  history that is long gone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, cast

from twisted.internet.defer import Deferred, fail, succeed

from coord.client.errors import Closed
from coord.client.rows import Difference
from coord.errors import CoordError
from coord.events import Event
from coord.limits import CLIENT_EVENTS_BYTES_MAX, CLIENT_EVENTS_MAX

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Seen = TypeVar("Seen", default=Event)
else:
    from typing import TypeVar

    Seen = TypeVar("Seen")

_EVENT_BYTES: int = 256
"""About what an event takes beside its value."""


class Watch(Generic[Seen]):
    """Every change that matches a glob, in order, none missed, none twice.

    ::

        async for event in client.watch("/services/**"):
            print(event.rev, event.kind, event.path, event.value)

    or ``watch.next()``, one event at a time. It goes on for as long as it is wanted, from
    whatever server can be reached, until `close`. It fails, and says so to whoever asks for an
    event, with `TooLate` where the history that it would have to go on from is gone on
    every server that can be reached, and with whatever the server says to a bad glob. Before
    it is open for the first time it may also fail like any request: `Unavailable`,
    `NoServer`.

    Where differences are wanted, `Difference` comes in place of `TooLate`, among the events.
    """

    def __init__(self, glob: str, after_rev: int | None) -> None:
        self.glob = glob
        self._known = after_rev
        self._last = 0
        self._count = 0
        self._delivered = after_rev or 0
        self._events: deque[Event | Difference] = deque()
        self._bytes = 0
        self._takers: deque[Deferred[Any]] = deque()
        self._openers: list[Deferred[int]] = []
        self._opened_at: int | None = None
        self._problem: CoordError | None = None
        self._is_closed = False

    # -- for who watches --------------------------------------------------------------------------
    @property
    def rev(self) -> int:
        """The revision of the last event taken; later where it is known that none came since.

        One revision may have several events. Whoever remembers where to go on from, beyond the
        life of this watch, remembers `complete_rev`.
        """
        return max(self._delivered, self.complete_rev)

    @property
    def complete_rev(self) -> int:
        """The revision up to which all events were taken, for certain: 0 while none is known.

        A watch with ``after_rev=watch.complete_rev`` goes on from here; it may repeat the last
        revision's events where it is not known yet that there are no more of them.
        """
        if self._events:
            first = self._events[0]
            return first.after_rev if isinstance(first, Difference) else first.rev - 1
        return max(self._known or 0, self._last - 1, 0)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, or has failed."""
        return self._is_closed

    def opened(self) -> Deferred[int]:
        """Return the revision after which it began, once a server has opened it.

        What happens from now on is seen. Errors as `next`.
        """
        if self._opened_at is not None:
            return succeed(self._opened_at)
        if self._is_closed:
            return fail(self._end())
        opener: Deferred[int] = Deferred(self._openers.remove)
        self._openers.append(opener)
        return opener

    def next(self) -> Deferred[Seen]:
        """Return the next event, when it comes.

        :raises TooLate: the history to go on from is gone.
        :raises Closed: the watch was closed.
        """
        if self._events:
            return succeed(cast(Seen, self._take()))
        if self._is_closed:
            return fail(self._end())
        taker: Deferred[Seen] = Deferred(self._takers.remove)
        self._takers.append(taker)
        return taker

    def close(self) -> None:
        """Watch no longer; what was not taken is dropped. Safe to call more than once."""
        self._events.clear()
        self._bytes = 0
        self._finish(None)

    def fail(self, problem: CoordError) -> None:
        """End with ``problem`` for whoever asks, after the events that came before it."""
        self._finish(problem)

    def __aiter__(self) -> Watch[Seen]:
        return self

    async def __anext__(self) -> Seen:
        try:
            return await self.next()
        except Closed:
            raise StopAsyncIteration from None

    def describe(self) -> str:
        """Return the watch in one line."""
        state = "closed" if self._is_closed else f"{len(self._events)} events"
        return f"watch {self.glob} rev {self.rev} {state}"

    # -- for what it comes from -------------------------------------------------------------------
    @property
    def _is_full(self) -> bool:
        return len(self._events) > CLIENT_EVENTS_MAX or self._bytes > CLIENT_EVENTS_BYTES_MAX

    @property
    def _is_drained(self) -> bool:
        few = 4 * len(self._events) <= CLIENT_EVENTS_MAX
        return few and 4 * self._bytes <= CLIENT_EVENTS_BYTES_MAX

    def _resume_from(self) -> tuple[int | None, int]:
        """Return where to begin, and how many events of the next revision to pass over."""
        if self._known is None or self._known >= self._last:
            return self._known, 0
        return self._last - 1, self._count

    def _note_known(self, rev: int) -> None:
        """Take note that nothing up to ``rev`` is missing."""
        self._known = max(rev, self._known or 0)
        if self._opened_at is None:
            self._opened_at = rev
            openers, self._openers = self._openers, []
            for opener in openers:
                opener.callback(rev)

    def _offer(self, event: Event) -> None:
        """Take the next event; the source passed over those that came before."""
        if event.rev == self._last:
            self._count += 1
        else:
            self._last, self._count = event.rev, 1
        self._append(event)

    def _differ(self, difference: Difference) -> None:
        """Take how things differ, in place of events that nobody knows any more."""
        self._last, self._count = 0, 0
        self._known = difference.rev
        self._append(difference)

    def _append(self, event: Event | Difference) -> None:
        self._events.append(event)
        self._bytes += _bytes(event)
        if self._takers:
            self._takers.popleft().callback(self._take())

    def _take(self) -> Event | Difference:
        event = self._events.popleft()
        self._bytes -= _bytes(event)
        self._delivered = event.rev
        self._taken()
        return event

    def _taken(self) -> None:
        """Hear that an event was taken."""

    def _released(self) -> None:
        """Hear that it is over: nothing is wanted any more."""

    def _end(self) -> CoordError:
        return self._problem or Closed("the watch was closed")

    def _finish(self, problem: CoordError | None) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._problem = problem
        self._released()
        asking: list[Deferred[Any]] = [*self._takers, *self._openers]
        self._takers.clear()
        self._openers.clear()
        for deferred in asking:
            deferred.errback(self._end())


def _bytes(event: Event | Difference) -> int:
    if isinstance(event, Event):
        return _EVENT_BYTES + len(event.value or b"")
    values = sum(len(row.value) for row in event.changed)
    return _EVENT_BYTES * (1 + len(event.changed) + len(event.unchanged)) + values
