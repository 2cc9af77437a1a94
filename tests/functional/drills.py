"""The page of fire drills as a program: its commands, typed into a shell beside a demonstration.

In ``doc/firedrill.rst`` a line that begins with ``$`` is typed, and the lines after it come back.
What comes back may differ from the page in numbers (a node's name has one), in a node's role, in
what ``...`` stands for, and in how wide the space between words is. Who asks how things stand asks
again until they are as the page has them.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from queue import Empty, Queue

import attrs

from coord.tools.demo import BASE_PORT
from tests.functional.cluster import (
    PATIENCE_SECONDS,
    ROOT,
    Link,
    TooLong,
    eventually,
    free_base,
    surroundings,
)

PAGE = ROOT / "doc" / "firedrill.rst"
NODES = 6
OFFSETS = [kind + index for kind in (0, 10, 20, 30) for index in range(NODES)]
"""The ports of lines, pages, consoles and peers, counted from the first."""
PROMPT = "    $ "
LOOKS = re.compile(r"(ssh .* )?(coord (--server \S+ )?(get|status|members|ls)|tail|grep|wc)\b")
"""What only looks, and can look again."""
PROGRAMS = {
    "bin/demo": ("demo", "--default-dir", ".demo"),
    ".venv/bin/coord": ("cli",),
    ".venv/bin/coord-backup": ("backup",),
}
ENDED = "=ended="


@attrs.frozen
class Step:
    """What is typed, and the lines that come back."""

    typed: str
    shown: tuple[str, ...] = ()

    @property
    def looks(self) -> bool:
        """Whether it changes nothing."""
        return LOOKS.match(self.typed) is not None

    def is_shown(self, lines: Iterable[str]) -> bool:
        """Say whether what came back is what the page has."""
        pattern = "".join(map(_pattern, self.shown))
        found = "".join(" ".join(line.split()) + "\n" for line in lines if line.strip())
        return re.fullmatch(pattern, found) is not None


def _pattern(line: str) -> str:
    """Return what a line of the page stands for: any number of lines where it is ``...`` alone."""
    if line == "...":
        return r"(.*\n)*"
    exact = re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*")
    numbers = re.sub("[0-9]+", "[0-9]+", exact)
    return re.sub("role=[a-z]+", "role=[a-z]+", numbers) + r"\n"


def read_page(text: str) -> dict[str, list[Step]]:
    """Return the steps of each drill by its title, those before the first as of ``""``."""
    drills: dict[str, list[Step]] = {"": []}
    title, lines = "", text.splitlines()
    for index, line in enumerate(lines):
        if lines[index + 1 : index + 2] and re.fullmatch("-{3,}", lines[index + 1]):
            title = line
            drills[title] = []
        elif line.startswith(PROMPT):
            drills[title].append(Step(line.removeprefix(PROMPT)))
        elif line.startswith("    ") and drills[title] and lines[index - 1].startswith("    "):
            last = drills[title][-1]
            drills[title][-1] = attrs.evolve(last, shown=(*last.shown, line.strip()))
    return drills


class Shell:
    """A shell that somebody sits at."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode().rstrip("\n"))

    def type(self, command: str) -> list[str]:
        """Return what a command prints, once it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\necho; echo {ENDED}\n".encode())
        self._process.stdin.flush()
        lines: list[str] = []
        while lines[-1:] != [ENDED]:
            try:
                lines.append(self._lines.get(timeout=PATIENCE_SECONDS))
            except Empty:
                raise TooLong(f"{command!r} does not end; so far: {lines}") from None
        return lines[:-1]

    def close(self) -> None:
        """End the shell and all that it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Yard:
    """A folder as a checkout is, with a demonstration that runs in it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="coord-drill-"))
        self.base = free_base(OFFSETS)
        for name, words in PROGRAMS.items():
            self._program(self.folder / name, words)
        self._out = self.folder / "out"
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the demonstration, and wait until it serves."""
        with self._out.open("wb") as out:
            self._demo = subprocess.Popen(
                [str(self.folder / "bin/demo"), "--base-port", str(self.base)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        eventually(self._has_begun, "the demonstration serves")

    def _has_begun(self) -> bool:
        said = self._out.read_text(encoding="utf-8")
        assert self._demo.poll() is None, said
        return "Ctrl-C" in said

    def _program(self, path: Path, words: Iterable[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        module, *more = words
        said = " ".join([sys.executable, "-m", f"coord.tools.{module}", *more])
        where = f"export PYTHONPATH={surroundings()['PYTHONPATH']}"
        path.write_text(f'#!/bin/sh\n{where}\nexec {said} "$@"\n', encoding="utf-8")
        path.chmod(0o755)

    def local(self, typed: str) -> str:
        """Return a text of the page with the ports that are had here."""
        return re.sub(
            rf"\b80({'|'.join(f'{BASE_PORT + offset}'[2:] for offset in OFFSETS)})\b",
            lambda match: str(int(match[0]) - BASE_PORT + self.base),
            typed,
        )

    def status(self, name: str) -> dict[str, str]:
        """Return the ``STATUS`` of a node; nothing where it does not answer."""
        try:
            with Link(self.base + int(name[1:]) - 1, 5.0) as link:
                rows = link.rows("STATUS")
        except OSError:
            return {}
        return dict(row.removeprefix("ITEM ").partition("=")[::2] for row in rows[:-1])

    def are_same(self, *names: str) -> bool:
        """Say whether nodes serve and have the same."""
        found = [self.status(name) for name in names]
        return (
            all(one.get("quorum") == "yes" for one in found)
            and len({one["digest"] for one in found}) == 1
        )

    def stop(self) -> None:
        """Press Ctrl-C."""
        self._demo.send_signal(signal.SIGINT)
        self._demo.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """End the demonstration, and remove the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def shared() -> Yard:
    """Return the yard of drills that leave all three nodes as they found them."""
    yard = Yard()
    atexit.register(yard.close)
    return yard


class Writing(threading.Thread):
    """Somebody who writes to whichever node answers, a number a time, and notes what was OK."""

    def __init__(self, yard: Yard) -> None:
        super().__init__(daemon=True)
        self._ports = [yard.base + node for node in range(NODES)]
        self._enough = False
        self.folder = f"/writing/{yard.base}-{time.monotonic_ns()}"
        self.done: list[int] = []

    def __enter__(self) -> Writing:
        self.start()
        eventually(lambda: len(self.done) > 10, "writes begin")
        return self

    def __exit__(self, *_: object) -> None:
        self._enough = True
        self.join(PATIENCE_SECONDS)

    def run(self) -> None:
        """Write; go on at the next node where one does not answer."""
        number = 0
        while not self._enough:
            port = self._ports[number % len(self._ports)]
            try:
                with Link(port, 5.0) as link:
                    while not self._enough:
                        number += 1
                        if not link.ask(f"SET {self.folder}/{number} {number}").startswith("OK "):
                            break
                        self.done.append(number)
            except OSError:
                number += 1

    def lost(self, port: int) -> set[str]:
        """Return what was answered OK and is not there."""
        with Link(port) as link:
            there = {row.split()[1] for row in link.rows(f"LIST {self.folder}")[:-1]}
        return {str(number) for number in self.done} - there
