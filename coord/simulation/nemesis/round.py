"""One round: faults and clients, then all is mended, all falls silent, and the judges speak."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults

from coord import commands
from coord.client.rows import Page
from coord.limits import EXPIRY_GRACE_SECONDS
from coord.results import Point, Written
from coord.simulation.checkers import watches
from coord.simulation.nemesis.clients import AGAIN_SECONDS, Register, Watcher
from coord.simulation.nemesis.faults import PROCESSES, ROADS, Faults
from coord.simulation.nemesis.field import Field
from coord.simulation.nemesis.judges import differing, judge
from coord.simulation.nemesis.keepers import TIMEOUTS_SECONDS
from coord.simulation.nemesis.line import Lost
from coord.simulation.nemesis.owners import Owner
from coord.simulation.nemesis.past import Past, entries_of, events_of
from coord.simulation.nemesis.record import Record
from coord.simulation.processes import TooLong

REGISTERS: Final = 4
OWNERS: Final = 6
GLOBS: Final = ("/k/*", "/**", "/l/*", "/e/**")
SETTLE_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 2 * max(TIMEOUTS_SECONDS) + EXPIRY_GRACE_SECONDS + 10.0
"""How long what belongs to a session may be there after its client fell silent: its timeout, once
more from when another began to lead, the grace, and a slow machine."""
PROBE: Final = "/probe"
WRITES_MAX: Final = 20


class Round:
    """Everything of one round."""

    def __init__(self, field: Field, number: int, seed: int, only: Collection[str] = ()) -> None:
        self._field = field
        self._only = only
        self._dice = random.Random(f"{seed}/{number}")
        self.record = Record(number)
        self._registers = [
            Register(f"c{n}", field, self.record, self._die()) for n in range(REGISTERS)
        ]
        self._owners = [Owner(f"s{n}", field, self.record, self._die()) for n in range(OWNERS)]
        self._watchers: list[Watcher] = []

    def _die(self) -> random.Random:
        """Return dice of one's own, so that what one draws does not hang on when others do."""
        return random.Random(self._dice.getrandbits(64))

    async def run(self, seconds: float) -> list[str]:
        """Let faults loose for so long; return what was violated."""
        field = self._field
        after_rev = await self._rev()
        for number, glob in enumerate(GLOBS):
            name = f"w{number}"
            self._watchers.append(Watcher(name, glob, after_rev, field, self.record, self._die()))
        clients = [*self._registers, *self._owners, *self._watchers]
        working = [ensureDeferred(client.run()) for client in clients]
        working += [ensureDeferred(owner.keep()) for owner in self._owners]
        try:
            await self._faults(seconds)
            return await self._come_right(after_rev)
        except (TooLong, Lost) as error:
            return [*self.record.violations, f"liveness: {error}"]
        finally:
            for client in clients:
                client.stop()
            await _all(working)

    async def _rev(self) -> int:
        """Return the revision at which the round begins."""
        told = await self._field.insist(self._field.nodes[0], commands.Sync())
        if not isinstance(told, Point):
            raise TooLong(f"SYNC was answered {told!r}")
        return told.rev

    async def _faults(self, seconds: float) -> None:
        faults = Faults(self._field, self._die(), self.record.counts, self._only)
        watching = ensureDeferred(self._look_for_ends())
        watching.addErrback(lambda failure: failure.trap(CancelledError))
        try:
            await _all([ensureDeferred(faults.work(hand, seconds)) for hand in (PROCESSES, ROADS)])
        finally:
            watching.cancel()

    async def _look_for_ends(self) -> None:
        """Have nodes that end by themselves be seen."""
        while True:
            await self._field.sleep(AGAIN_SECONDS)
            for node in self._field.ended():
                last_words = self._field.last_words(node)
                self.record.violations.append(f"ended: {node.name}: {last_words}")
                self._field.revive(node)

    # -- coming to rest -------------------------------------------------------------------------
    async def _come_right(self, after_rev: int) -> list[str]:
        field, record = self._field, self.record
        field.mend()
        mended_at = field.reactor.seconds()
        await field.wait_until_serving(SETTLE_SECONDS)
        record.count("ms until all served", int(1000 * (field.reactor.seconds() - mended_at)))
        for client in (*self._registers, *self._owners):
            client.stop()
        for watcher in self._watchers:
            watcher.settle()
        left = await self._left_over()
        last = await self._write_last()
        digests = await self._digests()
        told = {node.name: await events_of(field, node, after_rev, last) for node in field.nodes}
        (events, *_) = told.values()
        entries = await entries_of(field, field.nodes[0], after_rev)
        past = Past(events, entries, after_rev, record.path("e", ""))
        await self._watchers_have_seen(past)
        record.count("revisions", past.last_rev - after_rev)
        record.count("operations", len(record.history.operations) + len(record.ledger.deeds))
        return [*left, *digests, *field.complaints(), *differing(told), *judge(record, past)]

    async def _left_over(self) -> list[str]:
        """Return what is still there of sessions that nobody keeps."""
        until = self._field.reactor.seconds() + SILENCE_SECONDS
        while left := await self._owned():
            if self._field.reactor.seconds() > until:
                return [f"sessions: {what}" for what in left]
            await self._field.sleep(AGAIN_SECONDS * 4)
        return []

    async def _owned(self) -> list[str]:
        found = []
        for node in self._field.nodes:
            facts = await self._field.status(node)
            found += [
                f"{node.name} has {what} {facts.get(what)}, and nobody keeps any"
                for what in ("sessions", "locks")
                if facts.get(what) != "0"
            ]
            for glob in ("/e/**", "/l/**"):
                page = await self._field.insist(node, commands.Walk(glob))
                rows = page.rows if isinstance(page, Page) else (page,)
                found += [f"{node.name} has {row!r}, and its session is over" for row in rows]
        return found

    async def _write_last(self) -> bytes:
        """Write what is known to be the last of the round; return its value."""
        writer = Register("probe", self._field, self.record, self._die())
        try:
            for number in range(WRITES_MAX):
                value = f"last.{self.record.number}.{number}".encode()
                if await self._is_written(writer, commands.Set(PROBE, value)):
                    return value
        finally:
            writer.stop()
        raise TooLong("nobody takes the last write")

    async def _is_written(self, writer: Register, command: commands.Set) -> bool:
        try:
            await writer.connect()
            return isinstance(await writer.operate(command), Written)
        except Lost:
            return False
        finally:
            writer.leave()

    async def _digests(self) -> list[str]:
        """Return what is wrong with the digests once all nodes have applied the same."""
        until = self._field.reactor.seconds() + SETTLE_SECONDS
        while True:
            facts = [await self._field.status(node) for node in self._field.nodes]
            if len({(one.get("rev"), one.get("slot")) for one in facts}) == 1:
                digests = {one.get("digest") for one in facts}
                return [] if len(digests) == 1 else [f"digests: {digests}"]
            if self._field.reactor.seconds() > until:
                return [f"liveness: not all came to the same slot: {facts}"]
            await self._field.sleep(AGAIN_SECONDS)

    async def _watchers_have_seen(self, past: Past) -> None:
        """Give watchers the time to see the last of it; then nothing may be missing."""
        timeline = past.timeline()
        until = self._field.reactor.seconds() + SETTLE_SECONDS
        for watcher in self._watchers:
            watcher.watched.settled = True
            while watches.check(watcher.watched, timeline):
                if self._field.reactor.seconds() > until:
                    return
                await self._field.sleep(AGAIN_SECONDS)


async def _all(working: list[Deferred[Any]]) -> None:
    """Wait for all; the first failure is raised."""
    await gatherResults(working, consumeErrors=True)
