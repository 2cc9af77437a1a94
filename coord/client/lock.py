"""A lock that is held, and how its holder learns that it is not any more."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from coord.errors import CoordError, NoEntry, NoSession, NotHeld, SessionExpired

if TYPE_CHECKING:
    from coord.client.session import Session


class Lock:
    """A lock that was granted to the client's session.

    ::

        async with await client.lock("/leader", b"host-7", wait_seconds=None) as lock:
            lock.lost().addCallback(stop_at_once)
            await client.transaction().check(lock.path, token=lock.token).set(...).commit()

    It is held until `release`, or until the session is over. Every holder has a greater token
    than those before, so that a write can be bound to it: `Transaction.check`.
    """

    def __init__(self, session: Session, path: str, token: int, *, shared: bool) -> None:
        self._session = session
        self._path = path
        self._token = token
        self._shared = shared
        self._is_over = False
        self._is_free = False
        self._why: CoordError | None = None
        self._waiting: list[Deferred[CoordError | None]] = []
        self._unlocking: list[Deferred[None]] | None = None

    @property
    def path(self) -> str:
        """The node of the lock."""
        return self._path

    @property
    def token(self) -> int:
        """The fencing token: the revision that gave the lock."""
        return self._token

    @property
    def shared(self) -> bool:
        """Whether others may share it."""
        return self._shared

    @property
    def session(self) -> Session:
        """The session that holds it; how long that is certain tells `Session.seconds_left`."""
        return self._session

    @property
    def is_held(self) -> bool:
        """Whether it is certainly held at this moment: nobody else can have it."""
        self._session.check()
        return not self._is_over

    def check(self) -> None:
        """Raise `NotHeld` where it is not certain any more that the lock is held."""
        if not self.is_held:
            why = "it was released" if self._why is None else self._why.text
            raise NotHeld(f"{self._path} is not held any more: {why}")

    def lost(self) -> Deferred[CoordError | None]:
        """Return why the lock was lost, when it is; ``None`` when it was released.

        It fires before anyone else can hold the lock: by `Session.margin_seconds` where the
        session could not be confirmed, so much time there is to stop what needs the lock. Where
        this process itself was stopped for longer, it fires before the client takes in or sends
        anything else.
        """
        if self._is_over:
            return succeed(self._why)
        waiting: Deferred[CoordError | None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def release(self) -> Deferred[None]:
        """Give the lock up; fires once others can have it. Safe to call more than once.

        :raises Unavailable: nobody could be told in time. Call it again, or end the session.
        """
        done: Deferred[None] = Deferred()
        if self._unlocking is not None:
            self._unlocking.append(done)
            return done
        if self._is_free:
            return succeed(None)
        self.end(None)
        self._unlocking = [done]
        self._session.unlock(self._path).addBoth(self._unlocked)
        return done

    def _unlocked(self, outcome: object) -> None:
        unlocking, self._unlocking = self._unlocking or [], None
        problem = getattr(outcome, "value", None)
        gone = (NotHeld, NoEntry, NoSession, SessionExpired)
        if problem is None or isinstance(problem, gone) or self._session.is_over:
            self._is_free = True  # or goes with its session
            for done in unlocking:
                done.callback(None)
        else:
            for done in unlocking:
                done.errback(problem)

    def end(self, why: CoordError | None) -> None:
        """Take note that it is held no longer; for the session."""
        if self._is_over:
            return
        self._is_over = True
        self._is_free = why is not None
        self._why = why
        self._session.forget(self)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(why)

    def describe(self) -> str:
        """Return the lock in one line."""
        return f"lock {self._path} token {self._token} {'over' if self._is_over else 'held'}"

    async def __aenter__(self) -> Lock:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()
