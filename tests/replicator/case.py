"""A cluster of real loops on journals and links in memory, driven by one clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Get, Read, Set, Write
from coord.journal.memory import MemoryDisk, MemoryJournal
from coord.limits import FOUNDING_SECONDS
from coord.paxos.membership import Configuration, Governs
from coord.replicator.assembly import Node, Surroundings, assemble
from coord.replicator.identity import Identity
from coord.replicator.tuning import Tuning
from coord.results import Result
from tests.replicator.links import Hub, Links

STEP_SECONDS = 0.005


class Case(SynchronousTestCase):
    """Makes nodes, lets time pass, and asks for things."""

    tuning = Tuning()

    def setUp(self) -> None:
        """Begin with a clock and nothing else."""
        self.clock = Clock()
        self.hub = Hub()
        self.disks: dict[str, MemoryDisk] = {}
        self.firsts: dict[str, Configuration] = {}
        self.observers: set[str] = set()
        self.journals: dict[str, MemoryJournal] = {}
        self.nodes: dict[str, Node] = {}
        self.reports: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.time_ms = 1_000_000
        self.base = self.first = 0

    def found(self, count: int = 1) -> None:
        """Start a cluster and wait until it serves."""
        names = [f"n{number}" for number in range(1, count + 1)]
        self.disks = {name: MemoryDisk(f"disk-{name}") for name in names}
        self.firsts = dict.fromkeys(names, Configuration(tuple(names)))
        for name in names:
            self.start(name)
        self.advance(2.0 if count > 1 else 2.0 + FOUNDING_SECONDS)
        self.base = self.rev("n1")
        self.first = int(self.fact("n1", "slot"))
        self.assertEqual({self.rev(name) for name in names}, {self.base})
        self.assertGreater(self.base, 0)

    def start(self, name: str) -> Node:
        """Start a node from its disk."""
        first = self.firsts.get(name) or Configuration(tuple(self.disks))
        initial = (Governs(1, first),)
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
            addresses={one: f"{one}:1" for one in {*first.nodes, name}},
            is_joining=name in first.learners,
            is_observer=name in self.observers,
        )
        node = self.nodes[name] = assemble(surroundings, recovered, identity, self.tuning)
        node.replicator.start()
        if name not in self.hub.cut:
            self.hub.heal(name)
        return node

    def join(self, name: str, *, is_observer: bool = False) -> Node:
        """Start a node that is to become a member of the cluster that there is."""
        others = tuple(sorted(self.disks))
        self.disks[name] = MemoryDisk(f"disk-{name}")
        self.firsts[name] = Configuration(others, (name,))
        if is_observer:
            self.observers.add(name)
        return self.start(name)

    def wipe(self, name: str) -> None:
        """Lose the disk of a node that is not running; it gets an empty one."""
        self.disks[name] = MemoryDisk(f"{self.disks[name].name}+")

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
