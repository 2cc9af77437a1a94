"""A whole node for the front end's tests: the real store behind the coordinator's door, alone.

Answers come at once, or when the test says so; and a transport that pushes back as a socket does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from coord.commands import CLUSTER, WRITES, Caller, OpenSession, Read, Write
from coord.errors import CoordError, Unavailable
from coord.events import SessionEvent
from coord.frontends.line import LineFactory, LineProtocol
from coord.paths import Glob
from coord.replicator.interfaces import IAttachment
from coord.results import Granted, Items, LockRow, Result, Rows, SessionRow
from coord.store.machine import Store
from coord.store.watches import Watch

Answer = Callable[[Sequence[Result]], None]


class LocalCoordinator:
    """A node alone. With ``holding`` groups wait until `release` is called.

    ``groups`` are all groups that were submitted; without ``quorum`` only local reads are done.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.holding = False
        self.quorum = True
        self.groups: list[Sequence[Write | Read]] = []
        self.waiting: list[tuple[Sequence[Write | Read], Answer]] = []

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
        if self.holding:
            self.waiting.append((commands, answer))
        else:
            self.perform(commands, answer)

    def release(self, count: int | None = None) -> None:
        """Do the groups that wait, oldest first."""
        for _ in range(len(self.waiting) if count is None else count):
            self.perform(*self.waiting.pop(0))

    def perform(self, commands: Sequence[Write | Read], answer: Answer) -> None:
        """Do a group as one, answer it, then wake who watches."""
        results = [self._result(command) for command in commands]
        self.store.seal()
        woken = self.store.publish()
        answer(results)
        for watch in woken:
            watch.wake()

    def watch(
        self,
        glob: Glob,
        after_rev: int | None,
        wake: Callable[[], None],
        caller: Caller = CLUSTER,
    ) -> Watch:
        """Watch the store."""
        return self.store.watch(glob, after_rev, wake, caller)

    def difference(self, glob: Glob, after_rev: int, caller: Caller = CLUSTER) -> Rows:
        """Compare the store with its past."""
        return self.store.difference(glob, after_rev, caller)

    def new_session(self, timeout_ms: int) -> tuple[OpenSession, str]:
        """Make up a session."""
        raise NotImplementedError

    def attach(
        self, session: str, told: Callable[[SessionEvent], None], *, own: bool
    ) -> IAttachment:
        """Bind a connection to a session."""
        raise NotImplementedError

    def await_lock(
        self, path: str, session: str, told: Callable[[Granted | CoordError], None]
    ) -> Callable[[], None]:
        """Wait for a place in a queue to end."""
        raise NotImplementedError

    def sessions(self) -> list[SessionRow]:
        """Return the store's sessions."""
        return self.store.sessions()

    def locks(self) -> list[LockRow]:
        """Return the store's locks."""
        return self.store.locks()

    def status(self) -> Items:
        """Return how this node is."""
        return Items(self.rev, ("node=n1", "role=leader"))

    def members(self) -> Items:
        """Return the cluster, which is this node."""
        return Items(self.rev, ("n1 127.0.0.1:8076 voter up",))

    def _result(self, command: Write | Read) -> Result:
        if not self.quorum and not getattr(command, "local", False):
            return Unavailable("no quorum")
        if not isinstance(command, WRITES):
            return self.store.answer(command)
        return self.store.apply(command, 1_700_000_000_000)


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
        self.client_reads = False

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
