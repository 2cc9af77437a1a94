"""Open pages kept as things are, by server-sent events, at a cost that has a bound.

Twice a second, while there are viewers: the cluster's part is made once for all of them, and the
parts of a few places of the tree, in turn, if the tree has changed. A viewer gets what is not
what it got last. One that does not read is passed over, and after a while let go: nothing is
ever queued for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from coord.commands import Caller

TICK_SECONDS: Final = 0.5
VIEWERS_MAX: Final = 128
PLACES_PER_TICK: Final = 8
"""Places of the tree made anew in one tick; with more of them open each is renewed less often."""
SLOW_SECONDS: Final = 10.0
"""How long a viewer may not read before it is let go."""
QUIET_SECONDS: Final = 15.0
"""After so long without news a viewer is told that there is none: else nobody would notice that
it is gone."""

Shown: TypeAlias = tuple[str, Caller]
"""A path, and for whom it is shown: what one may not read, another may."""


@implementer(IPushProducer)
class Viewer:
    """One open page."""

    def __init__(self, request: Request, place: Shown, clock: IReactorTime) -> None:
        self.place = place
        self._request = request
        self._clock = clock
        self._shown: dict[str, str] = {}
        self._paused_at: float | None = None
        self._spoke_at = clock.seconds()

    @property
    def is_slow(self) -> bool:
        """Whether it has not read for too long."""
        paused_at = self._paused_at
        return paused_at is not None and self._clock.seconds() - paused_at > SLOW_SECONDS

    def tell(self, name: str, part: str) -> None:
        """Send a part of the page unless it is what was sent last."""
        if self._paused_at is not None or self._shown.get(name) == part:
            return
        self._shown[name] = part
        lines = "".join(f"data: {line}\n" for line in part.splitlines())
        self._write(f"event: {name}\n{lines}\n")

    def stay(self) -> None:
        """Say something where nothing was said for long."""
        if self._paused_at is None and self._clock.seconds() - self._spoke_at > QUIET_SECONDS:
            self._write(": still here\n\n")

    def drop(self) -> None:
        """Let it go at once."""
        transport: Any = self._request.transport
        transport.abortConnection()

    def _write(self, text: str) -> None:
        self._spoke_at = self._clock.seconds()
        self._request.write(text.encode())

    def pauseProducing(self) -> None:
        """Take note that it does not read."""
        self._paused_at = self._clock.seconds()

    def resumeProducing(self) -> None:
        """Take note that it reads again."""
        self._paused_at = None

    def stopProducing(self) -> None:
        """Take note that it is going."""
        self._paused_at = self._clock.seconds()


class Live:
    """All open pages.

    ``cluster`` and ``place`` make parts of the page; ``rev`` tells whether the tree has changed.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        cluster: Callable[[], str],
        place: Callable[[str, Caller], str],
        rev: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._cluster = cluster
        self._place = place
        self._rev = rev
        self._viewers: dict[Viewer, None] = {}
        self._places: dict[Shown, tuple[int, str]] = {}
        self._call: IDelayedCall | None = None

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._viewers)

    def add(self, request: Request, place: Shown) -> bool:
        """Keep a page about a place as things are; False where there are too many."""
        if len(self._viewers) >= VIEWERS_MAX:
            return False
        viewer = Viewer(request, place, self._clock)
        request.registerProducer(viewer, True)
        request.notifyFinish().addErrback(self._lost, viewer)
        self._viewers[viewer] = None
        request.write(b"retry: 2000\n\n")
        if self._call is None:
            self._call = self._clock.callLater(0, self._tick)
        return True

    def close(self) -> None:
        """Let all go; for a node that stops."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        for viewer in [*self._viewers]:
            viewer.drop()

    def _lost(self, failure: Failure, viewer: Viewer) -> None:
        self._viewers.pop(viewer, None)

    def _tick(self) -> None:
        self._call = None
        if not self._viewers:
            self._places.clear()
            return
        self._call = self._clock.callLater(TICK_SECONDS, self._tick)
        try:
            self._tell_all()
        except Exception:
            self._log.failure("web: a bug kept open pages as they were")

    def _tell_all(self) -> None:
        self._renew()
        cluster = self._cluster()
        for viewer in [*self._viewers]:
            if viewer.is_slow:
                self._viewers.pop(viewer)
                viewer.drop()
                continue
            viewer.tell("cluster", cluster)
            if viewer.place in self._places:
                viewer.tell("tree", self._places[viewer.place][1])
            viewer.stay()

    def _renew(self) -> None:
        """Make a few places anew, those first whose turn was longest ago."""
        open_now = dict.fromkeys(viewer.place for viewer in self._viewers)
        self._places = {one: self._places[one] for one in open_now if one in self._places}
        rev = self._rev()
        ages = {one: self._places.get(one, (-1, ""))[0] for one in open_now}
        stale = [one for one, at in ages.items() if at < rev]
        stale.sort(key=ages.__getitem__)
        for one in stale[:PLACES_PER_TICK]:
            self._places[one] = (rev, self._place(*one))
