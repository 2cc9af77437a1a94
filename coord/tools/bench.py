"""``coord-bench``: how fast a cluster is, for those who use it.

Exit status: 0 done, 1 some answer was an error or wrong, 2 usage, 3 no server reached.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence

from coord.tools.bench_figures import Report, Window
from coord.tools.bench_load import Load
from coord.tools.bench_watchers import Watchers
from coord.tools.bench_work import Address, Lost, Ring, Work, Wrong, fill

OPERATIONS = ("write", "read", "local-read", "mix")
Run = Callable[[float, list[tuple[float, int]]], tuple[int, float]]


def main(words: Sequence[str] | None = None) -> int:
    """Measure what ``words`` (or the process's own) ask for; return the exit status."""
    given = _parser().parse_args(words)
    try:
        report = _watchers(given) if given.watchers else _load(given)
    except (Lost, OSError) as error:
        print(f"coord-bench: {error}", file=sys.stderr)
        return 3
    except Wrong as error:
        print(f"coord-bench: {error}", file=sys.stderr)
        return 1
    print(report.as_json() if given.json else report.as_text())
    return 1 if report.errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coord-bench",
        description="Measure a cluster: a closed loop of requests, or the way of a change to its"
        " watchers. It writes below /bench and leaves what it wrote there.",
    )
    add = parser.add_argument
    add("--server", action="append", type=_address, metavar="HOST:PORT", help="repeatable;"
        " connections are dealt out in turn (COORD_SERVERS, or localhost:8046)")  # fmt: skip
    add("--operation", choices=OPERATIONS, default="write", help="what to ask for (write)")
    add("--outstanding", type=_positive, default=64, help="requests under way on each (64)")
    add("--connections", type=_positive, default=1, help="how many (1)")
    add("--watchers", type=int, default=0, help="measure so many watchers of one path instead")
    add("--seconds", type=float, default=5.0, help="how long a window is (5)")
    add("--windows", type=_positive, default=3, help="how many are measured (3)")
    add("--warmup", type=float, default=1.0, help="seconds before the first (1)")
    add("--keys", type=_positive, default=1000, help="how many paths are used (1000)")
    add("--value-bytes", type=_positive, default=100, help="size of each value (100)")
    add("--json", action="store_true", help="print the figures for a program")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "localhost", int(port)


def _servers(given: argparse.Namespace) -> list[Address]:
    if given.server:
        return list(given.server)
    written = os.environ.get("COORD_SERVERS", "localhost:8046")
    return [_address(word) for word in written.replace(",", " ").split()]


def _load(given: argparse.Namespace) -> Report:
    servers = _servers(given)
    work = Work(operation=given.operation, keys=given.keys, value_bytes=given.value_bytes)
    if given.operation != "write":
        fill(servers[0], work)
    stride = max(1, work.keys // given.connections)
    rings = [Ring(work, number * stride) for number in range(given.connections)]
    load = Load(servers, rings, given.outstanding)
    try:
        load.start()
        windows = _measure(load.run, given)
    finally:
        load.close()
    what = (
        f"{given.operation}: {given.connections} connections x {given.outstanding} outstanding,"
        f" {len(servers)} servers, values of {given.value_bytes} bytes, {given.keys} keys"
    )
    return Report.of(what, "answers", windows, load.errors)


def _watchers(given: argparse.Namespace) -> Report:
    servers = _servers(given)
    watchers = Watchers(servers, given.watchers, given.value_bytes)
    try:
        windows = _measure(watchers.run, given)
    finally:
        watchers.close()
    what = (
        f"{given.watchers} watchers of one path on {len(servers)} servers; the time from a"
        " write's issue to the last notification"
    )
    return Report.of(what, "notifications", windows, Counter())


def _measure(run: Run, given: argparse.Namespace) -> list[Window]:
    """Run the warm-up, then the windows, in short steps so that progress can be shown."""
    whole = given.warmup + given.windows * given.seconds
    show = _bar if sys.stderr.isatty() else _silent
    done = 0.0
    windows: list[Window] = []
    for seconds in (given.warmup, *[given.seconds] * given.windows):
        window = Window(0.0)
        while window.seconds < seconds:
            step = min(0.5, seconds - window.seconds)
            answers, took = run(step, window.samples)
            window.answers += answers
            window.seconds += took
            done += took
            show(done / whole, answers / took)
        windows.append(window)
    show(-1.0, 0.0)
    return windows[1:]


def _bar(part: float, per_second: float) -> None:
    """Show how far it is, on one line of the terminal; a negative part takes it away."""
    if part < 0:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        return
    full = min(30, int(30 * part))
    text = f"\r[{'#' * full}{' ' * (30 - full)}] {min(1.0, part):4.0%} {per_second:12,.0f}/s"
    print(text, end="", file=sys.stderr, flush=True)


def _silent(part: float, per_second: float) -> None:
    """Show nothing: the output goes into a pipe."""


if __name__ == "__main__":
    raise SystemExit(main())
