"""What a load generator measured: windows of time, percentiles, and a line for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

import msgspec

PERCENTILES: Final = (50, 90, 99)


class Window(msgspec.Struct):
    """One stretch of time: how many answers came, and how long each took.

    ``samples`` are pairs of a latency in seconds and the number of answers that took so long.
    """

    seconds: float
    answers: int = 0
    samples: list[tuple[float, int]] = msgspec.field(default_factory=list)

    def figures(self) -> Figures:
        """Return the rate per second, and the percentiles of latency in milliseconds."""
        samples = sorted(self.samples)
        marks = percentiles(samples, PERCENTILES)
        worst = samples[-1][0] if samples else 0.0
        return Figures(self.answers / self.seconds, *(1000 * mark for mark in (*marks, worst)))


class Figures(msgspec.Struct, frozen=True):
    """A rate per second, and latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


def percentiles(samples: Sequence[tuple[float, int]], wanted: Sequence[int]) -> list[float]:
    """Return the values below which so many percent lie; ``samples`` are sorted and weighted."""
    total = sum(weight for _, weight in samples)
    found: list[float] = []
    below = 0
    rest = iter(samples)
    value = 0.0
    for percent in wanted:
        while below < total * percent / 100:
            value, weight = next(rest)
            below += weight
        found.append(value)
    return found


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run measured."""

    what: str
    unit: str
    windows: tuple[Figures, ...]
    errors: dict[str, int]
    more: dict[str, float] = {}

    @classmethod
    def of(
        cls,
        what: str,
        unit: str,
        windows: Sequence[Window],
        errors: Counter[str],
        more: Mapping[str, float] | None = None,
    ) -> Report:
        """Return the report of some windows, and what ``more`` was measured over all of them."""
        figures = tuple(window.figures() for window in windows)
        told = dict(sorted(errors.items()))
        return cls(what=what, unit=unit, windows=figures, errors=told, more=dict(more or {}))

    def summary(self) -> dict[str, dict[str, float]]:
        """Return for each figure its median, least and greatest over the windows."""
        return {
            name: _spread([getattr(window, name) for window in self.windows])
            for name in Figures.__struct_fields__
        }

    def as_json(self) -> str:
        """Return the report for a program."""
        content: dict[str, Any] = {**msgspec.to_builtins(self), "summary": self.summary()}
        return msgspec.json.format(msgspec.json.encode(content)).decode()

    def as_text(self) -> str:
        """Return the report for a person: a row for each window, then the medians."""
        names = ("p50 ms", "p90 ms", "p99 ms", "max ms")
        lines = [self.what, _row("window", f"{self.unit}/s", names)]
        for number, window in enumerate(self.windows, 1):
            rate, *latencies = msgspec.structs.astuple(window)
            lines.append(_row(str(number), f"{rate:,.0f}", [f"{one:.3f}" for one in latencies]))
        rate, *latencies = self.summary().values()
        lines.append(
            _row("median", f"{rate['median']:,.0f}", [f"{one['median']:.3f}" for one in latencies])
        )
        lines.append(f"{self.unit}/s [{rate['min']:,.0f} - {rate['max']:,.0f}]")
        lines += [f"{name}: {figure:,.3f}" for name, figure in self.more.items()]
        for code, number in self.errors.items():
            lines.append(f"errors: {number:,} x {code}")
        return "\n".join(lines)


def _row(first: str, rate: str, latencies: Sequence[str]) -> str:
    return f"{first:>8} {rate:>12} " + " ".join(f"{one:>9}" for one in latencies)


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"median": 0.0, "min": 0.0, "max": 0.0}
    return {"median": median(values), "min": min(values), "max": max(values)}
