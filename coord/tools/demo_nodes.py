"""The nodes of a demonstration: where each is, its ports, its process, and what it says.

``DIR/n2/pid`` holds the process id of a node while it runs, for ``kill``. Whoever wants a node
started makes ``DIR/n2/start``; the demonstration, whose child every node is, sees it, starts the
node and removes it (`wanted`). ``DIR/base-port`` is there while the demonstration runs.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from coord.node.settings import Refused
from coord.replicator.admission import REMOVED

HOST: Final = "127.0.0.1"
WEB_OFFSET: Final = 10
CONSOLE_OFFSET: Final = 20
PEER_OFFSET: Final = 30
PORT_OFFSET_MAX: Final = 42
NODES_MAX: Final = 10
FIRST_NAMES: Final = ("n1", "n2", "n3")
CONSOLE_KEY: Final = "console_key"
BASE_FILE: Final = "base-port"
STOP_SECONDS_MAX: Final = 10.0
LOG_LINES_TOLD: Final = 15


@attrs.frozen(kw_only=True)
class Node:
    """One node of the demonstration: its name, its folder, and from where its ports count."""

    name: str
    folder: Path
    base_port: int

    @property
    def line_port(self) -> int:
        """Where it speaks the line protocol: ``n1`` at the first port, ``n2`` at the next."""
        return self.base_port + int(self.name[1:]) - 1

    @property
    def web_port(self) -> int:
        """Where its web page is."""
        return self.line_port + WEB_OFFSET

    @property
    def console_port(self) -> int:
        """Where its console is."""
        return self.line_port + CONSOLE_OFFSET

    @property
    def peer_port(self) -> int:
        """Where other nodes reach it: where it was made, as the cluster knows it by that."""
        try:
            made = tomllib.loads(self.config.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self.line_port + PEER_OFFSET
        return int(str(made["peer-listen"]).split(":")[1])

    @property
    def ports(self) -> tuple[int, ...]:
        """All its ports."""
        return (self.line_port, self.web_port, self.console_port, self.peer_port)

    @property
    def member(self) -> str:
        """The node as its peers are told of it: ``NAME=HOST:PORT``."""
        return f"{self.name}={HOST}:{self.peer_port}"

    @property
    def console_key(self) -> Path:
        """The private key that opens its console; the public half is beside it."""
        return self.folder.parent.absolute() / CONSOLE_KEY

    @property
    def config(self) -> Path:
        """The node's own TOML file."""
        return self.folder / "coord.toml"

    @property
    def log(self) -> Path:
        """The file to which the node's output goes."""
        return self.folder / "log"

    @property
    def pid_file(self) -> Path:
        """The file with its process id, while it runs."""
        return self.folder / "pid"

    @property
    def wish(self) -> Path:
        """The file that somebody makes who wants it to be started."""
        return self.folder / "start"

    @property
    def was_removed(self) -> bool:
        """Whether the cluster goes on without it, as someone asked for."""
        return (self.folder / "data" / REMOVED).exists()

    @property
    def log_size_bytes(self) -> int:
        """How long its log is."""
        return self.log.stat().st_size if self.log.exists() else 0

    def last_words(self, after_bytes: int = 0) -> str:
        """Return the last lines of its log, of what was written after so many bytes."""
        text = self.log.read_bytes()[after_bytes:].decode(errors="replace")
        lines = text.splitlines()[-LOG_LINES_TOLD:]
        return "\n".join([f"the end of {self.log}:", *(f"    {line}" for line in lines)])

    def status(self) -> dict[str, str]:
        """Return its ``STATUS``; nothing where it does not answer."""
        rows = ask(self.line_port, "STATUS")
        return dict(row.removeprefix("ITEM ").partition("=")[::2] for row in rows)

    def serves(self) -> bool:
        """Say whether the node knows a leader and can read what all agree on."""
        if self.status().get("leader", "-") in ("", "-", "none"):
            return False
        return any(row.startswith("OK ") for row in ask(self.line_port, "SYNC"))

    def is_at_fault(self) -> bool:
        """Say whether it answers, and has something against serving."""
        return self.status().get("fault", "-") != "-"


def ask(port: int, request: str) -> list[str]:
    """Return the lines with which a node answers one request; none where it does not."""
    try:
        with socket.create_connection((HOST, port), timeout=2.0) as link:
            link.sendall(f"{request}\nQUIT\n".encode())
            with link.makefile("r", encoding="utf-8") as answer:
                return answer.read().splitlines()[:-1]
    except (OSError, UnicodeDecodeError):
        return []


def plan(folder: Path, base_port: int) -> list[Node]:
    """Return the nodes that have a folder, or the first three; raises `Refused`."""
    if not 0 < base_port <= (1 << 16) - 1 - PORT_OFFSET_MAX:
        raise Refused(f"--base-port {base_port} leaves no room for the other ports")
    there = {one.parent.name for one in folder.glob("n*/coord.toml")}
    names = [name for name in map("n{}".format, range(1, NODES_MAX + 1)) if name in there]
    return [
        Node(name=name, folder=folder / name, base_port=base_port) for name in names or FIRST_NAMES
    ]


def wanted(folder: Path, base_port: int) -> list[Node]:
    """Return the nodes that somebody wants to be started."""
    return [node for node in plan(folder, base_port) if node.wish.exists()]


def one_of(folder: Path, name: str) -> Node:
    """Return a node of the demonstration that runs in a folder; raises `Refused`."""
    try:
        base_port = int((folder / BASE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refused(f"no demonstration runs in {folder}: start bin/demo first") from None
    for node in plan(folder, base_port):
        if node.name == name and re.fullmatch(r"n[0-9]+", name):
            return node
    raise Refused(f"{folder / name} holds no node")


class Company:
    """The processes of the nodes, children of this one."""

    def __init__(self) -> None:
        self._children: dict[Node, subprocess.Popen[bytes]] = {}

    def runs(self, node: Node) -> bool:
        """Say whether a node's process is there."""
        child = self._children.get(node)
        return child is not None and child.poll() is None

    def __len__(self) -> int:
        """Return how many run."""
        return sum(map(self.runs, self._children))

    def start(self, node: Node, words: Sequence[str]) -> None:
        """Start a node's process, in a process group of its own."""
        with node.log.open("ab") as log:
            child = subprocess.Popen(
                words,
                cwd=node.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children[node] = child
        node.pid_file.write_text(f"{child.pid}\n", encoding="utf-8")

    def bury(self) -> Iterator[tuple[Node, int]]:
        """Let go of the processes that have ended; return each node and its exit status."""
        for node, child in [*self._children.items()]:
            status = child.poll()
            if status is not None:
                del self._children[node]
                node.pid_file.unlink(missing_ok=True)
                yield node, status

    def stop(self) -> None:
        """Ask each process to end, and see that it does."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
                child.send_signal(signal.SIGCONT)  # someone may have frozen it, to see what happens
        for node, child in self._children.items():
            try:
                child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                print(f"{node.name} did not stop when asked, and is killed", file=sys.stderr)
                child.kill()
                child.wait()
            node.pid_file.unlink(missing_ok=True)


@contextmanager
def company(folder: Path, base_port: int) -> Iterator[Company]:
    """Let nodes run in a folder; stop them all at the end, whatever the end is."""
    made = Company()
    marker = folder / BASE_FILE
    marker.write_text(f"{base_port}\n", encoding="utf-8")
    for stale in folder.glob("n*/start"):
        stale.unlink()
    try:
        yield made
    finally:
        marker.unlink(missing_ok=True)
        made.stop()
