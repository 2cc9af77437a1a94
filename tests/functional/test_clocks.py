"""The time of day of nodes is set by hours, either way, while they run: only the stamps show it."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.functional.cluster import Cluster, Node, eventually

HOURS = 3600
CLOCK = '''
"""Adds to the time of day what stands in the file ``clock`` of the folder a process began in."""
import os
import time

_path = os.path.join(os.getcwd(), "clock")
_time, _time_ns = time.time, time.time_ns


def _ahead():
    try:
        with open(_path) as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0


time.time = lambda: _time() + _ahead()
time.time_ns = lambda: _time_ns() + _ahead() * 1_000_000_000
'''


class Clocks(TestCase):
    """Three nodes whose clocks can be set, a client with a session and a lock, and another."""

    def setUp(self) -> None:
        """Start the nodes with a clock of ours, which each sees before it loads anything else."""
        self.cluster = Cluster(3)
        self.addCleanup(self.cluster.close)
        (self.cluster.folder / "sitecustomize.py").write_text(CLOCK)
        path = f"{self.cluster.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": path})
        self.cluster.start()
        self.leader = self.cluster.leader()
        self.other = next(node for node in self.cluster.nodes if node is not self.leader)
        self.holder = self.other.link()
        self.addCleanup(self.holder.close)
        self.assertIn("timeout=20", self.holder.ask("SESSION timeout=20"))
        self.token = self.holder.ask("LOCK /lock me")
        self.assertTrue(self.holder.ask("SET ephemeral /here me").startswith("OK "))
        self.assertTrue(self.holder.ask("SET ttl=1000 /lasts x").startswith("OK "))

    def set_clock(self, hours: int, *nodes: Node) -> None:
        """Set the clocks of some nodes, of all where none is named."""
        for node in nodes or self.cluster.nodes:
            new = self.folder_of(node) / "clock.new"
            new.write_text(str(hours * HOURS))
            new.rename(new.with_name("clock"))

    def folder_of(self, node: Node) -> Path:
        """Return where a node's process began."""
        return node.config.parent

    def assert_unharmed(self) -> None:
        """See that nothing ended that had not to, that what has to ends, and that all serve."""
        for node in self.cluster.nodes:
            node.wait_until_serving()
            node.write(f"/written/{node.name}", "x")
            self.assertEqual(node.status()["quorum"], "yes")
        self.assertEqual(self.holder.ask("LOCK /lock me"), self.token)
        for path in ("/here", "/lasts"):
            self.assertRegex(self.holder.ask(f"GET {path}"), r"\AVALUE ")
        self.assertTrue(self.holder.ask("SET ttl=0.5 /short x").startswith("OK "))
        eventually(lambda: "NOENT" in self.holder.ask("GET /short"), "a lifetime ends")
        with self.leader.link() as leaving:
            self.assertTrue(leaving.ask("SET ephemeral /leaves x").startswith("OK "))
        eventually(lambda: "NOENT" in self.holder.ask("GET /leaves"), "a session ends")

    def test_hours(self) -> None:
        """Clocks of all nodes, of the leader alone, and of another alone, go forth and back."""
        for hours, nodes in (
            (5, ()),
            (-7, ()),
            (12, (self.leader,)),
            (-12, (self.leader,)),
            (9, (self.other,)),
            (0, ()),
        ):
            self.set_clock(hours, *nodes)
            self.assert_unharmed()
        self.leader.kill()
        self.other.write("/after", "an election")
        self.leader.start()
        self.assert_unharmed()
        with self.other.link() as link:
            rows = [row.split() for row in link.rows("LOG /**")[:-1]]
        stamps = [stamp for *_, stamp in rows]
        self.assertEqual(stamps, sorted(stamps, reverse=True))
        self.assertGreater(len(set(stamps)), 1)
