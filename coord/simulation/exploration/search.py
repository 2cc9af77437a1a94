"""Through a small world: all ways, breadth first, or many by dice, deep."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import attrs

from coord.simulation.exploration.story import go, name_steps, shortened, tell
from coord.simulation.exploration.world import SETTLING, Bounds, Choice, Kind, State, World

DEPTH = 1000
"""Deeper than any small world goes."""
USUAL = 0.85
"""How often in a walk something happens that brings what was begun to an end."""


@attrs.define
class Report:
    """What a search has met.

    ``is_whole`` says that nothing within the bounds was left out; ``ends`` counts states after
    which nothing can happen any more; ``counts`` says what happened how often.
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


class Way:
    """What both ways through a world share: where it begins, what is counted, what is told."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        steps: Sequence[str] = (),
        progress: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self.world = World(bounds)
        self.report = Report()
        self._steps = list(steps)
        self._progress = progress
        self._kinds = [0] * len(Kind)
        self._arrived: Counter[int] = Counter()

    def _begin(self) -> State:
        state = self.world.initial()
        for _, _, after, flaw in go(self.world, self._steps):
            assert not flaw, flaw
            state = after
        return state

    def _went(self, choice: Choice) -> None:
        self.report.transitions += 1
        self._kinds[choice.kind] += 1
        if choice.kind == Kind.TAKE:
            self._arrived[choice.parcel] += 1

    def _broken(self, way: Sequence[State], flaw: str, *, is_shortest: bool) -> None:
        """Tell the way to where a rule was broken."""
        steps = [*self._steps, *name_steps(self.world, way)]
        self.report.flaw = flaw
        self.report.steps = steps if is_shortest else shortened(self.world, steps)
        self.report.story = list(tell(self.world, self.report.steps))

    def _count(self) -> None:
        counts = self.report.counts
        counts.update({kind.name.lower(): self._kinds[kind] for kind in Kind if self._kinds[kind]})
        for number, times in self._arrived.items():
            counts[f"take {type(self.world.lives.parcel(number).message).__name__}"] += times
        counts["local states"] = len(self.world.lives)
        counts["most slots agreed"] = self.world.most_agreed


class Search(Way):
    """All ways: from the beginning, or from the end of a story (``steps``) on."""

    def __init__(
        self, bounds: Bounds, *, depth: int = DEPTH, states_max: int = 1 << 60, **rest: Any
    ) -> None:
        super().__init__(bounds, **rest)
        self._depth = depth
        self._states_max = states_max
        self._seen: dict[State, State | None] = {}

    def run(self) -> Report:
        """Search until a rule is broken, or nothing is left."""
        frontier = [self._begin()]
        self._seen[frontier[0]] = None
        with _no_collections():
            while frontier and not self.report.flaw and self.report.deepest < self._depth:
                if len(self._seen) >= self._states_max:
                    break
                frontier = self._level(frontier)
                self.report.deepest += bool(frontier)
            self._count()
        self.report.is_whole = not frontier
        self.report.states = len(self._seen)
        return self.report

    def _level(self, frontier: list[State]) -> list[State]:
        """Take one more step from each state; return the states that are new."""
        found: list[State] = []
        report, seen = self.report, self._seen
        for state in frontier:
            before = report.transitions
            for choice in self.world.choices(state):
                after, flaw = self.world.perform(state, choice)
                if after is state:
                    continue
                self._went(choice)
                if flaw:
                    way = [*self._way_to(state), after]
                    self._broken(way, flaw, is_shortest=not self._steps)
                    return found
                if after not in seen:
                    seen[after] = state
                    found.append(after)
            report.ends += report.transitions == before
            report.states = len(seen)
            self._progress(report)
        return found

    def _way_to(self, state: State) -> list[State]:
        """Return one of the shortest ways there, as all were gone at once."""
        way: list[State] = []
        at: State | None = state
        while at is not None:
            way.append(at)
            at = self._seen[at]
        return way[::-1]

    def _count(self) -> None:
        super()._count()
        self.report.counts["states with two leaders"] = sum(map(self.world.is_torn, self._seen))


class Walks(Way):
    """Ways by dice, each to its end: deep, where a search of all is wide."""

    def __init__(
        self, bounds: Bounds, *, walks: int, seed: int = 1, length: int = 300, **rest: Any
    ) -> None:
        super().__init__(bounds, **rest)
        self._dice = Random(seed)
        self._walks = walks
        self._length = length

    def run(self) -> Report:
        """Walk until a rule is broken, or all walks are done."""
        first = self._begin()
        with _no_collections():
            for _ in range(self._walks):
                self._walk(first)
                self._progress(self.report)
                if self.report.flaw:
                    break
            self._count()
        return self.report

    def _walk(self, state: State) -> None:
        way = [state]
        report = self.report
        for _ in range(self._length):
            possible = list(self.world.choices(state))
            if not possible:
                report.ends += 1
                break
            choice = self._pick(possible)
            state, flaw = self.world.perform(state, choice)
            if state is way[-1]:
                continue
            self._went(choice)
            way.append(state)
            report.counts["states with two leaders"] += self.world.is_torn(state)
            if flaw:
                self._broken(way, flaw, is_shortest=False)
                break
        report.states += len(way)
        report.deepest = max(report.deepest, len(way) - 1)

    def _pick(self, possible: list[Choice]) -> Choice:
        """Choose, so that what may happen a few times does not happen all at the beginning."""
        usual = [one for one in possible if one.kind in SETTLING]
        seldom = [one for one in possible if one.kind not in SETTLING]
        if not seldom or (usual and self._dice.random() < USUAL):
            return self._dice.choice(usual)
        return self._dice.choice(seldom)


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
