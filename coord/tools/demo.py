"""Three nodes on this machine, in front until Ctrl-C: what ``bin/demo`` starts.

It does what an operator would: ``coord init``, one ``twistd`` for each node, a look at
``STATUS`` until all is well. The children run in process groups of their own, so that the
terminal's Ctrl-C reaches this program alone, which then stops each by its process id.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Final

import attrs

from coord.frontends.console.keys import write_private_key
from coord.node.settings import Refused
from coord.tools.init import make_cluster

HOST: Final = "127.0.0.1"
BASE_PORT: Final = 8046
WEB_OFFSET: Final = 10
CONSOLE_OFFSET: Final = 20
PEER_OFFSET: Final = 30
CONSOLE_KEY: Final = "console_key"
PORT_OFFSET_MAX: Final = 42
SERVE_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 10.0
LOOK_SECONDS: Final = 0.1
LOG_LINES_TOLD: Final = 15


@attrs.frozen(kw_only=True)
class Node:
    """One node of the demonstration: its name, its folder and its ports."""

    name: str
    folder: Path
    line_port: int
    web_port: int
    console_port: int
    peer_port: int

    @property
    def ports(self) -> tuple[int, ...]:
        """All its ports."""
        return (self.line_port, self.web_port, self.console_port, self.peer_port)

    @property
    def console_key(self) -> Path:
        """The private key that opens its console; the public half is beside it."""
        return self.folder.parent.absolute() / CONSOLE_KEY

    @property
    def log(self) -> Path:
        """The file to which the node's output goes."""
        return self.folder / "log"

    @property
    def config(self) -> Path:
        """The node's own TOML file."""
        return self.folder / "coord.toml"

    @property
    def member(self) -> str:
        """The node as its peers are told of it: ``NAME=HOST:PORT``."""
        return f"{self.name}={HOST}:{self.peer_port}"


class Stop:
    """Whether Ctrl-C, a polite kill, or the end of the terminal was seen."""

    def __init__(self) -> None:
        self.seen = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._see)

    def _see(self, number: int, frame: FrameType | None) -> None:
        self.seen = True


def plan(folder: Path, base_port: int) -> tuple[Node, ...]:
    """Return the three nodes, their ports counted from ``base_port``."""
    if not 0 < base_port <= (1 << 16) - 1 - PORT_OFFSET_MAX:
        raise Refused(f"--base-port {base_port} leaves no room for the other ports")
    return tuple(
        Node(
            name=f"n{index + 1}",
            folder=folder / f"n{index + 1}",
            line_port=base_port + index,
            web_port=base_port + WEB_OFFSET + index,
            console_port=base_port + CONSOLE_OFFSET + index,
            peer_port=base_port + PEER_OFFSET + index,
        )
        for index in range(3)
    )


def prepare(folder: Path, nodes: Sequence[Node]) -> None:
    """See to it that every node has its folder; take up those that are there."""
    there = [node.name for node in nodes if node.config.exists()]
    if not there:
        make_cluster(folder, [node.member for node in nodes])
    elif len(there) < len(nodes):
        raise Refused(f"{folder} holds a part of a cluster only: remove it, or give another --dir")
    key = nodes[0].console_key
    if not key.exists() or not _public(key).exists():
        _public(key).write_text(f"{write_private_key(key)} bin/demo\n", encoding="utf-8")


def _public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def check_ports(nodes: Sequence[Node]) -> None:
    """Raise `Refused` where someone else has one of the ports."""
    for node in nodes:
        for port in node.ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError:
                    raise Refused(
                        f"port {port} is in use: stop who has it, or give another --base-port"
                    ) from None


def command(node: Node, nodes: Sequence[Node]) -> list[str]:
    """Return the command that starts a node.

    Ports stand on the command line, above those in the file, so that a folder that is
    taken up again can move to others.
    """
    return [
        str(Path(sys.executable).parent / "twistd"),
        *("--nodaemon", "--pidfile=", "coord", "--config", str(node.config.absolute())),
        *("--listen", f"tcp:{node.line_port}:interface={HOST}"),
        *("--web", f"tcp:{node.web_port}:interface={HOST}"),
        *("--console", f"tcp:{node.console_port}:interface={HOST}"),
        *("--authorized-keys", str(_public(node.console_key))),
        *("--peer-listen", f"tcp:{node.peer_port}:interface={HOST}"),
        *(word for one in nodes for word in ("--peer", one.member)),
    ]


Children = dict[str, subprocess.Popen[bytes]]


@contextmanager
def running(nodes: Sequence[Node]) -> Iterator[Children]:
    """Start all nodes; stop them all at the end, whatever the end is."""
    children: Children = {}
    try:
        for node in nodes:
            with node.log.open("ab") as log:
                children[node.name] = _start(command(node, nodes), node.folder, log)
        yield children
    finally:
        stop(children)


def _start(words: Sequence[str], folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def stop(children: Children) -> None:
    """Ask each child to end, and see that it does."""
    for child in children.values():
        if child.poll() is None:
            child.terminate()
            child.send_signal(signal.SIGCONT)  # someone may have frozen it, to see what happens
    for name, child in children.items():
        try:
            child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            print(f"{name} did not stop when asked, and is killed", file=sys.stderr)
            child.kill()
            child.wait()


def ended(nodes: Sequence[Node], children: Children) -> list[Node]:
    """Return the nodes whose processes have ended."""
    return [node for node in nodes if children[node.name].poll() is not None]


def obituary(node: Node, children: Children) -> str:
    """Return how a node ended, and the last it had to say."""
    return f"{node.name} ended with status {children[node.name].returncode}; {_tail(node)}"


def _tail(node: Node) -> str:
    text = node.log.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()[-LOG_LINES_TOLD:]
    return "\n".join([f"the end of {node.log}:", *(f"    {line}" for line in lines)])


def ask(port: int, request: str) -> list[str]:
    """Return the lines with which a node answers one request; none where it does not."""
    try:
        with socket.create_connection((HOST, port), timeout=2.0) as link:
            link.sendall(f"{request}\nQUIT\n".encode())
            with link.makefile("r", encoding="utf-8") as answer:
                return answer.read().splitlines()[:-1]
    except (OSError, UnicodeDecodeError):
        return []


def serves(node: Node) -> bool:
    """Say whether a node knows a leader and can read what all agree on."""
    items = dict(
        line.removeprefix("ITEM ").partition("=")[::2] for line in ask(node.line_port, "STATUS")
    )
    if items.get("leader", "-") in ("", "-", "none"):
        return False
    return any(line.startswith("OK ") for line in ask(node.line_port, "SYNC"))


def wait_until_serving(nodes: Sequence[Node], children: Children, stopped: Stop) -> None:
    """Return once every node serves, or Ctrl-C was seen; raises `Refused`."""
    until = time.monotonic() + SERVE_SECONDS_MAX
    waiting = list(nodes)
    while waiting and not stopped.seen:
        for node in ended(nodes, children):
            raise Refused(obituary(node, children))
        if serves(waiting[0]):
            del waiting[0]
        elif time.monotonic() > until:
            raise Refused(f"{waiting[0].name} does not serve yet; {_tail(waiting[0])}")
        else:
            time.sleep(LOOK_SECONDS)


def welcome(folder: Path, nodes: Sequence[Node]) -> str:
    """Return what is printed once the cluster serves."""
    rows = [
        f"  {node.name}   line protocol {HOST}:{node.line_port}   web http://{HOST}:{node.web_port}/"
        f"   console {HOST}:{node.console_port}"
        for node in nodes
    ]
    first, second, third = (node.line_port for node in nodes)
    return "\n".join(
        [
            f"coord: three nodes serve; data and certificates are in {folder}",
            "",
            *rows,
            "",
            "Three commands to try in another terminal:",
            "",
            f"  {coord(first)} set /message hello, world",
            f"  {coord(second)} get /message",
            f"  nc {HOST} {third}        and then type HELP",
            "",
            "The console, of the first node:",
            "",
            f"  {ssh(nodes[0])}",
            "",
            "Ctrl-C stops all three.",
        ]
    )


def coord(port: int) -> str:
    """Return how the command line asks a node; it is beside the interpreter that runs this."""
    program = str(Path(sys.executable).parent / "coord")
    return shlex.join([program, "--server", f"{HOST}:{port}"])


def ssh(node: Node) -> str:
    """Return the command that opens a node's console: its key is known to nobody else yet."""
    known = node.folder.parent.absolute() / "known_hosts"
    return shlex.join(
        [
            *("ssh", "-i", str(node.console_key), "-p", str(node.console_port)),
            *("-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new"),
            *("-o", f"UserKnownHostsFile={known}", HOST),
        ]
    )


def run(folder: Path, base_port: int, stopped: Stop) -> None:
    """Start, wait, greet, and stay until Ctrl-C; raises `Refused`."""
    nodes = plan(folder, base_port)
    check_ports(nodes)
    prepare(folder, nodes)
    with running(nodes) as children:
        wait_until_serving(nodes, children, stopped)
        if not stopped.seen:
            print(welcome(folder, nodes), flush=True)
        watch_over(nodes, children, stopped)
    print("coord: stopped", flush=True)


def watch_over(nodes: Sequence[Node], children: Children, stopped: Stop) -> None:
    """Stay until Ctrl-C. Tell of each node that ends: the others go on, as they should.

    Raises `Refused` once none is left.
    """
    told: set[str] = set()
    while not stopped.seen:
        gone = ended(nodes, children)
        for node in gone:
            if node.name not in told:
                told.add(node.name)
                print(f"coord: {obituary(node, children)}", file=sys.stderr)
                again = shlex.join(command(node, nodes))
                print(f"To start it again in another terminal:\n  {again}", file=sys.stderr)
        if len(gone) == len(nodes):
            raise Refused("no node is left")
        time.sleep(LOOK_SECONDS)


def main(words: Sequence[str] | None = None) -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(prog="bin/demo", description="Three nodes on this machine.")
    parser.add_argument("--default-dir", type=Path, default=Path(".demo"), help=argparse.SUPPRESS)
    parser.add_argument("--dir", type=Path, help="where data and certificates are (.demo)")
    parser.add_argument("--base-port", type=int, default=BASE_PORT, help="first port (8046)")
    given = parser.parse_args(words)
    try:
        run(given.dir or given.default_dir, given.base_port, Stop())
    except (Refused, OSError) as error:
        print(f"coord: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
