"""``WATCH`` and ``WAIT`` of one connection: from the request to the last event.

Without ``from=`` both mean "after now", and now is after everything that was committed before:
so they catch up first (a ``SYNC``), which also tells a client at once that there is no quorum.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from coord import commands
from coord.errors import CoordError, Lagged, Overloaded, TimedOut
from coord.events import Event
from coord.frontends.line_slots import Page
from coord.limits import INLINE_VALUE_BYTES_MAX, WATCHES_PER_CONNECTION_MAX
from coord.paths import Glob
from coord.replicator.interfaces import ICoordinator
from coord.results import Result
from coord.store.watches import Watch
from coord.wire import line_reply

_TAKEN_AT_ONCE: Final = 64
"""Events taken from a watch at one time."""
_TEXTS_MAX: Final = 1024
"""Events whose text is remembered for the next connection that wants them."""
_TIMER_SECONDS_MAX: Final = 86_400.0
"""Longest single timer; a reactor does not wait for months in one go."""


class EventTexts:
    """The text of lately told events, made once for all connections that watch."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Event, bytes]] = {}

    def text(self, event: Event) -> bytes:
        """Return the line, or line and literal, that tells ``event``."""
        # An entry keeps its event alive, so nobody else has that id.
        known = self._texts.get(id(event))
        if known is not None:
            return known[1]
        text = line_reply.event(event)
        if len(text) <= 2 * INLINE_VALUE_BYTES_MAX:
            if len(self._texts) >= _TEXTS_MAX:
                self._texts.clear()
            self._texts[id(event)] = event, text
        return text


class Follower:
    """A watch of the store on behalf of one request.

    ``answered`` is called once the request's own reply is known, ``woken`` when there may be
    events. Both are called within other people's turns and must do little.
    """

    def __init__(
        self,
        coordinator: ICoordinator,
        request: commands.Watch | commands.Wait,
        glob: Glob,
        tag: bytes,
    ) -> None:
        self.glob = glob
        self.tag = tag
        self.problem: CoordError | None = None
        self.answered: Callable[[], None] = _nothing
        self.woken: Callable[[], None] = _nothing
        self._coordinator = coordinator
        self._after_rev = request.after_rev
        self._watch: Watch | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to watch, after now or after the revision asked for."""
        if self._after_rev is None:
            self._coordinator.submit([commands.Sync()], self._caught_up)
        else:
            self._open()

    def close(self) -> None:
        """Watch no longer; safe to call more than once."""
        self._closed = True
        if self._watch is not None:
            self._watch.close()

    def _caught_up(self, results: Sequence[Result]) -> None:
        if self._closed:
            return
        if isinstance(results[0], CoordError):
            self.refuse(results[0])
        else:
            self._open()

    def _open(self) -> None:
        try:
            self._watch = self._coordinator.watch(self.glob, self._after_rev, self._wake)
        except CoordError as error:
            self.refuse(error)
            return
        self._opened(self._watch)
        if self._watch.ready:
            self._wake()

    def _wake(self) -> None:
        if not self._closed:
            self.woken()

    def reply(self) -> Sequence[bytes] | None:
        """Return what answers the request itself; ``None`` for not yet."""
        raise NotImplementedError

    def _opened(self, watch: Watch) -> None:
        """Take note that the watch is there."""

    def refuse(self, problem: CoordError) -> None:
        """End with an error for an answer."""
        self.problem = problem
        self.close()
        self.answered()


class Watching(Follower):
    """``WATCH``: ``OK rev``, then every event until it is told to stop."""

    def __init__(
        self, coordinator: ICoordinator, request: commands.Watch, glob: Glob, tag: bytes
    ) -> None:
        super().__init__(coordinator, request, glob, tag)
        self._taken: deque[Event] = deque()
        self.is_announced = False
        """Whether the request was answered, so that events may follow."""

    @property
    def is_open(self) -> bool:
        """Whether events may still come."""
        return self._watch is not None and not self._closed

    def reply(self) -> Sequence[bytes] | None:
        """Return ``OK rev``, after which events may follow, or the error."""
        if self.problem is not None:
            return [line_reply.error(self.problem)]
        if self._watch is None:
            return None
        self.is_announced = True
        return [b"OK %d\n" % self._watch.rev]

    def tell(self, page: Page, texts: EventTexts) -> bool:
        """Add events while there is room; say whether there is, or may be, more.

        One that was too slow is told so, and closed.
        """
        watch, taken = self._watch, self._taken
        assert watch is not None, "events only come from a watch"
        while page.room > 0:
            if not taken:
                try:
                    taken.extend(watch.take(_TAKEN_AT_ONCE))
                except Lagged as error:
                    page.add(self.tag + line_reply.error(error))
                    self.close()
                    return False
            if not taken:
                return watch.ready
            page.add(self.tag + texts.text(taken.popleft()))
        return bool(taken) or watch.ready

    def _opened(self, watch: Watch) -> None:
        self.answered()


class Waiting(Follower):
    """``WAIT``: the first event, or ``ERR TIMEOUT``."""

    def __init__(
        self,
        coordinator: ICoordinator,
        request: commands.Wait,
        glob: Glob,
        tag: bytes,
        clock: IReactorTime,
    ) -> None:
        super().__init__(coordinator, request, glob, tag)
        self._timeout_seconds = request.timeout_seconds
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._event: Event | None = None

    def start(self) -> None:
        """Begin to wait; the time allowed begins with it."""
        if self._timeout_seconds is not None:
            self._allow(self._clock.seconds() + self._timeout_seconds)
        super().start()

    def reply(self) -> Sequence[bytes] | None:
        """Return the event or the error."""
        if self.problem is not None:
            return [line_reply.error(self.problem)]
        return None if self._event is None else [line_reply.event(self._event)]

    def look(self) -> bool:
        """Look for the event; say whether to look again later."""
        if self._watch is None or self._closed:
            return False
        try:
            events = self._watch.take(1)
        except Lagged as error:
            self.refuse(error)
            return False
        if not events:
            return self._watch.ready
        (self._event,) = events
        self.close()
        self.answered()
        return False

    def close(self) -> None:
        """Wait no longer; safe to call more than once."""
        super().close()
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _allow(self, deadline: float) -> None:
        left = deadline - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(
                min(left, _TIMER_SECONDS_MAX), self._allow, deadline
            )
        elif not self._closed:
            self.refuse(TimedOut("nothing happened in the time allowed"))


class Followers:
    """The watches and waits of one connection.

    ``replied`` is called when the reply to one is known, and whether that was its last word;
    ``woken`` when there may be events to tell; ``ended`` when a watch is over.
    """

    def __init__(
        self,
        texts: EventTexts,
        replied: Callable[[Follower, bool], None],
        woken: Callable[[], None],
        ended: Callable[[Follower], None],
    ) -> None:
        self._texts = texts
        self._replied = replied
        self._told_to_wake = woken
        self._ended = ended
        self._all: dict[Follower, None] = {}
        self._woken: dict[Follower, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def waits(self) -> int:
        """Return how many are waits, which may never be answered."""
        return sum(isinstance(one, Waiting) for one in self._all)

    def start(self, follower: Follower) -> None:
        """Begin one, unless there are too many."""
        follower.answered = lambda: self._answered(follower)
        follower.woken = lambda: self._wake(follower)
        if len(self._all) >= WATCHES_PER_CONNECTION_MAX:
            follower.refuse(Overloaded("too many watches and waits on this connection"))
            return
        self._all[follower] = None
        follower.start()

    def end(self, written: str) -> bool:
        """End the watches on a glob, as it was written; say whether there were any."""
        found = [
            one
            for one in self._all
            if isinstance(one, Watching) and one.is_open and one.glob.written == written
        ]
        for follower in found:
            follower.close()
            self._forget(follower)
            self._ended(follower)
        return bool(found)

    def look(self) -> None:
        """See whether what is waited for has happened."""
        for follower in [one for one in self._woken if isinstance(one, Waiting)]:
            if follower.look():
                self._told_to_wake()
            else:
                self._woken.pop(follower, None)

    def render(self, page: Page, within_rows: bool) -> None:
        """Add events while there is room; ``within_rows`` only those that carry a tag."""
        for follower in [*self._woken]:
            if page.room <= 0:
                page.unfinished = True
                return
            if not isinstance(follower, Watching) or not follower.is_announced:
                continue
            if within_rows and not follower.tag:
                continue
            del self._woken[follower]
            if follower.tell(page, self._texts):
                self._woken[follower] = None
                page.unfinished = True
            elif not follower.is_open:
                self._forget(follower)
                self._ended(follower)

    def close(self) -> None:
        """End all of them: there is nobody to tell."""
        for follower in self._all:
            follower.close()
        self._all.clear()
        self._woken.clear()

    def _answered(self, follower: Follower) -> None:
        is_last = not isinstance(follower, Watching) or follower.problem is not None
        if is_last:
            self._forget(follower)
        self._replied(follower, is_last)

    def _wake(self, follower: Follower) -> None:
        self._woken[follower] = None
        self._told_to_wake()

    def _forget(self, follower: Follower) -> None:
        self._all.pop(follower, None)
        self._woken.pop(follower, None)


def _nothing() -> None:
    """Do nothing: nobody listens yet."""
