"""A client of a store in this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from coord import commands
from coord.client.client import REQUEST_SECONDS
from coord.client.errors import Closed
from coord.client.pending import needs_session
from coord.client.replies import Credentials
from coord.client.requests import lines
from coord.client.rows import Entries, Names, Page
from coord.client.session import Session
from coord.client.verbs import Verbs
from coord.client.watch import Watch
from coord.errors import CoordError, SessionExpired, Unavailable, Unknown
from coord.results import (
    Committed,
    Entry,
    Granted,
    Items,
    Queued,
    Result,
    Row,
    Rows,
    Value,
    Written,
)  # fmt: skip
from coord.testing.store import NAME, MemoryStore
from coord.testing.watch import MemoryWatch


class MemoryClient(Verbs):
    """A client of a `MemoryStore`.

    :param store: the store; by default one of its own.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        super().__init__(self.store.clock)
        self._refusal: CoordError | None = None
        self._watches: dict[MemoryWatch, None] = {}
        self._session: Session | None = None
        self._is_closed = False

    @property
    def clock(self) -> Any:
        """The store's clock."""
        return self.store.clock

    @property
    def server(self) -> str | None:
        """``memory``; ``None`` once it is closed."""
        return None if self._is_closed else "memory"

    def refuse_with(self, problem: CoordError | None) -> None:
        """Have every request fail with ``problem``, until this is called with ``None``.

        With `Unknown` a write is done all the same and only its answer is lost, and reads fail
        with `Unavailable`; with any other error nothing is done. The session is not kept alive
        meanwhile. Watches go on.
        """
        self._refusal = problem

    def request(self, command: commands.Command) -> Deferred[Any]:
        """Do any command but a watch or a wait; see `Verbs.request`."""
        lines(command)  # what no server would understand is refused alike
        if self._is_closed:
            raise Closed("the client is closed")
        if self._session is not None:
            self._session.check()
        is_bound = needs_session(command)
        refusal = self._refusal
        if refusal is not None and not isinstance(refusal, Unknown):
            return fail(refusal)
        if is_bound:
            (self._session or self.session()).life.linked()
        if refusal is None:
            return self._answer(command)
        if isinstance(command, commands.ChangeMembers) and not command.plan:
            self.store.change_members(command)
            return fail(refusal)
        if not isinstance(command, commands.WRITES):
            return fail(Unavailable(refusal.text))
        self.store.perform(command, self._caller())
        return fail(refusal)

    def session(
        self, *, timeout_seconds: float | None = None, margin_seconds: float | None = None
    ) -> Session:
        """Return the client's session, and open one where there is none; see `Verbs.session`."""
        if self._is_closed:
            raise Closed("the client is closed")
        if self._session is not None:
            self._session.check()
        if self._session is not None:
            return self._session.as_asked(timeout_seconds, margin_seconds)
        session = self._session = Session(
            self,
            self.clock,
            self.clock.seconds,
            prefix=NAME,
            timeout_seconds=timeout_seconds,
            margin_seconds=margin_seconds,
        )
        problem = Unavailable("no server took it in time")
        session.expire_unopened(REQUEST_SECONDS, lambda _: problem)
        session.life.linked()
        return session

    def close(self) -> Deferred[None]:
        """Give up all watches, end the session; the store stays."""
        if self._session is not None and self._session.id is not None:
            session, caller = self._session, self._caller()
            session.life.end(None)
            self.store.perform(commands.EndSession(caller.session), caller)
        self._is_closed = True
        for watch in [*self._watches]:
            watch.close()
        return succeed(None)

    def _watched(
        self, glob: str, after_rev: int | None, diff: bool, lasting: bool = False
    ) -> Watch[Any]:
        watch = MemoryWatch(glob, after_rev, self._watches, diff=diff, lasting=lasting)
        try:
            if self._is_closed:
                raise Closed("the client is closed")
            watch.begin(self.store)
        except CoordError as error:
            watch.fail(error)
        return watch

    # -- as the owner of a session ----------------------------------------------------------------
    def ask_session(self, command: commands.Session, told: Callable[[Any], None]) -> None:
        """Answer what the session asks; see `coord.client.session.ISessionOwner`."""
        session = self._session
        if self._refusal is not None or session is None:
            told(Unavailable("nobody answers"))
        elif command.timeout_ms is not None:
            told(self.store.open(command.timeout_ms, partial(session.befallen, is_here=True)))
        elif session.id is not None and self.store.keep(session.id):
            told(Credentials(session.id, "", round(session.timeout_seconds * 1000)))
        else:
            told(SessionExpired("the session is over"))

    def forsake(self) -> None:
        """Stay: there is no other server."""

    def session_changed(self, session: Session) -> None:
        """Hear that the state of the session is another."""

    def session_over(self, session: Session, why: CoordError | None) -> None:
        """Forget the session; servers let it run out."""
        if session is self._session:
            self._session = None

    def _caller(self) -> commands.Caller:
        session = self._session
        return commands.Caller(NAME, session="" if session is None else session.id or "")

    # -- answers ----------------------------------------------------------------------------------
    def _answer(self, command: commands.Command) -> Deferred[Any]:
        match command:
            case commands.Ping() | commands.Quit():
                return succeed(None)
            case commands.Status():
                facts = {"node": "memory", "cluster": "memory", "role": "leader"}
                facts |= {"leader": "memory", "quorum": "yes", "rev": str(self.store.rev)}
                return succeed(Items(self.store.rev, tuple(f"{k}={v}" for k, v in facts.items())))
            case commands.Members():
                return succeed(self.store.members())
            case commands.ChangeMembers():
                return _settled(self.store.change_members(command))
            case commands.Session():
                command = commands.EndSession(self._caller().session)
            case commands.Revert() | commands.Once(write=commands.Revert()):
                command = self._with_value(command)
        caller = self._caller()
        result = self.store.perform(command, caller)  # type: ignore[arg-type]
        if isinstance(result, Queued):
            return self._wait(command, caller)
        return _settled(_as_told(command, result, self.store.rev))

    def _with_value(self, command: commands.Once | commands.Revert) -> commands.Write:
        """Return a revert with what the node held then, where that can be found."""
        revert: Any = command.write if isinstance(command, commands.Once) else command
        found = self.store.perform(commands.Get(revert.path, rev=revert.rev), self._caller())
        if isinstance(found, CoordError):
            raise found
        assert isinstance(found, Value), "a read of a node is its value"
        revert = msgspec.structs.replace(revert, value=found.value)
        whole: commands.Write = revert
        if isinstance(command, commands.Once):
            whole = commands.Once(command.word, revert)
        return whole

    def _wait(self, command: commands.Command, caller: commands.Caller) -> Deferred[Any]:
        """Wait for a lock; to give that up gives up the place."""
        lock: Any = command.write if isinstance(command, commands.Once) else command

        def give_up(given_up: Deferred[Any]) -> None:
            given_up.errback(CancelledError())
            self.store.perform(commands.Unlock(lock.path), caller)

        waiting: Deferred[Any] = Deferred(give_up)

        def told(outcome: Any) -> None:
            if not waiting.called:
                waiting.callback(outcome)

        self.store.place(lock.path, caller.session).addBoth(told)
        return waiting


def _settled(result: Any) -> Deferred[Any]:
    return fail(result) if isinstance(result, CoordError) else succeed(result)


def _as_told(command: commands.Command, result: Result, rev: int) -> Any:
    """Return a result as a client of the line protocol has it."""
    if isinstance(result, Rows):
        return _whole(command, result)
    if isinstance(result, Entry):
        return Entries(rev, (result,))
    if isinstance(command, commands.Outcome):
        if isinstance(result, Granted):
            return Written(result.token)
        if isinstance(result, Committed) and not result.rows:
            return Written(result.rev)
    return result


def _whole(command: commands.Command, rows: Rows) -> Names | Page | Entries:
    if isinstance(command, commands.List):
        return Names(rows.rev, tuple(row for row in rows.rows if isinstance(row, str)))
    if isinstance(command, commands.Log):
        return Entries(rows.rev, tuple(row for row in rows.rows if isinstance(row, Entry)))
    return Page(rows.rev, tuple(row for row in rows.rows if isinstance(row, Row)))
