"""A watch that outlives its servers: where it begins again, and how it is kept from hoarding.

Events that nobody takes first stop the reading of the link, for a moment: that is all that a
watcher needs who is only a little behind. One who takes longer leaves the server, so that
requests on the same link go on, and watches again from its place once its events are taken.

A watch on which nothing happens would one day ask a new server for history that is gone. So when
the revision has run far ahead, it waits (``WAIT from=N timeout=S``) on the server it has, and
where there was nothing in that time it knows that nothing is missing up to the revision
that the server had told before.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from coord import commands
from coord.client.exchange import Exchange
from coord.client.link import Link
from coord.client.rows import Difference, Seen
from coord.client.watch import Watch
from coord.errors import CoordError, Lagged, Overloaded, TimedOut, Unavailable
from coord.events import Event
from coord.limits import (
    CLIENT_REFRESH_REVISIONS,
    CLIENT_REFRESH_SECONDS,
    CLIENT_STALL_SECONDS,
    REDIAL_SECONDS_MAX,
    REDIAL_SECONDS_MIN,
)
from coord.results import Point


class IFollowed(Protocol):
    """Who has the links that a watch goes over."""

    def current_link(self) -> Link | None:
        """Return the link to watch on, if there is one."""

    @property
    def patience_seconds(self) -> float:
        """How long a server may be silent."""

    def ended(self, following: Following) -> None:
        """Hear that a watch is over."""

    def no_quorum(self, link: Link) -> None:
        """Hear that a server could not open a watch because it has lost the others."""


class Subscription(Exchange):
    """One ``WATCH`` on one connection, on behalf of a watch that may have many, one by one."""

    __slots__ = ("_following", "link", "skip_rev", "to_skip")

    def __init__(self, following: Following, after: int | None, skip: int, link: Link) -> None:
        diff = following.takes_differences and after is not None
        watch = commands.Watch(following.glob, after, diff, following.wants_lasting)
        super().__init__(watch, tagged=True)
        self.link = link
        self.skip_rev = 0 if after is None else after + 1
        self.to_skip = skip
        self._following: Following | None = following

    def told(self, outcome: Any) -> None:
        """Hand it to the watch."""
        if self._following is not None:
            self._following.heard(outcome)

    def leave(self) -> None:
        """Tell the watch nothing more, and the server that it is over."""
        if self._following is not None:
            self._following = None
            self.link.release(self)
            self.link.conversation.leave(self)
            self.link.wake()


class Following(Watch[Any]):
    """A watch over the links of a client."""

    def __init__(
        self,
        owner: IFollowed,
        clock: IReactorTime,
        dice: random.Random,
        glob: str,
        after_rev: int | None,
        diff: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(glob, after_rev)
        self.takes_differences = diff
        self.wants_lasting = lasting
        self._owner = owner
        self._clock = clock
        self._dice = dice
        self._subscription: Subscription | None = None
        self._timer: IDelayedCall | None = None
        self._unopened: IDelayedCall | None = None
        self._is_held = False
        self._is_patient = False
        self._is_checking = False
        self._refusals = 0
        self._refusal: CoordError | None = None

    def expire_unopened(self, seconds: float, overdue: Callable[[float], CoordError]) -> None:
        """Fail, with what ``overdue`` says, where it is not open after so many seconds."""
        asked_at = self._clock.seconds()
        self._unopened = self._clock.callLater(seconds, self._never_opened, asked_at, overdue)

    def _never_opened(self, asked_at: float, overdue: Callable[[float], CoordError]) -> None:
        self.fail(self._refusal or overdue(asked_at))

    # -- links --------------------------------------------------------------------------------
    def subscribe(self) -> None:
        """Watch on the present link, if there is one, and unless it has enough for now."""
        link = self._owner.current_link()
        if link is None or self._subscription is not None or self._is_closed or self._is_patient:
            return
        self._stop_timer()
        after, skip = self._resume_from()
        self._subscription = Subscription(self, after, skip, link)
        link.conversation.watch(self._subscription)
        link.wake()

    def unsubscribe(self) -> None:
        """Leave the link it watches on, or take note that this one is gone."""
        self._stop_timer()
        self._is_held = self._is_checking = False
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.leave()

    def heard(self, outcome: Any) -> None:
        """Take what its subscription was told."""
        if isinstance(outcome, Event):
            self._event(outcome)
        elif isinstance(outcome, Point):
            self._refusals = 0
            self._open_at_last()
            self._note_known(outcome.rev if self._known is None else self._known)
        elif isinstance(outcome, Seen):
            self._note_known(outcome.rev)
        elif isinstance(outcome, Difference):
            self._differs(outcome)
        else:
            self._refused(outcome)

    def _event(self, event: Event) -> None:
        subscription = self._subscription
        assert subscription is not None, "events only come from a subscription"
        if subscription.to_skip and event.rev == subscription.skip_rev:
            subscription.to_skip -= 1
            return
        subscription.to_skip = 0
        self._offer(event)
        self._hold_if_full(subscription)

    def _differs(self, difference: Difference) -> None:
        """Take how things differ: it tells of the revision, too, of which some events came."""
        subscription = self._subscription
        assert subscription is not None, "a difference only comes from a subscription"
        subscription.to_skip = 0
        self._refusals = 0
        self._open_at_last()
        self._note_known(difference.after_rev)
        self._differ(difference)
        self._hold_if_full(subscription)

    def _hold_if_full(self, subscription: Subscription) -> None:
        if self._is_full and not self._is_held and not self._is_closed:
            self._is_held = True
            subscription.link.hold(subscription)
            seconds = min(CLIENT_STALL_SECONDS, self._owner.patience_seconds / 6)
            self._timer = self._clock.callLater(seconds, self._stalled)

    def _refused(self, problem: CoordError) -> None:
        """Begin again where that can help; fail where it cannot."""
        subscription, self._subscription = self._subscription, None
        assert subscription is not None, "only a subscription is refused"
        subscription.link.release(subscription)
        self._stop_timer()
        self._is_held = self._is_checking = False
        if isinstance(problem, Lagged):
            self.subscribe()
        elif isinstance(problem, Unavailable | Overloaded):
            seconds = min(REDIAL_SECONDS_MIN * 2.0**self._refusals, REDIAL_SECONDS_MAX)
            self._refusals = min(self._refusals + 1, 10)
            self._timer = self._clock.callLater(
                seconds * self._dice.uniform(0.5, 1.0), self.subscribe
            )
            self._refusal = problem
            if isinstance(problem, Unavailable):
                self._owner.no_quorum(subscription.link)
        else:
            self.fail(problem)

    # -- one who does not take ------------------------------------------------------------------
    def _stalled(self) -> None:
        """Leave the server for as long as nobody takes what is there."""
        self.unsubscribe()
        self._is_patient = True

    def _taken(self) -> None:
        if not self._is_drained:
            return
        if self._is_held and self._subscription is not None:
            self._is_held = False
            self._stop_timer()
            self._subscription.link.release(self._subscription)
        if self._is_patient:
            self._is_patient = False
            self.subscribe()

    def _open_at_last(self) -> None:
        timer, self._unopened = self._unopened, None
        if timer is not None and timer.active():
            timer.cancel()

    def _released(self) -> None:
        self._open_at_last()
        self.unsubscribe()
        self._owner.ended(self)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # -- one on which nothing happens -------------------------------------------------------------
    def noted(self, rev: int) -> None:
        """Hear the server's revision; make sure of a place that is far behind it."""
        subscription, known = self._subscription, self._known
        if subscription is None or known is None or self._is_checking or self._is_held:
            return
        place = max(known, self._last)
        if self._opened_at is None or rev - place < CLIENT_REFRESH_REVISIONS:
            return
        self._is_checking = True

        def told(outcome: Any) -> None:
            if self._subscription is not subscription:
                return
            self._is_checking = False
            if isinstance(outcome, TimedOut) and place == max(self._known or 0, self._last):
                self._note_known(rev)

        wait = commands.Wait(self.glob, place, CLIENT_REFRESH_SECONDS)
        subscription.link.ask(wait, told)
