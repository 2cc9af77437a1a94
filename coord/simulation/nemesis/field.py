"""The field: a cluster of real processes, the roads between them, and what befalls both.

Nodes are made by ``coord init``; then the addresses under which each knows the others are
replaced by roads of ours, one for each direction of dialling.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import deferLater

from coord import commands
from coord.errors import Overloaded, Unavailable
from coord.results import Items, Point
from coord.simulation.nemesis.line import Lost, dial
from coord.simulation.nemesis.roads import Road
from coord.simulation.ports import HOST
from coord.simulation.processes import Cluster, Node, TooLong

SERVE_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.1
DISK_BYTES: Final = 192 << 20
DISK_OPTIONS: Final = "log-bytes-kept = 33554432\nimage-every-bytes = 16777216\n"
"""So the journal, and a second one beside it, have room on such a disk however long a run is."""
BACK_SECONDS: Final = 30.0
"""How long a node may take to come back once its disk works again."""
LAST_WORDS: Final = 600
FILLER: Final = "filler"
DISK_IS_FULL: Final = "database or disk is full"


class Field:
    """Processes, roads, and what was done to them.

    :param wants_disk: whether to give the first node a disk of its own, that can be filled.
    """

    def __init__(self, reactor: Any, size: int, *, wants_disk: bool) -> None:
        self.reactor = reactor
        self._cluster = Cluster(size)
        self.nodes = self._cluster.nodes
        self.folder = self._cluster.folder
        self.roads: dict[tuple[str, str], Road] = {}
        self.frozen: set[str] = set()
        self.down: set[str] = set()
        self._read: Counter[str] = Counter()
        self.disk: Path | None = None
        self.why_no_disk = "" if wants_disk else "nobody asked for it"
        if wants_disk:
            self._mount(self.nodes[0].config.parent / "data")

    # -- beginning and end ----------------------------------------------------------------------
    async def open(self) -> None:
        """Build the roads, start all nodes, and return once they serve."""
        ports = self._peer_ports()
        for one, other in permutations(ports, 2):
            road = Road(self.reactor, f"{one} to {other}", ports[other])
            await road.open()
            self.roads[one, other] = road
        for node in self.nodes:
            text = node.config.read_text(encoding="utf-8")
            for other in ports.keys() - {node.name}:
                road = self.roads[node.name, other]
                text = text.replace(f"{other}={HOST}:{ports[other]}", f"{other}={HOST}:{road.port}")
            node.config.write_text(text, encoding="utf-8")
            node.start()
        await self.wait_until_serving()

    def _peer_ports(self) -> dict[str, int]:
        """Return where each node listens for the others."""
        config = tomllib.loads(self.nodes[0].config.read_text(encoding="utf-8"))
        members = (member.partition("=") for member in config["peer"])
        return {name: int(address.rpartition(":")[2]) for name, _, address in members}

    async def close(self, *, keep: bool = False) -> None:
        """End all processes; remove their folders unless they are to be kept."""
        for road in self.roads.values():
            await road.close()
        for node in self.nodes:
            node.clean()
        if self.disk is not None:
            self._unmount(self.disk, keep=keep)
        if not keep:
            self._cluster.close()

    def _unmount(self, disk: Path, *, keep: bool) -> None:
        """Let go of the small disk; what is on it goes with it unless it is carried away first."""
        kept = disk.with_name("kept")
        if keep:
            shutil.copytree(disk, kept)
        subprocess.run(["umount", str(disk)], check=False)
        if keep:
            disk.rmdir()
            kept.rename(disk)

    # -- nodes ----------------------------------------------------------------------------------
    def node(self, name: str) -> Node:
        """Return a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    def kill(self, name: str) -> None:
        """End a process as a crash does."""
        self.node(name).kill()
        self.down.add(name)

    def start(self, name: str) -> None:
        """Start a process that was killed."""
        self.down.discard(name)
        self.node(name).start()

    def freeze(self, name: str) -> None:
        """Stop a process where it stands."""
        self.node(name).freeze()
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        """Let a process go on."""
        self.frozen.discard(name)
        self.node(name).thaw()

    def ended(self) -> list[Node]:
        """Return the nodes that ended by themselves."""
        return [node for node in self.nodes if node.name not in self.down and not node.runs()]

    def last_words(self, node: Node) -> str:
        """Return the end of a node's log."""
        return node.log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:]

    def revive(self, node: Node) -> None:
        """Start a node that ended by itself."""
        node.clean()
        node.start()

    def complaints(self) -> list[str]:
        """Return what nodes have logged, since this was last asked, that must not happen.

        That a disk is full they have to say.
        """
        found = []
        for node in self.nodes:
            log = node.log.read_text(encoding="utf-8", errors="replace")
            fresh, self._read[node.name] = log[self._read[node.name] :], len(log)
            found += [
                f"logged: {node.name}: {line.strip()}"
                for line in fresh.splitlines()
                if ("#critical]" in line or "Traceback" in line) and DISK_IS_FULL not in line
            ]
        return found

    def mend(self) -> None:
        """Put everything right that was done to processes and roads."""
        self.free_disk()
        for road in self.roads.values():
            road.mend()
        for name in [*self.frozen]:
            self.thaw(name)
        for name in [*self.down]:
            self.start(name)
        for node in self.ended():
            self.revive(node)

    # -- roads ----------------------------------------------------------------------------------
    def pairs(self) -> list[tuple[str, str]]:
        """Return every two nodes."""
        return list(combinations((node.name for node in self.nodes), 2))

    def between(self, one: str, other: str) -> tuple[Road, Road]:
        """Return the road on which ``one`` dials, and that on which ``other`` does."""
        return self.roads[one, other], self.roads[other, one]

    # -- a disk that can be full ----------------------------------------------------------------
    def _mount(self, folder: Path) -> None:
        """Give a node a small disk of its own.

        That takes a mount, for which a process must be root in a namespace that allows it; where it
        is not, say why, and no disk will be full. A quota or a limit on the size of files would
        not do: they fail with other errors, at other moments.
        """
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "coord", str(folder)]
        try:
            done = subprocess.run(words, check=False, capture_output=True, text=True)
        except OSError as error:
            self.why_no_disk = str(error)
            return
        if done.returncode:
            self.why_no_disk = done.stderr.strip()
            return
        self.disk = folder
        with self.nodes[0].config.open("a", encoding="utf-8") as config:
            config.write(DISK_OPTIONS)

    def fill_disk(self) -> None:
        """Leave no room on the small disk."""
        assert self.disk is not None, "there is no disk that can be filled"
        piece = bytes(1 << 20)
        with (self.disk / FILLER).open("wb", buffering=0) as filler:
            try:
                while filler.write(piece) == len(piece):
                    pass
                while filler.write(piece[:512]):
                    pass
            except OSError:
                return

    def free_disk(self) -> None:
        """Make room again."""
        if self.disk is not None:
            (self.disk / FILLER).unlink(missing_ok=True)

    # -- asking ---------------------------------------------------------------------------------
    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await deferLater(self.reactor, seconds)

    async def eventually(self, holds: Callable[[], bool], what: str, seconds: float) -> None:
        """Return once something is so; raises `TooLong` where it does not come to be."""
        until = self.reactor.seconds() + seconds
        while not holds():
            if self.reactor.seconds() > until:
                raise TooLong(f"waited {seconds:.0f} s for this: {what}")
            await self.sleep(LOOK_SECONDS)

    async def ask(self, node: Node, command: commands.Command) -> Any:
        """Return what a node answers on a connection of its own; raises `Lost`."""
        line = await dial(self.reactor, node.line_port, lambda _: None, lambda _: None)
        try:
            return await line.ask(command, ANSWER_SECONDS)
        finally:
            line.hang_up()

    async def insist(self, node: Node, command: commands.Command) -> Any:
        """Return what a node answers, asked again while it has no answer; raises `TooLong`."""
        until = self.reactor.seconds() + SERVE_SECONDS
        told: Any = None
        while self.reactor.seconds() < until:
            try:
                told = await self.ask(node, command)
            except Lost as lost:
                told = lost
            if not isinstance(told, Lost | Unavailable | Overloaded):
                return told
            await self.sleep(LOOK_SECONDS)
        raise TooLong(f"{node.name} was asked {command!r} for {SERVE_SECONDS:.0f} s, and {told!r}")

    async def status(self, node: Node) -> dict[str, str]:
        """Return what a node tells of itself; nothing where it does not."""
        try:
            told = await self.ask(node, commands.Status())
        except Lost:
            return {}
        rows = told.rows if isinstance(told, Items) else ()
        return dict(row.partition("=")[::2] for row in rows)

    async def wait_until_serving(self, seconds: float = SERVE_SECONDS) -> None:
        """Return once every node answers linearizable reads; raises `TooLong`."""
        until = self.reactor.seconds() + seconds
        for node in self.nodes:
            while not await self._serves(node):
                if not node.runs():
                    raise TooLong(f"{node.name} ended: {self.last_words(node)}")
                if self.reactor.seconds() > until:
                    facts = await self.status(node)
                    raise TooLong(f"waited {seconds:.0f} s until {node.name} serves: {facts}")
                await self.sleep(LOOK_SECONDS)

    async def wait_until_no_fault(self, node: Node) -> None:
        """Return once a node has no fault any more; raises `TooLong`."""
        until = self.reactor.seconds() + BACK_SECONDS
        while (facts := await self.status(node)).get("fault") != "-":
            if self.reactor.seconds() > until:
                raise TooLong(f"{node.name} does not come back: {facts.get('fault')}")
            await self.sleep(LOOK_SECONDS)

    async def _serves(self, node: Node) -> bool:
        try:
            return isinstance(await self.ask(node, commands.Sync()), Point)
        except Lost:
            return False
