"""The client: requests, watches and a session over whichever server answers.

It wires the others together: `coord.client.outstanding` says what becomes of requests,
`coord.client.dialler` whom to dial; `coord.client.following` and `coord.client.session` outlive
links. Here is which link is in use, and who hears of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from coord import commands
from coord.client.clocks import clock_of
from coord.client.dialler import Dialling, endpoint, make_dialler
from coord.client.errors import Closed, NoServer
from coord.client.exchange import Exchange
from coord.client.following import Following
from coord.client.link import Link
from coord.client.outstanding import Outstanding
from coord.client.pending import Request, needs_session
from coord.client.requests import glob_line
from coord.client.session import Session
from coord.client.tls import Tls
from coord.client.verbs import Verbs
from coord.client.watch import Watch
from coord.errors import (
    CoordError,
    NoSession,
    Unavailable,
)
from coord.events import SessionEvent
from coord.limits import (
    CLIENT_SILENCE_SECONDS,
    DIAL_SECONDS,
    SESSION_SECONDS_MIN,
)

_LOG: Final = Logger()
REQUEST_SECONDS: Final = 10.0
"""How long a request may take unless the client is told otherwise."""
_PATIENCE_SECONDS_MIN: Final = 0.3
"""The shortest silence that says something of a server."""


class Client(Verbs):
    """A client of one cluster, over one connection at a time.

    It connects when something is first asked, and to another server when that one is lost, says
    nothing for a few seconds, or has no quorum. Use it in one reactor thread, and close it.

    Requests may be under way in any number. Writes are sent in the order asked, but one that was
    refused and is tried again may come after a later one: who needs an order waits for the answer.

    :param reactor: the reactor, which is a clock as well.
    :param servers: ``HOST:PORT``, Twisted's endpoint strings, or endpoints, in the order of
        preference; to spread clients, give each its own order.
    :param request_seconds: how long a request may take until it is answered `Unavailable`,
        `NoServer`, or `Unknown`.
    :param secret: shown on every connection before anything else.
    :param tls: how to speak TLS to the servers given as ``HOST:PORT``.
    :param once: have a session from the first write on, so that each is done once.
    :param dice: for waits; by default its own.
    :raises ValueError: where there is no server, or one that names no endpoint.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[str | IStreamClientEndpoint],
        *,
        request_seconds: float = REQUEST_SECONDS,
        secret: bytes | None = None,
        tls: Tls | None = None,
        once: bool = False,
        dice: random.Random | None = None,
    ) -> None:
        super().__init__(reactor)
        if isinstance(servers, str) or not servers:
            raise ValueError("a client wants a sequence of servers, one at least")
        self._servers = [
            (one, endpoint(reactor, one, tls)) if isinstance(one, str) else (repr(one), one)
            for one in servers
        ]
        self._secret = secret
        self._once = once
        self._now = clock_of(reactor)
        self._request_seconds = request_seconds
        self._dice = dice or random.Random()
        self._requests = Outstanding(self, reactor, self._dice, request_seconds)
        self._session: Session | None = None
        self._knowing: set[Link] = set()
        self._followings: dict[Following, None] = {}
        self._links: set[Link] = set()
        self._link: Link | None = None
        self._linked_at = -1.0
        self._problem = "no server was tried"
        self._is_closed = False
        self._closing: list[Deferred[None]] = []
        self._dialling = Dialling(
            clock=reactor,
            dice=self._dice,
            servers=len(self._servers),
            connect=self._connect,
            failed=self._unreachable,
        )
        self._dialler = make_dialler(self._dialling)

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
        session = "" if self._session is None else f"; {self._session.describe()}"
        return f"{len(self._requests)} requests {len(self._followings)} watches; {links}{session}"

    # -- asking -----------------------------------------------------------------------------------
    def request(self, command: commands.Command) -> Deferred[Any]:
        """Ask for any command but a watch or a wait; see `Verbs.request`."""
        if self._is_closed:
            raise Closed("the client is closed")
        if self._session is not None:
            self._session.check()
        is_bound = needs_session(command)
        now = self._clock.seconds()
        request = Request(self._requests, command, now, self._request_seconds)
        assert request.deferred is not None
        deferred = request.deferred
        self._bind(request, is_bound)
        self._requests.begin(request)
        return deferred

    def _watched(
        self, glob: str, after_rev: int | None, diff: bool, lasting: bool = False
    ) -> Watch[Any]:
        following = Following(self, self._clock, self._dice, glob, after_rev, diff, lasting)
        try:
            glob_line(glob)
            if self._is_closed:
                raise Closed("the client is closed")
        except CoordError as error:
            following.fail(error)
            return following
        self._followings[following] = None
        following.expire_unopened(self._request_seconds, self.unserved)
        following.subscribe()
        self._see_to_it()
        return following

    def session(
        self, *, timeout_seconds: float | None = None, margin_seconds: float | None = None
    ) -> Session:
        """Return the client's session, and begin to open one where there is none."""
        if self._is_closed:
            raise Closed("the client is closed")
        self.awake()
        if self._session is not None:
            return self._session.as_asked(timeout_seconds, margin_seconds)
        session = self._session = Session(
            self,
            self._clock,
            self._now,
            prefix=f"{self._dice.getrandbits(32):08x}",
            timeout_seconds=timeout_seconds,
            margin_seconds=margin_seconds,
        )
        session.expire_unopened(self._request_seconds, self.unserved)
        if self._link is not None:
            session.life.linked()
        self._see_to_it()
        return session

    def close(self) -> Deferred[None]:
        """Give up all requests and watches, end the session; fires when nothing is open."""
        self._is_closed = True
        self._dialler.close()
        parting = self._link if self._session is not None and self._session.is_attached else None
        for following in [*self._followings]:
            following.close()
        self._requests.fail_all(lambda request: request.cut_off(Closed("the client was closed")))
        if self._session is not None:
            self._session.life.end(None)
        self._requests.close()
        self._link = None
        if not self._links:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        for link in [*self._links]:
            if link is parting:
                link.part(commands.Session(end=True))
            else:
                link.hang_up("the client was closed")
        return done

    # -- the session ------------------------------------------------------------------------------
    def _bind(self, request: Request, is_bound: bool) -> None:
        """Have a request be asked under the session, where it should."""
        session = self._session
        if request.changes_members or (session is None and not is_bound and not self._once):
            return
        if is_bound or (self._once and request.writes and session is None):
            session = self._session or self.session()
        if session is None or not (is_bound or (request.writes and not session.is_ending)):
            return
        if session.is_ending and request.kind is not commands.Session:
            raise NoSession("the client's session is being ended: ask again after that")
        request.session = session
        request.needs_session = is_bound

    def awake(self) -> None:
        """See whether the session still holds, before anything is done in its name."""
        if self._session is not None:
            self._session.check()

    @property
    def patience_seconds(self) -> float:
        """How long a server may be silent: less where a session could be lost by it."""
        if self._session is None:
            return CLIENT_SILENCE_SECONDS
        part = max(SESSION_SECONDS_MIN, self._session.timeout_seconds) / 4
        return min(CLIENT_SILENCE_SECONDS, max(_PATIENCE_SECONDS_MIN, part))

    def ask_session(self, command: commands.Session, told: Callable[[Any], None]) -> None:
        """Ask the present server at once, beside the requests."""
        if self._link is not None:
            self._knowing.add(self._link)
            self._link.ask(command, told)

    def forsake(self) -> None:
        """Leave the present server for another, if there is one."""
        if self._link is not None:
            self.no_quorum(self._link)

    def link_troubled(self, link: Link, event: SessionEvent) -> None:
        """Hear what befell the session of a connection."""
        if self._session is not None:
            self._session.befallen(event, is_here=link is self._link)

    def session_changed(self, session: Session) -> None:
        """Send what waited for the session, once a server has taken it up."""
        if session.is_attached:
            self._requests.attached()

    def session_over(self, session: Session, why: CoordError | None) -> None:
        """Settle all that was asked under it, and have no server go on keeping it."""
        self._session = None
        self._requests.session_over(session, why or NoSession("the session was ended"))
        knowing, self._knowing = self._knowing, set()
        if session.is_doubtful:
            self._problem = "the session was lost"
            if self._link in knowing:
                self._let_go()
            for link in knowing:
                link.hang_up(self._problem)
            self._see_to_it()

    # -- for its requests -------------------------------------------------------------------------
    def next_request(self) -> Exchange | None:
        """Return a request that is to be sent now, or ``None``."""
        return self._requests.next()

    def want_link(self) -> None:
        """Have the link look what there is to send; or see that there will be one."""
        if self._link is not None:
            self._link.wake()
        else:
            self._dialler.want()

    def rest(self) -> None:
        """Dial no more where nothing is wanted."""
        if not self._wants_link:
            self._dialler.rest()

    def unserved(self, asked_at: float) -> CoordError:
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
        if self._session is not None:
            self._session.life.linked()
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
            if self._session is None:
                link.leave()
            else:
                link.hang_up(self._problem)  # all can be asked again, and locks may wait for long
            self._see_to_it()

    def link_denied(self, link: Link, problem: CoordError) -> None:
        """Tell all who want something that they may not: no other server knows better."""
        self._problem = f"{link.server}: {problem.text}"
        if self._session is not None:
            self._session.refused(problem)
        for following in [*self._followings]:
            following.fail(problem)
        self._requests.fail_all(lambda request: request.cut_off(problem))

    def link_lost(self, link: Link, reason: str) -> None:
        """Decide what becomes of all that this link had not answered."""
        self._links.discard(link)
        self._knowing.discard(link)
        if link.is_up:
            _LOG.debug("lost {server}: {reason}", server=link.server, reason=reason)
        self._problem = f"{link.server}: {reason}"
        if link is self._link:
            self._let_go()
        elif not link.is_up:
            self._dialler.lost()
        unanswered = [one for one in link.conversation.unanswered() if isinstance(one, Request)]
        self._requests.lost(unanswered, reason)
        self._see_to_it()
        if self._is_closed and not self._links:
            closing, self._closing = self._closing, []
            for done in closing:
                done.callback(None)

    def ended(self, following: Following) -> None:
        """Forget a watch that is over."""
        self._followings.pop(following, None)
        self.rest()

    def _let_go(self) -> None:
        """Have no link at present; watches wait for the next."""
        self._linked_at = self._clock.seconds()
        self._link = None
        self._dialler.lost()
        if self._session is not None:
            self._session.life.unlinked()
        for following in [*self._followings]:
            following.unsubscribe()

    @property
    def _wants_link(self) -> bool:
        return bool(self._requests or self._followings or self._session)

    def _see_to_it(self) -> None:
        """Dial where there is something to do and no link to do it by."""
        if self._link is None and self._wants_link and not self._is_closed:
            self._dialler.want()

    def _connect(self, number: int) -> Deferred[Any]:
        server, target = self._servers[number]
        patience = self._greeting_seconds
        link = partial(Link, self, self._clock, server, self._secret, patience)
        factory = Factory.forProtocol(link)
        factory.noisy = False
        attempt: Deferred[Any] = target.connect(factory)
        return attempt.addTimeout(min(DIAL_SECONDS, patience), self._clock)

    @property
    def _greeting_seconds(self) -> float:
        """How long a server may take for its first answer.

        As long as others were not tried in this round it is so short that all of them can be,
        within the time that a request has.
        """
        if self._dialling.tried >= len(self._servers):
            return self.patience_seconds
        share = self._request_seconds / (len(self._servers) + 1)
        return min(self.patience_seconds, max(_PATIENCE_SECONDS_MIN, share))

    def _unreachable(self, failure: Failure) -> None:
        if self._is_closed:
            return
        self._problem = failure.getErrorMessage() or repr(failure.value)
        self._dialler.lost()
        self._see_to_it()
