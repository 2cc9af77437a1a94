"""One picture of a running cluster, row by row, in little memory at both ends.

A ``WALK`` of everything is asked for at one node and taken as fast as the rows are wanted: while
they are not, nothing is read, and so the node makes none. A node holds the picture as long
as the walk lasts, also when writes go on much longer than history is kept. If the node goes away,
the walk goes on at another from the last row, at the same revision.

A node that does not lead is taken where there is one: the leader has enough to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from coord.client.errors import Junk, NoServer
from coord.client.replies import Allowed, End, Item, Reply, ReplyParser
from coord.client.requests import line
from coord.commands import Auth, Command, Get, Status, Sync, Walk
from coord.errors import CoordError, Denied, NoEntry, TooLate, Unavailable
from coord.paths import CONTROL, decode
from coord.results import Row, Value, Written
from coord.tools.reach import Reach
from coord.wire.backup import LeftOut
from coord.wire.backup_text import span_ms

CONNECT_SECONDS: Final = 3.0
SILENCE_SECONDS: Final = 8.0
"""A node that says nothing for so long while something is wanted is given up."""
AGAIN_SECONDS: Final = 0.3
ACL: Final = f"{CONTROL}/acl"
"""The rules of access: what they hide from us is no part of a picture."""
_TTL: Final = b"ttl="
PATIENCE_SECONDS: Final = 60.0
"""How long nobody may answer before it is given up altogether."""
REACH_SECONDS: Final = 5.0
"""The same while no node has answered anything yet, for who waits at the keyboard."""


class _Lost(Exception):
    """The connection is of no more use."""


class _Line(Protocol):
    """A connection whose replies are taken one chunk at a time; it reads no further meanwhile."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._parser = ReplyParser()
        self._chunks: deque[list[Reply]] = deque()
        self._waiting: Deferred[None] | None = None
        self._fault: str | None = None
        self._replies: deque[Reply] = deque()

    def dataReceived(self, data: bytes) -> None:
        """Take a chunk, and read no more until it is wanted."""
        try:
            told = [reply for _, reply in self._parser.feed(data)]
        except Junk as error:
            self._end(f"what came is no reply: {error}")
            self.transport.abortConnection()
            return
        if told:
            self._chunks.append(told)
            self.transport.pauseProducing()
            self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take note that nothing more will come."""
        self._end("the connection was lost")

    def ask(self, *commands: Command) -> None:
        """Send requests, to be answered in order."""
        self.transport.write(b"".join(map(line, commands)))

    async def chunk(self) -> list[Reply]:
        """Return the next replies; raises `_Lost`."""
        if not self._chunks and self._fault is None:
            self.transport.resumeProducing()
            self._waiting = Deferred()
            timer = self._reactor.callLater(SILENCE_SECONDS, self._end, "it says nothing")
            try:
                await self._waiting
            finally:
                self._waiting = None
                if timer.active():
                    timer.cancel()
        if self._chunks:
            return self._chunks.popleft()
        raise _Lost(self._fault)

    async def reply(self) -> Reply:
        """Return the next reply; raises `_Lost`."""
        while not self._replies:
            self._replies.extend(await self.chunk())
        return self._replies.popleft()

    def rest(self) -> list[Reply]:
        """Return what came together with the last `reply`, and give it away."""
        rest = list(self._replies)
        self._replies.clear()
        return rest

    def close(self) -> None:
        """Let go of the connection, at once."""
        self.transport.abortConnection()

    def _end(self, fault: str) -> None:
        self._fault = self._fault or fault
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


class Sorting:
    """Sorts what a lasting walk tells into rows and what is only counted.

    ``ephemeral`` and ``locks`` count nodes that go with a session. What is told beside a row
    stands before it: it counts once the next reply shows that no more comes for the same node.
    """

    def __init__(self) -> None:
        self.ephemeral = 0
        self.locks = 0
        self._after: str | None = None
        self._held: tuple[str, str] | None = None
        self._ttl_ms = 0

    def begin(self) -> str | None:
        """Return the path after which a walk goes on that was broken off."""
        self._held, self._ttl_ms = None, 0
        return self._after

    def rows(self, replies: Sequence[Reply]) -> list[Row]:
        """Return the rows among some replies, with their lifetimes.

        :raises Exception: where one of them says that the walk cannot go on.
        """
        rows: list[Row] = []
        for reply in replies:
            if isinstance(reply, Row):
                self._settle()
                rows.append(Row(reply.path, reply.rev, reply.value, self._ttl_ms))
                self._ttl_ms = 0
                self._after = reply.path
            elif isinstance(reply, Item):
                self._hear(reply.text)
            elif isinstance(reply, End):
                self._settle()
            else:
                raise _refusal(replies)
        return rows

    def _hear(self, text: bytes) -> None:
        what, _, path = text.partition(b" ")
        if what.startswith(_TTL):
            self._ttl_ms = span_ms(what[len(_TTL) :])
            return
        self._settle()
        self._held = what.decode(), decode(path)

    def _settle(self) -> None:
        """Count what was told of the node before."""
        if self._held is not None:
            what, self._after = self._held
            self._held = None
            self.locks += what == "lock"
            self.ephemeral += what == "ephemeral"


class Picture:
    """A picture of everything at one revision: `open` it, then take its `rows` once.

    What goes with a session is not in it: ``left_out`` counts that, once all rows were taken.
    ``is_whole`` says that nothing could be hidden from us by rules of access.

    :param reach: the nodes to ask, and what opens them.
    :param rows_per_second: how fast rows are taken at most, ``None`` as fast as they come.
    :param reach_seconds: how long no node may answer anything at first; ``None``: a minute.
    """

    def __init__(
        self,
        reactor: Any,
        reach: Reach,
        *,
        rows_per_second: float | None = None,
        reach_seconds: float | None = None,
    ) -> None:
        self._reactor = reactor
        self._reach = reach
        self._servers = deque(reach.servers)
        self._sorting = Sorting()
        self._sessions = 0
        self._level = ""
        self._rows_per_second = rows_per_second
        self._reach_seconds = reach_seconds
        self._is_met = False
        self._began = reactor.seconds()
        self._line: _Line | None = None
        self.rev = 0
        self.cluster = ""
        self.nodes: int | None = None
        self.is_whole = True

    @property
    def left_out(self) -> LeftOut:
        """What goes with a session, as far as rows were taken."""
        found = self._sorting
        return LeftOut(found.ephemeral, found.locks, self._sessions)

    async def open(self) -> None:
        """Find a node and fix the revision.

        :raises NoServer: where nobody answered for a minute, or could be reached at first.
        """
        self._began = self._reactor.seconds()
        self._servers = deque(await self._by_role())
        line = await self._connected(None)
        line.ask(Get(f"{CONTROL}/cluster", local=True))
        named = await line.reply()
        if isinstance(named, Value):
            self.cluster = named.value.decode("utf-8", "replace")
        elif isinstance(named, Denied):
            raise named
        elif not isinstance(named, NoEntry):
            raise Unavailable(f"the cluster's name could not be read: {named}")
        line.ask(Get(ACL, local=True))
        rules = await line.reply()
        is_ruled = isinstance(rules, Denied) or (isinstance(rules, Value) and bool(rules.value))
        self.is_whole = not is_ruled or self._level == "admin"

    async def rows(self) -> AsyncIterator[list[Row]]:
        """Yield all rows in path order, some at a time.

        :raises TooLate: where the picture was lost with its node, and is not to be had again.
        :raises NoServer: where nobody answered for a minute.
        """
        until = self._reactor.seconds() + PATIENCE_SECONDS
        while True:
            try:
                line = await self._connected(self.rev)
                after = self._sorting.begin()
                line.ask(Walk("/**", rev=self.rev, after=after, lasting=True))
                async for rows in self._taken(line):
                    yield rows
                    until = self._reactor.seconds() + PATIENCE_SECONDS
                return
            except _Lost as lost:
                if self._reactor.seconds() > until:
                    raise NoServer(f"the nodes go away time and again; the last: {lost}") from None
                self._drop()
                await deferLater(self._reactor, AGAIN_SECONDS)

    def close(self) -> None:
        """Let go of the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    async def _taken(self, line: _Line) -> AsyncIterator[list[Row]]:
        """Yield rows until the walk's end."""
        began, count = self._reactor.seconds(), 0
        while True:
            replies = line.rest() or await line.chunk()
            rows = self._sorting.rows(replies)
            if rows:
                yield rows
            if isinstance(replies[-1], End):
                return
            count += len(rows)
            if self._rows_per_second:
                ahead = count / self._rows_per_second - (self._reactor.seconds() - began)
                if ahead > 0:
                    await deferLater(self._reactor, ahead)

    async def _connected(self, rev: int | None) -> _Line:
        """Return a connection to a node that has ``rev``; ``None`` takes the newest for it."""
        began = self._reactor.seconds()
        why = ""
        while self._line is None:
            try:
                line = await self._dial(self._servers[0])
            except Denied:
                raise
            except Exception as error:
                why = f"{self._servers[0]}: {error}"
                self._servers.rotate(-1)
                if self._is_given_up(began):
                    raise NoServer(f"no server could be reached; {why}") from None
                await deferLater(self._reactor, AGAIN_SECONDS)
                continue
            if rev is None:
                self.rev = line.rev
            self._line = line.line
        return self._line

    def _connect_seconds(self) -> float:
        """Return how long a node may take to let us in: at first no more than is left for all."""
        if self._is_met or self._reach_seconds is None:
            return CONNECT_SECONDS
        left: float = self._began + self._reach_seconds - self._reactor.seconds()
        return max(AGAIN_SECONDS, min(CONNECT_SECONDS, left))

    def _is_given_up(self, began: float) -> bool:
        """Say whether it has taken too long since ``began``, or to reach anybody at all."""
        now = self._reactor.seconds()
        if self._is_met or self._reach_seconds is None:
            return bool(now > began + PATIENCE_SECONDS)
        return bool(now > self._began + self._reach_seconds)

    async def _dial(self, server: str) -> _Ready:
        """Return a connection to a node that has all that was committed before."""
        factory = Factory.forProtocol(lambda: _Line(self._reactor))
        connecting = self._reach.endpoint(self._reactor, server).connect(factory)
        connecting.addTimeout(self._connect_seconds(), self._reactor)
        line = cast("_Line", await connecting)
        try:
            await self._show_secret(line)
            line.ask(Sync())
            point = await line.reply()
            self._is_met = self._is_met or isinstance(point, Written | CoordError)
            if not isinstance(point, Written):
                raise point if isinstance(point, CoordError) else _Lost(str(point))
        except BaseException:
            line.close()
            raise
        return _Ready(line, point.rev)

    async def _show_secret(self, line: _Line) -> None:
        """Show our secret, if we have one; raises `Denied` where it opens nothing."""
        if self._reach.secret is not None:
            line.ask(Auth(self._reach.secret))
            allowed = await line.reply()
            if not isinstance(allowed, Allowed):
                raise allowed if isinstance(allowed, CoordError) else _Lost(str(allowed))
            self._level = allowed.level

    async def _by_role(self) -> list[str]:
        """Return the servers, those that do not lead first; learn the number of nodes."""
        leading: list[str] = []
        others: list[str] = []
        for server in self._servers:
            role = await self._role(server)
            (leading if role == "leader" else others).append(server)
        return others + leading

    async def _role(self, server: str) -> str:
        try:
            ready = await self._dial(server)
        except Denied:
            raise
        except Exception:
            return ""
        ready.line.ask(Status())
        facts: dict[str, str] = {}
        try:
            while isinstance(item := await ready.line.reply(), Item):
                name, _, value = item.text.decode("utf-8", "replace").partition("=")
                facts[name] = value
        except _Lost:
            return ""
        finally:
            ready.line.close()
        if facts.get("sessions", "").isdigit():
            self._sessions = int(facts["sessions"])
        if facts.get("tree_nodes", "").isdigit():
            self.nodes = int(facts["tree_nodes"])
        return facts.get("role", "")

    def _drop(self) -> None:
        self.close()
        self._servers.rotate(-1)


class _Ready:
    """A connection, and the revision that its node had when it was made."""

    def __init__(self, line: _Line, rev: int) -> None:
        self.line = line
        self.rev = rev


def _refusal(replies: Sequence[Reply]) -> Exception:
    """Return what a node had against going on."""
    for reply in replies:
        if isinstance(reply, TooLate | Denied):
            return reply
        if isinstance(reply, CoordError):
            return _Lost(str(reply))
    return _Lost("something that is no row")
