"""What waits in a node: groups of requests, batches in flight, reads for their point.

Nothing here knows of time but what it is told, or of the network at all; the rules of what
may be answered when are in `coord.replicator.coordinator`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Final, TypeAlias, cast

from coord.commands import CLUSTER, WRITE_KINDS, Caller, Read, Rev, Write, weight_bytes
from coord.errors import CoordError, Overloaded, TooLarge, Unavailable, Unknown
from coord.limits import (
    BATCH_BYTES_SOFT,
    BATCH_COMMANDS_MAX,
    BATCHES_IN_FLIGHT,
    QUEUE_BYTES_MAX,
    QUEUE_COMMANDS_MAX,
    VALUE_OF_SLOT_BYTES_MAX,
)
from coord.replicator.applier import Applied, Outcome, Run
from coord.results import Result
from coord.wire.values import Batch, encode_batch

Answer: TypeAlias = Callable[[Sequence[Result]], None]
Call: TypeAlias = Callable[[], None]


_CALLER_BYTES: Final = 96
"""About what a caller takes on the wire beside its name: an address, a session, a level."""
UNAVAILABLE: Final = Unavailable("not done: no quorum could be reached; try again")
UNKNOWN: Final = Unknown("it was proposed when the quorum went; it may or may not be done")

UNSEEN: Final = Unknown("it was decided while this node was too far behind to see how")


class SetBackError(Exception):
    """The log holds a batch of this node that it never sent: its disk was lost or set back."""

    def __init__(self, known: int, own: int) -> None:
        super().__init__(
            f"this node's disk was lost or set back: the cluster knows life {known} of it, this is"
            f" life {own}; empty its directory, then MEMBER replace NODE NODE HOST:PORT admits it"
            " anew"
        )


class Group:
    """Commands of one connection that are answered together, once."""

    __slots__ = ("answer", "caller", "commands", "deadline", "weight_bytes", "writes")

    def __init__(
        self,
        commands: Sequence[Write | Read],
        answer: Answer,
        deadline: float,
        caller: Caller = CLUSTER,
    ) -> None:
        self.commands = commands
        self.caller = caller
        self.writes = cast("list[Write]", [one for one in commands if type(one) in WRITE_KINDS])
        self.answer: Answer | None = answer
        self.deadline = deadline
        self.weight_bytes = 0  # only what writes is queued by its weight
        if self.writes:
            self.weight_bytes = weight_bytes(commands) + _CALLER_BYTES + 4 * len(caller.who)

    @property
    def is_local(self) -> bool:
        """Whether it asks for nothing but this node as it stands."""
        return all(isinstance(one, Rev) or getattr(one, "local", False) for one in self.commands)

    def read_by(self, answer: Callable[[Read, Caller], Result]) -> list[Result]:
        """Return what ``answer`` says to each command of a group that only reads."""
        caller = self.caller
        return [answer(one, caller) for one in self.commands]  # type: ignore[arg-type]

    def settle(self, results: Sequence[Result]) -> None:
        """Answer, unless that was done."""
        answer, self.answer = self.answer, None
        if answer is not None:
            answer(results)

    def refuse(self, error: CoordError, fate: CoordError | None = None) -> None:
        """Answer every read with ``error``, and every write with ``fate`` or the same."""
        self.settle([fate if fate and type(one) in WRITE_KINDS else error for one in self.commands])


class Proof(Group):
    """No commands at all, but for the point: ``told`` whether it is known to be the newest."""

    __slots__ = ("_told",)

    def __init__(self, told: Callable[[bool], None], deadline: float) -> None:
        super().__init__((), lambda results: told(True), deadline)
        self._told = told

    def refuse(self, error: CoordError, fate: CoordError | None = None) -> None:
        """Say that it could not be found out."""
        if self.answer is not None:
            self.answer = None
            self._told(False)


class Flight:
    """A batch on its way: sent at least once, not yet seen applied."""

    __slots__ = ("groups", "number", "payload")

    def __init__(self, number: int, groups: list[Group], payload: bytes) -> None:
        self.number = number
        self.groups = groups
        self.payload = payload

    def runs(self) -> list[Run]:
        """Return all commands in the order in which they are done, and who asks."""
        return [(group.commands, group.caller) for group in self.groups]

    def land(self, results: Sequence[Result]) -> list[Call]:
        """Return the calls that give each group its share of the results."""
        calls: list[Call] = []
        first = 0
        for group in self.groups:
            share = results[first : first + len(group.commands)]
            first += len(group.commands)
            calls.append(partial(group.settle, share))
        return calls


class Writes:
    """The queue of this node's writes, and its batches in flight.

    ``batches`` and ``written`` (commands) count what was sent; ``landed_deadline`` is that of
    the group which had waited longest in the batch that landed last.
    """

    def __init__(self, origin: str, incarnation: int) -> None:
        self._origin = origin
        self._incarnation = incarnation
        self._queue: deque[Group] = deque()
        self._queued_commands = 0
        self._queued_bytes = 0
        self._flights: deque[Flight] = deque()
        self._next_number = 1
        self.batches = 0
        self.written = 0
        self.landed_deadline = 0.0

    @property
    def waiting(self) -> int:
        """How many commands wait for a batch."""
        return self._queued_commands

    @property
    def waiting_bytes(self) -> int:
        """How much memory they take, about."""
        return self._queued_bytes

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing flies."""
        return not self._queue and not self._flights

    @property
    def has_queued(self) -> bool:
        """Whether a batch could be made, if one more may fly."""
        return bool(self._queue) and len(self._flights) < BATCHES_IN_FLIGHT

    @property
    def flights(self) -> Sequence[Flight]:
        """The batches in flight, oldest first."""
        return self._flights

    def add(self, group: Group) -> CoordError | None:
        """Queue a group, or say why not; it then never happens."""
        if group.weight_bytes > VALUE_OF_SLOT_BYTES_MAX - BATCH_BYTES_SOFT:
            return TooLarge("too much in one go: send it in smaller pieces")
        if (
            self._queued_commands + len(group.commands) > QUEUE_COMMANDS_MAX
            or self._queued_bytes + group.weight_bytes > QUEUE_BYTES_MAX
        ):
            return Overloaded("too many writes are waiting on this node")
        self._queue.append(group)
        self._queued_commands += len(group.commands)
        self._queued_bytes += group.weight_bytes
        return None

    def next_batch(self) -> Flight | None:
        """Make the next batch of what is queued, if there is any and one more may fly."""
        if not self._queue or len(self._flights) >= BATCHES_IN_FLIGHT:
            return None
        groups: list[Group] = []
        size_bytes = count = 0
        while self._queue and size_bytes < BATCH_BYTES_SOFT and count < BATCH_COMMANDS_MAX:
            group = self._pop()
            if group.answer is not None:
                groups.append(group)
                size_bytes += group.weight_bytes
                count += len(group.commands)
        if not groups:
            return None
        writes = tuple(chain.from_iterable(group.writes for group in groups))
        number = self._next_number
        batch = Batch(self._origin, self._incarnation, number, writes, _callers(groups))
        flight = Flight(number, groups, encode_batch(batch))
        self._flights.append(flight)
        self._next_number += 1
        self.batches += 1
        self.written += len(writes)
        return flight

    def _pop(self) -> Group:
        group = self._queue.popleft()
        self._queued_commands -= len(group.commands)
        self._queued_bytes -= group.weight_bytes
        return group

    def runs(self, batch: Batch, value: bytes) -> Sequence[Run] | None:
        """Return the commands of a batch of ours in flight, reads in their places.

        :raises SetBackError: where the batch is of a life of this node that it knows nothing of.
        """
        if batch.origin != self._origin or batch.incarnation < self._incarnation:
            return None
        flight = self._flights[0] if self._flights else None
        if batch.incarnation > self._incarnation or flight is None:
            raise SetBackError(batch.incarnation, self._incarnation)
        if flight.number != batch.number or not value.endswith(flight.payload):
            raise SetBackError(batch.incarnation, self._incarnation)
        return flight.runs()

    def landed(self, outcome: Outcome) -> list[Call] | None:
        """Take note of an outcome; the calls that answer, or None if it was not the next."""
        if outcome.origin != self._origin or outcome.incarnation != self._incarnation:
            return []
        if outcome.is_applied:
            flight = self._flights.popleft()
            self.landed_deadline = flight.groups[0].deadline
            return flight.land(outcome.results)
        overtook = bool(self._flights) and outcome.number >= self._flights[0].number
        return None if overtook else []

    def passed_over(self, last: Applied) -> list[Call]:
        """Take note that an image holds this node's batches up to ``last``.

        Returns the calls that answer those of them that were in flight: they are done, but what
        came of them is not in the image. All others are still to be done.

        :raises SetBackError: where that is more than this life has sent.
        """
        is_ours = last.incarnation == self._incarnation
        is_unsent = is_ours and last.number >= self._next_number
        if last.incarnation > self._incarnation or is_unsent:
            raise SetBackError(last.incarnation, self._incarnation)
        calls: list[Call] = []
        while is_ours and self._flights and self._flights[0].number <= last.number:
            groups = self._flights.popleft().groups
            calls += [partial(group.refuse, UNAVAILABLE, UNSEEN) for group in groups]
        return calls

    def expire(self, now: float) -> list[Call]:
        """Return the calls that answer what has waited past its deadline."""
        calls: list[Call] = []
        while self._queue and self._queue[0].deadline <= now:
            group = self._pop()
            calls.append(partial(group.refuse, UNAVAILABLE))
        flying = chain.from_iterable(flight.groups for flight in self._flights)
        late = [group for group in flying if group.answer is not None and group.deadline <= now]
        return calls + [partial(group.refuse, UNAVAILABLE, UNKNOWN) for group in late]


class Reads:
    """The groups that wait for a point to read at; ``answered`` counts commands."""

    def __init__(self, first_number: int) -> None:
        self._number = first_number
        self._waiting: list[Group] = []
        self._asked: list[Group] = []
        self._ready: deque[tuple[int, list[Group]]] = deque()
        self._weight = 0
        self.answered = 0

    @property
    def weight(self) -> int:
        """How many commands wait."""
        return self._weight

    @property
    def has_waiting(self) -> bool:
        """Whether a question could be asked now."""
        return bool(self._waiting) and not self._asked

    def add(self, group: Group) -> CoordError | None:
        """Let a group wait for the next question, or say why not."""
        if self._weight + len(group.commands) > QUEUE_COMMANDS_MAX:
            return Overloaded("too many reads are waiting on this node")
        self._waiting.append(group)
        self._weight += len(group.commands)
        return None

    def next_question(self) -> int | None:
        """Return the number of the question to ask now; None if there is nothing to ask yet."""
        if self._asked or not self._waiting:
            return None
        self._asked, self._waiting = self._waiting, []
        self._number += 1
        return self._number

    def found(self, number: int, slot: int) -> None:
        """Take the answer to a question: its groups may be answered once ``slot`` is applied."""
        if number == self._number and self._asked:
            self._ready.append((slot, self._asked))
            self._asked = []

    def ready(self, slot: int) -> list[Group]:
        """Take the groups that may be answered now that ``slot`` is applied."""
        groups: list[Group] = []
        while self._ready and self._ready[0][0] <= slot:
            groups += self._ready.popleft()[1]
        self._weight -= sum(len(group.commands) for group in groups)
        return groups

    def expire(self, now: float) -> list[Call]:
        """Return the calls that answer what has waited past its deadline."""
        late: list[Group] = []
        for groups in (self._waiting, self._asked, *(groups for _, groups in self._ready)):
            late += [group for group in groups if group.deadline <= now]
            groups[:] = [group for group in groups if group.deadline > now]
        self._weight -= sum(len(group.commands) for group in late)
        return [partial(group.refuse, UNAVAILABLE) for group in late]


def _callers(groups: Sequence[Group]) -> tuple[tuple[int, Caller], ...]:
    """Return who asks for how many of the writes of some groups, neighbours taken together."""
    runs: list[tuple[int, Caller]] = []
    count, last = 0, CLUSTER
    for group in groups:
        if not group.writes:
            continue
        if count and group.caller != last:
            runs.append((count, last))
            count = 0
        count, last = count + len(group.writes), group.caller
    if count:
        runs.append((count, last))
    return tuple(runs)
