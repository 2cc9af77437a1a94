"""One connection to one server: bytes between a transport and a `Conversation`.

Whatever a turn has to ask leaves in one write. A link is *up* once the server has answered its
first question, so that one which accepts and says nothing, or is no server of ours, is never
relied on. Where there is a secret, that is shown before anything else. A link asks for a sign of
life all the time; a server that is silent is left.

What a link hears it tells its owner, never inside a call from the owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Interface

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from coord import commands
from coord.client.conversation import Conversation
from coord.client.errors import Junk
from coord.client.exchange import Exchange
from coord.client.replies import Allowed
from coord.errors import CoordError, Denied, Unavailable
from coord.events import SessionEvent
from coord.limits import (
    CLIENT_PING_SECONDS,
    CLIENT_QUORUM_SECONDS,
    CLIENT_REQUESTS_MAX,
    CLIENT_SECRET_SECONDS,
    PARTING_SECONDS,
)
from coord.results import Point

_LOG: Final = Logger()


class ILinkOwner(Interface):
    """Who hears from a link."""

    def link_made(self, link: Link) -> None:
        """Hear that there is a connection."""

    def link_up(self, link: Link) -> None:
        """Hear that the server has answered."""

    def link_lost(self, link: Link, reason: str) -> None:
        """Hear that the connection is gone; what it had not answered it still holds."""

    def link_noted(self, link: Link, rev: int) -> None:
        """Hear the server's revision, now and then."""

    def link_without_quorum(self, link: Link) -> None:
        """Hear that the server has lost the others; told only where there are watches."""

    def link_denied(self, link: Link, problem: CoordError) -> None:
        """Hear that the server does not know the secret, or may not be asked without one."""

    def link_troubled(self, link: Link, event: SessionEvent) -> None:
        """Hear what befell the session of the connection."""

    def awake(self) -> None:
        """Hear that something is about to be taken in or sent."""

    @property
    def patience_seconds(self) -> float:
        """How long a server may be silent."""

    def next_request(self) -> Exchange | None:
        """Return a request that is to be sent, or ``None``."""

    @property
    def has_watches(self) -> bool:
        """Whether anyone watches."""


class _Question(Exchange):
    """What a link asks for itself."""

    __slots__ = ("_told",)

    def __init__(self, command: commands.Command, told: Callable[[Any], None]) -> None:
        super().__init__(command, tagged=True)
        self._told = told

    def told(self, outcome: Any) -> None:
        """Hand it on."""
        self._told(outcome)


class _Ears(Exchange):
    """Who hears what was not asked for."""

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        super().__init__(commands.Ping())
        self._link = link

    def told(self, outcome: Any) -> None:
        """Hand it on."""
        self._link.troubled(outcome)


class Link(Protocol):
    """One connection, from the first byte to the last."""

    transport: Any  # a transport and a producer at once

    def __init__(
        self,
        owner: ILinkOwner,
        clock: IReactorTime,
        server: str,
        secret: bytes | None,
        greeting_seconds: float,
    ) -> None:
        self.server = server
        self._greeting_seconds = greeting_seconds
        self.conversation = Conversation(_Ears(self))
        self._secret = secret
        self.is_up = False
        self.is_leaving = False
        """Whether it takes no new requests and ends once those it has are answered."""
        self.reason = "the server closed the connection"
        self._owner = owner
        self._clock = clock
        self._turn: IDelayedCall | None = None
        self._tick: IDelayedCall | None = None
        self._parting: IDelayedCall | None = None
        self._secret_seconds = 0.0
        """How much longer the server may take, since it is looking at a secret."""
        self._tick_due = 0.0
        self._made_at = 0.0
        self._heard_at = 0.0
        self._asked_quorum_at = 0.0
        self._ping_is_out = False
        self._quorum_is_out = False
        self._holders: set[object] = set()
        self._is_lost = False
        self._is_ending = False

    def describe(self) -> str:
        """Return the link in one line."""
        state = "leaving" if self.is_leaving else "up" if self.is_up else "greeting"
        return f"{self.server} {state} {self.conversation.describe()}"

    # -- for its owner --------------------------------------------------------------------------
    def wake(self) -> None:
        """See, at the end of this turn, whether there is something to send."""
        if self._turn is None and not self._is_lost:
            self._turn = self._clock.callLater(0, self._take_turn)

    def leave(self) -> None:
        """Send no new requests, let those under way be answered, then hang up."""
        self.is_leaving = True
        self.wake()

    def hang_up(self, reason: str) -> None:
        """End at once; `ILinkOwner.link_lost` follows."""
        if not self._is_lost and not self._is_ending:
            self._is_ending = self.is_leaving = True
            self.reason = reason
            self.transport.abortConnection()

    def hold(self, holder: object) -> None:
        """Stop reading for as long as anyone holds."""
        if not self._holders and not self._is_lost:
            self.transport.pauseProducing()
        self._holders.add(holder)

    def release(self, holder: object) -> None:
        """Read on, once nobody holds any more."""
        if holder in self._holders:
            self._holders.discard(holder)
            if not self._holders and not self._is_lost:
                self._heard_at = self._clock.seconds()
                self.transport.resumeProducing()

    def part(self, command: commands.Command) -> None:
        """Ask a last thing, then hang up: once that is answered, or soon."""

        def told(_: Any) -> None:
            self.hang_up("the client was closed")

        self.is_leaving = True
        self._parting = self._clock.callLater(PARTING_SECONDS, told, None)
        self.ask(command, told)

    def troubled(self, event: SessionEvent) -> None:
        """Tell the owner what befell the session."""
        self._owner.link_troubled(self, event)

    def ask(self, command: commands.Command, told: Callable[[Any], None]) -> None:
        """Ask something beside the requests; ``told`` gets the result or the error."""
        self.conversation.ask(_Question(command, told))
        self.wake()

    # -- what the transport tells ---------------------------------------------------------------
    def connectionMade(self) -> None:
        """Say the first word."""
        _tune(self.transport)
        self._made_at = self._heard_at = self._asked_quorum_at = self._clock.seconds()
        self._tick_later()
        if self._secret is None:
            self._ping()
        else:
            self._secret_seconds = CLIENT_SECRET_SECONDS
            self.ask(commands.Auth(self._secret), self._allowed)
        self._owner.link_made(self)

    def dataReceived(self, data: bytes) -> None:
        """Take what came, tell those who asked, and ask what may be asked now."""
        self._owner.awake()
        self._heard_at = self._clock.seconds()
        try:
            outcomes = self.conversation.receive(data)
        except Junk as error:
            self.hang_up(f"{self.server} does not speak the line protocol: {error}")
            return
        for exchange, outcome in outcomes:
            try:
                exchange.told(outcome)
            except Exception:
                _LOG.failure("a bug in who was told: {what}", what=exchange.command)
        self.wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner."""
        self._is_lost = True
        if not self._is_ending and not reason.check(ConnectionDone, ConnectionLost):
            self.reason = _why(reason.value)
        self._holders.clear()
        for timer in (self._turn, self._tick, self._parting):
            if timer is not None and timer.active():
                timer.cancel()
        self._owner.link_lost(self, self.reason)

    # -- turns and ticks ------------------------------------------------------------------------
    def _take_turn(self) -> None:
        self._turn = None
        self._owner.awake()
        conversation = self.conversation
        if self.is_up and not self.is_leaving:
            room = CLIENT_REQUESTS_MAX - conversation.outstanding
            while room > 0 and (request := self._owner.next_request()) is not None:
                conversation.ask(request)
                room -= 1
        content = conversation.take_outbox()
        if content:
            self.transport.write(content)
        elif self.is_leaving and not conversation.outstanding:
            self.hang_up("left for another server")

    def _ticked(self) -> None:
        now = self._clock.seconds()
        patience = self._patience_seconds
        if now - self._tick_due >= patience / 3:
            self._heard_at = now  # it was we who slept
        self._tick_later()
        if self._holders:
            return
        if now - self._heard_at >= patience:
            self.hang_up(f"{self.server} was silent for {patience:g} s")
            return
        if not self.is_up and now - self._made_at >= patience + self._secret_seconds:
            self.hang_up(f"{self.server} gave no answer in {patience:g} s")
            return
        if not self._ping_is_out:
            self._ping()
        due = now - self._asked_quorum_at >= CLIENT_QUORUM_SECONDS
        if due and self._owner.has_watches and not self._quorum_is_out and not self.is_leaving:
            self._asked_quorum_at, self._quorum_is_out = now, True
            self.ask(commands.Sync(), self._quorum_told)

    @property
    def _patience_seconds(self) -> float:
        patience = self._owner.patience_seconds
        return patience if self.is_up else min(patience, self._greeting_seconds)

    def _tick_later(self) -> None:
        seconds = min(CLIENT_PING_SECONDS, self._patience_seconds / 3)
        self._tick_due = self._clock.seconds() + seconds
        self._tick = self._clock.callLater(seconds, self._ticked)

    def _allowed(self, outcome: Any) -> None:
        if isinstance(outcome, Allowed):
            self._secret_seconds = 0.0
            self._made_at = self._clock.seconds()
            self._ping()
        else:
            self._denied(outcome)

    def _denied(self, outcome: Any) -> None:
        if isinstance(outcome, Denied):
            self._owner.link_denied(self, outcome)
        self.hang_up(f"{self.server} said {outcome!r}")

    def _ping(self) -> None:
        self._ping_is_out = True
        if self._secret_seconds:  # more than a sign of life nobody is told without a secret
            self.ask(commands.Ping(), self._lives)
        else:
            self.ask(commands.Rev(), self._ponged)

    def _lives(self, _: Any) -> None:
        self._ping_is_out = False

    def _ponged(self, outcome: Any) -> None:
        self._ping_is_out = False
        if not isinstance(outcome, Point):
            self._denied(outcome)
            return
        if not self.is_up:
            self.is_up = True
            self._owner.link_up(self)
        self._owner.link_noted(self, outcome.rev)

    def _quorum_told(self, outcome: Any) -> None:
        self._quorum_is_out = False
        if isinstance(outcome, Unavailable):
            self._owner.link_without_quorum(self)
        elif isinstance(outcome, CoordError):
            _LOG.debug("{server} said {what}", server=self.server, what=outcome)


def _why(problem: BaseException | None) -> str:
    """Return why TLS came to nothing: it tells so in triples of words, or in mismatched names."""
    told = problem.args[0] if problem is not None and problem.args else problem
    if not isinstance(told, list):
        return str(told)
    texts = [str(one[-1]) for one in told if isinstance(one, tuple) and one]
    return "; ".join(texts) or "the server's certificate is of another name"


def _tune(transport: Any) -> None:
    """Have small requests leave at once."""
    if ITCPTransport.providedBy(transport):
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
