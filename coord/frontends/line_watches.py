"""``WATCH`` and ``WAIT`` of one connection: from the request to the last event.

Without ``from=`` both mean "after now", and now is after everything that was committed before:
so they catch up first (a ``SYNC``), which also tells a client at once that there is no quorum.

``WATCH from=N diff`` where the history after N is gone is answered by how what is there differs:
rows, then events from the revision that they are a picture of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime

from coord import commands, paths
from coord.errors import BadRequest, CoordError, TimedOut, TooLate
from coord.events import Event
from coord.frontends.line_alarm import Alarm
from coord.frontends.line_session import Standing
from coord.frontends.line_slots import Page
from coord.limits import INLINE_VALUE_BYTES_MAX
from coord.paths import Glob
from coord.results import Aside, Result, Rows
from coord.store.watches import Watch
from coord.wire import line_reply

_TAKEN_AT_ONCE: Final = 64
"""Events taken from a watch at one time."""
_TEXTS_MAX: Final = 1024
"""Events whose text is remembered for the next connection that wants them."""


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
        standing: Standing,
        request: commands.Watch | commands.Wait,
        glob: Glob,
        tag: bytes,
    ) -> None:
        self.glob = glob
        self.tag = tag
        self.problem: CoordError | None = None
        self.answered: Callable[[], None] = _nothing
        self.woken: Callable[[], None] = _nothing
        self._standing = standing
        self._after_rev = request.after_rev
        self._lasting = False
        self._watch: Watch | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to watch, after now or after the revision asked for."""
        if self._after_rev is None:
            self._standing.submit([commands.Sync()], self._caught_up)
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
            self._watch = self._begin()
        except CoordError as error:
            self.refuse(error)
            return
        self._opened(self._watch)
        if self._watch.ready:
            self._wake()

    def _begin(self) -> Watch:
        """Return the store's watch, or raise what it says."""
        return self._standing.watch(self.glob, self._after_rev, self._wake, self._lasting)

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

    def __init__(self, standing: Standing, request: commands.Watch, glob: Glob, tag: bytes) -> None:
        super().__init__(standing, request, glob, tag)
        self._taken: deque[Event] = deque()
        self._diff = request.diff
        self._lasting = request.lasting
        self._told_rev = 0
        self.difference: Rows | None = None
        """How what is there differs, where history does not go back so far."""
        self.is_announced = False
        """Whether the request was answered, so that events may follow."""

    def start(self) -> None:
        """Begin to watch; a difference is one from a revision."""
        if self._diff and self._after_rev is None:
            self.refuse(BadRequest("diff goes with from=N: how what is there differs from then"))
        elif self._diff and self._lasting:
            self.refuse(BadRequest("diff tells of all that is there: not with lasting"))
        else:
            super().start()

    def _begin(self) -> Watch:
        try:
            return super()._begin()
        except TooLate:
            if not self._diff or self._after_rev is None:
                raise
        self.difference = self._standing.difference(self.glob, self._after_rev)
        try:
            return self._standing.watch(self.glob, self.difference.rev, self._wake)
        except CoordError:
            self.difference.close()
            raise

    def close(self) -> None:
        """Watch no longer; safe to call more than once."""
        super().close()
        if self.difference is not None:
            self.difference.close()

    @property
    def is_open(self) -> bool:
        """Whether events may still come."""
        return self._watch is not None and not self._closed

    @property
    def may_end(self) -> bool:
        """Whether it is told to the client, so that it can be ended; not amid its rows."""
        return self.is_open and (self.is_announced or self.difference is None)

    @property
    def difference_rev(self) -> int:
        """The revision that the difference is a picture of."""
        assert self.difference is not None, "where there is one"
        return self.difference.rev

    def reply(self) -> Sequence[bytes] | None:
        """Return ``OK rev``, after which events may follow, or the error."""
        if self.problem is not None:
            return [line_reply.error(self.problem)]
        if self._watch is None:
            return None
        if self.difference is not None:
            return [b"OK %d diff\n" % self.difference.rev]
        self.is_announced = True
        return [b"OK %d\n" % self._watch.rev]

    def tell(self, page: Page, texts: EventTexts) -> bool:
        """Add events while there is room; say whether there is, or may be, more.

        One that was too slow, or whose node takes part no more, is told so, and closed.
        """
        watch, taken = self._watch, self._taken
        assert watch is not None, "events only come from a watch"
        while page.room > 0:
            if not taken:
                try:
                    taken.extend(watch.take(_TAKEN_AT_ONCE))
                except CoordError as error:
                    page.add(self.tag + line_reply.error(error))
                    self.close()
                    return False
            if not taken:
                self._tell_seen(page, watch)
                return watch.ready
            event = taken.popleft()
            if event.ttl_ms:
                page.add(self.tag + line_reply.lifetime(event))
            page.add(self.tag + texts.text(event))
        return bool(taken) or watch.ready

    def _tell_seen(self, page: Page, watch: Watch) -> None:
        """Tell how far a lasting watch has looked: much may have happened that does not last."""
        if self._lasting and watch.seen_rev > self._told_rev:
            self._told_rev = watch.seen_rev
            page.add(self.tag + line_reply.aside(Aside(paths.ROOT, f"upto={self._told_rev}")))

    def _opened(self, watch: Watch) -> None:
        self._told_rev = watch.rev
        self.answered()


class Waiting(Follower):
    """``WAIT``: the first event, or ``ERR TIMEOUT``."""

    def __init__(
        self,
        standing: Standing,
        request: commands.Wait,
        glob: Glob,
        tag: bytes,
        clock: IReactorTime,
    ) -> None:
        super().__init__(standing, request, glob, tag)
        self._timeout_seconds = request.timeout_seconds
        self._clock = clock
        self._alarm: Alarm | None = None
        self._event: Event | None = None

    def start(self) -> None:
        """Begin to wait; the time allowed begins with it."""
        if self._timeout_seconds is not None:
            self._alarm = Alarm(self._clock, self._timeout_seconds, self._give_up)
        if not self._closed:
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
        except CoordError as error:
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
        if self._alarm is not None:
            self._alarm.cancel()

    def _give_up(self) -> None:
        if not self._closed:
            self.refuse(TimedOut("nothing happened in the time allowed"))


def _nothing() -> None:
    """Do nothing: nobody listens yet."""
