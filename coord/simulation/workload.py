"""Clients that write, read and watch, and keep account of what they were told.

A client talks to one node at a time, one group of commands after the other, as a connection's
front end hands them over. When its node crashes, or is silent for too long, it turns to
another one; what it had asked then stays without an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from coord.commands import (
    Add,
    Caller,
    Command,
    Delete,
    Get,
    Level,
    List,
    Log,
    Set,
    Stat,
    Sync,
    Walk,
)
from coord.errors import Denied, Lagged, TooLate, Unavailable
from coord.paths import Glob
from coord.results import Entry, Result, Row, Rows, Value, Written
from coord.simulation.checkers.watches import Watched
from coord.simulation.cluster import Cluster, SimulatedNode
from coord.simulation.history import History, Names, Operation, Picture
from coord.store.watches import Watch

KEYS: Final = ("/k/a", "/k/b", "/k/c", "/k/d")
QUEUE: Final = "/q/job-"
ACL: Final = "/ctl/acl"
OTHERS: Final = b"""
s0 write /**
s1 write /**
s2 write /**"""
RULES: Final = (
    b"",
    b"c0 write /**" + OTHERS,
    b"c0 read /**" + OTHERS,
    b"c0 write /k/a\nc0 read /k/?" + OTHERS,
    b"* read /k/b\nc0 write /q/*" + OTHERS,
)
"""What the rules of access may be; only the first client is a guest, whom they concern."""
PATIENCE_SECONDS: Final = 5.0
THINK_SECONDS: Final = 0.05
MENU: Final = (
    ("set", 28),
    ("get", 26),
    ("swap", 10),
    ("make", 6),
    ("add", 6),
    ("sequence", 5),
    ("delete", 5),
    ("delete unchanged", 2),
    ("delete tree", 1),
    ("list", 2),
    ("log", 2),
    ("rules", 1),
    ("local", 4),
    ("past", 3),
    ("walk", 4),
    ("sync", 3),
    ("stat", 2),
)
_NAMES: Final = [name for name, _ in MENU]
_WEIGHTS: Final = [weight for _, weight in MENU]


class Client:
    """One client with one group under way at a time."""

    def __init__(
        self, name: str, cluster: Cluster, history: History, *, is_guest: bool = False
    ) -> None:
        self.name = name
        self._caller = Caller(name, "", Level.WRITE if is_guest else Level.ADMIN)
        self._is_guest = is_guest
        self._cluster = cluster
        self._world = cluster.world
        self._dice = cluster.world.dice
        self._history = history
        self._connection = 0
        self._node: SimulatedNode | None = None
        self._asked: list[Operation] = []
        self._round = 0
        self._written = 0
        self._known: dict[str, int] = {}
        self._stopped = False
        cluster.on_crash.append(self._node_crashed)

    def start(self) -> None:
        """Begin to ask, after a while."""
        self._later(self._ask)

    def stop(self) -> None:
        """Ask nothing more."""
        self._stopped = True

    @property
    def is_idle(self) -> bool:
        """Whether it waits for no answer."""
        return not self._asked

    # -- asking --------------------------------------------------------------------------
    def _later(self, function: Callable[[], None]) -> None:
        delay = self._dice.expovariate(1 / THINK_SECONDS)
        self._world.schedule(delay, None, function)

    def _ask(self) -> None:
        if self._stopped:
            return
        node = self._node
        if node is None or not node.is_up:
            up = self._cluster.up()
            if not up:
                self._later(self._ask)
                return
            node = self._node = self._dice.choice(up)
            self._connection += 1
        self._round += 1
        number = self._dice.choice((1, 1, 1, 1, 2, 3, 6))
        group = (int(self.name[1:]) << 32) + self._round
        self._asked = [self._operation(node, group, index) for index in range(number)]
        self._history.operations += self._asked
        latency = self._dice.random() * 0.001
        self._world.schedule(latency, node.process, self._submit, node, self._round)
        self._world.schedule(PATIENCE_SECONDS, None, self._give_up, self._round)

    def _operation(self, node: SimulatedNode, group: int, index: int) -> Operation:
        return Operation(
            client=self.name,
            connection=self._connection,
            group=group,
            index=index,
            node=node.name,
            command=self._command(),
            # A group is invoked at one moment.
            invoked=self._world.moment() if index == 0 else self._world.last_moment,
            is_guest=self._is_guest,
        )

    def _command(self) -> Command:
        """Throw the dice for what to ask next."""
        key = self._dice.choice(KEYS)
        self._written += 1
        value = f"{self.name}.{self._written}".encode()
        known = self._known.get(key)
        match self._dice.choices(_NAMES, _WEIGHTS)[0]:
            case "set":
                return Set(key, value)
            case "swap":
                return Set(key, value, known)
            case "make":
                return Set(key, value, 0)
            case "add":
                return Add(key, value)
            case "sequence":
                return Add(QUEUE, value, sequential=True)
            case "delete":
                return Delete(key)
            case "delete unchanged":
                return Delete(key, known)
            case "delete tree":
                return Delete("/q", tree=True)
            case "rules":
                return Set(ACL, self._dice.choice(RULES) + b"\n# " + value)
            case "past":
                return Get(key, rev=known)
            case name:
                return _read(name, key)

    def _submit(self, node: SimulatedNode, number: int) -> None:
        """Hand the group over; this happens inside the node's process."""
        commands = [operation.command for operation in self._asked]
        if number == self._round and self._asked:
            answer = partial(self._answered, node, number)
            node.coordinator.submit(commands, answer, self._caller)  # type: ignore[arg-type]

    # -- being told ------------------------------------------------------------------------
    def _answered(self, node: SimulatedNode, number: int, results: Sequence[Result]) -> None:
        if number != self._round or not self._asked:
            return
        asked, self._asked = self._asked, []
        assert len(results) == len(asked), "a result for each command"
        moment = self._world.moment()
        for operation, result in zip(asked, results, strict=True):
            operation.returned = moment
            self._take(node, operation, result)
            self._world.count(_outcome(result))
            self._world.note(repr(result).encode() if not isinstance(result, Rows) else b"rows")
        self._later(self._ask)

    def _take(self, node: SimulatedNode, operation: Operation, result: Result) -> None:
        if isinstance(result, Rows):
            if isinstance(operation.command, Walk):
                self._take_rows(node, operation, result, [])
            else:
                rows = tuple(row for row in result.rows if isinstance(row, str | Entry))
                operation.outcome = Names(result.rev, rows)
            return
        operation.outcome = result  # type: ignore[assignment]
        path = getattr(operation.command, "path", "")
        if isinstance(result, Written | Value) and path in KEYS:
            self._known[path] = result.rev

    def _take_rows(
        self, node: SimulatedNode, operation: Operation, result: Rows, taken: list[Row]
    ) -> None:
        """Take rows one by one, with writes in between, as a slow reader does."""
        for row in result.rows:
            assert row is None or isinstance(row, Row), "a walk yields rows"
            if row is not None:
                taken.append(row)
            if self._world.chance(0.3):
                delay = self._dice.random() * 0.02
                again = partial(self._take_rows, node, operation, result, taken)
                self._world.schedule(delay, node.process, again)
                return
        operation.outcome = Picture(result.rev, tuple(taken))

    def _give_up(self, number: int) -> None:
        if number == self._round and self._asked:
            self._world.count("clients that gave up")
            self._leave()

    def _node_crashed(self, name: str) -> None:
        if self._node is not None and self._node.name == name:
            self._leave()

    def _leave(self) -> None:
        """Turn to another node; nobody knows what became of what was asked."""
        self._node = None
        if self._asked:
            self._asked = []
            self._later(self._ask)


def _read(name: str, key: str) -> Command:
    match name:
        case "get":
            return Get(key)
        case "local":
            return Get(key, local=True)
        case "walk":
            return Walk("/k/*")
        case "sync":
            return Sync()
        case "list":
            return List("/k")
        case "log":
            return Log("/k/*", limit=8)
        case _:
            assert name == "stat"
            return Stat(key)


def _outcome(result: Result) -> str:
    code = getattr(result, "code", "")
    return f"answers {code}" if code else "answers OK"


class Watcher:
    """A watcher that goes on where it was, on another node, when its node crashes.

    Now and then it is so slow to take what there is that it lags. A guest is one whom the rules of
    access concern.
    """

    def __init__(self, name: str, glob: str, cluster: Cluster, *, is_guest: bool = False) -> None:
        self._caller = Caller(name, "", Level.WRITE if is_guest else Level.ADMIN)
        self.watched = Watched(name=name, glob=glob, after_rev=-1, events=[])
        self.past: list[Watched] = []
        self._cluster = cluster
        self._world = cluster.world
        self._node: SimulatedNode | None = None
        self._watch: Watch | None = None
        self._dawdles = True
        cluster.on_crash.append(self._node_crashed)

    def start(self) -> None:
        """Find a node to watch on."""
        self._world.schedule(self._world.dice.random() * 0.2, None, self._attach)

    def _attach(self) -> None:
        named = self._cluster.configuration.nodes
        up = [node for node in self._cluster.up() if node.name in named] or self._cluster.up()
        if not up:
            self.start()
            return
        self._node = node = self._world.dice.choice(up)
        self._world.schedule(0.001, node.process, self._begin, node)

    def _begin(self, node: SimulatedNode) -> None:
        watched = self.watched
        last = watched.whole_until()
        wake = partial(self._wake, node)
        try:
            self._watch = node.coordinator.watch(
                Glob.parse(watched.glob.encode()), last if last >= 0 else None, wake, self._caller
            )
        except TooLate:
            self._skip(node)
            return
        except Denied:
            self._world.count("watches denied")
            self.start()
            return
        except Unavailable:
            self._go_elsewhere()
            return
        if last < 0:
            watched.after_rev = self._watch.rev
        self._world.count("watches begun")
        wake()

    def _skip(self, node: SimulatedNode) -> None:
        """Ask for what differs, where history does not go back so far, and go on from there."""
        watched = self.watched
        last = watched.whole_until()
        glob = Glob.parse(watched.glob.encode())
        try:
            rows = node.coordinator.difference(glob, last, self._caller)
        except Denied:
            self.start()
            return
        difference = tuple(row for row in rows.rows if isinstance(row, str | Row))
        self.past.append(watched)
        self.watched = Watched(
            name=watched.name,
            glob=watched.glob,
            after_rev=rows.rev,
            events=[],
            difference=difference,
            difference_after_rev=last,
        )
        self._world.count("watches after a difference")
        self._begin(node)

    def _wake(self, node: SimulatedNode) -> None:
        longest = 4.0 if self._dawdles and self._world.chance(0.02) else 0.01
        delay = self._world.dice.random() * longest
        self._world.schedule(delay, node.process, self._take, node)

    def _take(self, node: SimulatedNode) -> None:
        watch = self._watch
        if watch is None or self._node is not node:
            return
        try:
            events = watch.take(self._world.dice.choice((1, 3, 100)))
        except Lagged:
            self._world.count("watches that lagged")
            self._begin(node)
            return
        except Unavailable:
            self._go_elsewhere()
            return
        self.watched.events += events
        self._world.count("events watched", len(events))
        self._world.note(repr(events).encode())
        if watch.ready:
            self._wake(node)
        elif self._world.chance(0.005):
            watch.close()
            self._watch = None
            self.start()

    def _go_elsewhere(self) -> None:
        self._world.count("watches where nothing happens any more")
        self._watch = None
        self.start()

    def hurry(self) -> None:
        """Be slow no more: soon nothing may be missing."""
        self._dawdles = False

    def settled(self) -> list[Watched]:
        """Return all that was seen, now that nothing may be missing any more."""
        self.watched.settled = True
        return [*self.past, self.watched]

    def _node_crashed(self, name: str) -> None:
        if self._node is not None and self._node.name == name:
            self._node = self._watch = None
            self.start()
