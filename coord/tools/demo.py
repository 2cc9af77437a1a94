"""Three nodes on this machine, in front until Ctrl-C: what ``bin/demo`` starts.

It does what an operator would: ``coord init``, one ``twistd`` for each node, a look at
``STATUS`` until all is well. The children run in process groups of their own, so that the
terminal's Ctrl-C reaches this program alone, which then stops each by its process id.

``bin/demo stop n2`` and ``bin/demo start n2``, from another terminal, are what ``systemctl`` is on
a machine. A node can be started that was stopped or killed, or that was made beside the first three
(`coord.tools.demo_nodes`).
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from coord.node.settings import Refused
from coord.tools.demo_nodes import HOST, Company, Node, company, one_of, plan, wanted

BASE_PORT: Final = 8046
SERVE_SECONDS_MAX: Final = 60.0
DEED_SECONDS_MAX: Final = 20.0
LOOK_SECONDS: Final = 0.1


class Stop:
    """Whether Ctrl-C, a polite kill, or the end of the terminal was seen."""

    def __init__(self) -> None:
        self.seen = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._see)

    def _see(self, number: int, frame: FrameType | None) -> None:
        self.seen = True


def prepare(folder: Path, nodes: Sequence[Node]) -> None:
    """See to it that every node has its folder; take up those that are there."""
    from coord.frontends.console.keys import write_private_key
    from coord.tools.init import make_cluster

    if not any(node.config.exists() for node in nodes):
        make_cluster(folder, [node.member for node in nodes])
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


def command(node: Node) -> list[str]:
    """Return the command that starts a node.

    Its clients' ports stand on the command line, above those in the file, so that a folder that
    is taken up again can move to others. Its peers find it where they did.
    """
    return [
        str(Path(sys.executable).parent / "twistd"),
        *("--nodaemon", "--pidfile=", "coord", "--config", str(node.config.absolute())),
        *("--listen", f"tcp:{node.line_port}:interface={HOST}"),
        *("--web", f"tcp:{node.web_port}:interface={HOST}"),
        *("--console", f"tcp:{node.console_port}:interface={HOST}"),
        *("--authorized-keys", str(_public(node.console_key))),
    ]


class Demonstration:
    """The nodes in a folder, for as long as the program runs.

    :param again: says how somebody starts a node again.
    """

    def __init__(
        self, folder: Path, base_port: int, running: Company, again: Callable[[str], str]
    ) -> None:
        self.folder = folder
        self.base_port = base_port
        self.running = running
        self._again = again

    def start(self, nodes: Sequence[Node]) -> list[Node]:
        """Start all that were not removed from the cluster, and return them."""
        for node in nodes:
            if node.was_removed:
                say(f"{node.name} was removed from the cluster, and is not started")
            else:
                self.running.start(node, command(node))
        return [node for node in nodes if not node.was_removed]

    def wait_until_serving(self, nodes: Sequence[Node], stopped: Stop) -> None:
        """Return once every node serves that can, or Ctrl-C was seen; raises `Refused`."""
        until = time.monotonic() + SERVE_SECONDS_MAX
        waiting = list(nodes)
        while waiting and not stopped.seen:
            self.tell_of_dead()
            if not self.running:
                raise Refused("no node is left")
            first = waiting[0]
            if not self.running.runs(first) or first.serves():
                del waiting[0]
            elif first.is_at_fault() and len(nodes) > 1:
                say(f"{first.name} does not serve: {first.status().get('fault')}")
                del waiting[0]
            elif time.monotonic() > until:
                raise Refused(f"{first.name} does not serve yet; {first.last_words()}")
            else:
                time.sleep(LOOK_SECONDS)

    def watch_over(self, stopped: Stop) -> None:
        """Stay until Ctrl-C: tell of each node that ends, start those that somebody wants."""
        while not stopped.seen:
            self.tell_of_dead()
            for node in wanted(self.folder, self.base_port):
                if not self.running.runs(node):
                    self.running.start(node, command(node))
                    say(f"{node.name} is started")
                node.wish.unlink()
            time.sleep(LOOK_SECONDS)

    def tell_of_dead(self) -> None:
        """Tell of each node that has ended: the others go on, as they should."""
        for node, status in self.running.bury():
            say(f"{node.name} ended with status {status}; {node.last_words()}")
            print(f"To start it again: {self._again(node.name)}", file=sys.stderr)


def say(text: str) -> None:
    """Tell something, beside what is printed at the start."""
    print(f"coord: {text}", file=sys.stderr, flush=True)


def welcome(folder: Path, nodes: Sequence[Node]) -> str:
    """Return what is printed once the cluster serves."""
    rows = [
        f"  {node.name}   line protocol {HOST}:{node.line_port}   web http://{HOST}:{node.web_port}/"
        f"   console {HOST}:{node.console_port}"
        for node in nodes
    ]
    first, second, third = (nodes[index % len(nodes)].line_port for index in range(3))
    many = {1: "one node serves", 3: "three nodes serve"}.get(
        len(nodes), f"{len(nodes)} nodes serve"
    )
    return "\n".join(
        [
            f"coord: {many}; data and certificates are in {folder}",
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
            "To kill a node, and to start it again: doc/firedrill.rst. Ctrl-C stops all.",
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


def run(folder: Path, base_port: int, stopped: Stop, again: Callable[[str], str]) -> None:
    """Start, wait, greet, and stay until Ctrl-C; raises `Refused`."""
    nodes = plan(folder, base_port)
    check_ports(nodes)
    prepare(folder, nodes)
    with company(folder, base_port) as running:
        demonstration = Demonstration(folder, base_port, running, again)
        started = demonstration.start(nodes)
        demonstration.wait_until_serving(started, stopped)
        if not stopped.seen:
            print(welcome(folder, started), flush=True)
        demonstration.watch_over(stopped)
    print("coord: stopped", flush=True)


def start(nodes: Sequence[Node]) -> Iterator[str]:
    """Have nodes started by the demonstration that runs; tell how each is then.

    Raises `Refused` where nobody starts it, or it ends at once.
    """
    before = [node.log_size_bytes for node in nodes]
    for node in nodes:
        node.wish.touch()
    for node, size_bytes in zip(nodes, before, strict=True):
        yield _started(node, size_bytes)


def _started(node: Node, log_size_bytes: int) -> str:
    if not _happens(lambda: not node.wish.exists()):
        node.wish.unlink(missing_ok=True)
        raise Refused(f"nobody starts {node.name}: does bin/demo run in {node.folder.parent}?")
    _happens(lambda: node.serves() or node.is_at_fault() or not node.pid_file.exists())
    if not node.pid_file.exists():
        raise Refused(f"{node.name} ended; {node.last_words(log_size_bytes)}")
    told = node.status()
    if not told:
        return f"{node.name} runs, and does not answer; its log is {node.log}"
    items = (f"{item}={told.get(item, '-')}" for item in ("role", "leader", "quorum", "fault"))
    return f"{node.name} runs: {' '.join(items)}"


def stop(nodes: Sequence[Node]) -> Iterator[str]:
    """Ask nodes to end, and wait until they have; raises `Refused` where one does not."""
    for node in nodes:
        if not node.pid_file.exists():
            yield f"{node.name} does not run"
            continue
        os.kill(int(node.pid_file.read_text(encoding="utf-8")), signal.SIGTERM)
        if not _happens(partial(_is_gone, node)):
            raise Refused(f"{node.name} does not stop: kill -9 $(cat {node.pid_file})")
        yield f"{node.name} is stopped"


def _is_gone(node: Node) -> bool:
    return not node.pid_file.exists()


BY_HAND: Final = {"start": start, "stop": stop}


def _happens(what: Callable[[], bool]) -> bool:
    """Wait for something, but not for ever; say whether it came to be."""
    until = time.monotonic() + DEED_SECONDS_MAX
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Run the demonstration, or have it start or stop nodes; return the exit status."""
    parser = argparse.ArgumentParser(prog="bin/demo", description="Three nodes on this machine.")
    parser.add_argument("--default-dir", type=Path, default=Path(".demo"), help=argparse.SUPPRESS)
    parser.add_argument("--dir", type=Path, help="where data and certificates are (.demo)")
    parser.add_argument("--base-port", type=int, default=BASE_PORT, help="first port (8046)")
    parser.add_argument(
        "deed", nargs="*", metavar="start|stop NODE", help="of the demonstration that runs already"
    )
    given = parser.parse_args(words)
    folder = given.dir or given.default_dir
    deed, names = (given.deed[0], given.deed[1:]) if given.deed else ("", [])
    if deed and not (deed in BY_HAND and names):
        parser.error("bin/demo, or bin/demo start NODE..., or bin/demo stop NODE...")

    def again(name: str) -> str:
        chosen = ["--dir", str(given.dir)] if given.dir else []
        return shlex.join(["bin/demo", *chosen, "start", name])

    try:
        if deed:
            for told in BY_HAND[deed]([one_of(folder, name) for name in names]):
                print(f"coord: {told}", flush=True)
        else:
            run(folder, given.base_port, Stop(), again)
    except (Refused, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
