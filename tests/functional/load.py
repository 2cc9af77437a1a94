"""Writes that go on while nodes are killed: several at a time, each of a number of its own."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from coord.client import Client
from tests.functional.cluster import PATIENCE_SECONDS

reactor: Any = installed


class Writers:
    """Go on until told to stop; one that fails in a way nobody expects stops, and is ``wrong``.

    ``done`` tells of each number that was answered; `write` says how one is written.
    """

    in_flight = 8

    def __init__(self, client: Client) -> None:
        self.client = client
        self.done: dict[int, Any] = {}
        self.wrong: list[BaseException] = []
        self._next = 0
        self._enough = False
        self._running = [ensureDeferred(self._go_on()) for _ in range(self.in_flight)]

    async def write(self, number: int) -> None:
        """Write one number, and note in ``done`` what it was answered."""
        raise NotImplementedError

    async def _go_on(self) -> None:
        while not self._enough:
            number, self._next = self._next, self._next + 1
            try:
                await self.write(number)
            except Exception as error:
                self.wrong.append(error)
                return

    async def more(self, count: int) -> None:
        """Return once so many more writes were answered; fail where they are not in time."""
        until = len(self.done) + count
        deadline = reactor.seconds() + PATIENCE_SECONDS
        while len(self.done) < until and not self.wrong:
            assert reactor.seconds() < deadline, f"{count} more writes"
            await deferLater(reactor, 0.02)

    async def finish(self) -> None:
        """Let the writes under way end."""
        self._enough = True
        for running in self._running:
            await running
