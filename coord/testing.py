"""A store in memory for the tests of programs that use `coord.client`.

`MemoryClient` has every method of `coord.client.Client` and gives the same results, errors and
events, by the store's own code; nothing is opened, and nothing waits: a Deferred has fired
when the call returns, and a watch is told before the write that it sees. Time is a
`twisted.internet.task.Clock` unless another is given::

    store = MemoryStore()
    client = MemoryClient(store)
    self.successResultOf(client.set("/message", b"hello"))
    seen = client.wait("/message", timeout_seconds=5)
    client.clock.advance(5)
    self.failureResultOf(seen, TimedOut)

Sessions, locks and lifetimes go by that clock as well. To advance it by more than a session's
timeout at once is what a process sees that was stopped for so long: its session is lost.

For the worse days, `MemoryClient.refuse_with` has requests fail: with `Unavailable` for a
cluster without a quorum, with `Unknown` for a write whose answer was lost; and
`MemoryStore.expire` ends a session.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from coord import commands
from coord.client.client import REQUEST_SECONDS
from coord.client.errors import Closed
from coord.client.pending import needs_session
from coord.client.replies import Credentials
from coord.client.requests import glob_line, lines
from coord.client.rows import Difference, Entries, Names, Page
from coord.client.session import Session
from coord.client.verbs import Verbs
from coord.client.watch import Watch
from coord.errors import CoordError, SessionExpired, TooLarge, TooLate, Unavailable, Unknown
from coord.events import SessionEvent, Trouble
from coord.limits import (
    EXPIRY_GRACE_SECONDS,
    HISTORY_REVISIONS,
    SESSION_SECONDS_MAX,
    SESSION_SECONDS_MIN,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_PARTS_MAX,
    VALUE_BYTES_MAX,
)  # fmt: skip
from coord.paths import Glob
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
from coord.store.machine import Store
from coord.store.news import Delay, Lifetime, Patience, PlaceOver, SessionOver
from coord.store.sessions import key_hash
from coord.store.watches import Watch as StoreWatch

_TAKEN_AT_ONCE: Final = 64
_WHO: Final = "memory"


class MemoryStore:
    """A store that any number of `MemoryClient` share, as clients share a cluster.

    :param clock: what time it is; its ``advance`` is the test's.
    :param history_revisions: how many revisions can be read and watched from.
    """

    def __init__(
        self, clock: IReactorTime | None = None, *, history_revisions: int = HISTORY_REVISIONS
    ) -> None:
        self.clock: Any = Clock() if clock is None else clock
        self._store = Store(history_revisions)
        self._opened = 0
        self._ends: dict[str, IDelayedCall] = {}
        self._holders: dict[str, Callable[[SessionEvent], None]] = {}
        self._places: dict[tuple[str, str], Deferred[Any]] = {}

    @property
    def rev(self) -> int:
        """The newest revision."""
        return self._store.rev

    def perform(
        self,
        command: commands.Write | commands.Read,
        caller: commands.Caller = commands.CLUSTER,
    ) -> Result:
        """Do a write or a read, and tell the watches."""
        if not isinstance(command, commands.WRITES):
            return self._store.answer(command, caller)
        problem = _too_large(command)
        if problem is not None:
            return problem
        result = self._store.apply(command, int(self.clock.seconds() * 1000), caller)
        self._store.seal()
        woken = self._store.publish()
        for news in self._store.news():
            self._heard(news)
        for watch in woken:
            watch.wake()
        return result

    def watch(
        self, glob: Glob, after_rev: int | None, wake: Callable[[], None], *, lasting: bool = False
    ) -> StoreWatch:
        """Begin to watch the store; see `coord.store.machine.Store.watch`."""
        return self._store.watch(glob, after_rev, wake, lasting=lasting)

    def difference(self, glob: Glob, after_rev: int) -> Difference:
        """Return how what matches differs from what was there at a revision long gone."""
        rows = self._store.difference(glob, after_rev)
        found = [*rows.rows]
        return Difference(
            rev=rows.rev,
            after_rev=after_rev,
            changed=tuple(row for row in found if isinstance(row, Row)),
            unchanged=tuple(row for row in found if isinstance(row, str)),
        )

    # -- sessions -------------------------------------------------------------------------------
    def open(self, timeout_ms: int, told: Callable[[SessionEvent], None]) -> Credentials:
        """Open a session; ``told`` hears when it has expired."""
        self._opened += 1
        session, key = f"{self._opened:016x}", f"key-{self._opened}"
        seconds = min(max(timeout_ms / 1000, SESSION_SECONDS_MIN), SESSION_SECONDS_MAX)
        timeout_ms = round(seconds * 1000)
        opening = commands.OpenSession(session, key_hash(key), timeout_ms)
        self.perform(opening, commands.Caller(_WHO))
        self._holders[session] = told
        self.keep(session)
        return Credentials(session, key, timeout_ms)

    def keep(self, session: str) -> bool:
        """Let a session have its whole timeout from now on; say whether there is such a one."""
        timeout_ms = self._store.timeouts_ms.get(session)
        if timeout_ms is not None:
            self._stop(session)
            seconds = timeout_ms / 1000 + EXPIRY_GRACE_SECONDS
            self._ends[session] = self.clock.callLater(seconds, self.expire, session)
        return timeout_ms is not None

    def expire(self, session: str) -> None:
        """Let a session expire, now."""
        self.perform(commands.Lapse(sessions=(session,)))

    def place(self, path: str, session: str) -> Deferred[Any]:
        """Return what becomes of a session's place in the queue of a lock, when that is known."""
        return self._places.setdefault((path, session), Deferred())

    def _stop(self, session: str) -> None:
        end = self._ends.pop(session, None)
        if end is not None and end.active():
            end.cancel()

    def _heard(self, news: object) -> None:
        """Take note of spans of time that begin, and of what ended."""
        match news:
            case Lifetime(path, rev, span_ms):
                self._later(span_ms, commands.Lapse(nodes=((path, rev),)))
            case Patience(path, session, number, span_ms):
                self._later(span_ms, commands.Lapse(waits=((path, session, number),)))
            case Delay(path, token, span_ms):
                self._later(span_ms, commands.Lapse(delays=((path, token),)))
            case PlaceOver(path, session, result):
                self._settle(path, session, result)
            case SessionOver(session, rev, is_expired):
                self._over(SessionEvent(rev, Trouble.EXPIRED, session), is_expired)

    def _later(self, span_ms: int, lapse: commands.Lapse) -> None:
        self.clock.callLater(span_ms / 1000, self.perform, lapse)

    def _over(self, event: SessionEvent, is_expired: bool) -> None:
        self._stop(event.session)
        told = self._holders.pop(event.session, None)
        if told is not None and is_expired:
            told(event)
        for path, session in [*self._places]:
            if session == event.session:
                self._settle(path, session, SessionExpired("the session is over"))

    def _settle(self, path: str, session: str, result: Granted | CoordError) -> None:
        place = self._places.pop((path, session), None)
        if place is not None:
            place.callback(Failure(result) if isinstance(result, CoordError) else result)

    def describe(self) -> str:
        """Return the store in one line."""
        return self._store.describe()


class MemoryClient(Verbs):
    """A client of a `MemoryStore`.

    :param store: the store; by default one of its own.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        super().__init__(self.store.clock)
        self._refusal: CoordError | None = None
        self._watches: dict[_MemoryWatch, None] = {}
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
            prefix=_WHO,
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
        watch = _MemoryWatch(glob, after_rev, self._watches, diff=diff, lasting=lasting)
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
        return commands.Caller(_WHO, session="" if session is None else session.id or "")

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
                return succeed(Items(self.store.rev, ("memory memory:0 voter up",)))
            case commands.Session():
                command = commands.EndSession(self._caller().session)
            case commands.Revert() | commands.Once(write=commands.Revert()):
                command = self._with_value(command)
        caller = self._caller()
        result = self.store.perform(command, caller)  # type: ignore[arg-type]
        if isinstance(result, Queued):
            return self._wait(command, caller)
        if isinstance(result, CoordError):
            return fail(result)
        return succeed(_as_told(command, result, self.store.rev))

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


def _too_large(command: commands.Write) -> TooLarge | None:
    """Return what a node would say to a write that is too large."""
    write = command.write if isinstance(command, commands.Once) else command
    parts: Any = write.parts if isinstance(write, commands.Transaction) else (write,)
    if any(len(getattr(part, "value", None) or b"") > VALUE_BYTES_MAX for part in parts):
        return TooLarge(f"a value has at most {VALUE_BYTES_MAX} bytes")
    if len(parts) > TRANSACTION_PARTS_MAX:
        return TooLarge(f"a transaction has {TRANSACTION_PARTS_MAX} lines at most")
    if len(parts) > 1 and commands.weight_bytes(parts) > TRANSACTION_BYTES_MAX:
        return TooLarge(f"a transaction has {TRANSACTION_BYTES_MAX} bytes at most")
    return None


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


class _MemoryWatch(Watch[Any]):
    """A watch of a store in this process: what is not taken stays in the store."""

    def __init__(
        self,
        glob: str,
        after_rev: int | None,
        all_of_client: dict[Any, None],
        *,
        diff: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(glob, after_rev)
        self._all = all_of_client
        self._takes_differences = diff
        self._lasting = lasting
        self._store: MemoryStore | None = None
        self._watch: StoreWatch | None = None
        self._is_pulling = False

    def begin(self, store: MemoryStore) -> None:
        """Open it."""
        self._store = store
        self._all[self] = None
        try:
            self._open(self._known)
        except TooLate as problem:
            self._compare(problem)
        self._pull()

    def _open(self, after_rev: int | None) -> None:
        assert self._store is not None, "it was begun"
        glob = Glob.parse(glob_line(self.glob))
        self._watch = self._store.watch(glob, after_rev, self._pull, lasting=self._lasting)
        self._note_known(self._watch.rev)

    def _compare(self, problem: TooLate) -> None:
        """Tell how things differ, where that is wanted, in place of history that is gone."""
        after_rev, _ = self._resume_from()
        if not self._takes_differences or after_rev is None or self._store is None:
            raise problem
        difference = self._store.difference(Glob.parse(glob_line(self.glob)), after_rev)
        self._note_known(after_rev)
        self._open(difference.rev)
        self._differ(difference)

    def _pull(self) -> None:
        if self._is_pulling:
            return  # who takes an event within this may ask for the next
        self._is_pulling = True
        try:
            while self._watch is not None and self._watch.ready and not self._is_full:
                try:
                    events = self._watch.take(_TAKEN_AT_ONCE)
                except TooLate as problem:
                    self._compare(problem)
                    continue
                for event in events:
                    self._offer(event)
            if self._lasting and self._watch is not None and not self._watch.ready:
                self._note_known(self._watch.seen_rev)
        except CoordError as error:
            self.fail(error)
        finally:
            self._is_pulling = False

    def _taken(self) -> None:
        if self._is_drained:
            self._pull()

    def _released(self) -> None:
        self._all.pop(self, None)
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
