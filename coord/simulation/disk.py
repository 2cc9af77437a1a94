"""A disk that is slow, and forgets what was not yet synced; provides ``IJournal``.

The *platter* holds what is durable, as encoded bytes: no life of a node shares an object with
an earlier one. A save waits in the queue until a sync takes all that waits (group commit) and
is durable when that sync ends; the process hears of it a little later.

A crash keeps some prefix of the saves that were under way, never one without all before it.
The save after that prefix may be *torn*, written in part: as SQLite's log does, recovery drops
it whole.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred

from coord.paxos.durable import Durable, Header, Save, Value, Vote
from coord.replicator.interfaces import IJournalObserver, Recovered
from coord.simulation.world import Process, World

_ENCODER: Final = msgspec.msgpack.Encoder()
_HEADER: Final = msgspec.msgpack.Decoder(Header)
_VOTE: Final = msgspec.msgpack.Decoder(Vote)


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


class _Queued(msgspec.Struct, frozen=True):
    """One save as bytes."""

    ticket: int
    header: bytes
    votes: tuple[tuple[int, bytes], ...]


class Platter:
    """What is durable."""

    def __init__(self, initial: Header) -> None:
        self.incarnation = 0
        self.header = _ENCODER.encode(initial)
        self.votes: dict[int, bytes] = {}
        self.oldest = 1
        self.image_slot = 0
        self.image: tuple[bytes, ...] = ()

    def apply(self, save: _Queued) -> None:
        """Make one save durable."""
        self.header = save.header
        for slot, vote in save.votes:
            if slot >= self.oldest:
                self.votes[slot] = vote

    def trim(self, slot: int) -> None:
        """Drop all votes before ``slot``."""
        for old in range(self.oldest, slot):
            self.votes.pop(old, None)
        self.oldest = max(self.oldest, slot)

    def durable(self) -> Durable:
        """Return what a replica starts from."""
        header = _HEADER.decode(self.header)
        slots = sorted(slot for slot in self.votes if slot > self.image_slot)
        votes = tuple(_VOTE.decode(self.votes[slot]) for slot in slots)
        return Durable(header, votes, self.image_slot)

    def values(self, slot: int, until: int, size_bytes_max: int) -> list[Value]:
        """Return consecutive values from ``slot`` on; as many as fit, at least one."""
        values: list[Value] = []
        size = 0
        while slot < until and slot in self.votes:
            size += len(self.votes[slot])
            if values and size > size_bytes_max:
                break
            values.append(_VOTE.decode(self.votes[slot]).value)
            slot += 1
        return values


class Disk:
    """The disk of one machine, which outlives its processes."""

    def __init__(self, world: World, mix: DiskMix, initial: Header | None = None) -> None:
        self.world = world
        self.mix = mix
        self.platter = Platter(initial or Header())
        self.slow_until = 0.0
        self.failing = False
        self.ambush: Callable[[], None] | None = None
        """What is to happen while the next save is under way."""
        self._journal: SimulatedJournal | None = None

    def open(self, process: Process) -> SimulatedJournal:
        """Return the journal of a new life."""
        self.failing = False
        self._journal = SimulatedJournal(self, process)
        return self._journal

    def slow_down(self, seconds: float) -> None:
        """Make every sync that begins within so many seconds a slow one."""
        self.slow_until = self.world.now + seconds

    def fail(self) -> None:
        """Refuse every save from now on, until the process is started again."""
        self.failing = True

    def crash(self) -> None:
        """Keep a prefix of what was under way; forget the rest."""
        journal, self._journal = self._journal, None
        if journal is None:
            return
        pending = journal.abandon()
        kept = self.world.dice.randint(0, len(pending)) if not self.failing else 0
        for save in pending[:kept]:
            self.platter.apply(save)
        self.world.count("saves kept by a crash", kept)
        lost = len(pending) - kept
        self.world.count("saves lost in a crash", lost)
        if lost and self.world.chance(0.5):
            self.world.count("saves torn")

    def spring(self) -> None:
        """Let what lies in ambush happen, some time before this save's sync is surely over."""
        ambush, self.ambush = self.ambush, None
        if ambush is not None:
            delay = self.world.dice.random() * (self.mix.sync_seconds + self.mix.spread_seconds)
            self.world.schedule(delay, None, ambush)

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


class SimulatedJournal:
    """``IJournal`` for one life of one node."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process
        self._observer: IJournalObserver | None = None
        self._waiting: list[_Queued] = []
        self._syncing: list[_Queued] = []
        self._busy = False
        self._gone = False
        self._failed = False
        self._idle: deque[Deferred[None]] = deque()
        self._told = 0

    # -- IJournal ------------------------------------------------------------------------
    def recover(self) -> Recovered:
        """Read the platter and count one more life."""
        platter = self._disk.platter
        platter.incarnation += 1
        return Recovered(platter.incarnation, platter.durable(), iter(platter.image))

    def observe(self, observer: IJournalObserver) -> None:
        """Say who is told."""
        assert self._observer is None, "observed twice"
        self._observer = observer

    def save(self, save: Save) -> None:
        """Queue a save for the next sync."""
        votes = tuple((vote.slot, _ENCODER.encode(vote)) for vote in save.votes)
        self._waiting.append(_Queued(save.ticket, _ENCODER.encode(save.header), votes))
        self._disk.world.count("saves")
        if not self._busy:
            self._busy = True
            self._disk.world.schedule(0.0, None, self._sync)
        self._disk.spring()

    def read(self, slot: int, until: int, size_bytes_max: int) -> Deferred[Sequence[Value]]:
        """Fire with what the platter has, after a while."""
        answer: Deferred[Sequence[Value]] = Deferred()
        self._disk.world.count("log reads")

        def done() -> None:
            answer.callback(self._disk.platter.values(slot, until, size_bytes_max))

        self.later(done)
        return answer

    def oldest(self) -> int:
        """Return the first slot not yet trimmed."""
        return self._disk.platter.oldest

    def start_image(self, slot: int) -> SimulatedImageWriter:
        """Begin an image of the state after ``slot``."""
        return SimulatedImageWriter(self, slot)

    def trim(self, slot: int) -> None:
        """Drop the log before ``slot``."""
        self._disk.world.count("trims")
        self._disk.platter.trim(slot)

    def close(self) -> Deferred[None]:
        """Fire once all that was queued is durable."""
        closed: Deferred[None] = Deferred()
        if self._busy and not self._failed:
            self._idle.append(closed)
        else:
            self.later(closed.callback, None)
        return closed

    # -- the disk's side -------------------------------------------------------------------
    def finish_image(self, slot: int, pieces: tuple[bytes, ...]) -> None:
        """Make an image the one that recovery reads."""
        platter = self._disk.platter
        if not self._gone and slot >= platter.image_slot:
            platter.image_slot, platter.image = slot, pieces
            self._disk.world.count("images")

    def abandon(self) -> list[_Queued]:
        """Return all that was not durable when the process crashed."""
        self._gone = True
        return self._syncing + self._waiting

    def later(self, function: Callable[..., object], *arguments: Any) -> None:
        """Let the process hear of something as long after now as a sync takes."""
        delay = self._disk.sync_seconds()
        self._disk.world.schedule(delay, self._process, function, *arguments)

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
        world = self._disk.world
        if self._disk.failing:
            self._failed = True
            world.schedule(0.0, self._process, self._tell_failure)
            return
        for save in self._syncing:
            self._disk.platter.apply(save)
        ticket, self._syncing = self._syncing[-1].ticket, []
        world.schedule(world.dice.random() * 0.0002, self._process, self._tell, ticket)
        if self._waiting:
            self._sync()
            return
        self._busy = False
        while self._idle:
            world.schedule(0.001, self._process, self._idle.popleft().callback, None)

    def _tell(self, ticket: int) -> None:
        """Tell of a ticket, unless one that stands for it was told already."""
        assert self._observer is not None
        if ticket > self._told:
            self._told = ticket
            self._observer.saved(ticket)

    def _tell_failure(self) -> None:
        assert self._observer is not None
        self._observer.failed(OSError("simulated: the disk is full"))


class SimulatedImageWriter:
    """``IImageWriter``: pieces wait in memory until the image is whole."""

    def __init__(self, journal: SimulatedJournal, slot: int) -> None:
        self._journal = journal
        self._slot = slot
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> Deferred[None]:
        """Take one piece."""
        self._pieces.append(bytes(piece))
        return self._fired(lambda: None)

    def finish(self) -> Deferred[None]:
        """Make it the newest."""
        pieces = tuple(self._pieces)
        return self._fired(lambda: self._journal.finish_image(self._slot, pieces))

    def abandon(self) -> None:
        """Forget it."""
        self._pieces.clear()

    def _fired(self, first: Callable[[], None]) -> Deferred[None]:
        fired: Deferred[None] = Deferred()

        def done() -> None:
            first()
            fired.callback(None)

        self._journal.later(done)
        return fired
