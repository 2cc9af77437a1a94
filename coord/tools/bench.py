"""``coord-bench``: how fast a cluster is, for those who use it.

Exit status: 0 done, 1 some answer was an error or wrong, 2 usage, 3 no server reached.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from coord.tools.bench_figures import PERCENTILES, Report, Window, percentiles
from coord.tools.bench_load import Load
from coord.tools.bench_sessions import PINGS_PER_TIMEOUT, Sessions
from coord.tools.bench_watchers import Watchers
from coord.tools.bench_work import LINES, Address, Lost, Ring, Work, Wrong, fill
from coord.tools.reach import SECRET_FILE, secret_in
from coord.tools.running import Usage

OPERATIONS = ("write", "read", "local-read", "mix", "once", "lock", "transaction")
Run = Callable[[float, list[tuple[float, int]]], tuple[int, float]]


def main(words: Sequence[str] | None = None) -> int:
    """Measure what ``words`` (or the process's own) ask for; return the exit status."""
    given = _parser().parse_args(words)
    try:
        if given.watchers:
            report = _watchers(given)
        else:
            report = _sessions(given) if given.sessions else _load(given)
    except (Lost, OSError) as error:
        print(f"coord-bench: {error}", file=sys.stderr)
        return 3
    except Wrong as error:
        print(f"coord-bench: {error}", file=sys.stderr)
        return 1
    except Usage as error:
        print(f"coord-bench: {error}", file=sys.stderr)
        return 2
    print(report.as_json() if given.json else report.as_text())
    return 1 if report.errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coord-bench",
        description="Measure a cluster: a closed loop of requests, the way of a change to its"
        " watchers, or sessions that do nothing but live. It writes below /bench and leaves what it"
        " wrote there.",
    )
    add = parser.add_argument
    add("--server", action="append", type=_address, metavar="HOST:PORT", help="repeatable;"
        " connections are dealt out in turn (COORD_SERVERS, or localhost:8046)")  # fmt: skip
    add("--operation", choices=OPERATIONS, default="write", help="what to ask for: writes;"
        " reads; both in turn (mix); writes with an id each (once); LOCK and UNLOCK; transactions"
        " of two writes (write)")  # fmt: skip
    add("--outstanding", type=_positive, default=64, help="requests under way on each (64)")
    add("--connections", type=_positive, default=1, help="how many (1)")
    add("--watchers", type=int, default=0, help="measure so many watchers of one path instead")
    add("--sessions", type=int, default=0, help="measure so many idle sessions instead")
    add("--timeout", type=float, default=10.0, help="the timeout of each of those (10)")
    add("--pid", action="append", type=int, default=[], metavar="PID", help="tell what share of one"
        " processor this process of this machine takes; repeatable")  # fmt: skip
    add("--secret-file", metavar="FILE", help="whose first secret is shown to the servers"
        " (COORD_SECRET_FILE)")  # fmt: skip
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
    return Address(host.strip("[]") or "localhost", int(port))


def _servers(given: argparse.Namespace) -> list[Address]:
    written = os.environ.get("COORD_SERVERS", "localhost:8046")
    servers = given.server or [_address(word) for word in written.replace(",", " ").split()]
    secret = secret_in(given.secret_file or os.environ.get(SECRET_FILE)) or b""
    return [server._replace(secret=secret) for server in servers]


def _load(given: argparse.Namespace) -> Report:
    servers = _servers(given)
    work = Work(operation=given.operation, keys=given.keys, value_bytes=given.value_bytes)
    if given.operation in ("read", "local-read", "mix"):
        fill(servers[0], work)
    stride = max(1, work.keys // given.connections)
    rings = [Ring(work, number * stride) for number in range(given.connections)]
    shares = Shares(given.pid)
    with closing(Load(servers, rings, given.outstanding)) as load:
        load.start()
        windows = _measure(load.run, given, shares)
    lines = LINES.get(given.operation, 1)
    for window in windows:
        window.answers //= lines
    what = (
        f"{given.operation}: {given.connections} connections x {given.outstanding} outstanding,"
        f" {len(servers)} servers, values of {given.value_bytes} bytes, {given.keys} keys"
    )
    unit = "answers" if lines == 1 else f"{given.operation}s"
    return Report.of(what, unit, windows, load.errors, shares.told())


def _watchers(given: argparse.Namespace) -> Report:
    servers = _servers(given)
    shares = Shares(given.pid)
    with closing(Watchers(servers, given.watchers, given.value_bytes)) as watchers:
        windows = _measure(watchers.run, given, shares)
    what = (
        f"{given.watchers} watchers of one path on {len(servers)} servers, each with a connection;"
        " the time from a write's answer to the last notification"
    )
    marks = percentiles(sorted(watchers.each), PERCENTILES)
    each = {
        f"each notification p{percent} ms": 1000 * mark
        for percent, mark in zip(PERCENTILES, marks, strict=True)
    }
    return Report.of(what, "notifications", windows, Counter(), {**each, **shares.told()})


def _sessions(given: argparse.Namespace) -> Report:
    servers = _servers(given)
    shares = Shares(given.pid)
    with closing(Sessions(servers, given.sessions, given.timeout)) as sessions:
        windows = _measure(sessions.run, given, shares)
    what = (
        f"{given.sessions} idle sessions of {given.timeout:g} s on {len(servers)} servers, each"
        f" with a connection and {PINGS_PER_TIMEOUT} PINGs in its timeout"
    )
    return Report.of(what, "answers", windows, sessions.errors, shares.told())


class Shares:
    """What share of one processor some processes of this machine take."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._began = time.monotonic()
        self._before = [_seconds_of(pid) for pid in self._pids]

    def told(self) -> dict[str, float]:
        """Return the shares in percent."""
        passed = time.monotonic() - self._began
        return {
            f"process {pid} %": 100 * (_seconds_of(pid) - before) / passed
            for pid, before in zip(self._pids, self._before, strict=True)
        }


def _seconds_of(pid: int) -> float:
    """Return for how long a process has run on any processor; raises OSError."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _measure(run: Run, given: argparse.Namespace, shares: Shares) -> list[Window]:
    """Run the warm-up, then the windows, in short steps so that progress can be shown."""
    whole = given.warmup + given.windows * given.seconds
    show = _bar if sys.stderr.isatty() else _silent
    done = 0.0
    windows: list[Window] = []
    for number, seconds in enumerate((given.warmup, *[given.seconds] * given.windows)):
        if number == 1:
            shares.begin()
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
