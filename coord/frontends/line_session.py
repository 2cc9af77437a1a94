"""Whom a connection speaks for: who its client is, and the session that it has.

Everything a connection asks of the coordinator goes through its `Standing`, which says for whom.

A session is the connection's *own* where nobody asked for it: opened right before the first command
that needs one, in the same batch, so that it costs no round trip; kept by the node as long as
the connection is there; ended when that is closed in an orderly way, and left to expire when it
was lost. One that ``SESSION`` opened, told or took up is the client's: kept by traffic, and not
ended by anything but ``SESSION end``.

From the moment at which a session is asked for everything asked later is asked in its name,
since writes take effect in the order sent. If it then cannot be opened, nobody had it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from coord.commands import (
    Add,
    Caller,
    EndSession,
    Level,
    Lock,
    Once,
    OpenSession,
    Outcome,
    Read,
    Resume,
    Session,
    Set,
    Transaction,
    Write,
)
from coord.errors import (
    Aborted,
    BadRequest,
    CoordError,
    Denied,
    NoEntry,
    NoSession,
    Overloaded,
    SessionExpired,
    Unavailable,
)
from coord.events import SessionEvent, Trouble
from coord.frontends.gate import IGate
from coord.limits import SESSION_SECONDS, SESSION_SECONDS_MAX, SESSION_SECONDS_MIN
from coord.paths import Glob
from coord.replicator.interfaces import IAttachment, ICoordinator
from coord.results import Granted, Opened, Result, Rows, Written
from coord.store.watches import Watch
from coord.wire import line_reply

Tell = Callable[[bytes], None]
"""Takes the one line that answers a request."""

_LOG: Final = Logger()
_TROUBLES_MAX: Final = 64
"""Troubles kept for a client that does not read; of more, the newest are what matters."""
_MAY_NEED: Final = frozenset({Set, Add, Lock, Once, Transaction})
"""Commands that may need a session."""
_LEVELS: Final = {level: level.name.lower().encode() for level in Level}


class Standing:
    """A connection's door to the coordinator, as the client that it is.

    ``troubles`` are the lines that tell what befell the session; ``told`` is called when there is
    one. ``touch`` is to be called for all that the client sends.
    """

    def __init__(self, coordinator: ICoordinator, gate: IGate, told: Callable[[], None]) -> None:
        self.caller = Caller(level=Level.NONE)
        self.troubles: deque[bytes] = deque(maxlen=_TROUBLES_MAX)
        self.touch: Callable[[], None] = _nothing
        self.watch_count = 0
        self._coordinator = coordinator
        self._gate = gate
        self._told = told
        self._key = ""
        self._asked_as = ""
        self._timeout_ms = 0
        self._attachment: IAttachment | None = None
        self._is_own = False
        self._is_opening = False
        self._ending = ""
        self._is_over = False
        self._after_opening: list[Callable[[], None]] = []
        self._showing: Deferred[Caller] | None = None
        self._closed = False

    @property
    def has_session(self) -> bool:
        """Whether there is a session, and it is not over."""
        return bool(self.caller.session) and not self._is_over

    def describe(self) -> str:
        """Return who this is in a few words; the key is never told."""
        caller = self.caller
        session = f" session {caller.session}" if caller.session else ""
        return f"{caller.author()} {_LEVELS[Level(caller.level)].decode()}{session}"

    # -- what is asked in this name ------------------------------------------------------------
    def submit(
        self, commands: Sequence[Write | Read], answer: Callable[[Sequence[Result]], None]
    ) -> None:
        """Do a group of commands; a session is opened in front of the first that needs one."""
        if not self.caller.session:
            commands, answer = self._without_session(commands, answer)
        elif self._is_over:
            answer = partial(_answer_when_over, self._lack(), answer)
        answered = partial(self._answered, self.caller.session, answer)
        self._coordinator.submit(commands, answered, self.caller)

    def _answered(
        self,
        session: str,
        answer: Callable[[Sequence[Result]], None],
        results: Sequence[Result],
    ) -> None:
        self._asked_as = session
        answer(results)

    def watch(
        self, glob: Glob, after_rev: int | None, wake: Callable[[], None], lasting: bool = False
    ) -> Watch:
        """Watch what this client may read."""
        return self._coordinator.watch(glob, after_rev, wake, self.caller, lasting=lasting)

    def difference(self, glob: Glob, after_rev: int) -> Rows:
        """Compare what this client may read with what was there."""
        return self._coordinator.difference(glob, after_rev, self.caller)

    def await_lock(
        self, path: str, told: Callable[[Granted | CoordError], None]
    ) -> Callable[[], None]:
        """Wait for what becomes of the place in the queue of a lock that was just answered.

        It is that of the session in whose name it was asked for; the connection may have taken up
        another since.
        """
        return self._coordinator.await_lock(path, self._asked_as, told)

    def _without_session(
        self, commands: Sequence[Write | Read], answer: Callable[[Sequence[Result]], None]
    ) -> tuple[Sequence[Write | Read], Callable[[Sequence[Result]], None]]:
        kinds = set(map(type, commands))
        if not kinds.isdisjoint(_MAY_NEED):
            needs = [one.ephemeral if type(one) is Set else _needs_session(one) for one in commands]
            if True in needs:
                return self._opened_first(commands, answer, needs.index(True))
        if Outcome in kinds:
            return commands, partial(_answer_without_session, answer)
        return commands, answer

    def _opened_first(
        self,
        commands: Sequence[Write | Read],
        answer: Callable[[Sequence[Result]], None],
        place: int,
    ) -> tuple[Sequence[Write | Read], Callable[[Sequence[Result]], None]]:
        opening = self._open(round(1000 * SESSION_SECONDS), own=True)

        def settle(results: Sequence[Result]) -> None:
            opened, rest = results[place], [*results[:place], *results[place + 1 :]]
            if isinstance(opened, CoordError):  # then it is why they had none
                rest = [opened if isinstance(one, NoSession) else one for one in rest]
            self._opened(opening, opened)
            answer(rest)

        return [*commands[:place], opening, *commands[place:]], settle

    # -- SESSION -------------------------------------------------------------------------------
    def perform(self, request: Session, tell: Tell) -> None:
        """Do what ``SESSION`` asks; ``tell`` gets the reply, once."""
        given = [request.timeout_ms is not None, request.resume is not None]
        refusal = self.refusal()
        if refusal is not None:  # or nobody in particular could open as many as there may be
            tell(line_reply.error(refusal))
        elif sum([*given, request.keep, request.end]) > 1:
            tell(line_reply.error(BadRequest("SESSION takes one option at a time")))
        elif self._is_opening:
            self._after_opening.append(partial(self.perform, request, tell))
        elif request.resume is not None:
            resume = Resume(*request.resume)
            self._coordinator.submit([resume], partial(self._resumed, resume, tell), self.caller)
        elif request.keep or request.end:
            self._perform_on_present(request, tell)
        elif not self.has_session:
            self._open_asked_for(request.timeout_ms, tell)
        elif request.timeout_ms is not None:
            text = f"there is one, of timeout={self._timeout_ms / 1000:g}; SESSION end ends it"
            tell(line_reply.error(BadRequest(text)))
        else:
            if self._is_own:
                self._attach(own=False)
            tell(self._shown())

    def _perform_on_present(self, request: Session, tell: Tell) -> None:
        if not self.has_session or self._attachment is None:
            tell(line_reply.error(self._lack()))
        elif request.keep:
            self._attachment.keep(partial(self._kept, tell))
        else:
            self._ending = self.caller.session
            end = EndSession(self._ending)
            self._coordinator.submit([end], partial(self._ended, end, tell), self.caller)

    def _lack(self) -> CoordError:
        if self._is_over:
            return SessionExpired(f"the session {self.caller.session} is over")
        return NoSession("this connection has no session; SESSION opens one")

    def _open_asked_for(self, timeout_ms: int | None, tell: Tell) -> None:
        wanted = SESSION_SECONDS if timeout_ms is None else timeout_ms / 1000
        seconds = min(max(wanted, SESSION_SECONDS_MIN), SESSION_SECONDS_MAX)
        opening = self._open(round(1000 * seconds), own=False)

        def settle(results: Sequence[Result]) -> None:
            self._opened(opening, results[0])
            if isinstance(results[0], CoordError):
                tell(line_reply.error(results[0]))
            else:
                tell(self._shown())

        self._coordinator.submit([opening], settle, self.caller)

    def _shown(self) -> bytes:
        return line_reply.session(self.caller.session, self._key, self._timeout_ms)

    def _kept(self, tell: Tell, problem: CoordError | None) -> None:
        if problem is None:
            tell(line_reply.kept(self.caller.session, self._timeout_ms))
        else:
            tell(line_reply.error(problem))

    def _ended(self, end: EndSession, tell: Tell, results: Sequence[Result]) -> None:
        (result,) = results
        self._ending = ""
        if self.caller.session != end.session:
            pass  # another was taken up meanwhile
        elif isinstance(result, Written):
            self._forget()
        elif isinstance(result, SessionExpired | NoSession):
            self._end_attachment()
            self._is_over = True
        tell(line_reply.reply(result))  # type: ignore[arg-type]

    def _resumed(self, resume: Resume, tell: Tell, results: Sequence[Result]) -> None:
        (result,) = results
        if isinstance(result, Opened) and not self._closed:
            if self.caller.session != result.session:
                self.end_own()
            self._forget()
            self._name(result.session, resume.key)
            self._timeout_ms = result.timeout_ms
            self._attach(own=False)
            tell(self._shown())
            self._go_on()
        else:
            assert isinstance(result, CoordError | Opened), "SESSION resume is answered so"
            tell(b"" if isinstance(result, Opened) else line_reply.error(result))

    # -- how a session comes and goes -------------------------------------------------------------
    def _open(self, timeout_ms: int, *, own: bool) -> OpenSession:
        """Return what opens a session; from now on all is asked in its name."""
        opening, key = self._coordinator.new_session(timeout_ms)
        self._forget()
        self._name(opening.session, key)
        self._timeout_ms = timeout_ms
        self._is_own = own
        self._is_opening = True
        return opening

    def _opened(self, opening: OpenSession, result: Result) -> None:
        if self._closed or self.caller.session != opening.session:
            return
        self._is_opening = False
        if isinstance(result, Opened):
            self._timeout_ms = result.timeout_ms
            self._attach(own=self._is_own)
        else:
            self._forget()
        self._go_on()

    def _go_on(self) -> None:
        """Do what waited for the session to be there, or not to be."""
        waiting, self._after_opening = self._after_opening, []
        for perform in waiting:
            perform()

    def _attach(self, *, own: bool) -> None:
        self._end_attachment()
        self._is_own = own
        session = self.caller.session
        self._attachment = self._coordinator.attach(
            session, partial(self._befell, session), own=own
        )
        if not own and self._attachment is not None:
            self.touch = self._attachment.touch
            self.touch()

    def _befell(self, session: str, event: SessionEvent) -> None:
        if self._closed or session != self.caller.session:
            return
        if event.kind is Trouble.EXPIRED:
            self._is_over = True
            self._end_attachment()
            if self._ending == session:
                return
        self.troubles.append(line_reply.trouble(event))
        self._told()

    def _name(self, session: str, key: str) -> None:
        self.caller = msgspec.structs.replace(self.caller, session=session)
        self._key = key

    def _forget(self) -> None:
        self._end_attachment()
        self._name("", "")
        self._is_own = self._is_opening = self._is_over = False

    def _end_attachment(self) -> None:
        attachment, self._attachment = self._attachment, None
        self.touch = _nothing
        if attachment is not None:
            attachment.detach()

    def end_own(self) -> None:
        """End the connection's own session, if it has one: its client has left it."""
        if self._is_own and self.has_session and self._ending != self.caller.session:
            self._ending = self.caller.session
            self._coordinator.submit([EndSession(self._ending)], _ignore, self.caller)

    def close(self, *, left: bool) -> None:
        """Have nothing more to do with it all; ``left``: the client went in an orderly way."""
        if left:
            self.end_own()
        self._closed = True
        self._end_attachment()
        self._after_opening.clear()
        if self._showing is not None:
            self._showing.cancel()

    # -- AUTH -----------------------------------------------------------------------------------
    def meet(self, caller: Caller) -> None:
        """Take note who the client is."""
        self.caller = msgspec.structs.replace(caller, session=self.caller.session)

    def show(self, secret: bytes, tell: Tell) -> None:
        """Show a secret; ``tell`` gets what the client may do with it, or why nothing more."""
        if self._showing is not None:
            tell(line_reply.error(Overloaded("another secret is being looked at")))
            return
        self._showing = self._gate.auth(self.caller, secret)
        self._showing.addBoth(self._shown_secret, tell)

    def _shown_secret(self, outcome: Caller | Failure, tell: Tell) -> None:
        self._showing = None
        if isinstance(outcome, Caller):
            self.meet(outcome)
            tell(b"OK %b\n" % _LEVELS[Level(outcome.level)])
        elif isinstance(outcome.value, CoordError):
            tell(line_reply.error(outcome.value))
        elif not isinstance(outcome.value, CancelledError):
            _LOG.failure("a bug met a secret", failure=outcome)
            tell(line_reply.error(Unavailable("the secret could not be looked at")))

    def refusal(self) -> CoordError | None:
        """Return why this client may not even look at the node, if so."""
        if self.caller.level > Level.NONE:
            return None
        return Denied("show a secret first: AUTH secret")


def _needs_session(command: Write | Read) -> bool:
    match command:
        case Set() | Add():
            return command.ephemeral
        case Lock() | Once():
            return True
        case Transaction():
            return any(isinstance(one, Set | Add) and one.ephemeral for one in command.parts)
    return False


def _answer_without_session(
    answer: Callable[[Sequence[Result]], None], results: Sequence[Result]
) -> None:
    """Say of what nobody can have done that it is not there: only ``OUTCOME`` asks for that."""
    answer(
        [
            NoEntry("this connection has no session that could remember it")
            if isinstance(one, NoSession)
            else one
            for one in results
        ]
    )


def _answer_when_over(
    over: CoordError, answer: Callable[[Sequence[Result]], None], results: Sequence[Result]
) -> None:
    """Say that the session is over, also where it was ended and the store knows it no more."""
    answer([_as_over(over, one) for one in results])


def _as_over(over: CoordError, result: Result) -> Result:
    if isinstance(result, Aborted):
        number, code, _ = result.text.split(" ", 2)
        return Aborted(f"{number} {over.code} {over.text}") if code == NoSession.code else result
    return over if isinstance(result, NoSession) else result


def _nothing() -> None:
    """Do nothing: there is no session to keep."""


def _ignore(results: Sequence[Result]) -> None:
    """Do nothing: there is nobody to tell."""
