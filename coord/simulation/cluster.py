"""The real nodes, put together as in production, in the simulated world."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import msgspec

from coord.limits import ALPHA, HISTORY_REVISIONS, LOG_BYTES_KEPT, RECENT_BYTES_MAX
from coord.paths import Glob
from coord.paxos.durable import Header, Value
from coord.paxos.membership import Configuration, Governs
from coord.paxos.timing import Timing
from coord.replicator.admission import REMOVED
from coord.replicator.applier import Applier
from coord.replicator.assembly import Node, Surroundings, assemble
from coord.replicator.coordinator import Coordinator
from coord.replicator.identity import Identity
from coord.replicator.tuning import Tuning
from coord.simulation.checkers.agreement import Agreement
from coord.simulation.checkers.digests import Digests
from coord.simulation.checkers.votes import Votes
from coord.simulation.chronicle import Chronicle
from coord.simulation.disk import Disk, DiskMix
from coord.simulation.history import Timeline
from coord.simulation.network import Mix, Network
from coord.simulation.platter import Platter
from coord.simulation.world import Machine, Process, World
from coord.store.machine import Store
from coord.store.news import News

CLUSTER: Final = "simulated"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the seed chose for a run."""

    nodes: int
    leases: bool
    image_every_bytes: int
    history_revisions: int = HISTORY_REVISIONS
    log_bytes_kept: int = LOG_BYTES_KEPT
    """So much is kept in memory, too: who misses more needs an image."""
    change_seconds: float = 0.0
    """Members change, and disks are lost, about so often; never where it is 0."""
    network: Mix
    disk: DiskMix

    @classmethod
    def draw(cls, dice: random.Random) -> Options:
        """Return what the dice say."""
        drawn = cls(
            nodes=dice.choice((3, 3, 3, 5, 1)),
            leases=dice.random() < 0.8,
            image_every_bytes=dice.choice((2_000, 20_000, 1 << 30)),
            history_revisions=dice.choice((60, 200, HISTORY_REVISIONS)),
            network=Mix.draw(dice),
            disk=DiskMix.draw(dice),
        )
        # Drawn aside, so that seeds which draw the longest log are the worlds that they ever were.
        aside = random.Random()
        aside.setstate(dice.getstate())
        kept_bytes = aside.choice((LOG_BYTES_KEPT, LOG_BYTES_KEPT, 500, 5_000))
        change_seconds = aside.choice((0.0, 0.0, 1.0, 2.5))
        return msgspec.structs.replace(
            drawn, log_bytes_kept=kept_bytes, change_seconds=change_seconds
        )


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is told at its first start: who else there is, and how it comes in.

    ``is_joining``: the cluster runs already; ``is_observer``: the same, and it never is to vote.
    """

    others: tuple[str, ...]
    is_joining: bool = False
    is_observer: bool = False

    def first(self, name: str) -> Configuration:
        """Return the configuration that a node of this name begins with."""
        if self.is_joining:
            return Configuration(voters=self.others, learners=(name,))
        return Configuration(voters=tuple(sorted((*self.others, name))))


class SimulatedNode:
    """One machine of the cluster and the node that lives on it, life after life."""

    def __init__(self, cluster: Cluster, name: str, options: Options, told: Told) -> None:
        self._cluster = cluster
        self._options = options
        self.name = name
        self.told = told
        self.machine = Machine(cluster.world, name)
        governs = Governs(0, told.first(name))
        self.disk = Disk(cluster.world, options.disk, Header(governs=(governs,)), name)
        self.process: Process | None = None
        self.disturbed_at: list[float] = []
        self.reports: dict[str, str] = {}
        self._node: Node | None = None
        self._lives = 0

    @property
    def address(self) -> str:
        """Where its peers reach it."""
        return f"{self.name}:8047"

    @property
    def is_out(self) -> bool:
        """Whether it was removed from the cluster, and knows: it does not start any more."""
        return REMOVED in self.reports

    @property
    def is_up(self) -> bool:
        """Whether a process lives, be it paused or not."""
        return self.process is not None

    @property
    def coordinator(self) -> Coordinator:
        """The door of the present life."""
        assert self._node is not None, "the node is down"
        return self._node.coordinator

    def start(self) -> None:
        """Begin a life, unless the node was removed and says so."""
        assert self.process is None, "the node is up"
        world = self._cluster.world
        if self.is_out:
            world.count("starts refused to removed nodes")
            return
        self.process = process = Process(self.machine)
        journal = self.disk.open(process)
        recovered = journal.recover()
        self._lives += 1
        peers = self._cluster.network.join(process, self.told.others)
        surroundings = Surroundings(
            reactor=process,
            now=process.seconds,
            time_ms=self.machine.clock.wall_ms,
            dice=random.Random(world.dice.getrandbits(64)),
            secrets=random.Random(world.dice.getrandbits(64)).randbytes,
            journal=journal,
            peers=peers,
            report=self._keep_report,
        )
        identity = self._identity(recovered.incarnation)
        self._node = assemble(surroundings, recovered, identity, self._tuning())
        self._cluster.votes.watch(self._node.replicator._replica, peers)
        self._observe(self._node.replicator._applier)
        self._node.replicator.start()
        world.say(f"start {self.describe()}")

    def _identity(self, incarnation: int) -> Identity:
        return Identity(
            node=self.name,
            cluster=CLUSTER,
            incarnation=incarnation,
            addresses={name: f"{name}:8047" for name in sorted((*self.told.others, self.name))},
            is_joining=self.told.is_joining,
            is_observer=self.told.is_observer,
        )

    def _tuning(self) -> Tuning:
        options = self._options
        return Tuning(
            timing=Timing(
                leases=options.leases,
                recent_bytes_max=min(RECENT_BYTES_MAX, options.log_bytes_kept),
            ),
            image_every_bytes=options.image_every_bytes,
            log_bytes_kept=options.log_bytes_kept,
            history_revisions=options.history_revisions,
        )

    def _keep_report(self, name: str, text: str) -> None:
        """Keep what the node found about itself, as files in its directory would."""
        is_out = name == REMOVED
        what = "removed nodes that knew" if is_out else "nodes stopped by their digests"
        self._cluster.world.count(what)
        self._cluster.world.say(f"{self.name} keeps {name}")
        self.reports[name] = text

    def _observe(self, applier: Applier) -> None:
        """Let the judges see every slot as it is applied, in whatever way it came."""
        apply, life, store = applier.apply, self._lives, applier.store
        chronicle, world = self._cluster.chronicle, self._cluster.world
        self._cluster.digests.taken(self.name, applier.slot, store.digest)

        def observed(slot: int, value: Value, own: object) -> object:
            self._cluster.agreement.applied(self.name, life, slot, value)
            outcome = apply(slot, value, own)  # type: ignore[arg-type]
            self._cluster.digests.taken(self.name, slot, store.digest)
            chronicle.applied(store, world.now)
            return outcome

        news = store.news

        def told() -> list[News]:
            found = news()
            chronicle.told(self.name, found, world.now)
            return found

        adopt = applier.adopt

        def adopted(other: Applier) -> None:
            adopt(other)
            world.count("images adopted")
            self._cluster.agreement.adopted(self.name, life, applier.slot)
            self._cluster.digests.taken(self.name, applier.slot, store.digest)

        applier.adopt = adopted  # type: ignore[method-assign]
        applier.apply = observed  # type: ignore[method-assign,assignment]
        store.news = told  # type: ignore[method-assign]

    def crash(self) -> None:
        """End it as SIGKILL or a power cut does."""
        assert self.process is not None, "the node is down"
        self._disturb()
        self._cluster.world.say(f"crash {self.describe()}")
        self._cluster.world.count("crashes")
        self._cluster.world.count("elections", int(self.facts()["elections"]))
        assert self._node is not None
        digests = self._node.replicator.digests
        self._cluster.world.count("digests compared by nodes", digests.chain.compared)
        self._cluster.world.count("surveys compared by nodes", digests.survey.compared)
        figures = self._node.replicator.account.figures()
        self._cluster.world.count("images sent", int(figures["images_sent"]))
        self.process.crash()
        self.process = self._node = None
        self.disk.crash()
        self._cluster.crashed(self.name)

    def empty(self, told: Told | None = None) -> None:
        """Let the machine have an empty directory, and be told so much; the node must be down."""
        assert self.process is None, "the node is up"
        self.told = told or self.told
        self.disk.initial = Header(governs=(Governs(0, self.told.first(self.name)),))
        self.disk.replace()
        self.reports.clear()
        self._cluster.world.say(f"{self.name} has an empty disk")

    def _disturb(self) -> None:
        """Note that something happened to it that no program can do anything about."""
        self.disturbed_at.append(self._cluster.world.now)

    def reboot(self) -> None:
        """Let the machine's clock begin anew; the node must be down."""
        assert self.process is None, "the node is up"
        self.machine.clock.reboot()

    @property
    def is_paused(self) -> bool:
        """Whether a process lives that stands still."""
        return self.process is not None and self.process.paused

    def pause(self) -> None:
        """Let the process stand still."""
        assert self.process is not None
        self._disturb()
        self._cluster.world.say(f"pause {self.describe()}")
        self._cluster.world.count("pauses")
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.resume()
        self._disturb()
        self._cluster.world.say(f"resume {self.describe()}")

    def facts(self) -> dict[str, str]:
        """Return what ``STATUS`` tells."""
        return dict(row.split("=", 1) for row in self.coordinator.status().rows)

    def timeline(self) -> Timeline:
        """Return the kept history of the node's store, read as a watcher reads it."""
        store = self.store
        watch = store.watch(Glob.parse(b"/**"), store.horizon, lambda: None)
        events = []
        while watch.ready:
            events += watch.take(1000)
        watch.close()
        return Timeline(events)

    @property
    def store(self) -> Store:
        """The store of the present life."""
        assert self._node is not None, "the node is down"
        return self._node.replicator.store

    @property
    def configuration(self) -> Configuration:
        """The last configuration that the present life knows."""
        assert self._node is not None, "the node is down"
        return self._node.replicator._replica.configuration

    def has_outlived(self, lost: Platter) -> bool:
        """Say whether the present life knows what became of all that was on a lost disk."""
        assert self._node is not None, "the node is down"
        replica = self._node.replicator._replica
        return replica.promised >= lost.header.promised and replica.chosen >= lost.reach

    @property
    def is_leading(self) -> bool:
        """Whether the present life believes to lead, and serves."""
        return self.is_up and self.facts()["role"] == "leader"

    def describe(self) -> str:
        """Return the node in one line."""
        if self._node is None:
            return f"{self.name} is down"
        paused = " (paused)" if self.is_paused else ""
        return self._node.replicator.describe() + paused


class Cluster:
    """All machines, the network between them, and the judges who watch the log."""

    def __init__(self, world: World, options: Options) -> None:
        self.world = world
        self.options = options
        self.first = tuple(f"n{number}" for number in range(1, options.nodes + 1))
        self.network = Network(world, self.first, options.network)
        self.agreement = Agreement()
        self.digests = Digests()
        self.votes = Votes(self)
        self.chronicle = Chronicle()
        self.nodes: dict[str, SimulatedNode] = {}
        self.former: dict[str, SimulatedNode] = {}
        """Machines that are no more."""
        self.wounded: dict[str, Platter] = {}
        """What was lost with a disk that is not admitted anew yet, by node; see `Guarantee`."""
        for name in self.first:
            told = Told(others=tuple(one for one in self.first if one != name))
            self.nodes[name] = SimulatedNode(self, name, options, told)
        self._machines = max(5, options.nodes)
        self.on_crash: list[Callable[[str], None]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all machines that there are, members or not."""
        return tuple(self.nodes)

    # -- machines --------------------------------------------------------------------------
    def add_machine(self, told: Told) -> SimulatedNode:
        """Have one more machine, of a new name, with an empty disk; it is not started."""
        self._machines += 1
        name = f"n{self._machines}"
        self.network.add(name)
        node = self.nodes[name] = SimulatedNode(self, name, self.options, told)
        self.world.say(f"new machine {name}")
        return node

    def take_away(self, node: SimulatedNode) -> None:
        """Have a machine no more."""
        if node.is_up:
            node.crash()
        self.former[node.name] = self.nodes.pop(node.name)
        self.network.remove(node.name)
        self.world.say(f"{node.name} is taken away")

    # -- members ---------------------------------------------------------------------------
    def governs(self) -> list[Governs]:
        """Return all configurations that were ever chosen, and from which slot on each governs."""
        found = [Governs(0, Configuration(voters=self.first))]
        chosen = self.agreement.configurations
        found += [Governs(slot + ALPHA, chosen[slot]) for slot in sorted(chosen)]
        return found

    @property
    def configuration(self) -> Configuration:
        """The last configuration that any node knows to be chosen."""
        return self.governs()[-1].configuration

    def members(self) -> list[SimulatedNode]:
        """Return the machines that the last configuration names."""
        named = self.configuration.nodes
        return [node for node in self.nodes.values() if node.name in named]

    def up(self) -> list[SimulatedNode]:
        """Return the nodes that live, paused or not."""
        return [node for node in self.nodes.values() if node.is_up]

    def down(self) -> list[SimulatedNode]:
        """Return the others."""
        return [node for node in self.nodes.values() if not node.is_up]

    def start(self) -> None:
        """Start every node that is down."""
        for node in self.down():
            node.start()

    def crashed(self, name: str) -> None:
        """Tell everyone whom a crash concerns."""
        self.network.crashed(name)
        for tell in self.on_crash:
            tell(name)

    def describe(self) -> str:
        """Return a line for each node, and what is cut."""
        lines = [node.describe() for node in self.nodes.values()]
        return "\n".join([*lines, f"{self.network.cuts()} wires cut"])
