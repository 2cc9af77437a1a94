"""``python -m coord.simulation.nemesis``: rounds on one cluster, for as long as it is told.

Exit status: 0 all is well, 1 something was violated (and the folder with logs and journals is
kept), 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import LoopingCall

from coord.simulation.nemesis.faults import NAMES
from coord.simulation.nemesis.field import Field
from coord.simulation.nemesis.round import Round
from coord.simulation.processes import TooLong

ROUND_SECONDS = 40.0
SHOW_SECONDS = 0.5


class Nemesis:
    """A whole run: one cluster, one round after the other."""

    def __init__(self, reactor: Any, given: argparse.Namespace) -> None:
        self._reactor = reactor
        self._given = given
        self._ends_at = 0.0
        self._number = 0
        self._round: Round | None = None
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    async def run(self) -> int:
        """Go through all rounds; return the exit status."""
        field = Field(self._reactor, self._given.nodes, wants_disk=True)
        showing = LoopingCall(self._show)
        try:
            self._begin(field, showing)
            await field.open()
            self._ends_at = self._reactor.seconds() + 60 * self._given.minutes
            while self._left_seconds() > 0:
                await self._one_round(field)
        except TooLong as error:
            self._found([f"liveness: {error}"])
        finally:
            if showing.running:
                showing.stop()
            self._clear()
            await field.close(keep=bool(self.violations))
        self._report(field)
        return 1 if self.violations else 0

    def _begin(self, field: Field, showing: LoopingCall) -> None:
        print(f"seed {self._given.seed}, {self._given.nodes} nodes in {field.folder}", flush=True)
        if field.disk is None:
            print(f"skipped: full disks (no tmpfs here: {field.why_no_disk})", flush=True)
        showing.clock = self._reactor
        if sys.stderr.isatty():
            showing.start(SHOW_SECONDS, now=False)

    def _left_seconds(self) -> float:
        return self._ends_at - float(self._reactor.seconds())

    async def _one_round(self, field: Field) -> None:
        self._number += 1
        self._round = Round(field, self._number, self._given.seed, self._given.only or ())
        found = await self._round.run(min(ROUND_SECONDS, max(1.0, self._left_seconds())))
        self.counts += self._round.record.counts
        self._round = None
        self._found(found)

    def _found(self, violations: Sequence[str]) -> None:
        """Take note of what was violated, and say it at once."""
        self._clear()
        for one in violations:
            self.violations.append(one)
            print(f"round {self._number}: {one}", flush=True)

    # -- what a person sees ---------------------------------------------------------------------
    def _show(self) -> None:
        record = None if self._round is None else self._round.record
        counts = self.counts + (Counter() if record is None else record.counts)
        done = sum(number for what, number in counts.items() if what.startswith("answers"))
        left = max(0, int(self._left_seconds()))
        faults = sum(counts[what] for what in counts if what.startswith(FAULTS))
        line = (
            f"round {self._number}, {left // 60}:{left % 60:02} left, {done} answers,"
            f" {faults} faults, {len(self.violations)} violations"
        )
        print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if sys.stderr.isatty():
            print(f"\r{'':<78}\r", end="", file=sys.stderr, flush=True)

    def _report(self, field: Field) -> None:
        for what, number in sorted(self.counts.items()):
            print(f"{number:>10} {what}")
        kept = f", all is kept in {field.folder}" if self.violations else ""
        print(f"{self._number} rounds, {len(self.violations)} violations{kept}")


FAULTS = ("killed", "stopped", "leaders", "quorums", "disks", "roads", "nodes", "all roads")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m coord.simulation.nemesis",
        description="Real nodes under real faults, held to their promises.",
    )
    add = parser.add_argument
    add("--minutes", type=float, default=1.0, help="for how long faults go on (1)")
    add("--seed", type=int, default=1, help="what decides which faults (1)")
    only = "one of the faults that may happen (repeatable; all of them)"
    add(
        "--only",
        action="append",
        choices=NAMES,
        metavar="FAULT",
        help=f"{only}: {', '.join(NAMES)}",
    )
    add("--nodes", type=int, default=3, help="how many nodes, two at least (3)")
    given = parser.parse_args(words)
    if given.nodes < 2:
        parser.error("--nodes: one alone has no roads to others; take two or more")
    return given
