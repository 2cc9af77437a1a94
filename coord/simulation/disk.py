"""A disk that is slow, and forgets what was not yet synced; provides ``IJournal``.

Everything asked of a journal waits in one queue until a sync takes all that waits (group
commit), and is done when that sync ends; the process hears of it a little later.

A crash keeps some prefix of the saves that were under way, never one without all before it.
The save after that prefix may be *torn*, written in part: as SQLite's log does, recovery drops
it whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from coord.journal.errors import ClosedError
from coord.paxos.durable import Header, Save, Value
from coord.replicator.interfaces import IJournalObserver, Recovered
from coord.simulation.platter import Platter, Written
from coord.simulation.world import Process, World


class DiskFull(OSError):
    """What a disk says that was made to fail; to log it is right."""


class DiskMix(msgspec.Struct, frozen=True, kw_only=True):
    """How slow a disk is: seconds, and the probability that a sync stalls."""

    sync_seconds: float = 0.001
    spread_seconds: float = 0.001
    stall_rate: float = 0.0
    stall_seconds: float = 0.0

    @classmethod
    def draw(cls, dice: random.Random) -> DiskMix:
        """Return what the dice say."""
        return cls(
            sync_seconds=dice.choice((0.0002, 0.001, 0.005)),
            spread_seconds=dice.choice((0.0002, 0.002, 0.02)),
            stall_rate=dice.choice((0.0, 0.001, 0.01)),
            stall_seconds=dice.choice((0.1, 0.5)),
        )


class Disk:
    """The disk of one machine, which outlives its processes."""

    def __init__(
        self, world: World, mix: DiskMix, initial: Header | None = None, name: str = "disk"
    ) -> None:
        self.world = world
        self.mix = mix
        self.name = name
        self.initial = initial or Header()
        self.platter = Platter(self.initial, f"{name}-1")
        self.copy: Platter | None = None
        """What the disk held some time ago."""
        self.slow_until = 0.0
        self.failing = False
        self.ambush: Callable[[], None] | None = None
        """What is to happen while the next save is under way."""
        self.promise_ambush: Callable[[], None] | None = None
        """What is to happen just after the next promise was saved, and told."""
        self.image_ambush: Callable[[], None] | None = None
        """What is to happen while the next image is written."""
        self._journal: SimulatedJournal | None = None
        self._platters = 1

    def open(self, process: Process) -> SimulatedJournal:
        """Return the journal of a new life."""
        self.failing = False
        self._journal = SimulatedJournal(self, process)
        return self._journal

    def replace(self) -> None:
        """Have an empty platter, of another name, from the next life on."""
        self._platters += 1
        self.platter = Platter(self.initial, f"{self.name}-{self._platters}")
        self.copy = None

    def keep_copy(self) -> None:
        """Copy what the disk holds now, for `set_back`."""
        self.copy = self.platter.copy()

    def set_back(self) -> None:
        """Hold, from the next life on, what was copied once, and nothing later."""
        assert self.copy is not None, "keep_copy() comes first"
        self.platter = self.copy.copy()

    def slow_down(self, seconds: float) -> None:
        """Make every sync that begins within so many seconds a slow one."""
        self.slow_until = self.world.now + seconds

    def fail(self) -> None:
        """Refuse every save from now on, until the process is started again."""
        self.failing = True

    def crash(self) -> None:
        """Keep a prefix of the saves that were under way; forget the rest."""
        journal, self._journal = self._journal, None
        if journal is None:
            return
        if journal.is_imaging:
            self.world.count("images lost in a crash")
        pending = journal.abandon()
        kept = self.world.dice.randint(0, len(pending)) if not self.failing else 0
        for asked in pending[:kept]:
            asked.do()
        self.world.count("saves kept by a crash", kept)
        self.world.count("saves lost in a crash", len(pending) - kept)
        if kept < len(pending) and self.world.chance(0.5):
            self.world.count("saves torn")

    def spring(self) -> None:
        """Let what lies in ambush happen now that a save is under way."""
        ambush, self.ambush = self.ambush, None
        if ambush is not None:
            slowest = self.mix.sync_seconds + self.mix.spread_seconds
            self.world.schedule(self.world.dice.random() * slowest, None, ambush)

    def promised(self) -> None:
        """Let what lies in ambush for a promise happen now that the process knows it saved."""
        ambush, self.promise_ambush = self.promise_ambush, None
        if ambush is not None:
            self.world.schedule(self.world.dice.random() * 0.002, None, ambush)

    def imaging(self) -> None:
        """Let what lies in ambush for an image happen while it is written, or just after."""
        ambush, self.image_ambush = self.image_ambush, None
        if ambush is not None:
            self.world.schedule(self.world.dice.random() ** 2 * 0.1, None, ambush)

    def sync_seconds(self) -> float:
        """Return how long the next sync takes."""
        dice, mix = self.world.dice, self.mix
        seconds = mix.sync_seconds + dice.random() * mix.spread_seconds
        if self.world.now < self.slow_until:
            seconds += dice.random() * 0.3
        elif self.world.chance(mix.stall_rate):
            self.world.count("syncs stalled")
            seconds += dice.random() * mix.stall_seconds
        return seconds


class _Asked(msgspec.Struct, frozen=True):
    """Something asked of the disk: a save with its ticket, or whatever fires ``done``."""

    do: Callable[[], object]
    ticket: int = 0
    done: Deferred[Any] | None = None


class SimulatedJournal:
    """``IJournal`` for one life of one node."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._platter = disk.platter
        self._process = process
        self._observer: IJournalObserver | None = None
        self._waiting: list[_Asked] = []
        self._syncing: list[_Asked] = []
        self._busy = False
        self._gone = False
        self._refusal: Exception | None = None
        self._is_closing = False
        self._closing: list[Deferred[None]] = []
        self._writer: SimulatedImageWriter | None = None
        self._told = 0
        self._promise_ticket = 0

    # -- IJournal ------------------------------------------------------------------------
    def recover(self) -> Recovered:
        """Read the platter and count one more life."""
        self._platter.incarnation += 1
        durable, image = self._platter.durable(), iter(self._platter.image)
        return Recovered(self._platter.incarnation, durable, image, self._platter.name)

    def observe(self, observer: IJournalObserver) -> None:
        """Say who is told."""
        assert self._observer is None, "observed twice"
        self._observer = observer

    def save(self, save: Save) -> None:
        """Queue a save for the next sync."""
        self._disk.world.count("saves")
        self._ask(_Asked(partial(self._platter.write, Written.of(save)), save.ticket))
        if not save.votes:
            self._promise_ticket = save.ticket
        self._disk.spring()

    def read(self, slot: int, until: int, size_bytes_max: int) -> Deferred[Sequence[Value]]:
        """Fire with what the log has once all that was asked before is done."""
        self._disk.world.count("log reads")
        return self.ask(partial(self._platter.values, slot, until, size_bytes_max))

    def oldest(self) -> int:
        """Return the first slot not yet trimmed."""
        return self._platter.oldest

    def start_image(self, slot: int) -> SimulatedImageWriter:
        """Begin an image; `ValueError` where one is under way, or the newest is no older."""
        if self._writer is not None and not self._writer.ended:
            raise ValueError("one image at a time")
        if slot < self._platter.image_slot:
            raise ValueError("an image never takes the place of a newer one")
        self._disk.imaging()
        self._writer = SimulatedImageWriter(self, slot)
        return self._writer

    def trim(self, slot: int) -> None:
        """Drop the log before ``slot``; `ValueError` where no image covers it."""
        if slot > self._platter.image_slot + 1:
            raise ValueError("what no image covers is not trimmed")
        self._disk.world.count("trims")
        self._platter.trim(slot)

    def close(self) -> Deferred[None]:
        """Fire once all that was queued is durable."""
        closed: Deferred[None] = Deferred()
        self._is_closing = True
        self._closing.append(closed)
        if not self._busy:
            self._close()
        return closed

    # -- the disk's side -------------------------------------------------------------------
    def ask(self, do: Callable[[], object]) -> Deferred[Any]:
        """Queue something; fires with what it returns, or fails as the disk did."""
        done: Deferred[Any] = Deferred()
        self._ask(_Asked(do, done=done))
        return done

    def put_image(self, slot: int, pieces: tuple[bytes, ...]) -> None:
        """Make an image the one that recovery reads."""
        self._disk.world.count("images")
        self._platter.put_image(slot, pieces)

    @property
    def is_imaging(self) -> bool:
        """Whether an image is being written."""
        return self._writer is not None and not self._writer.ended

    def abandon(self) -> list[_Asked]:
        """Return the saves that were not durable when the process crashed."""
        self._gone = True
        return [asked for asked in self._syncing + self._waiting if asked.ticket]

    def _ask(self, asked: _Asked) -> None:
        refusal = self._refusal
        if refusal is None and self._is_closing:
            refusal = ClosedError("the journal is closed")
        if refusal is not None:
            self._refuse([asked], refusal)
            return
        self._waiting.append(asked)
        if not self._busy:
            self._busy = True
            self._disk.world.schedule(0.0, None, self._sync)

    def _refuse(self, refused: list[_Asked], refusal: Exception) -> None:
        for asked in refused:
            if asked.done is not None:
                self._tell_soon(asked.done.errback, Failure(refusal))

    def _tell_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        world = self._disk.world
        world.schedule(world.dice.random() * 0.0002, self._process, function, *arguments)

    def _sync(self) -> None:
        """Take all that waits; it is durable when the sync ends."""
        if self._gone:
            return
        self._syncing, self._waiting = self._waiting, []
        self._disk.world.count("syncs")
        self._disk.world.schedule(self._disk.sync_seconds(), None, self._synced)

    def _synced(self) -> None:
        if self._gone:
            return
        if self._disk.failing:
            self._fail(DiskFull("simulated: the disk is full"))
            return
        ticket = 0
        for asked in self._syncing:
            ticket = asked.ticket or ticket
            result = asked.do()
            if asked.done is not None:
                self._tell_soon(asked.done.callback, result)
        self._syncing = []
        if ticket:
            self._tell_soon(self._tell, ticket)
        if self._waiting:
            self._sync()
            return
        self._busy = False
        self._close()

    def _close(self) -> None:
        closing, self._closing = self._closing, []
        for closed in closing:  # after all that was told before
            self._disk.world.schedule(0.001, self._process, closed.callback, None)

    def _fail(self, error: DiskFull) -> None:
        self._refusal = error
        self._refuse(self._syncing + self._waiting, error)
        self._syncing, self._waiting = [], []
        self._busy = False
        self._tell_soon(self._tell_failure, error)
        self._close()

    def _tell(self, ticket: int) -> None:
        """Tell of a ticket, unless one that stands for it was told already."""
        assert self._observer is not None
        if ticket > self._told:
            told, self._told = self._told, ticket
            self._observer.saved(ticket)
            if told < self._promise_ticket <= ticket:
                self._disk.promised()

    def _tell_failure(self, error: DiskFull) -> None:
        assert self._observer is not None
        self._observer.failed(error)


class SimulatedImageWriter:
    """``IImageWriter``: pieces wait in memory until the image is whole."""

    def __init__(self, journal: SimulatedJournal, slot: int) -> None:
        self.ended = False
        self._journal = journal
        self._slot = slot
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> Deferred[None]:
        """Take one piece."""
        self._check()
        self._pieces.append(bytes(piece))
        return self._journal.ask(lambda: None)

    def finish(self) -> Deferred[None]:
        """Make it the newest."""
        self._check()
        self.ended = True
        return self._journal.ask(
            partial(self._journal.put_image, self._slot, tuple(self._pieces)),
        )

    def abandon(self) -> None:
        """Forget it; safe to call more than once."""
        self.ended = True
        self._pieces.clear()

    def _check(self) -> None:
        if self.ended:
            raise ValueError("the image has ended")
