"""A tiny world for pure replicas: a bag of messages, disks that save when told, clocks.

Nothing happens unless a test says so, with verbs that tell the story::

    net = Net(3)
    net.elect("n1")
    net.cut("n1", "n2")
    net.propose("n1", b"x")
    net.settle()
    net.crash("n1")
    net.restart("n1")

Whatever happens, the world watches: no two nodes ever take different values for a slot, what
is taken as chosen is on the disks of a majority, and no read is answered from a point older
than what anybody had taken as chosen when it was asked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from random import Random

import msgspec

from coord.limits import MESSAGE_BYTES_SOFT, TICK_SECONDS
from coord.paxos.acceptor import size_of
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Durable, Header, Save, Value, Vote
from coord.paxos.effects import Effects, Recall
from coord.paxos.membership import Configuration, Governs
from coord.paxos.messages import Message, Supply
from coord.paxos.replica import Replica
from coord.paxos.timing import Timing
from coord.paxos.witness import Witnessed

LONG_SECONDS = 2.0
"""Longer than any lease, patience or wait of an election."""


class Parcel(msgspec.Struct, frozen=True):
    """One message on its way."""

    sender: str
    to: str
    message: Message


class Disk:
    """What one node has saved, and what it was told to save and has not yet."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.votes: dict[int, Vote] = {}
        self.base = 0
        self.pending: deque[Save] = deque()
        self.is_held = False

    def write(self, count: int | None = None) -> int:
        """Make the first ``count`` saves durable (all of them by default); the last ticket."""
        ticket = 0
        for _ in range(len(self.pending) if count is None else count):
            save = self.pending.popleft()
            self.header, ticket = save.header, save.ticket
            self.votes.update({vote.slot: vote for vote in save.votes})
        return ticket

    def durable(self) -> Durable:
        """Return what a replica starts from."""
        votes = tuple(self.votes[slot] for slot in sorted(self.votes) if slot > self.base)
        return Durable(self.header, votes, self.base)

    def holds(self, slot: int, value: Value) -> bool:
        """Say whether the value of a slot is there, or what it led to."""
        vote = self.votes.get(slot)
        return self.base >= slot or (vote is not None and vote.value == value)

    def image(self, slot: int, *, cut: bool = False) -> None:
        """Know by an image all up to ``slot``, and perhaps cut the log there."""
        self.base = slot
        if cut:
            self.votes = {number: vote for number, vote in self.votes.items() if number > slot}


class Member:
    """One node: its disk, which outlives it, and the replica of its present life."""

    def __init__(self, name: str, header: Header) -> None:
        self.name = name
        self.disk = Disk(header)
        self.lost: list[Disk] = []
        self.replica: Replica | None = None
        self.log: dict[int, Value] = {}
        self.saves = 0
        self.clock: Callable[[float], float] = lambda now: now
        self.points: dict[int, int] = {}

    @property
    def alive(self) -> Replica:
        """The replica, of a node that is known to be up."""
        assert self.replica is not None, f"{self.name} is down"
        return self.replica


class Net:
    """Replicas n1, n2 ... and all that can befall them."""

    def __init__(
        self,
        count: int = 3,
        *,
        voters: Iterable[str] = (),
        learners: Iterable[str] = (),
        timing: Timing | None = None,
        seed: int = 0,
    ) -> None:
        self.timing = timing or Timing()
        self.dice = Random(seed)
        self.now = 100.0
        self.bag: deque[Parcel] = deque()
        self.cuts: set[tuple[str, str]] = set()
        self.agreed: dict[int, Value] = {}
        self.configured: list[tuple[int, Configuration]] = []
        self.sent: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()
        self.delivered: list[Parcel] = []
        self.tell: Callable[[str], None] = lambda line: None
        self._floors: dict[tuple[str, int], int] = {}
        self._reads = 0
        names = [f"n{number}" for number in range(1, count + 1)]
        learning = tuple(learners)
        voting = tuple(voters) or tuple(name for name in names if name not in learning)
        self.first = Configuration(voting, learning)
        self.majority = self.first.majority
        header = Header(governs=(Governs(1, self.first),))
        self.members = {name: Member(name, header) for name in names}
        for name in names:
            self.restart(name)

    def __getitem__(self, name: str) -> Replica:
        return self.members[name].alive

    # -- time ------------------------------------------------------------------------------
    def clock(self, name: str) -> float:
        """Return what the clock of a node shows."""
        return self.members[name].clock(self.now)

    def tick(self, name: str) -> None:
        """Tell a node the time."""
        self._obey(name, self[name].tick(self.clock(name)))

    def wait(self, seconds: float) -> None:
        """Let time pass without a word to anybody."""
        self.now += seconds

    def elapse(self, seconds: float, *names: str) -> None:
        """Let time pass; nodes (all by default) tick, disks write, messages arrive."""
        until = self.now + seconds
        while self.now < until:
            self.now += TICK_SECONDS
            for name in names or tuple(self.up()):
                self.tick(name)
            self.settle()

    # -- messages --------------------------------------------------------------------------
    def deliver(self, parcel: Parcel) -> None:
        """Hand one message over, if its receiver is up and can be reached."""
        if (parcel.sender, parcel.to) in self.cuts or self.members[parcel.to].replica is None:
            return
        self.delivered.append(parcel)
        self.tell(f"{parcel.sender} -> {parcel.to}  {describe_message(parcel.message)}")
        step = self[parcel.to].step
        self._obey(parcel.to, step(self.clock(parcel.to), parcel.sender, parcel.message))

    def announce(self, name: str) -> None:
        """End a node's turn."""
        replica = self[name]
        self._obey(name, replica.announce(self.clock(name), replica.untold()))

    def settle(self, *, but: type | None = None) -> None:
        """Write, deliver and announce until nothing is left to do, but for one kind of message."""
        held: list[Parcel] = []
        while True:
            for name in self.up():
                self.write(name)
            if self.bag:
                parcel = self.bag.popleft()
                if but is not None and isinstance(parcel.message, but):
                    held.append(parcel)
                else:
                    self.deliver(parcel)
                continue
            for name in self.up():
                self.announce(name)
            if not self.bag and not self._unwritten():
                self.bag.extend(held)
                return

    def take(self, kind: type, *, to: str | None = None) -> list[Parcel]:
        """Take the messages of one kind (and receiver) out of the bag."""
        picked = [one for one in self.bag if isinstance(one.message, kind) and to in (None, one.to)]
        self.bag = deque(one for one in self.bag if one not in picked)
        return picked

    def drop(self, kind: type = object, *, to: str | None = None) -> int:
        """Lose the messages of one kind (and receiver); return how many they were."""
        return len(self.take(kind, to=to))

    def cut(self, sender: str, receiver: str) -> None:
        """Lose everything from one node to another, from now on; the way back stays."""
        self.cuts.add((sender, receiver))

    def isolate(self, name: str) -> None:
        """Cut a node off from all others, both ways."""
        for other in self.members:
            if other != name:
                self.cuts |= {(name, other), (other, name)}

    def link(self, name: str, peer: str) -> None:
        """Tell a node of a link to a peer that is up, and what that one knows."""
        connected = self[name].connected
        self._obey(name, connected(self.clock(name), peer, self[peer].knowledge))

    def heal(self) -> None:
        """Undo all cuts."""
        self.cuts.clear()

    # -- disks and lives -------------------------------------------------------------------
    def write(self, name: str, count: int | None = None, *, force: bool = False) -> None:
        """Write what waits for a disk, unless it is held, and tell its node."""
        disk = self.members[name].disk
        if not disk.pending or (disk.is_held and not force):
            return
        ticket = disk.write(count)
        self._obey(name, self[name].saved(self.clock(name), ticket))

    def hold(self, name: str) -> None:
        """Let a disk write nothing until `release`."""
        self.members[name].disk.is_held = True

    def release(self, name: str) -> None:
        """Let a disk write again."""
        self.members[name].disk.is_held = False

    def crash(self, name: str) -> None:
        """End a node; what was not written is lost."""
        member = self.members[name]
        member.replica = None
        member.disk.pending.clear()
        for other in self.up():
            self._obey(other, self[other].disconnected(self.clock(other), name))

    def restart(self, name: str) -> None:
        """Start a node from what was written."""
        member = self.members[name]
        assert member.replica is None
        now = self.clock(name)
        member.replica = Replica(name, member.disk.durable(), self.timing, self.dice, now)
        member.log = {}
        self._obey(name, member.replica.start(now))
        for other in self.up():
            if other != name:
                self.link(name, other)
                self.link(other, name)

    def wipe(self, name: str) -> None:
        """Give a node, which is down, an empty disk; what was on the other one did count."""
        member = self.members[name]
        member.lost.append(member.disk)
        member.disk = Disk(Header(governs=(Governs(1, self.first),)))

    def up(self) -> list[str]:
        """Return the nodes that are up."""
        return [name for name, member in self.members.items() if member.replica is not None]

    # -- what nodes are asked --------------------------------------------------------------
    def elect(self, name: str) -> None:
        """Make a node the leader: all promises run out, and it alone is told the time."""
        self.wait(LONG_SECONDS)
        for _ in range(200):
            if self[name].is_leading:
                return
            self.wait(TICK_SECONDS)
            self.tick(name)
            self.settle()
        raise AssertionError(f"{name} was not elected: {self[name].describe(self.clock(name))}")

    def propose(self, name: str, *values: Value) -> None:
        """Have values proposed; the messages wait in the bag."""
        self._obey(name, self[name].propose(self.clock(name), values))

    def reconfigure(self, name: str, configuration: Configuration) -> None:
        """Have a configuration proposed, with what brings it into force soon."""
        self._obey(name, self[name].reconfigure(self.clock(name), configuration))

    def read(self, name: str) -> int:
        """Ask for the point of a read; return its number."""
        self._reads += 1
        self._floors[name, self._reads] = max(self.agreed, default=0)
        self._obey(name, self[name].read(self.clock(name), self._reads))
        return self._reads

    def point(self, name: str, number: int) -> int | None:
        """Return the point that was found for a read, if it was."""
        return self.members[name].points.get(number)

    def leaders(self) -> list[str]:
        """Return the nodes that believe that they lead."""
        return [name for name in self.up() if self[name].is_leading]

    def log(self, name: str) -> list[Value]:
        """Return what a node has taken as chosen in this life, in order."""
        return list(self.members[name].log.values())

    # -- effects ---------------------------------------------------------------------------
    def _obey(self, name: str, effects: Effects) -> None:
        member = self.members[name]
        if effects.save is not None:
            member.disk.pending.append(effects.save)
            member.saves += 1
            self.tell(f"{name} saves     {describe_save(effects.save)}")
        for envelope in effects.send:
            self.frames[type(envelope.message).__name__] += 1
            for to in envelope.to:
                assert to != name, "nobody writes to itself"
                self.sent[type(envelope.message).__name__] += 1
                self.bag.append(Parcel(name, to, envelope.message))
        for chosen in effects.chosen:
            self._judge(member, chosen.slot, chosen.value)
        for readable in effects.readable:
            floor = self._floors.pop((name, readable.number))
            assert readable.slot >= floor, f"{name} reads at {readable.slot}, {floor} was known"
            member.points[readable.number] = readable.slot
            self.tell(f"{name} reads     at slot {readable.slot}")
        for recall in effects.recall:
            self._recall(member, recall)

    def _judge(self, member: Member, slot: int, value: Value) -> None:
        last = max(member.log, default=member.disk.base)
        assert slot == last + 1, f"{member.name} takes {slot} after {last}"
        member.log[slot] = value
        if slot not in self.agreed and isinstance(value, Configuration):
            self.configured.append((slot, value))
        assert self.agreed.setdefault(slot, value) == value, f"disagreement about {slot}"
        governs = self.governing(slot)
        assert governs.is_quorum(self.holders(slot)), f"slot {slot} is not on a majority's disks"
        self.tell(f"{member.name} takes     {slot}={describe(value)}")

    def governing(self, slot: int) -> Configuration:
        """Return the configuration that governs a slot, by what was agreed upon."""
        last = slot - self.timing.alpha
        found = (value for number, value in reversed(self.configured) if number <= last)
        return next(found, self.first)

    def holders(self, slot: int) -> list[str]:
        """Return on whose disks the value agreed upon stands, or stood when they were lost."""
        value = self.agreed[slot]
        return [
            name
            for name, member in self.members.items()
            if any(disk.holds(slot, value) for disk in (member.disk, *member.lost))
        ]

    def copies(self, slot: int) -> int:
        """Return on how many disks the value agreed upon stands."""
        return len(self.holders(slot))

    def copies_of(self, value: Value) -> int:
        """Return how many disks hold a vote for ``value``."""
        disks = (member.disk for member in self.members.values())
        return sum(any(vote.value == value for vote in disk.votes.values()) for disk in disks)

    def _recall(self, member: Member, recall: Recall) -> None:
        """Answer from the log as a journal does: what is queued is written first."""
        votes = dict(member.disk.votes)
        for save in member.disk.pending:
            votes.update({vote.slot: vote for vote in save.votes})
        values: list[Value] = []
        size_bytes = 0
        for slot in range(recall.slot, recall.until):
            if slot not in votes or size_bytes >= MESSAGE_BYTES_SOFT:
                break
            values.append(votes[slot].value)
            size_bytes += size_of(values[-1])
        oldest = 0 if values else min(votes, default=member.disk.base + 1)
        supply = Supply(recall.slot, tuple(values), oldest)
        self.bag.append(Parcel(member.name, recall.peer, supply))

    def _unwritten(self) -> bool:
        disks = (self.members[name].disk for name in self.up())
        return any(disk.pending and not disk.is_held for disk in disks)


def describe(value: object) -> str:
    """Return a value as the transcript shows it."""
    match value:
        case Ballot():
            return value.describe()
        case Vote():
            return f"{value.slot}={describe(value.value)}@{value.ballot.describe()}"
        case Witnessed():
            return f"{value.node}:{value.promised.describe()}:{value.reach}"
        case bytes():
            return value.decode() or "no-op"
        case tuple():
            return "[" + " ".join(describe(one) for one in value) + "]"
        case _:
            return str(value)


def describe_message(message: Message) -> str:
    """Return a message in one line: its name, then its fields."""
    fields = [
        f"{field.name}={describe(getattr(message, field.name))}"
        for field in msgspec.structs.fields(message)
        if field.default is msgspec.NODEFAULT or getattr(message, field.name) != field.default
    ]
    return f"{type(message).__name__:<11}{' '.join(fields)}"


def describe_save(save: Save) -> str:
    """Return a save in one line."""
    header = save.header
    return f"promised={describe(header.promised)} chosen={header.chosen} {describe(save.votes)}"
