"""Seeds: each a cluster, clients, faults, and judges who find nothing."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import coord
from coord.simulation import cli
from coord.simulation.run import Report, Run

SEEDS = range(40)
ROOT = Path(coord.__file__).parent.parent


class Seeds(SynchronousTestCase):
    """A few dozen worlds; ``python -m coord.simulation --seeds N`` runs as many as you like."""

    def run_seeds(self, seeds: range) -> list[Report]:
        """Run some seeds and assert that nothing was violated."""
        reports = [Run(seed).run() for seed in seeds]
        self.flushLoggedErrors()
        for report in reports:
            self.assertEqual(report.violations, [], report.describe())
        return reports

    def test_all_is_well(self) -> None:
        """Whatever goes wrong, answers are true, nothing is lost, and the cluster comes back."""
        reports = self.run_seeds(SEEDS)
        exercised = {what for report in reports for what in report.counts}
        wanted = {
            "answers OK", "answers UNAVAILABLE", "answers UNKNOWN", "crashes", "elections",
            "events watched", "frames delayed long", "frames lost", "frames lost to a cut",
            "frames repeated", "images", "images adopted", "images sent",
            "links given up", "log reads", "pauses",
            "saves kept by a crash", "saves lost in a crash", "saves torn", "syncs stalled",
            "digests compared by nodes", "surveys compared by nodes",
            "answers ABORTED", "answers DENIED", "answers LOCKED", "answers NOT_HELD",
            "answers SESSION_EXPIRED", "answers TOO_LATE",
            "ephemeral nodes gone with a session that ended",
            "ephemeral nodes gone with a session that expired",
            "holders lost", "ids answered from memory", "lifetimes over", "locks deleted",
            "locks given at once", "locks given in turn", "locks given up",
            "locks lost with a session, and free", "outcomes told", "owners that stood still",
            "owners that vanished", "sessions kept", "sessions moved", "sessions taken up",
            "sessions that ended", "sessions that expired", "sessions told expired",
            "sessions told jeopardy", "sessions told safe", "transactions aborted",
            "waits granted", "waits over", "watches after a difference", "watches that lagged",
            "writes under a token", "wrong keys refused",
            "changes done", "changes done before", "changes planned", "changes refused",
            "changes answered UNAVAILABLE", "configurations",
            "disks emptied", "disks set back", "disks spared", "links refused: other disk",
            "links refused: set back", "links refused: stranger", "machines taken away",
            "members: gone", "members: joined", "members: observers joined", "members: promoted",
            "members: swapped", "members: to be admitted on another disk",
            "removed nodes that knew", "starts refused to removed nodes",
        }  # fmt: skip
        self.assertEqual(wanted - exercised, set())
        self.assertEqual(sum(report.undecided for report in reports), 0)


class Kept(SynchronousTestCase):
    """Seeds that failed once; what they had found is told as a story elsewhere, too."""

    def run_seed(self, seed: int) -> None:
        """Run one world and assert that nothing was violated."""
        report = Run(seed).run()
        self.flushLoggedErrors()
        self.assertEqual(report.violations, [], report.describe())

    def test_emptied_and_told_of_nobody_who_is_left(self) -> None:
        """A node whose former peers were all replaced asked none of the others for an image."""
        self.run_seed(105)

    def test_card_overtaken(self) -> None:
        """A node was refused for ever, as its card came later than news of what it had promised."""
        self.run_seed(145)

    def test_answer_without_a_promise(self) -> None:
        """A vote for what was chosen already was told before its ballot was on the disk."""
        self.run_seed(153)

    def test_set_back_and_taught_by_a_newcomer(self) -> None:
        """A disk that was set back learns all by a node that never heard of it, and is whole."""
        self.run_seed(362)


class Reproduction(SynchronousTestCase):
    """A seed reproduces a run exactly."""

    def test_twice_in_one_interpreter(self) -> None:
        """The same seed twice gives the same trace, another seed another."""
        traces = [Run(seed, safety_seconds=3.0).run().trace for seed in (5, 5, 6)]
        self.flushLoggedErrors()
        self.assertEqual(traces[0], traces[1])
        self.assertNotEqual(traces[0], traces[2])

    def test_under_another_hash_seed(self) -> None:
        """Fresh interpreters with different hash seeds tell the same story, word for word."""
        stories = [self.story(hash_seed) for hash_seed in ("1", "2")]
        self.assertEqual(stories[0], stories[1])
        self.assertIn("seed 7 passed, trace ", stories[0])

    def story(self, hash_seed: str) -> str:
        """Return what a fresh interpreter tells of seed 7."""
        words = ["-m", "coord.simulation", "--seed", "7", "--safety-seconds", "4", "--verbose"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout


class Command(SynchronousTestCase):
    """What ``python -m coord.simulation`` prints."""

    def run_command(self, *words: str) -> tuple[int, str]:
        """Run it and return its exit status and output."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = cli.main(["--safety-seconds", "1", *words])
        self.flushLoggedErrors()
        return status, output.getvalue()

    def test_one_seed(self) -> None:
        """One seed is told in full."""
        status, output = self.run_command("--seed", "3")
        self.assertEqual(status, 0)
        self.assertIn("seed 3 passed", output)
        self.assertIn("operations", output)

    def test_many_seeds(self) -> None:
        """Of many seeds the sum is told."""
        status, output = self.run_command("--seed", "3", "--seeds", "2")
        self.assertEqual(status, 0)
        self.assertIn("2 seeds, 0 failed", output)
