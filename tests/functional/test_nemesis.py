"""A short run of the nemesis: real nodes, killed, stopped and cut off, keep what they promise."""

from __future__ import annotations

import re
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.functional.cluster import PATIENCE_SECONDS, surroundings

SEED = "7"
MINUTES = "0.15"
SETTLED_SECONDS = 2 * PATIENCE_SECONDS
"""How long a run may take beside its faults: nodes start, come right again, and are judged."""
SKIPPED = "skipped: full disks"


class Nemesis(SynchronousTestCase):
    """The program that an operator runs for hours, for some seconds."""

    def run_for(self, *words: str) -> str:
        """Return what a run prints; fail with it where anything was violated."""
        done = subprocess.run(
            [sys.executable, "-m", "coord.simulation.nemesis", "--seed", SEED, *words],
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=60 * float(MINUTES) + SETTLED_SECONDS,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def counted(self, told: str, what: str) -> int:
        """Return how often something happened in a run."""
        found = re.search(rf"^ *(\d+) {re.escape(what)}$", told, re.MULTILINE)
        return int(found[1]) if found else 0

    def test_promises(self) -> None:
        """Whatever befalls nodes and the roads between them, no promise to a client is broken."""
        told = self.run_for("--minutes", MINUTES)
        self.assertIn("0 violations", told)
        for what in ("answers OK", "sessions kept", "locks held", "writes under a token"):
            self.assertGreater(self.counted(told, what), 0, told)

    def test_full_disk(self) -> None:
        """A node whose disk is full breaks no promise, and comes back by itself."""
        told = self.run_for("--minutes", "0.05", "--only", "fill_disk")
        if SKIPPED in told:
            raise SkipTest(next(line for line in told.splitlines() if SKIPPED in line))
        stopped = self.counted(told, "disks full that stopped a node")
        self.assertGreater(stopped, 0, told)
        self.assertEqual(self.counted(told, "disks full that a node came back from"), stopped, told)
