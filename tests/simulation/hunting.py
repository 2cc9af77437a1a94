"""The hunt for a seed in which a broken rule is noticed."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord.simulation.run import Run


class Hunt(SynchronousTestCase):
    """Goes through seeds until a judge bites."""

    def hunt(self, seeds: int, *beginnings: str, **options: Any) -> None:
        """Assert that one of so many seeds ends with a violation that begins so."""
        for seed in range(seeds):
            violations = Run(seed, **options).run().violations
            self.flushLoggedErrors()
            if any(violation.startswith(beginnings) for violation in violations):
                return
        self.fail(f"nobody noticed in {seeds} seeds")
