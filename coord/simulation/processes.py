"""Real nodes: ``twistd`` processes on free ports of loopback, and a small client that blocks.

The nemesis drives them, and so do the functional tests. Every wait is bounded and says what it
waited for. At the end all processes are gone, by their ids, and so are their folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from coord.simulation.ports import HOST, free_ports

PATIENCE_SECONDS = 60.0
"""How long anything may take on a machine busy with other things."""
LOOK_SECONDS = 0.02
ROOT = Path(__file__).resolve().parent.parent.parent


class TooLong(AssertionError):
    """Something did not come to be in the time allowed."""


def eventually(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once ``holds()``; raise `TooLong`, saying ``what`` was waited for."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TooLong(f"waited {seconds:.0f} s for this: {what}")
        time.sleep(LOOK_SECONDS)


def twistd(*words: str) -> list[str]:
    """Return the command line of a node in the foreground."""
    start = "from twisted.scripts.twistd import run; run()"
    return [sys.executable, "-c", start, "--nodaemon", "--pidfile=", "coord", *words]


def surroundings() -> dict[str, str]:
    """Return the environment of a child: this checkout can be imported there."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


def initialise(folder: Path, members: Sequence[str]) -> list[Path]:
    """Make the folders of a cluster as an operator does; return each node's ``coord.toml``."""
    words = [sys.executable, "-m", "coord.tools.cli", "init", *members, "--dir", str(folder)]
    subprocess.run(words, check=True, env=surroundings(), stdout=subprocess.DEVNULL)
    return [folder / member.partition("=")[0] / "coord.toml" for member in members]


class Link:
    """One connection to a node, as a person at ``nc`` has it."""

    def __init__(self, port: int, seconds: float = PATIENCE_SECONDS) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=seconds)
        self._file = self.socket.makefile("rb")

    def send(self, text: str | bytes) -> None:
        """Send bytes, or a text with a line end after it."""
        self.socket.sendall(text if isinstance(text, bytes) else f"{text}\n".encode())

    def line(self) -> str:
        """Return the next line; raise `ConnectionError` where the node has gone."""
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the node closed the connection")
        return line.decode().rstrip("\r\n")

    def lines(self, count: int) -> list[str]:
        """Return the next lines."""
        return [self.line() for _ in range(count)]

    def ask(self, request: str) -> str:
        """Send one request whose reply is one line, and return it."""
        self.send(request)
        return self.line()

    def rows(self, request: str) -> list[str]:
        """Send one request whose reply ends in ``END`` or ``ERR``; return its lines."""
        self.send(request)
        found = [self.line()]
        while not found[-1].startswith(("END", "ERR")):
            found.append(self.line())
        return found

    def close(self) -> None:
        """Let go of the connection."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Node:
    """One node: a folder, two ports, and a process while it runs."""

    def __init__(self, name: str, config: Path, options: Sequence[str] = ()) -> None:
        self.name = name
        self.config = config
        self.options = tuple(options)
        self.line_port, self.web_port = free_ports(2)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = config.parent / "log"

    def start(self) -> None:
        """Start the process; it may take a while until it serves."""
        assert self.process is None, f"{self.name} runs already"
        words = twistd(
            *("--config", str(self.config)),
            *("--listen", f"tcp:{self.line_port}:interface={HOST}"),
            *("--web", f"tcp:{self.web_port}:interface={HOST}"),
            *self.options,
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words,
                cwd=self.config.parent,
                env=surroundings(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _signal(self, number: int) -> None:
        assert self.process is not None, f"{self.name} does not run"
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._signal(signal.SIGKILL)
        self._gone()

    def stop(self) -> int:
        """Ask the process to end; return its exit status."""
        self._signal(signal.SIGTERM)
        return self._gone()

    def _gone(self) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        return process.wait(PATIENCE_SECONDS)

    def freeze(self) -> None:
        """Stop the process where it stands, without a word to anyone."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def link(self, seconds: float = PATIENCE_SECONDS) -> Link:
        """Return a new connection to the node."""
        return Link(self.line_port, seconds)

    def ask(self, request: str) -> str:
        """Return the one line that answers one request on a connection of its own."""
        with self.link() as link:
            return link.ask(request)

    def status(self) -> dict[str, str]:
        """Return the node's ``STATUS``; nothing where it does not answer."""
        try:
            with self.link() as link:
                rows = link.rows("STATUS")
        except OSError:
            return {}
        return dict(row.removeprefix("ITEM ").partition("=")[::2] for row in rows[:-1])

    def serves(self) -> bool:
        """Say whether the node answers linearizable reads."""
        try:
            return self.ask("SYNC").startswith("OK ")
        except OSError:
            return False

    def wait_until_serving(self) -> None:
        """Return once the node serves; fail with its log if it dies or takes for ever."""
        eventually(lambda: self.serves() or not self.runs(), f"{self.name} serves")
        if not self.runs():
            raise AssertionError(f"{self.name} ended: {self.log.read_text()[-2000:]}")

    def runs(self) -> bool:
        """Say whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def write(self, path: str, value: str) -> int:
        """Set a value, as often as it takes until that is answered OK; return its revision."""
        revisions: list[int] = []

        def written() -> bool:
            try:
                answer = self.ask(f"SET {path} {value}")
            except OSError:
                return False
            if answer.startswith("OK "):
                revisions.append(int(answer.split()[1]))
            return bool(revisions)

        eventually(written, f"{self.name} takes a write")
        return revisions[0]

    def clean(self) -> None:
        """End the process, whatever state it is in."""
        if self.process is not None:
            self.process.kill()
            self._gone()


class Cluster:
    """A cluster of nodes n1, n2 ... in a folder of its own; nothing runs until `start`.

    A cluster of one has no peers and no certificates, as ``twistd coord`` alone.

    :param make: makes the nodes' folders as ``coord init`` does; by default that itself.
    """

    def __init__(
        self,
        size: int = 3,
        options: Iterable[str] = (),
        make: Callable[[Path, Sequence[str]], list[Path]] = initialise,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="coord-"))
        self._make = make
        configs = self._alone() if size == 1 else self._together(size)
        self.nodes = [
            Node(f"n{index + 1}", config, list(options)) for index, config in enumerate(configs)
        ]

    def _alone(self) -> list[Path]:
        folder = self.folder / "n1"
        folder.mkdir()
        config = folder / "coord.toml"
        config.write_text('data = "data"\n')
        return [config]

    def _together(self, size: int) -> list[Path]:
        members = [f"n{index + 1}={HOST}:{port}" for index, port in enumerate(free_ports(size))]
        return self._make(self.folder, members)

    def start(self) -> None:
        """Start every node that does not run, and wait until all serve."""
        for node in self.nodes:
            if node.process is None:
                node.start()
        for node in self.nodes:
            node.wait_until_serving()

    def leader(self) -> Node:
        """Return the node that leads, once the nodes which answer agree who does."""
        found: list[Node] = []

        def known() -> bool:
            running = [node for node in self.nodes if node.runs()]
            named = {node.status().get("leader") for node in running}
            found[:] = [node for node in running if {node.name} == named]
            return bool(found)

        eventually(known, "a leader that all nodes know")
        return found[0]

    def close(self) -> None:
        """End all processes and remove the folder."""
        for node in self.nodes:
            node.clean()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
