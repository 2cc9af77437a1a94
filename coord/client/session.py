"""A session as its user has it: it outlives servers, and says when it is over."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from coord import commands
from coord.client.ids import Ids
from coord.client.life import Living, make_life
from coord.client.lock import Lock
from coord.errors import BadRequest, CoordError, Locked, NoSession, SessionExpired
from coord.events import SessionEvent, Trouble
from coord.limits import SESSION_SECONDS
from coord.results import Granted, Written

MARGIN_PART: Final = 0.1
"""Of a session's timeout: how long before others may go on it is taken for lost."""
STATES: Final = {"unopened": "opening", "attached": "held", "adrift": "suspended", "over": "over"}


class ISessionOwner(Protocol):
    """The client whose session it is."""

    def request(self, command: commands.Command) -> Deferred[Any]:
        """Ask in the order of all requests."""

    def ask_session(self, command: commands.Session, told: Callable[[Any], None]) -> None:
        """Ask the present server at once, beside the requests."""

    def forsake(self) -> None:
        """Leave the present server for another, if there is one."""

    def session_changed(self, session: Session) -> None:
        """Hear that the state of the session is another."""

    def session_over(self, session: Session, why: CoordError | None) -> None:
        """Hear that the session is over, after all who hold something by it."""


class Session:
    """The owner of ephemeral nodes and locks, kept alive on whatever server can be reached.

    ::

        session = client.session(timeout_seconds=10)
        await session.opened()
        session.lost().addCallback(what_to_do_when_it_is_over)
        await client.set("/services/web/1", b"up", ephemeral=True)

    It belongs to its client, which has one at a time: all that the client asks is asked under
    it. ``state`` is ``opening``, ``held`` while a server keeps it alive, ``suspended`` while none
    does (the connection was lost, or the server has lost the others; it goes on where it was, at
    the next server), and ``over``, for good: `ended <end>`, expired, or not confirmed for so long
    that it must be taken for that. After that the client opens another when one is
    wanted.
    """

    def __init__(
        self,
        owner: ISessionOwner,
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        prefix: str,
        timeout_seconds: float | None = None,
        margin_seconds: float | None = None,
    ) -> None:
        asked = SESSION_SECONDS if timeout_seconds is None else timeout_seconds
        self._owner = owner
        self._clock = clock
        self._now = now
        self._asked = asked
        self._is_doubtful = False
        self.end_was_sent = False
        """Whether the present server was asked to end it: what comes later is not for it."""
        self._unopened: IDelayedCall | None = None
        self.ids = Ids(prefix)
        self._locks: dict[str, Lock] = {}
        self._locking: set[str] = set()
        self._leaving: dict[str, int] = {}
        self._behind: dict[str, list[Deferred[None]]] = {}
        self._why: CoordError | None = None
        self._openers: list[Deferred[Session]] = []
        self._losers: list[Deferred[CoordError | None]] = []
        self._ending: list[Deferred[None]] = []
        self._living = Living(
            clock=clock,
            now=now,
            timeout_seconds=asked,
            margin_seconds=MARGIN_PART * asked if margin_seconds is None else margin_seconds,
            ask=owner.ask_session,
            forsake=owner.forsake,
            changed=self._changed,
            over=self._over,
        )
        self.life = make_life(self._living)

    # -- for who has it ---------------------------------------------------------------------------
    @property
    def id(self) -> str | None:
        """Its id, which others see as an owner; ``None`` before it is open."""
        credentials = self._living.credentials
        return None if credentials is None else credentials.session

    @property
    def state(self) -> str:
        """How it is: ``opening``, ``held``, ``suspended`` or ``over``."""
        return STATES[self._living.state]

    @property
    def timeout_seconds(self) -> float:
        """How long it outlives its silence; once open, as the cluster has it."""
        return self._living.timeout_seconds

    @property
    def margin_seconds(self) -> float:
        """How long before others may go on it is taken for lost."""
        return self._living.margin_seconds

    @property
    def valid_until(self) -> float:
        """Until when it certainly holds, as `now` tells the time; it moves on as it is kept."""
        return self._living.valid_until

    @property
    def seconds_left(self) -> float:
        """For how long it certainly still holds: what it owns is nobody else's before."""
        return max(0.0, self.valid_until - self.now())

    @property
    def is_held(self) -> bool:
        """Whether it certainly holds at this moment; where not any more, `lost` fires first."""
        return self.check()

    def now(self) -> float:
        """Return the time by which it is counted: it goes on while the machine sleeps."""
        return self._now()

    def opened(self) -> Deferred[Session]:
        """Return the session once it is open.

        :raises Unavailable: no server could open it in the time that requests have.
        """
        if self.is_over:
            return fail(self._why or NoSession("the session was ended"))
        if self._living.credentials is not None:
            return succeed(self)
        opener: Deferred[Session] = Deferred(self._openers.remove)
        self._openers.append(opener)
        return opener

    def lost(self) -> Deferred[CoordError | None]:
        """Return why it is over, once it is; ``None`` where it was ended.

        Locks are told first: see `Lock.lost`.
        """
        if self._living.state == "over":
            return succeed(self._why)
        loser: Deferred[CoordError | None] = Deferred(self._losers.remove)
        self._losers.append(loser)
        return loser

    def end(self) -> Deferred[None]:
        """End it, and all that it owns, behind the writes asked before.

        Fires once that is done; or, where nobody could be told in time, once it is left to
        run out. Safe to call more than once.
        """
        if self._living.state == "over":
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._ending.append(done)
        if len(self._ending) == 1:
            self._end_locks(NoSession("the session was ended"))
            self._owner.request(commands.Session(end=True)).addBoth(self._ended)
        return done

    def _ended(self, outcome: Any) -> None:
        self._is_doubtful = not isinstance(outcome, Written)
        self.life.end(None)
        ending, self._ending = self._ending, []
        for done in ending:
            done.callback(None)

    async def __aenter__(self) -> Session:
        await self.opened()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end()

    def describe(self) -> str:
        """Return the session in one line, without its key."""
        left = f" {self.seconds_left:.1f} s left" if self.id is not None else ""
        return f"session {self.id or '-'} {self.state}{left} {len(self._locks)} locks"

    # -- for its client ---------------------------------------------------------------------------
    @property
    def is_attached(self) -> bool:
        """Whether the present server knows that it is ours."""
        return self._living.state == "attached"

    @property
    def is_over(self) -> bool:
        """Whether it is over."""
        return self._living.state == "over"

    @property
    def is_ending(self) -> bool:
        """Whether it is being ended."""
        return bool(self._ending)

    def check(self) -> bool:
        """Say whether it holds; where it is overdue, all who want to know are told first."""
        return self._living.check(self.life)

    @property
    def is_doubtful(self) -> bool:
        """Whether it was given up here, and servers may still keep it alive."""
        return self._is_doubtful or self._living.is_lapsed

    def as_asked(self, timeout_seconds: float | None, margin_seconds: float | None) -> Session:
        """Return it; raise `BadRequest` where it is not as it is asked for."""
        if self.is_ending:
            raise BadRequest("the client's session is being ended")
        if timeout_seconds not in (None, self.timeout_seconds, self._asked):
            raise BadRequest(f"the client's session has a timeout of {self.timeout_seconds:g} s")
        if margin_seconds not in (None, self.margin_seconds):
            raise BadRequest(f"the client's session has a margin of {self.margin_seconds:g} s")
        return self

    def refused(self, problem: CoordError) -> None:
        """Hear from a server that it is over, or is not to be had."""
        self.life.end(problem)

    def expire_unopened(self, seconds: float, overdue: Callable[[float], CoordError]) -> None:
        """Be over, with what ``overdue`` says, where it is not open after so many seconds."""
        asked_at = self._clock.seconds()
        self._unopened = self._clock.callLater(seconds, self._never_opened, asked_at, overdue)

    def _never_opened(self, asked_at: float, overdue: Callable[[float], CoordError]) -> None:
        self._is_doubtful = True
        self.life.end(overdue(asked_at))

    def befallen(self, event: SessionEvent, *, is_here: bool) -> None:
        """Take what a server says of it; ``is_here`` where that is the present one."""
        if event.session != self.id:
            return
        if event.kind is Trouble.EXPIRED:
            self.life.end(SessionExpired("the session has expired"))
        elif is_here and event.kind is Trouble.JEOPARDY:
            self.life.doubted()
        elif is_here:
            self.life.trusted()

    def lock(self, command: commands.Lock) -> Deferred[Lock]:
        """Take a lock, or wait for it; see `Verbs.lock`."""
        path = command.path
        self.check()
        if self.is_over:
            return fail(self._why or NoSession("the session was ended"))
        if path in self._locks or path in self._locking:
            return fail(Locked(f"{path} is held or waited for by this client already"))
        if path in self._leaving:
            return self._lock_later(command)
        try:
            granting = self._owner.request(command)
        except CoordError as error:
            return fail(error)
        self._locking.add(path)

        def told(outcome: Any) -> Any:
            self._locking.discard(path)
            if not isinstance(outcome, Granted):
                return outcome
            if self.is_over:  # in the moment between: it is another session's, and not wanted
                self._owner.request(commands.Unlock(path)).addErrback(lambda _: None)
                return Failure(SessionExpired("the session was lost meanwhile"))
            lock = Lock(self, path, outcome.token, shared=command.shared)
            self._locks[path] = lock
            return lock

        return granting.addBoth(told)

    def _lock_later(self, command: commands.Lock) -> Deferred[Lock]:
        """Take a lock once it is certain that it was given up: else that could take it away."""
        behind = self._behind.setdefault(command.path, [])
        waiting: Deferred[None] = Deferred(behind.remove)
        behind.append(waiting)
        return waiting.addCallback(lambda _: self.lock(command))

    def unlock(self, path: str, word: str | None = None) -> Deferred[Any]:
        """Have the lock at ``path`` given up, behind what was asked before."""
        lock = self._locks.get(path)
        if lock is not None:
            lock.end(None)
        self.check()
        if self.is_over:
            return fail(NoSession("the session that held it is over"))
        unlock = commands.Unlock(path)
        try:
            unlocking = self._owner.request(unlock if word is None else commands.Once(word, unlock))
        except CoordError as error:
            return fail(error)
        self.leave(path)

        def left(outcome: Any) -> Any:
            self.left(path)
            return outcome

        return unlocking.addBoth(left)

    def leave(self, path: str) -> None:
        """Take note that the lock at ``path`` is being given up: nobody is to take it meanwhile."""
        self._leaving[path] = self._leaving.get(path, 0) + 1

    def left(self, path: str) -> None:
        """Take note that it was given up."""
        self._leaving[path] -= 1
        if not self._leaving[path]:
            del self._leaving[path]
            for waiting in self._behind.pop(path, []):
                waiting.callback(None)

    def forget(self, lock: Lock) -> None:
        """Have nothing to do with a lock any more."""
        if self._locks.get(lock.path) is lock:
            del self._locks[lock.path]

    def _changed(self) -> None:
        if self._living.state != "unopened" and self._unopened is not None:
            if self._unopened.active():
                self._unopened.cancel()
            self._unopened = None
        if self._living.state == "attached":
            openers, self._openers = self._openers, []
            for opener in openers:
                opener.callback(self)
        self._owner.session_changed(self)

    def _over(self, why: CoordError | None) -> None:
        """Tell all who have to know, those who hold locks first."""
        self._why = why
        problem = why or NoSession("the session was ended")
        self._end_locks(problem)
        losers, self._losers = self._losers, []
        for loser in losers:
            loser.callback(why)
        self._owner.session_over(self, why)
        behind, self._behind = self._behind, {}
        for waiting in [one for waiters in behind.values() for one in waiters]:
            waiting.errback(problem)
        openers, self._openers = self._openers, []
        for opener in openers:
            opener.errback(problem)

    def _end_locks(self, why: CoordError) -> None:
        for lock in [*self._locks.values()]:
            lock.end(why)
