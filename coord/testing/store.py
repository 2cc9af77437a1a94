"""The store that any number of clients in memory share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from coord import commands
from coord.client.replies import Credentials
from coord.client.rows import Difference
from coord.errors import CoordError, SessionExpired, TooLarge
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
    Granted,
    Items,
    Result,
    Row,
    Written,
)  # fmt: skip
from coord.store.machine import Store
from coord.store.news import Delay, Lifetime, Patience, PlaceOver, SessionOver
from coord.store.sessions import key_hash
from coord.store.watches import Watch as StoreWatch
from coord.testing.members import Members

NAME: Final = "memory"
"""What the one node of the cluster is called, and whoever writes."""


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
        self._members = Members(NAME, f"{NAME}:0")
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

    def members(self) -> Items:
        """Return the nodes of the cluster that this stands for."""
        return Items(self.rev, self._members.rows())

    def change_members(self, change: commands.ChangeMembers) -> Items | Written | CoordError:
        """Change who they are, or tell what would become of it."""
        if change.plan:
            planned = self._members.plan(change)
            return planned if isinstance(planned, CoordError) else Items(self.rev, planned)
        problem = self._members.change(change)
        if problem is not None:
            return problem
        self.perform(self._members.roster())
        return Written(self.rev)

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
        self.perform(opening, commands.Caller(NAME))
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
