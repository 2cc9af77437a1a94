"""The client: requests and watches over whichever server answers.

All requests wait in one queue and leave by the link that is up. What was refused with
certainty (``UNAVAILABLE``, ``OVERLOADED``), was never sent, or only reads, is tried again, on
another server where there is one, until its time is over. A write that was sent and not
answered when its connection ended is `Unknown`, at once and for good.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from coord import commands
from coord.client.dialler import Dialling, endpoint, make_dialler
from coord.client.errors import Closed, NoServer
from coord.client.exchange import Exchange
from coord.client.following import Following
from coord.client.link import Link
from coord.client.replies import Done
from coord.client.requests import glob_line
from coord.client.verbs import Verbs
from coord.client.watch import Watch
from coord.errors import CoordError, Overloaded, Unavailable, Unknown
from coord.limits import DIAL_SECONDS, REDIAL_SECONDS_MAX, REDIAL_SECONDS_MIN

_LOG: Final = Logger()
REQUEST_SECONDS: Final = 10.0
"""How long a request may take unless the client is told otherwise."""


class _Request(Exchange):
    """One request of the client's user, from the call to the answer."""

    __slots__ = ("asked_at", "client", "deferred", "link", "refusal", "refusals", "timer")

    def __init__(self, client: Client, command: commands.Command, now: float) -> None:
        super().__init__(command)
        self.client = client
        self.asked_at = now
        self.deferred: Deferred[Any] | None = Deferred(self._cancelled)
        self.link: Link | None = None
        """The link it was sent by, while it waits for the answer there."""
        self.refusal: CoordError | None = None
        self.refusals = 0
        self.timer: IDelayedCall | None = None

    def told(self, outcome: Any) -> None:
        """Hand the answer on, or have it asked again."""
        link, self.link = self.link, None
        if self.deferred is None:
            return
        if not isinstance(outcome, CoordError):
            self.settle(None if type(outcome) is Done else outcome)
        elif isinstance(outcome, Unavailable | Overloaded):
            self.client.refused(self, outcome, link)
        else:
            self.settle(outcome)

    def settle(self, outcome: Any) -> None:
        """Answer, once; an error as a failure."""
        deferred, self.deferred = self.deferred, None
        if deferred is None:
            return
        self.client.settled(self)
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if isinstance(outcome, CoordError):
            deferred.errback(outcome)
        else:
            deferred.callback(outcome)

    def _cancelled(self, _: Deferred[Any]) -> None:
        self.deferred = None
        self.client.settled(self)
        if self.timer is not None and self.timer.active():
            self.timer.cancel()


class Client(Verbs):
    """A client of one cluster, over one connection at a time.

    It connects when something is first asked, and to another server when that one is lost, says
    nothing for a few seconds, or has no quorum. Use it in one reactor thread, and close it.

    Requests may be under way in any number. Writes are sent in the order asked, but one that is
    tried again may come after a later one: who needs an order waits for the answer.

    :param reactor: the reactor, which is a clock as well.
    :param servers: ``HOST:PORT``, Twisted's endpoint strings, or endpoints, in the order of
        preference; to spread clients, give each its own order.
    :param request_seconds: how long a request may take until it is answered `Unavailable`,
        `NoServer`, or `Unknown`.
    :param dice: for waits; by default its own.
    :raises ValueError: where there is no server, or one that names no endpoint.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[str | IStreamClientEndpoint],
        *,
        request_seconds: float = REQUEST_SECONDS,
        dice: random.Random | None = None,
    ) -> None:
        super().__init__(reactor)
        if isinstance(servers, str) or not servers:
            raise ValueError("a client wants a sequence of servers, one at least")
        self._servers = [
            (one, endpoint(reactor, one)) if isinstance(one, str) else (repr(one), one)
            for one in servers
        ]
        self._request_seconds = request_seconds
        self._dice = dice or random.Random()
        self._queue: deque[_Request] = deque()
        self._open: dict[_Request, None] = {}
        self._expiry: IDelayedCall | None = None
        self._followings: dict[Following, None] = {}
        self._links: set[Link] = set()
        self._link: Link | None = None
        self._linked_at = -1.0
        self._problem = "no server was tried"
        self._is_closed = False
        self._closing: list[Deferred[None]] = []
        self._dialler = make_dialler(
            Dialling(
                clock=reactor,
                dice=self._dice,
                servers=len(self._servers),
                connect=self._connect,
                failed=self._unreachable,
            )
        )

    @property
    def server(self) -> str | None:
        """Whom we talk to, as it was given; ``None`` for nobody at this moment."""
        return None if self._link is None else self._link.server

    @property
    def has_watches(self) -> bool:
        """Whether anyone watches."""
        return bool(self._followings)

    def describe(self) -> str:
        """Return the client in one line."""
        links = ", ".join(sorted(link.describe() for link in self._links)) or self._problem
        return f"{len(self._open)} requests {len(self._followings)} watches; {links}"

    # -- asking -------------------------------------------------------------------------------
    def request(self, command: commands.Command) -> Deferred[Any]:
        """Ask for any command but a watch or a wait; see `Verbs.request`."""
        now = self._clock.seconds()
        request = _Request(self, command, now)
        if self._is_closed:
            raise Closed("the client is closed")
        assert request.deferred is not None
        deferred = request.deferred
        self._open[request] = None
        if self._expiry is None:
            self._expiry = self._clock.callLater(self._request_seconds, self._expire)
        self._submit(request)
        return deferred

    def watch(self, glob: str, *, after_rev: int | None = None) -> Watch:
        """Watch every change that matches ``glob``; see `Verbs.watch`."""
        following = Following(self, self._clock, self._dice, glob, after_rev)
        try:
            glob_line(glob)
            if self._is_closed:
                raise Closed("the client is closed")
        except CoordError as error:
            following.fail(error)
            return following
        self._followings[following] = None
        following.expire_unopened(self._request_seconds, self._unserved)
        following.subscribe()
        self._see_to_it()
        return following

    def close(self) -> Deferred[None]:
        """Give up all requests and watches; fires when nothing is open any more."""
        self._is_closed = True
        self._dialler.close()
        self._queue.clear()
        for following in [*self._followings]:
            following.close()
        for request in [*self._open]:
            is_open_ended = request.link is not None and _writes(request)
            closed = Closed("the client was closed")
            request.settle(Unknown("the client was closed") if is_open_ended else closed)
        if self._expiry is not None and self._expiry.active():
            self._expiry.cancel()
        self._expiry = self._link = None
        if not self._links:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        for link in [*self._links]:
            link.hang_up("the client was closed")
        return done

    def _submit(self, request: _Request) -> None:
        self._queue.append(request)
        if self._link is not None:
            self._link.wake()
        else:
            self._dialler.want()

    # -- what becomes of a request ----------------------------------------------------------------
    def next_request(self) -> Exchange | None:
        """Return a request that is to be sent now, or ``None``."""
        while self._queue:
            request = self._queue.popleft()
            if request.deferred is not None:
                request.link = self._link
                return request
        return None

    def settled(self, request: _Request) -> None:
        """Forget a request that was answered."""
        self._open.pop(request, None)

    def refused(self, request: _Request, problem: CoordError, link: Link | None) -> None:
        """Ask again later what was certainly not done."""
        request.refusal = problem
        if link is not None and isinstance(problem, Unavailable):
            self.no_quorum(link)
        longest = min(REDIAL_SECONDS_MIN * 2.0**request.refusals, REDIAL_SECONDS_MAX)
        seconds = longest * self._dice.uniform(0.5, 1.0)
        request.refusals = min(request.refusals + 1, 10)
        if self._clock.seconds() + seconds >= request.asked_at + self._request_seconds:
            request.settle(problem)
        else:
            request.timer = self._clock.callLater(seconds, self._submit, request)

    def _expire(self) -> None:
        """End the requests whose time is over, oldest first."""
        self._expiry = None
        now = self._clock.seconds()
        over: list[_Request] = []
        for request in self._open:
            left = request.asked_at + self._request_seconds - now
            if left > 0:
                self._expiry = self._clock.callLater(left, self._expire)
                break
            over.append(request)
        for request in over:
            request.settle(self._overdue(request))
        if not self._wants_link:
            self._dialler.rest()

    def _overdue(self, request: _Request) -> CoordError:
        """Return what to say of a request that was not answered in time."""
        allowed = f"{self._request_seconds:g} s"
        if request.link is None:
            return request.refusal or self._unserved(request.asked_at)
        if _writes(request):
            return Unknown(f"the write was sent and not answered within {allowed}")
        return Unavailable(f"{request.link.server} did not answer within {allowed}")

    def _unserved(self, asked_at: float) -> CoordError:
        """Return why something that was asked then could not be sent in all that time."""
        allowed = f"{self._request_seconds:g} s"
        if self._link is None and self._linked_at < asked_at:
            return NoServer(f"no server could be reached within {allowed}: {self._problem}")
        return Unavailable(f"no server took it within {allowed}: {self._problem}")

    # -- links ------------------------------------------------------------------------------------
    def current_link(self) -> Link | None:
        """Return the link that is up."""
        return self._link

    def link_made(self, link: Link) -> None:
        """Take note of a new connection."""
        self._links.add(link)
        if self._is_closed:
            link.hang_up("the client was closed")

    def link_up(self, link: Link) -> None:
        """Take a new link into use."""
        if self._is_closed:
            return
        self._link = link
        self._linked_at = self._clock.seconds()
        self._dialler.up()
        for following in [*self._followings]:
            following.subscribe()
        link.wake()

    def link_noted(self, link: Link, rev: int) -> None:
        """Let quiet watches see how far they are behind."""
        if link is self._link:
            for following in [*self._followings]:
                following.noted(rev)

    def link_without_quorum(self, link: Link) -> None:
        """Leave a server that has lost the others."""
        self.no_quorum(link)

    def no_quorum(self, link: Link) -> None:
        """Go to another server, if there is one; let this one answer what it was asked."""
        if link is self._link and len(self._servers) > 1:
            self._problem = f"{link.server} has no quorum"
            self._let_go()
            link.leave()
            self._see_to_it()

    def link_lost(self, link: Link, reason: str) -> None:
        """Decide what becomes of all that this link had not answered."""
        self._links.discard(link)
        if link.is_up:
            _LOG.debug("lost {server}: {reason}", server=link.server, reason=reason)
        self._problem = f"{link.server}: {reason}"
        if link is self._link:
            self._let_go()
        elif not link.is_up:
            self._dialler.lost()
        for exchange in link.conversation.unanswered():
            if isinstance(exchange, _Request) and exchange.deferred is not None:
                self._lost(exchange, reason)
        self._see_to_it()
        if self._is_closed and not self._links:
            closing, self._closing = self._closing, []
            for done in closing:
                done.callback(None)

    def ended(self, following: Following) -> None:
        """Forget a watch that is over."""
        self._followings.pop(following, None)
        if not self._wants_link:
            self._dialler.rest()

    def _lost(self, request: _Request, reason: str) -> None:
        request.link = None
        if _writes(request):
            request.settle(Unknown(f"the connection was lost before the answer: {reason}"))
        else:
            self._queue.append(request)

    def _let_go(self) -> None:
        """Have no link at present; watches wait for the next."""
        self._linked_at = self._clock.seconds()
        self._link = None
        self._dialler.lost()
        for following in [*self._followings]:
            following.unsubscribe()

    @property
    def _wants_link(self) -> bool:
        return bool(self._open or self._followings)

    def _see_to_it(self) -> None:
        """Dial where there is something to do and no link to do it by."""
        if self._link is None and self._wants_link and not self._is_closed:
            self._dialler.want()

    def _connect(self, number: int) -> Deferred[Any]:
        server, target = self._servers[number]
        factory = Factory.forProtocol(lambda: Link(self, self._clock, server))
        factory.noisy = False
        attempt: Deferred[Any] = target.connect(factory)
        return attempt.addTimeout(DIAL_SECONDS, self._clock)

    def _unreachable(self, failure: Failure) -> None:
        if self._is_closed:
            return
        self._problem = failure.getErrorMessage() or repr(failure.value)
        self._dialler.lost()
        self._see_to_it()


def _writes(request: Exchange) -> bool:
    return isinstance(request.command, commands.WRITES)
