"""What a chosen value does to the store: once, in order, the same on every node.

The batches of one *origin* (a node on its disk) in one of its lives (*incarnation*) are numbered
from 1. A batch is applied exactly if it is the next one of its origin; a repeated one and one that
overtook another are passed over, on every node alike. So whatever was retried across a change of
leader is done at most once, a connection's writes keep their order, and the memory for it
is one pair of numbers an origin. A batch passed over because it came too early is still its
origin's to propose again (`coord.replicator.coordinator`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from coord.commands import CLUSTER, WRITE_KINDS, Caller, Level, Read, Roster, Write
from coord.paxos.durable import Value
from coord.paxos.membership import Configuration, Member
from coord.results import Result
from coord.store.machine import Store
from coord.wire import values
from coord.wire.values import Batch

FOUNDER: Final = ""
"""The origin of the cluster's first write, which may be chosen twice and is done once."""


UNTOLD: Final = Caller(level=Level.WRITE)
"""Who asked for what is in a log of before callers were told: anybody, who could write all but
``/ctl``. What was refused to them then is refused again when the log is replayed."""


class Applied(msgspec.Struct, frozen=True, array_like=True):
    """The last batch applied of one origin: in which of its lives, and its number."""

    incarnation: int
    number: int


_NEVER: Final = Applied(0, 0)


class Origins:
    """The last batch applied of each origin."""

    def __init__(self, applied: Iterable[tuple[str, Applied]] = ()) -> None:
        self._applied = dict(applied)

    def admit(self, batch: Batch) -> bool:
        """Say whether ``batch`` is the next of its origin, and if so, count it."""
        if batch.origin == FOUNDER:
            return True
        last = self._applied.get(batch.origin, _NEVER)
        if batch.incarnation == last.incarnation:
            is_next = batch.number == last.number + 1
        else:
            is_next = batch.incarnation > last.incarnation and batch.number == 1
        if is_next:
            self._applied[batch.origin] = Applied(batch.incarnation, batch.number)
        return is_next

    def last(self, origin: str) -> Applied:
        """Return the last batch applied of an origin; one of no life where there is none."""
        return self._applied.get(origin, _NEVER)

    def known(self) -> tuple[tuple[str, Applied], ...]:
        """Return what has to be kept with an image of the store."""
        return tuple(sorted(self._applied.items()))


class Outcome(msgspec.Struct, frozen=True):
    """What became of a chosen batch: its origin and number, and whether it was applied.

    ``results`` are for the node that took it; ``commands`` are those of the cluster itself.
    """

    origin: str
    incarnation: int
    number: int
    is_applied: bool
    results: Sequence[Result] = ()
    commands: Sequence[Write] = ()


Run: TypeAlias = tuple[Sequence[Write | Read], Caller]
"""Commands that follow one another, and who asks for them."""


class Own(Protocol):
    """Who knows the batches that this node took."""

    def runs(self, batch: Batch, value: bytes) -> Sequence[Run] | None:
        """Return the writes of the batch that ``value`` holds with the reads among them.

        None where it is another node's, or an earlier life's.
        """


class Applier:
    """Applies chosen slots to the store; ``slot`` is the last one applied."""

    def __init__(self, store: Store, origins: Origins, slot: int, time_ms: int) -> None:
        self.store = store
        self.origins = origins
        self.slot = slot
        self.time_ms = time_ms

    def apply(self, slot: int, value: Value, own: Own) -> Outcome | None:
        """Apply the next slot; None where its value is not a batch.

        For a batch that this node took, ``own`` returns the commands with the reads that ride
        along in their places, and the outcome holds a result for each.
        """
        assert slot == self.slot + 1, "slots are applied in order, without gap"
        self.slot = slot
        if isinstance(value, Configuration):
            self._enrol(value)
            return None
        if not value:
            return None
        time_ms, batch = values.decode(value)
        self.time_ms = max(self.time_ms, time_ms)
        is_applied = self.origins.admit(batch)
        results: Sequence[Result] = ()
        if is_applied:
            runs = own.runs(batch, value)
            if runs is None:
                self._perform(batch)
            else:
                results = self._perform_own(runs)
            self.store.seal()
        words = batch.commands if batch.origin == FOUNDER else ()
        return Outcome(batch.origin, batch.incarnation, batch.number, is_applied, results, words)

    def _enrol(self, configuration: Configuration) -> None:
        """Write who the members are; of a cluster's first configurations nothing is known."""
        if configuration.members:
            self.store.apply(roster_of(configuration), self.time_ms, CLUSTER)
            self.store.seal()

    def adopt(self, other: Applier) -> None:
        """Go on where ``other`` is, which knows more slots; its store becomes this one's."""
        assert other.slot > self.slot, "a store never goes back"
        self.store.become(other.store)
        self.origins, self.slot, self.time_ms = other.origins, other.slot, other.time_ms

    def _perform(self, batch: Batch) -> None:
        """Do the writes of another node, each for whoever asked it."""
        apply, time_ms, commands = self.store.apply, self.time_ms, batch.commands
        first = 0
        for count, caller in batch.callers:
            for write in commands[first : first + count]:
                apply(write, time_ms, caller)
            first += count
        rest = CLUSTER if batch.origin == FOUNDER else UNTOLD
        if rest is UNTOLD and first < len(commands):
            self.store.inherit()
        for write in commands[first:]:
            apply(write, time_ms, rest)

    def _perform_own(self, runs: Iterable[Run]) -> list[Result]:
        """Do the writes that this node took, and answer the reads among them."""
        apply, answer, time_ms = self.store.apply, self.store.answer, self.time_ms
        return [
            apply(one, time_ms, caller)  # type: ignore[arg-type]
            if type(one) in WRITE_KINDS
            else answer(one, caller)  # type: ignore[arg-type]
            for commands, caller in runs
            for one in commands
        ]


def roster_of(configuration: Configuration) -> Roster:
    """Return the write that tells the store who the members are."""
    return Roster(
        tuple((one.node, _described(one, configuration)) for one in configuration.members)
    )


def _described(member: Member, configuration: Configuration) -> str:
    """Return what the node of a member under ``/ctl/members`` is to hold."""
    is_voter = member.node in configuration.voters
    return member.address if is_voter else f"{member.address} observer"
