"""A cluster of real loops on journals and links in memory, driven by one clock."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Get, Read, Set, Write
from coord.journal.memory import MemoryDisk, MemoryJournal
from coord.paxos.membership import Configuration, Governs
from coord.replicator.account import Identity
from coord.replicator.assembly import Node, Surroundings, assemble
from coord.replicator.interfaces import Card, IAdmission, IPeersObserver, Unfit
from coord.replicator.replicator import Tuning
from coord.results import Result
from coord.wire import peer as wire

STEP_SECONDS = 0.005


class Links:
    """`IPeers` of one node; frames wait in the hub until they are delivered."""

    def __init__(self, node: str, hub: Hub) -> None:
        self.node = node
        self.hub = hub
        self.observer: IPeersObserver | None = None
        self.sent: list[tuple[str, wire.PeerMessage]] = []
        self.flushes = 0
        self.log: list[str] = []

    def observe(self, observer: IPeersObserver) -> None:
        """Say who is told."""
        self.observer = observer

    def send(self, peer: str, frame: bytes) -> None:
        """Queue a frame, if there is a link."""
        message = wire.decode(frame)
        self.log.append(type(message).__name__)
        self.sent.append((peer, message))
        if peer in self.connected():
            self.hub.frames.append((self.node, peer, frame))

    def flush(self) -> None:
        """Count the writes."""
        self.flushes += 1

    def admit_by(self, admission: IAdmission) -> None:
        """Note who decides on links."""
        self.admission = admission

    def move(self, addresses: Mapping[str, str]) -> None:
        """Note with whom there are to be links."""

    def cards(self) -> Mapping[str, Card]:
        """Return what each node said to which there is a link."""
        return {}

    def part(self, peer: str, unfit: Unfit) -> None:
        """Close a link."""

    def connected(self) -> frozenset[str]:
        """Return the peers with a link."""
        return self.hub.reachable(self.node)


class Hub:
    """All links; ``frames`` wait to be delivered."""

    def __init__(self) -> None:
        self.links: dict[str, Links] = {}
        self.frames: deque[tuple[str, str, bytes]] = deque()
        self.cut: set[str] = set()

    def reachable(self, node: str) -> frozenset[str]:
        """Return whom a node has links to."""
        if node in self.cut:
            return frozenset()
        return frozenset(name for name in self.links if name != node and name not in self.cut)

    def isolate(self, node: str) -> None:
        """End all links of a node; both ends are told."""
        others = self.reachable(node)
        self.cut.add(node)
        self.frames = deque(one for one in self.frames if node not in one[:2])
        for other in others:
            self._of(node).disconnected(other)
            self._of(other).disconnected(node)

    def heal(self, node: str) -> None:
        """Let a node have its links again."""
        self.cut.discard(node)
        for other in self.reachable(node):
            self._of(node).connected(other)
            self._of(other).connected(node)

    def deliver(self) -> None:
        """Hand over all that waits now."""
        for _ in range(len(self.frames)):
            sender, to, frame = self.frames.popleft()
            if to in self.links and to not in self.cut:
                self._of(to).received(sender, frame)

    def _of(self, node: str) -> IPeersObserver:
        observer = self.links[node].observer
        assert observer is not None
        return observer


class Case(SynchronousTestCase):
    """Makes nodes, lets time pass, and asks for things."""

    tuning = Tuning()

    def setUp(self) -> None:
        """Begin with a clock and nothing else."""
        self.clock = Clock()
        self.hub = Hub()
        self.disks: dict[str, MemoryDisk] = {}
        self.journals: dict[str, MemoryJournal] = {}
        self.nodes: dict[str, Node] = {}
        self.reports: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.time_ms = 1_000_000
        self.base = 0

    def found(self, count: int = 1) -> None:
        """Start a cluster and wait until it serves."""
        names = [f"n{number}" for number in range(1, count + 1)]
        self.disks = {name: MemoryDisk() for name in names}
        for name in names:
            self.start(name)
        self.advance(2.0)
        self.base = self.rev("n1")
        self.assertEqual({self.rev(name) for name in names}, {self.base})
        self.assertGreater(self.base, 0)

    def start(self, name: str) -> Node:
        """Start a node from its disk."""
        initial = (Governs(1, Configuration(tuple(self.disks))),)
        journal = MemoryJournal(self.disks[name], initial=initial, clock=self.clock)
        self.journals[name] = journal
        links = self.hub.links[name] = Links(name, self.hub)
        recovered = journal.recover()
        surroundings = Surroundings(
            reactor=self.clock,
            now=self.clock.seconds,
            time_ms=lambda: self.time_ms,
            dice=Random(name),
            secrets=Random(f"{name} {recovered.incarnation}").randbytes,
            journal=journal,
            peers=links,
            report=self.reports[name].__setitem__,
        )
        identity = Identity(
            node=name,
            cluster="cluster-1",
            incarnation=recovered.incarnation,
            addresses={one: f"{one}:1" for one in self.disks},
        )
        node = self.nodes[name] = assemble(surroundings, recovered, identity, self.tuning)
        node.replicator.start()
        if name not in self.hub.cut:
            self.hub.heal(name)
        return node

    def crash(self, name: str) -> None:
        """End a node at once; what its disk had not written is lost."""
        self.hub.isolate(name)
        self.hub.cut.discard(name)
        del self.hub.links[name]
        node = self.nodes.pop(name)
        self.journals.pop(name)._queue.clear()
        node.replicator.stop()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_SECONDS)):
            self.clock.advance(STEP_SECONDS)
            self.hub.deliver()

    def leader(self) -> str:
        """Return the node that leads, of those that have links."""
        leaders = [
            name
            for name, node in self.nodes.items()
            if name not in self.hub.cut and self.fact(name, "role") == "leader"
        ]
        self.assertEqual(
            len(leaders), 1, [one.replicator.describe() for one in self.nodes.values()]
        )
        return leaders[0]

    def followers(self) -> list[str]:
        """Return the nodes that do not lead."""
        leader = self.leader()
        return [name for name in self.nodes if name != leader]

    def fact(self, name: str, fact: str) -> str:
        """Return one line of a node's status."""
        rows = dict(row.split("=", 1) for row in self.nodes[name].coordinator.status().rows)
        return rows[fact]

    def rev(self, name: str) -> int:
        """Return a node's revision."""
        return self.nodes[name].coordinator.rev

    def submit(self, name: str, *commands: Write | Read) -> Asked:
        """Ask a node for something."""
        asked = Asked()
        self.nodes[name].coordinator.submit(commands, asked)
        return asked

    def set(self, name: str, path: str, value: bytes = b"x") -> Asked:
        """Ask a node to set a value."""
        return self.submit(name, Set(path, value))

    def value(self, name: str, path: str) -> object:
        """Return what a node answers to a local read at once."""
        asked = self.submit(name, Get(path, local=True))
        return asked.results[0]


class Asked:
    """An answer, once it comes: called at most once."""

    def __init__(self) -> None:
        self.answers: list[Sequence[Result]] = []

    def __call__(self, results: Sequence[Result]) -> None:
        """Take the answer."""
        self.answers.append(results)

    @property
    def is_answered(self) -> bool:
        """Whether the answer came."""
        return bool(self.answers)

    @property
    def results(self) -> list[Result]:
        """The results, of a group that was answered once."""
        assert len(self.answers) == 1, f"answered {len(self.answers)} times"
        return list(self.answers[0])
