"""Clients without a session: they read and write a few keys, and watch.

Each talks to one node at a time. When it hears nothing for too long, or its node has gone, it turns
to another one; what became of the request before it does not know, and says so in the history.
"""

from __future__ import annotations

import random
from typing import Any, Final

from coord.commands import Add, Command, Delete, Get, Set, Watch
from coord.events import Event
from coord.results import Point, Value, Written
from coord.simulation.checkers.watches import Watched
from coord.simulation.history import Operation
from coord.simulation.nemesis.field import Field
from coord.simulation.nemesis.line import Line, Lost, dial
from coord.simulation.nemesis.record import Record
from coord.simulation.processes import Node

PATIENCE_SECONDS: Final = 4.0
THINK_SECONDS: Final = 0.03
AGAIN_SECONDS: Final = 0.05
STAY_SECONDS: Final = 8.0
"""How long a watcher stays with one node, in the mean."""
KEYS: Final = ("a", "b", "c")
CHAPTER_SECONDS: Final = 5.0
"""How long the same keys are used: the search for an order of all that was asked of one key is
costly where there are many requests whose fate nobody knows."""


class Client:
    """What all clients have: a node, a connection to it, and a record to write in."""

    def __init__(self, name: str, field: Field, record: Record, dice: random.Random) -> None:
        self.name = f"{name}.{record.number}"
        self.field = field
        self.record = record
        self.dice = dice
        self.line: Line | None = None
        self.node: Node = field.nodes[0]
        self.is_stopped = False
        self.connections = 0

    async def run(self) -> None:
        """Do one thing after the other until `stop`."""
        while not self.is_stopped:
            try:
                if self.line is None or self.line.is_lost:
                    await self.connect()
                await self.act()
            except Lost:
                self.record.count("connections lost")
                self.leave()
                await self.field.sleep(AGAIN_SECONDS)

    def stop(self) -> None:
        """Say nothing more."""
        self.is_stopped = True
        self.leave()

    def leave(self) -> None:
        """Have no connection."""
        line, self.line = self.line, None
        if line is not None:
            line.hang_up()

    async def connect(self) -> None:
        """Dial one of the nodes; raises `Lost`."""
        self.node = node = self.dice.choice(self.field.nodes)
        self.connections += 1
        line = await dial(
            self.field.reactor, node.line_port, self.troubled, self.record.violations.append
        )
        if self.is_stopped:
            line.hang_up()
            raise Lost("nobody wants it any more")
        self.line = line

    async def ask(self, command: Any, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return what is told; raises `Lost`."""
        if self.line is None:
            raise Lost("no connection")
        return await self.line.ask(command, seconds)

    def troubled(self, event: Any) -> None:
        """Hear what befell a session."""

    async def act(self) -> None:
        """Do the next thing; raises `Lost`."""
        raise NotImplementedError


class Register(Client):
    """Reads and writes a few keys, one request after the other."""

    def __init__(self, name: str, field: Field, record: Record, dice: random.Random) -> None:
        super().__init__(name, field, record, dice)
        self._known: dict[str, int] = {}
        self._written = 0
        self._began = record.now()

    async def act(self) -> None:
        """Ask one thing and write down what came of it."""
        await self.field.sleep(self.dice.expovariate(1 / THINK_SECONDS))
        if not self.is_stopped:
            await self.operate(self._draw())

    async def operate(self, command: Command) -> Any:
        """Return what is told, after it was written down."""
        record = self.record
        moment = record.moment()
        operation = Operation(
            client=self.name,
            connection=self.connections,
            group=moment,
            index=0,
            node=self.node.name,
            command=command,
            invoked=moment,
        )
        record.history.operations.append(operation)
        outcome = await self.ask(command)
        operation.returned = record.moment()
        operation.outcome = outcome
        record.counted(outcome)
        if isinstance(outcome, Written | Value):
            self._known[command.path] = outcome.rev  # type: ignore[union-attr]
        return outcome

    def _value(self) -> bytes:
        self._written += 1
        return f"{self.name}:{self._written}".encode()

    def _draw(self) -> Command:
        chapter = int((self.record.now() - self._began) / CHAPTER_SECONDS)
        key = self.record.path("k", f"{chapter}.{self.dice.choice(KEYS)}")
        chance, known = self.dice.random(), self._known.get(key)
        if chance < 0.45:
            return Get(key)
        if chance < 0.5:
            return Get(key, local=True)
        if chance < 0.8:
            return Set(key, self._value())
        if chance < 0.88:
            return Set(key, self._value(), if_rev=known or 0)
        if chance < 0.94:
            return Add(key, self._value())
        return Delete(key, if_rev=known)


class Watcher(Client):
    """Watches a glob, and goes on where it was, on another node, when its node is lost."""

    def __init__(
        self,
        name: str,
        glob: str,
        after_rev: int,
        field: Field,
        record: Record,
        dice: random.Random,
    ) -> None:
        super().__init__(name, field, record, dice)
        self.watched = Watched(name=self.name, glob=glob, after_rev=after_rev, events=[])
        record.watched.append(self.watched)
        self._stays = False

    async def act(self) -> None:
        """Watch until the connection is gone, or somebody else is to be asked."""
        line = self.line
        assert line is not None
        after = self.watched.whole_until()
        opened: list[Any] = []
        line.watch(Watch(self.watched.glob, after), lambda told: self._told(line, opened, told))
        began = self.record.now()
        stay_seconds = self.dice.expovariate(1 / STAY_SECONDS)
        while not line.is_lost:
            await self.field.sleep(AGAIN_SECONDS)
            spent = self.record.now() - began
            is_silent = not opened and spent > PATIENCE_SECONDS
            if is_silent or (spent > stay_seconds and not self._stays):
                self.leave()

    def settle(self) -> None:
        """Stay with a node from now on, once it answers."""
        self._stays = True

    def _told(self, line: Line, opened: list[Any], told: Any) -> None:
        if isinstance(told, Event) and line is self.line:
            self.watched.events.append(told)
        elif isinstance(told, Point):
            opened.append(told)
        elif told is not None and line is self.line:
            self.record.counted(told)
            line.hang_up()
