"""A whole node for the front end's tests: the real store behind the coordinator's door, alone.

Answers come at once, or when the test says so; and a transport that pushes back as a socket does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from coord.commands import (
    CLUSTER,
    WRITES,
    Caller,
    ChangeMembers,
    Get,
    Lapse,
    Level,
    Once,
    OpenSession,
    Read,
    Revert,
    Write,
)
from coord.errors import CoordError, Denied, SessionExpired, Unavailable
from coord.events import SessionEvent, Trouble
from coord.frontends.line import LineFactory, LineProtocol
from coord.paths import Glob
from coord.replicator.interfaces import IAttachment
from coord.replicator.places import Places
from coord.results import Granted, Items, LockRow, Result, Rows, SessionRow, Value, Written
from coord.store.machine import Store
from coord.store.news import Patience, PlaceOver, SessionOver
from coord.store.sessions import key_hash
from coord.store.watches import Watch
from coord.testing.members import Members

Answer = Callable[[Sequence[Result]], None]
TIME_MS = 1_700_000_000_000


class Hold:
    """A connection's hold on its session: it counts what the connection tells it."""

    def __init__(
        self, coordinator: LocalCoordinator, session: str, told: Callable[[SessionEvent], None]
    ) -> None:
        self.session = session
        self.told = told
        self.touched = 0
        self.is_own = False
        self._coordinator = coordinator

    def touch(self) -> None:
        """Count it."""
        self.touched += 1

    def keep(self, told: Callable[[CoordError | None], None]) -> None:
        """Answer as the store has it, or as a node that hears nobody."""
        if self._coordinator.quorum:
            is_open = self.session in self._coordinator.store.timeouts_ms
            told(None if is_open else SessionExpired("the session is over"))
        else:
            told(Unavailable("no quorum"))

    def detach(self) -> None:
        """Hear no more."""
        self._coordinator.holds.pop(self, None)


class LocalCoordinator:
    """A node alone. With ``holding`` groups wait until `release` is called.

    ``groups`` are all groups that were submitted, ``callers`` for whom; without ``quorum`` only
    local reads are done. Time passes when a test says so: `expire`, `lose_patience`.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.places = Places(self.store)
        self.cluster = Members("n1", "127.0.0.1:8076")
        self.holding = False
        self.quorum = True
        self.refusal: Unavailable | None = None
        self.changes: list[tuple[ChangeMembers, Caller]] = []
        self.unanswered: list[Callable[[Result], None]] = []
        self.groups: list[Sequence[Write | Read]] = []
        self.callers: list[Caller] = []
        self.waiting: list[tuple[Sequence[Write | Read], Answer, Caller]] = []
        self.holds: dict[Hold, None] = {}
        self.patience: list[Patience] = []
        self._named = 0

    @property
    def rev(self) -> int:
        """The store's revision."""
        return self.store.rev

    def submit(
        self, commands: Sequence[Write | Read], answer: Answer, caller: Caller = CLUSTER
    ) -> None:
        """Do a group now, or keep it."""
        commands = list(commands)
        self.groups.append(commands)
        self.callers.append(caller)
        if self.holding:
            self.waiting.append((commands, answer, caller))
        else:
            self.perform(commands, answer, caller)

    def release(self, count: int | None = None) -> None:
        """Do the groups that wait, oldest first."""
        for _ in range(len(self.waiting) if count is None else count):
            self.perform(*self.waiting.pop(0))

    def perform(
        self, commands: Sequence[Write | Read], answer: Answer, caller: Caller = CLUSTER
    ) -> None:
        """Do a group as one, answer it, tell the news, then wake who watches."""
        results = [self._result(command, caller) for command in commands]
        self.store.seal()
        woken = self.store.publish()
        calls = self._calls()
        answer(results)
        for call in calls:
            call()
        self.places.fired()
        for watch in woken:
            watch.wake()

    def _calls(self) -> list[Callable[[], None]]:
        """Return whom to call because of what happened in the store."""
        calls: list[Callable[[], None]] = []
        for news in self.store.news():
            match news:
                case SessionOver():
                    calls += self.places.session_over(news)
                    calls += [
                        partial(hold.told, SessionEvent(news.rev, Trouble.EXPIRED, news.session))
                        for hold in self.holds
                        if hold.session == news.session
                    ]
                case PlaceOver():
                    calls += self.places.place_over(news)
                case Patience():
                    self.patience.append(news)
        return calls

    # -- time passes -------------------------------------------------------------------
    def expire(self, *sessions: str) -> None:
        """Let sessions expire."""
        self.perform([Lapse(sessions=sessions)], _ignore)

    def lose_patience(self) -> None:
        """Let every wait for a lock have lasted as long as it may."""
        waits = tuple((one.path, one.session, one.number) for one in self.patience)
        self.patience.clear()
        self.perform([Lapse(waits=waits)], _ignore)

    def stop_serving(self, why: str) -> None:
        """Take part no more, for good, as a node that was removed."""
        self.quorum = False
        self.refusal = Unavailable(why)
        self.store.end_watches(self.refusal)
        for watch in self.store.publish():
            watch.wake()

    def trouble(self, kind: Trouble) -> None:
        """Tell every connection that something befell its session."""
        for hold in [*self.holds]:
            hold.told(SessionEvent(self.rev, kind, hold.session))

    # -- the rest of the door ------------------------------------------------------------
    def watch(
        self,
        glob: Glob,
        after_rev: int | None,
        wake: Callable[[], None],
        caller: Caller = CLUSTER,
        *,
        lasting: bool = False,
    ) -> Watch:
        """Watch the store."""
        if self.refusal is not None:
            raise self.refusal
        return self.store.watch(glob, after_rev, wake, caller, lasting=lasting)

    def difference(self, glob: Glob, after_rev: int, caller: Caller = CLUSTER) -> Rows:
        """Compare the store with its past."""
        return self.store.difference(glob, after_rev, caller)

    def new_session(self, timeout_ms: int) -> tuple[OpenSession, str]:
        """Make up a session: the first is ``0000000000000001``, and its key ``key-1``."""
        self._named += 1
        key = f"key-{self._named}"
        return OpenSession(f"{self._named:016x}", key_hash(key), timeout_ms), key

    def attach(
        self, session: str, told: Callable[[SessionEvent], None], *, own: bool
    ) -> IAttachment:
        """Bind a connection to a session."""
        hold = Hold(self, session, told)
        hold.is_own = own
        self.holds[hold] = None
        return hold

    def await_lock(
        self, path: str, session: str, told: Callable[[Granted | CoordError], None]
    ) -> Callable[[], None]:
        """Wait for a place in a queue to end."""
        return self.places.wait(path, session, told)

    def sessions(self) -> list[SessionRow]:
        """Return the store's sessions."""
        return self.store.sessions()

    def locks(self) -> list[LockRow]:
        """Return the store's locks."""
        return self.store.locks()

    def status(self) -> Items:
        """Return how this node is."""
        return Items(self.rev, ("node=n1", "role=leader"))

    def change_members(
        self, change: ChangeMembers, answer: Callable[[Result], None], caller: Caller = CLUSTER
    ) -> None:
        """Note a change and for whom it is; say that it is done, or what is planned, or later."""
        self.changes.append((change, caller))
        if caller.level < Level.ADMIN:
            answer(Denied("changing members wants admin"))
        elif not self.quorum:
            answer(Unavailable("no quorum"))
        elif self.holding:
            self.unanswered.append(answer)
        else:
            answer(self._changed(change))

    def _changed(self, change: ChangeMembers) -> Result:
        if change.plan:
            planned = self.cluster.plan(change)
            return planned if isinstance(planned, CoordError) else Items(self.rev, planned)
        problem = self.cluster.change(change)
        return Written(self.rev) if problem is None else problem

    def members(self) -> Items:
        """Return the cluster, which is this node."""
        return Items(self.rev, self.cluster.rows())

    def _result(self, command: Write | Read, caller: Caller) -> Result:
        if not self.quorum and not getattr(command, "local", False):
            return Unavailable("no quorum")
        if not isinstance(command, WRITES):
            return self.store.answer(command, caller)
        plain = command.write if isinstance(command, Once) else command
        if isinstance(plain, Revert):
            return self._revert(command, plain, caller)
        return self.store.apply(command, TIME_MS, caller)

    def _revert(self, command: Write, revert: Revert, caller: Caller) -> Result:
        value = self.store.answer(Get(revert.path, rev=revert.rev), caller)
        if not isinstance(value, Value):
            return value
        revert = msgspec.structs.replace(revert, value=value.value)
        write = Once(command.word, revert) if isinstance(command, Once) else revert
        return self.store.apply(write, TIME_MS, caller)


def _ignore(results: Sequence[Result]) -> None:
    """Nobody asked."""


class SocketLike(StringTransport):
    """A transport that stops its producer as a socket's does: at 64 KiB not yet sent.

    The client at the far end takes bytes only when the test says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.unsent = bytearray()
        self.received = bytearray()
        self.unsent_max = 0

    def write(self, data: bytes) -> None:
        """Take bytes to send."""
        self.writes += 1
        self.unsent += data
        self.unsent_max = max(self.unsent_max, len(self.unsent))
        if len(self.unsent) > 65536 and self.producer is not None:
            self.producer.pauseProducing()

    def deliver(self) -> int:
        """Let the client take what was sent; return how much that was."""
        count = len(self.unsent)
        self.received += self.unsent
        self.unsent.clear()
        if count and self.producer is not None:
            self.producer.resumeProducing()
        return count


class Client:
    """A client of one connection, as a test sees it."""

    def __init__(self, factory: LineFactory, clock: Clock) -> None:
        self.clock = clock
        self.transport = SocketLike()
        protocol = factory.buildProtocol(None)
        self.protocol: LineProtocol = protocol  # type: ignore[assignment]
        protocol.makeConnection(self.transport)

    @property
    def is_closed(self) -> bool:
        """Whether the node closed the connection."""
        return self.transport.disconnecting or self.transport.disconnected

    def send(self, text: bytes) -> None:
        """Send bytes in pieces as large as a socket hands over; only while it is read from."""
        for start in range(0, len(text), 65536):
            self.protocol.dataReceived(text[start : start + 65536])

    def read(self) -> bytes:
        """Return what came since the last call, once nothing more comes."""
        while True:
            self.clock.advance(0)
            if not self.transport.deliver():
                break
        text = bytes(self.transport.received)
        self.transport.received.clear()
        return text

    def ask(self, text: bytes) -> bytes:
        """Send bytes and return what comes back."""
        self.send(text)
        return self.read()
