"""Logs so short that who was away needs an image of another node, while everything goes wrong."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from coord.replicator.applier import Applier, Origins
from coord.replicator.imaging import Reading
from coord.replicator.receiving import Incoming, Receiving
from coord.simulation.cluster import Options
from coord.simulation.run import Report, Run
from coord.store import picture
from coord.wire.peer import ImageEnd

SEEDS = range(12)


def short(seed: int) -> Options:
    """Return what a seed draws, but for logs that hold next to nothing."""
    dice = random.Random(seed)
    options = Options.draw(dice)
    return msgspec.structs.replace(
        options,
        nodes=dice.choice((3, 3, 5)),
        log_bytes_kept=dice.choice((0, 500, 2000)),
        image_every_bytes=dice.choice((1000, 3000)),
    )


class Images(SynchronousTestCase):
    """A dozen worlds in which nodes get images, in pieces so small that each has many."""

    def setUp(self) -> None:
        """Make pieces small."""
        self.patch(picture, "_PIECE_BYTES_SOFT", 1000)

    def run_seed(self, seed: int) -> Report:
        """Run one world."""
        return Run(seed, options=short(seed), safety_seconds=8.0).run()

    def test_all_is_well(self) -> None:
        """Senders and receivers crash, links are lost: nothing is violated, all come back."""
        counts: Counter[str] = Counter()
        for seed in SEEDS:
            report = self.run_seed(seed)
            self.assertEqual(report.violations, [], report.describe())
            counts.update(report.counts)
        self.flushLoggedErrors()
        wanted = {
            "images sent", "images adopted", "images lost in a crash",
            "faults: crash in an image", "faults: crash others in an image", "faults: keep away",
        }  # fmt: skip
        self.assertEqual({what for what in wanted if not counts[what]}, set())
        self.assertGreaterEqual(counts["images adopted"], len(SEEDS) // 2)

    def is_found(self) -> bool:
        """Say whether any of some seeds finds what was broken on purpose."""
        found = any(self.run_seed(seed).violations for seed in range(30))
        self.flushLoggedErrors()
        return found

    def test_forgotten_batches_are_found(self) -> None:
        """That a node goes on from an image without knowing which batches it holds is found."""
        finish = Reading.finish

        def forgetful(self: Reading) -> Applier:
            applier = finish(self)
            applier.origins = Origins()
            return applier

        self.patch(Reading, "finish", forgetful)
        self.assertTrue(self.is_found())

    def test_early_faith_is_found(self) -> None:
        """That a node goes on from an image before its journal has it is found."""

        def hasty(self: Receiving, incoming: Incoming, message: ImageEnd) -> None:
            adopted = incoming.end(message)
            assert incoming.writer is not None
            incoming.is_whole = True
            incoming.writer.finish().addErrback(_ignore)
            self._finished(incoming, adopted, None)

        self.patch(Receiving, "_end", hasty)
        self.assertTrue(self.is_found())


def _ignore(failure: object) -> None:
    """Let a disk fail, as the node is told of that otherwise."""
