"""A bit flips in one node's memory, in worlds with slow disks and bad links: that node stops."""

from __future__ import annotations

from collections import Counter

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Set
from coord.replicator.digests import Digests, DivergedError
from coord.simulation.cluster import Cluster, Options, SimulatedNode
from coord.simulation.world import World
from tests.replicator.damage import flip_in_memory

SEEDS = range(12)
PEACE_SECONDS = 4.0
WAR_SECONDS = 16.0
WRITE_SECONDS = 0.01


class Flip:
    """A cluster under load, in which one bit of one value of one node flips."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        options = Options.draw(self.world.dice)
        nodes = self.world.dice.choice((3, 5))
        self.cluster = Cluster(self.world, msgspec.structs.replace(options, nodes=nodes))
        self.victim = ""
        self.written: Counter[str] = Counter()

    def run(self) -> list[str]:
        """Let it happen; return the nodes that have stopped."""
        self.cluster.start()
        self.world.run(until=2.0)
        self._write()
        self.world.run(until=PEACE_SECONDS)
        self._flip(self.world.dice.choice(self.cluster.up()))
        self.world.run(until=self.world.now + WAR_SECONDS)
        return [node.name for node in self.cluster.up() if node.facts()["fault"] != "-"]

    def _write(self) -> None:
        """Write to some node, again and again, but once only where the bit will flip."""
        node = self.world.dice.choice(self.cluster.up())
        path = f"/{self.world.dice.randrange(20)}" if self.written else "/precious"
        command = Set(path, b"value %d" % self.world.now)

        def answered(results: object) -> None:
            self.written[node.name] += 1

        self.world.schedule(0.0, node.process, node.coordinator.submit, [command], answered)
        self.world.schedule(WRITE_SECONDS, None, self._write)

    def _flip(self, node: SimulatedNode) -> None:
        flip_in_memory(node.store, "/precious")
        self.victim = node.name


class Flips(SynchronousTestCase):
    """The one that differs is found, and nobody else is taken for it."""

    def test_found(self) -> None:
        """In every world the damaged node stops and keeps a report, and no other does."""
        stopped = 0
        for seed in SEEDS:
            flip = Flip(seed)
            found = flip.run()
            self.assertEqual(len(self.flushLoggedErrors(DivergedError)), 0)
            self.assertEqual(found, [flip.victim], f"seed {seed}")
            reports = {name: len(node.reports) for name, node in flip.cluster.nodes.items()}
            self.assertEqual(sum(reports.values()), reports[flip.victim])
            stopped += flip.world.counts["nodes stopped by their digests"]
        self.assertEqual(stopped, len(SEEDS))

    def test_bites(self) -> None:
        """Without the comparison nobody stops, and the damage stays."""
        self.patch(Digests, "_judge", lambda self, now: None)
        flip = Flip(SEEDS[0])
        self.assertEqual(flip.run(), [])
        values = {node.store._tree.live["\0precious"].value for node in flip.cluster.up()}
        self.assertEqual(len(values), 2)
