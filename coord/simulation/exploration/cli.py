"""``python -m coord.simulation.exploration``: all that can happen in a small world.

Exit status: 0 no rule is broken, 1 one is (and the story is told), 2 usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from coord.errors import BadRequest
from coord.paxos.membership import Configuration
from coord.simulation.exploration.search import DEPTH, Report, Search, Walks
from coord.simulation.exploration.story import go, tell
from coord.simulation.exploration.world import Bounds, World

SHOW_SECONDS = 0.5
STATES_MAX = 10_000_000
"""About five gigabytes of memory."""


class Progress:
    """The line that says how far a search is, on a terminal."""

    def __init__(self) -> None:
        self._began_at = self._shown_at = time.monotonic()
        self._is_shown = sys.stderr.isatty()

    def show(self, report: Report) -> None:
        """Show how far it is, now and then."""
        now = time.monotonic()
        if not self._is_shown or now - self._shown_at < SHOW_SECONDS:
            return
        self._shown_at = now
        line = f"depth {report.deepest + 1}, {report.states} states, {self._rate(report)} a second"
        print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)

    def end(self, report: Report) -> str:
        """Clear the line; return how long it took."""
        if self._is_shown:
            print(f"\r{'':<78}\r", end="", file=sys.stderr, flush=True)
        return f"{time.monotonic() - self._began_at:.1f} s, {self._rate(report)} states a second"

    def _rate(self, report: Report) -> int:
        return int(report.states / max(0.001, time.monotonic() - self._began_at))


def main(words: Sequence[str] | None = None) -> int:
    """Search, or go through one story again; return the exit status."""
    parser = _parser()
    given = parser.parse_args(words)
    bounds = _bounds(given)
    try:
        if given.replay is not None:
            return _replay(bounds, given.replay.split())
        return _search(bounds, given)
    except BadRequest as error:
        parser.error(str(error))


def _search(bounds: Bounds, given: argparse.Namespace) -> int:
    progress = Progress()
    begin: dict[str, Any] = {"steps": given.after.split(), "progress": progress.show}
    way: Search | Walks
    if given.walks:
        way = Walks(bounds, walks=given.walks, seed=given.seed, **begin)
    else:
        way = Search(bounds, depth=given.depth, states_max=given.states, **begin)
    report = way.run()
    took = progress.end(report)
    print(report.describe())
    print(took)
    return 1 if report.flaw else 0


def _replay(bounds: Bounds, names: Sequence[str]) -> int:
    for line in tell(World(bounds), names):
        print(line)
    return 1 if any(flaw for *_, flaw in go(World(bounds), names)) else 0


def _bounds(given: argparse.Namespace) -> Bounds:
    return Bounds(
        nodes=given.nodes,
        voters=given.voters,
        proposals=given.proposals,
        changes=tuple(given.change),
        crashes=given.crashes,
        losses=given.losses,
        repeats=given.repeats,
        waits=given.waits,
        reads=given.reads,
        alpha=given.alpha,
        is_ordered=not given.any_order,
        is_apart=given.clocks_apart,
        is_prompt=given.prompt_disks,
        is_led=not given.from_scratch,
    )


def _configuration(text: str) -> Configuration:
    voters, _, learners = text.partition("|")
    if not voters.split():
        raise argparse.ArgumentTypeError("who votes, and after a | who learns: 'n1 n2 | n3'")
    return Configuration(tuple(voters.split()), tuple(learners.split()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m coord.simulation.exploration",
        description="Every interleaving of a small world, on the real replica.",
    )
    add = parser.add_argument
    add("--nodes", type=int, default=3, help="how many nodes (3)")
    add("--voters", type=int, default=0, help="how many of them vote at first; others learn (all)")
    add("--proposals", type=int, default=1, help="how many values are proposed at most (1)")
    add(
        "--change",
        action="append",
        default=[],
        type=_configuration,
        metavar="'n1 n2 | n3'",
        help="a configuration that is proposed: voters, then learners (repeatable, in order)",
    )
    add("--crashes", type=int, default=0, help="how often a node may crash and start again (0)")
    add("--losses", type=int, default=0, help="how many messages may be lost (0)")
    add("--repeats", type=int, default=0, help="how many messages may arrive twice (0)")
    add("--waits", type=int, default=1, help="how often time may pass until a node acts (1)")
    add("--reads", type=int, default=0, help="how many linearizable reads may be asked for (0)")
    add("--alpha", type=int, default=2, help="how many slots may be open (2)")
    add("--any-order", action="store_true", help="messages arrive in any order, or never")
    add("--clocks-apart", action="store_true", help="clocks run as they like; no leases")
    add("--prompt-disks", action="store_true", help="disks write at once")
    add("--from-scratch", action="store_true", help="nobody leads at first, else n1 does")
    add("--depth", type=int, default=DEPTH, help="how many steps at most (no bound)")
    add("--states", type=int, default=STATES_MAX, help=f"how many states at most ({STATES_MAX})")
    add("--walks", type=int, default=0, help="walk so often by dice instead, each way to its end")
    add("--seed", type=int, default=1, help="what decides the walks (1)")
    add("--after", default="", metavar="STORY", help="search from the end of a story on")
    add("--replay", metavar="STORY", help="tell one story, step by step, instead")
    return parser
