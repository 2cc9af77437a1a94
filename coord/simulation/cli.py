"""``python -m coord.simulation``: run seeds and say what they found.

Exit status: 0 all is well, 1 something was violated, 2 usage.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from coord.simulation.run import SAFETY_SECONDS, Run


def main(words: Sequence[str] | None = None) -> int:
    """Run what ``words`` (or the process's own) ask for; return the exit status."""
    given = _parser().parse_args(words)
    exercised: Counter[str] = Counter()
    failed: list[int] = []
    for seed in range(given.seed, given.seed + given.seeds):
        report = Run(
            seed, print if given.verbose else None, safety_seconds=given.safety_seconds
        ).run()
        exercised.update(report.counts)
        if report.violations:
            failed.append(seed)
        if report.violations or given.seeds == 1:
            print(report.describe())
    if given.seeds > 1:
        for what, number in sorted(exercised.items()):
            print(f"{number:>10} {what}")
        print(f"{given.seeds} seeds, {len(failed)} failed {failed or ''}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m coord.simulation",
        description="Run a whole cluster in a world that one seed decides, and judge it.",
    )
    add = parser.add_argument
    add("--seed", type=int, default=1, help="the first seed (1)")
    add("--seeds", type=int, default=1, help="how many, from there on (1)")
    add(
        "--safety-seconds",
        type=float,
        default=SAFETY_SECONDS,
        help=f"for how long faults go on, by the world's clock ({SAFETY_SECONDS:g})",
    )
    add("--verbose", action="store_true", help="tell what happens, line by line")
    return parser
