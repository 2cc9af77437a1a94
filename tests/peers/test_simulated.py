"""The simulator's network sits the examination of real links."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.replicator.interfaces import IPeers
from coord.simulation.network import Mix, Network, SimulatedPeers
from coord.simulation.world import Machine, Process, World
from tests.peers.contract import NODES, Ear, Judge, PeersContract


class SimulatedContractTests(PeersContract, SynchronousTestCase):
    """Simulated links that keep order do what links have to do."""

    def setUp(self) -> None:
        """Start three nodes."""
        self.world = World(1)
        self.network = Network(self.world, NODES, Mix(ordered=True))
        self.ears = {name: Ear() for name in NODES}
        self.judges = {name: Judge(name) for name in NODES}
        self.peers: dict[str, SimulatedPeers] = {}
        for name in NODES:
            self.peers[name] = self.network.join(Process(Machine(self.world, name)))
            self.peers[name].observe(self.ears[name])
            self.peers[name].admit_by(self.judges[name])

    def node(self, name: str) -> tuple[IPeers, Ear]:
        """Return a node."""
        return self.peers[name], self.ears[name]

    def judge(self, name: str) -> Judge:
        """Return a node's judge."""
        return self.judges[name]

    def where(self, *names: str) -> dict[str, str]:
        """Return addresses, at which nobody looks."""
        return {name: f"{name}:1" for name in names}

    def pass_time(self, seconds: float) -> None:
        """Let the world go on."""
        self.world.run(self.world.now + seconds)

    def sever(self, one: str, other: str) -> None:
        """Cut both ways."""
        self.network.sever(one, other)

    def heal(self, one: str, other: str) -> None:
        """Mend both ways."""
        self.network.heal(one, other)
