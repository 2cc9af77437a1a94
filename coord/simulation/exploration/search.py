"""Breadth first through all states of a small world, up to a depth."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs

from coord.simulation.exploration.story import go, name_steps, shortened, tell
from coord.simulation.exploration.world import FIRST, Bounds, Choice, Kind, State, World

DEPTH = 1000
"""Deeper than any small world goes."""


@attrs.define
class Report:
    """What a search has met.

    ``is_whole`` says that nothing within the bounds was left out; ``ends`` counts states after which
    nothing can happen any more; ``counts`` says what happened how often.
    """

    states: int = 0
    transitions: int = 0
    ends: int = 0
    deepest: int = 0
    is_whole: bool = False
    counts: Counter[str] = attrs.Factory(Counter)
    flaw: str = ""
    steps: Sequence[str] = ()
    story: Sequence[str] = ()

    def describe(self) -> str:
        """Return the report in lines, the story last."""
        lines = [f"{number:>12} {what}" for what, number in sorted(self.counts.items())]
        whole = "all there are" if self.is_whole else "cut short"
        lines.append(
            f"{self.states} states ({whole}), {self.transitions} transitions, {self.ends} ends,"
            f" deepest {self.deepest}"
        )
        if self.flaw:
            lines += [f"VIOLATED {self.flaw}", *self.story]
            lines.append(f"--replay '{' '.join(self.steps)}'")
        return "\n".join(lines)


class Search:
    """One search: from the beginning, or from the end of a story (``steps``) on."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        steps: Sequence[str] = (),
        depth: int = DEPTH,
        states_max: int = 1 << 60,
        progress: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self.world = World(bounds)
        self.report = Report()
        self._steps = list(steps)
        self._depth = depth
        self._states_max = states_max
        self._progress = progress
        self._seen: dict[State, State | None] = {}
        self._kinds = [0] * len(Kind)
        self._arrived: Counter[int] = Counter()

    def run(self) -> Report:
        """Search until a rule is broken, or nothing is left."""
        with _no_collections():
            frontier = [self._begin()]
            while frontier and not self.report.flaw and self.report.deepest < self._depth:
                if len(self._seen) >= self._states_max:
                    break
                frontier = self._level(frontier)
                self.report.deepest += bool(frontier)
        self.report.is_whole = not frontier
        self._count()
        return self.report

    def _begin(self) -> State:
        state = self.world.initial()
        for _, _, state, flaw in go(self.world, self._steps):
            assert not flaw, flaw
        self._seen[state] = None
        self.report.states = 1
        return state

    def _level(self, frontier: list[State]) -> list[State]:
        """Take one more step from each state; return the states that are new."""
        found: list[State] = []
        report, seen = self.report, self._seen
        for state in frontier:
            before = report.transitions
            for choice, after, flaw in self._ways(state):
                report.transitions += 1
                if flaw:
                    self._broken(state, choice, flaw)
                    return found
                if after not in seen:
                    seen[after] = state
                    found.append(after)
            report.ends += report.transitions == before
            report.states = len(seen)
            self._progress(report)
        return found

    def _ways(self, state: State) -> Iterator[tuple[Choice, State, str]]:
        perform, kinds = self.world.perform, self._kinds
        for choice in self.world.choices(state):
            after, flaw = perform(state, choice)
            if after is state:
                continue
            kinds[choice.kind] += 1
            if choice.kind == Kind.TAKE:
                self._arrived[choice.parcel] += 1
            yield choice, after, flaw

    def _broken(self, state: State, choice: Choice, flaw: str) -> None:
        """Tell the way to where a rule was broken: one of the shortest, as all were gone at once."""
        way, at = [state], self._seen[state]
        while at is not None:
            way.append(at)
            at = self._seen[at]
        way.reverse()
        way.append(self.world.perform(state, choice)[0])
        steps = [*self._steps, *name_steps(self.world, way)]
        self.report.flaw = flaw
        self.report.steps = shortened(self.world.bounds, steps) if self._steps else steps
        self.report.story = list(tell(self.world, self.report.steps))

    def _count(self) -> None:
        counts = self.report.counts
        counts.update({kind.name.lower(): self._kinds[kind] for kind in Kind if self._kinds[kind]})
        for number, times in self._arrived.items():
            counts[f"take {type(self.world.lives.parcel(number).message).__name__}"] += times
        counts["most slots agreed"] = max(len(self.world.past(one).agreed) for one in self._seen)
        counts["states with two leaders"] = sum(map(self._is_torn, self._seen))
        counts["states with a read under way"] = sum(
            bool(self.world.past(one).asked) for one in self._seen
        )
        counts["local states"] = len(self.world.lives)

    def _is_torn(self, state: State) -> bool:
        prospect = self.world.lives.prospect
        return sum(prospect(life).is_leading for life in state[FIRST:]) > 1


@contextmanager
def _no_collections() -> Iterator[None]:
    """Make millions of tuples, none of which is garbage, without looking for any."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
