"""The journal on SQLite in a process that is killed, or whose disk is full."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import coord
from coord.journal.sqlite import open_journal
from coord.replicator.interfaces import Recovered
from tests.journal.contract import INITIAL, value
from tests.journal.test_sqlite import StoppedReactor

ROOT = Path(coord.__file__).parent.parent


class CrashTests(SynchronousTestCase):
    """Nothing that was acknowledged is lost."""

    def setUp(self) -> None:
        """Choose a directory."""
        self.directory = Path(self.mktemp()).resolve()

    def saver(self, *limits: str) -> subprocess.Popen[bytes]:
        """Start a process that saves."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.journal.saver", str(self.directory), *limits],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def recover(self) -> tuple[Recovered, list[bytes]]:
        """Open the directory, as a restarted node would; return the image's pieces too."""
        journal = open_journal(StoppedReactor(), self.directory, node="n1", initial=INITIAL)
        try:
            found = journal.recover()
            return found, list(found.image)
        finally:
            self.successResultOf(journal.close())

    def check(self, acknowledged: int) -> None:
        """See that all slots up to ``acknowledged`` are there, in the image or the log."""
        found, image = self.recover()
        base = found.durable.base
        self.assertGreaterEqual(found.durable.header.chosen, acknowledged)
        self.assertEqual(image, [base.to_bytes(8, "big")] if base else [])
        slots = range(base + 1, found.durable.header.chosen + 1)
        self.assertEqual(
            [(vote.slot, vote.value) for vote in found.durable.votes],
            [(slot, value(slot, 500)) for slot in slots],
        )

    def test_killed(self) -> None:
        """A process killed at any moment, again and again, loses nothing it acknowledged."""
        dice = random.Random(8046)
        acknowledged = 0
        for _ in range(4):
            process = self.saver()
            assert process.stdout is not None
            for _ in range(dice.randrange(1, 150)):
                acknowledged = int(process.stdout.readline().split()[1])
            os.kill(process.pid, signal.SIGKILL)
            for line in process.stdout.read().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    acknowledged = int(line.split()[1])
            process.wait()
            process.stdout.close()
            self.check(acknowledged)

    def test_full_disk(self) -> None:
        """A disk that takes no more is told once, and nothing is acknowledged after it."""
        process = self.saver("1000000")
        assert process.stdout is not None
        lines = process.stdout.read().decode().splitlines()
        process.stdout.close()
        self.assertEqual(process.wait(), 0)
        self.assertEqual([line for line in lines if line == "failed"], ["failed"])
        self.assertEqual(lines[-1], "failed")
        self.check(int(lines[-2].split()[1]))
