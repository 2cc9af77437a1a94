"""One request of the client's user, from the call to the answer, over any number of servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from coord import commands
from coord.client.exchange import Exchange
from coord.client.ids import Number
from coord.client.replies import Done
from coord.client.session import Session
from coord.errors import (
    BadRequest,
    CoordError,
    NoSession,
    Overloaded,
    SessionExpired,
    Unavailable,
    Unknown,
)

if TYPE_CHECKING:
    from coord.client.link import Link

_FOREVER_SECONDS: Final = 1e7
_LOOKS: Final = (commands.Check, commands.Look)
_PLAIN: Final = frozenset({commands.Set, commands.Get, commands.Add, commands.Delete})
_BY_OTHER_MEANS: Final = {
    commands.Watch: "Client.watch", commands.Unwatch: "Watch.close", commands.Wait: "Client.wait",
    commands.Begin: "Client.transaction", commands.Commit: "Client.transaction",
    commands.Abort: "Client.transaction", commands.Check: "Client.transaction",
    commands.Auth: "the secret of a client", commands.Quit: "Client.close",
}  # fmt: skip


class IAsked(Protocol):
    """The client that a request was asked of."""

    def settled(self, request: Request) -> None:
        """Forget a request that was answered."""

    def refused(self, request: Request, problem: CoordError, link: Link | None) -> None:
        """Ask again later what was certainly not done, or can be asked again without harm."""

    def without_session(self, request: Request, problem: CoordError) -> None:
        """Decide what becomes of a request whose session is over, as the server says."""

    def given_up(self, request: Request) -> None:
        """See that what nobody waits for any more has no lasting effect."""


class Request(Exchange):
    """One request.

    ``session`` is the one that it was asked under, ``None`` for none: a write under a session has
    an id, and is sent again where its answer was lost. ``needs_session`` says that it means
    nothing without; ``is_open`` that it was sent once and nobody knows what became of it;
    ``is_unwanted`` that it asked for a lock which nobody waits for any more.
    """

    __slots__ = (
        "again", "asked_at", "client", "deadline", "deferred", "is_open", "is_unwanted", "link",
        "needs_session", "number", "refusal", "refusals", "session", "timer",
        "was_refused",
    )  # fmt: skip

    def __init__(
        self, client: IAsked, command: commands.Command, now: float, seconds: float
    ) -> None:
        super().__init__(command)
        self.client = client
        self.asked_at = now
        self.deadline = now + seconds
        if self.kind is commands.Lock:
            self.deadline += self.wait_seconds
        self.deferred: Deferred[Any] | None = Deferred(self._cancelled)
        self.session: Session | None = None
        self.needs_session = False
        self.number: Number | None = None
        self.is_open = False
        self.is_unwanted = False
        self.was_refused = False
        self.link: Link | None = None
        """The link it was sent by, while it waits for the answer there."""
        self.refusal: CoordError | None = None
        self.refusals = 0
        self.timer: IDelayedCall | None = None
        self.again: IDelayedCall | None = None

    @property
    def write(self) -> commands.Command:
        """What is asked, without its id."""
        return self.command.write if isinstance(self.command, commands.Once) else self.command

    @property
    def word(self) -> str | None:
        """The id that its user gave it."""
        return self.command.word if isinstance(self.command, commands.Once) else None

    @property
    def writes(self) -> bool:
        """Whether it may change something; a transaction may only look."""
        command = self.command
        if isinstance(command, commands.Transaction):
            return not all(isinstance(part, _LOOKS) for part in command.parts)
        return type(command) in commands.WRITE_KINDS or self.changes_members

    @property
    def changes_members(self) -> bool:
        """Whether it changes who the cluster's nodes are: a write that can have no id."""
        command = self.command
        return isinstance(command, commands.ChangeMembers) and not command.plan

    @property
    def locks(self) -> bool:
        """Whether it asks for a lock."""
        return self.kind is commands.Lock

    @property
    def wait_seconds(self) -> float:
        """How long it may wait for a lock."""
        write = self.write
        return write.wait_ms / 1000 if isinstance(write, commands.Lock) else 0.0

    @property
    def path(self) -> str:
        """The node that it is about."""
        path: str = getattr(self.write, "path")  # noqa: B009 - of a lock
        return path

    @property
    def waits_forever(self) -> bool:
        """Whether it has no deadline of ours."""
        return self.wait_seconds > _FOREVER_SECONDS

    @property
    def was_sent(self) -> bool:
        """Whether it may have been done, for all that we know."""
        return self.link is not None or self.is_open

    @property
    def is_over(self) -> bool:
        """Whether it is never to be sent again."""
        return self.deferred is None and not self.is_unwanted

    def may_go(self) -> bool:
        """Give it its number, where it has none yet; say whether it may be sent now."""
        session = self.session
        if session is None or self.number is not None or not self.writes:
            return True
        number = session.ids.take(self.command, self.word)
        if number is None:
            return False
        self.number = number
        if self.word is None:
            self.call(number.word)
        return True

    def unbind(self) -> None:
        """Have nothing to do with a session: it is over, and this was never sent under it."""
        self.session = None
        self.number = None
        self.relabel()

    def told(self, outcome: Any) -> None:
        """Hand the answer on, or have it asked again."""
        link, self.link = self.link, None
        if self.is_over:
            return
        if not isinstance(outcome, CoordError):
            self.settle(None if type(outcome) is Done else outcome)
            return
        again: tuple[type[CoordError], ...] = (Unavailable, Overloaded)
        if self.session is not None:
            again = (*again, Unknown)
            if isinstance(outcome, NoSession | SessionExpired):
                self.client.without_session(self, outcome)
                return
        if isinstance(outcome, again):
            self.is_open = self.is_open or isinstance(outcome, Unknown)
            self.client.refused(self, outcome, link)
        else:
            self.settle(outcome)

    def settle(self, outcome: Any) -> None:
        """Answer, once; an error as a failure."""
        deferred, self.deferred = self.deferred, None
        self.is_unwanted = False
        self.close()
        if deferred is None:
            return
        if isinstance(outcome, CoordError):
            deferred.errback(outcome)
        else:
            deferred.callback(outcome)

    def fail(self, problem: CoordError) -> None:
        """Fail before anything is known; a lock that was asked for is given up again."""
        deferred = self._give_up()
        if deferred is not None:
            deferred.errback(problem)

    def cut_off(self, problem: CoordError) -> CoordError:
        """Return what to say where ``problem`` ends it: of a write that may be done, `Unknown`."""
        may_be_done = self.writes and self.was_sent and not self.locks
        return Unknown(problem.text) if may_be_done else problem

    def close(self) -> None:
        """Let go of what it holds: its timer, its number, its place in the client."""
        self.client.settled(self)
        if self.is_unwanted:
            return
        for timer in (self.timer, self.again):
            if timer is not None and timer.active():
                timer.cancel()
        if self.number is not None and self.session is not None:
            self.session.ids.close(self.number)

    def _cancelled(self, _: Deferred[Any]) -> None:
        self._give_up()

    def _give_up(self) -> Deferred[Any] | None:
        deferred, self.deferred = self.deferred, None
        self.client.given_up(self)
        self.close()
        return deferred


def needs_session(command: commands.Command) -> bool:
    """Say whether a request means nothing without a session.

    :raises BadRequest: where it is not for clients to ask, or not in this way.
    """
    kind = type(command)
    if kind in _PLAIN:
        return getattr(command, "ephemeral", False)
    if kind in _BY_OTHER_MEANS:
        raise BadRequest(f"that is asked by {_BY_OTHER_MEANS[kind]}")
    match command:
        case commands.Once() | commands.Lock() | commands.Unlock() | commands.Outcome():
            return True
        case commands.Transaction():
            return any(getattr(part, "ephemeral", False) for part in command.parts)
        case commands.Session():
            if not command.end:
                raise BadRequest("a session is asked for by Client.session")
            return True
    return False
