"""What was asked and not answered yet, and what becomes of it.

All requests wait in one queue and leave by the link that is up. What was refused with
certainty (``UNAVAILABLE``, ``OVERLOADED``), was never sent, or only reads, is tried again, on
another server where there is one, until its time is over. A write that was sent and not
answered when its connection ended is `Unknown`, at once and for good, unless it was asked under a
session: then it has an id and is sent again like a read.

What was asked under a session waits until a server has taken that up. All that a link lost goes
back to the head of the queue, in the order in which it was sent.

A lock that was asked for, and that nobody waits for any more, could still be granted, by a server
that was lost, too, and does late what it was asked. So it is asked for again under its id, with an
``UNLOCK`` behind it, until that has been answered; before that nothing else is asked of the
same lock.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from coord import commands
from coord.client.link import Link
from coord.client.pending import Request
from coord.client.session import Session
from coord.errors import (
    CoordError,
    Overloaded,
    SessionExpired,
    TimedOut,
    Unavailable,
    Unknown,
)
from coord.limits import REDIAL_SECONDS_MAX, REDIAL_SECONDS_MIN


class IServed(Protocol):
    """The client whose requests they are."""

    def current_link(self) -> Link | None:
        """Return the link that is up."""

    def want_link(self) -> None:
        """See that there is a link, or will be."""

    def rest(self) -> None:
        """Hear that less is wanted now."""

    def no_quorum(self, link: Link) -> None:
        """Hear that a server has lost the others."""

    def unserved(self, asked_at: float) -> CoordError:
        """Return why something that was asked then could not be sent in all that time."""

    def request(self, command: commands.Command) -> Deferred[Any]:
        """Ask for something more."""


class Outstanding:
    """The requests of one client.

    :param request_seconds: how long each may take.
    """

    def __init__(
        self, client: IServed, clock: IReactorTime, dice: random.Random, request_seconds: float
    ) -> None:
        self._client = client
        self._clock = clock
        self._dice = dice
        self._request_seconds = request_seconds
        self._queue: deque[Request] = deque()
        self._held: deque[Request] = deque()
        self._open: dict[Request, None] = {}
        self._patient: dict[Request, None] = {}
        self._unwanted: dict[Request, None] = {}
        self._expiry: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._open) + len(self._patient)

    def __iter__(self) -> Iterator[Request]:
        return iter([*self._open, *self._patient])

    # -- in and out -------------------------------------------------------------------------------
    def begin(self, request: Request) -> None:
        """Take a new request, to be sent behind those before it."""
        if request.kind is commands.Lock and request.wait_seconds:
            self._await(request)
        else:
            self._open[request] = None
            if self._expiry is None:
                self._expiry = self._clock.callLater(self._request_seconds, self._expire)
        self._submit(request)

    def next(self) -> Request | None:
        """Return a request that is to be sent now, or ``None``."""
        while self._queue:
            request = self._queue[0]
            session = request.session
            if session is None and not self._held and request.deferred is not None:
                request.link = self._client.current_link()
                return self._queue.popleft()
            if request.is_over:
                self._queue.popleft()
            elif session is not None and _is_too_late(request, session):
                self._orphan(request, _OVER)
            elif self._has_to_wait(request):
                self._held.append(self._queue.popleft())
            elif not request.may_go():
                return None
            else:
                if session is not None and request.kind is commands.Session:
                    session.end_was_sent = True
                request.link = self._client.current_link()
                return self._queue.popleft()
        return None

    def _has_to_wait(self, request: Request) -> bool:
        """Say whether a request waits for the session, or for a write that it may have to see."""
        session = request.session
        if session is not None and not session.is_attached:
            return True
        return bool(self._held) and not request.tagged

    def fail_all(self, problem: Callable[[Request], CoordError]) -> None:
        """Answer all with an error."""
        for request in self:
            request.settle(problem(request))

    def close(self) -> None:
        """Forget what is left; nothing comes any more."""
        self._queue.clear()
        self._held.clear()
        if self._expiry is not None and self._expiry.active():
            self._expiry.cancel()
        self._expiry = None

    def _submit(self, request: Request) -> None:
        self._queue.append(request)
        self._client.want_link()

    # -- what becomes of a request ----------------------------------------------------------------
    def settled(self, request: Request) -> None:
        """Forget a request that was answered."""
        self._open.pop(request, None)
        self._patient.pop(request, None)
        if not request.is_unwanted:
            self._unwanted.pop(request, None)
        if request.number is not None and self._queue:
            self._client.want_link()  # its place among the ids may be what others wait for

    def refused(self, request: Request, problem: CoordError, link: Link | None) -> None:
        """Ask again later what was not done, or is done once however often it is asked."""
        request.refusal = problem
        if link is not None and isinstance(problem, Unavailable):
            self._client.no_quorum(link)
        if request.is_unwanted:
            request.was_refused = True
            return
        longest = min(REDIAL_SECONDS_MIN * 2.0**request.refusals, REDIAL_SECONDS_MAX)
        seconds = longest * self._dice.uniform(0.5, 1.0)
        request.refusals = min(request.refusals + 1, 10)
        if self._clock.seconds() + seconds >= request.deadline and not request.waits_forever:
            request.fail(self._overdue(request))
        else:
            request.again = self._clock.callLater(seconds, self._submit, request)

    def _expire(self) -> None:
        """End the requests whose time is over, oldest first."""
        self._expiry = None
        now = self._clock.seconds()
        over: list[Request] = []
        for request in self._open:
            left = request.deadline - now
            if left > 0:
                self._expiry = self._clock.callLater(left, self._expire)
                break
            over.append(request)
        for request in over:
            request.fail(self._overdue(request))
        self._client.rest()

    def _overdue(self, request: Request) -> CoordError:
        """Return what to say of a request that was not answered in time."""
        allowed = f"{self._request_seconds:g} s"
        if request.writes and request.was_sent:
            return Unknown(f"the write was sent and not answered within {allowed}")
        if request.link is None:
            return request.refusal or self._client.unserved(request.asked_at)
        return Unavailable(f"{request.link.server} did not answer within {allowed}")

    # -- locks that are waited for ----------------------------------------------------------------
    def _await(self, request: Request) -> None:
        """Let a request wait for its lock, for as long as it wants to."""
        self._patient[request] = None
        if not request.waits_forever:
            left = request.deadline - self._clock.seconds()
            request.timer = self._clock.callLater(left, self._waited, request)

    def _waited(self, request: Request) -> None:
        """Give a lock up that no server has said anything of in time."""
        problem = TimedOut("the lock was not granted in the time allowed")
        request.fail(problem if request.was_sent else self._overdue(request))

    def given_up(self, request: Request) -> None:
        """See that a lock which nobody waits for any more does not stay."""
        session = request.session
        if request.locks and request.was_sent and session is not None and not session.is_over:
            request.is_unwanted = True
            self._unwanted[request] = None
            session.leave(request.path)
            self._free(request)

    def _free(self, request: Request) -> None:
        """Give up a lock, or a place, behind the request for it."""
        if request.was_refused and request.is_unwanted:
            request.was_refused = False
            self._submit(request)
        try:
            unlocking = self._client.request(commands.Unlock(request.path))
        except CoordError as error:
            unlocking = fail(error)
        unlocking.addBoth(self._freed, request)

    def _freed(self, outcome: Any, request: Request) -> None:
        """Take what became of giving it up; try again where that is not certain."""
        session = request.session
        again = (Unavailable, Overloaded, Unknown)
        is_open = isinstance(outcome, Failure) and isinstance(outcome.value, again)
        if session is None or session.is_over:
            return
        if is_open or (request.is_unwanted and request.was_refused):
            request.again = self._clock.callLater(REDIAL_SECONDS_MAX, self._free, request)
            return
        request.is_unwanted = False
        request.close()
        session.left(request.path)

    # -- a session that comes and goes ------------------------------------------------------------
    def attached(self) -> None:
        """Send what waited for the session: a server has taken it up."""
        if self._held:
            self._queue.extendleft(reversed(self._held))
            self._held.clear()
            self._client.want_link()

    def session_over(self, session: Session, problem: CoordError) -> None:
        """Settle all that was asked under a session, or have it be asked without."""
        self._queue.extendleft(reversed(self._held))
        self._held.clear()
        for request in [*self._open, *self._patient, *self._unwanted, *self._queue]:
            if request.session is session and (request.link is None or request.locks):
                self._orphan(request, problem)
        if self._queue:
            self._client.want_link()

    def without_session(self, request: Request, problem: CoordError) -> None:
        """Take from an answer that the session is over."""
        session = request.session
        assert session is not None, "only what was asked under a session comes here"
        session.refused(problem)
        self._orphan(request, problem)
        if not request.is_over:
            self._submit(request)

    def _orphan(self, request: Request, problem: CoordError) -> None:
        """Settle a request whose session is over; or have it be asked without, as it can be."""
        if request.is_unwanted or request.locks:
            request.settle(problem)
        elif request.is_open and request.writes:
            request.settle(Unknown(f"its answer was lost, and then its session: {problem.text}"))
        elif request.needs_session:
            request.settle(problem)
        else:
            request.unbind()

    # -- a link that is lost ----------------------------------------------------------------------
    def lost(self, requests: list[Request], reason: str) -> None:
        """Put what a link had not answered back in front, where it can be asked again."""
        for request in reversed(requests):
            if not request.is_over:
                self._lost(request, reason)

    def _lost(self, request: Request, reason: str) -> None:
        request.link = None
        request.is_open = request.is_open or request.writes
        session = request.session
        if session is not None and session.is_over:
            self._orphan(request, _OVER)
            if not request.is_over:
                self._queue.appendleft(request)
        elif request.writes and session is None:
            request.settle(Unknown(f"the connection was lost before the answer: {reason}"))
        else:
            self._queue.appendleft(request)
            if session is not None and request.kind is commands.Session:
                session.end_was_sent = False


def _is_too_late(request: Request, session: Session) -> bool:
    """Say whether a request could only come behind the end of its session."""
    is_end = request.kind is commands.Session
    return session.is_over or (session.end_was_sent and not is_end)


_OVER: Final = SessionExpired("the session is over")
