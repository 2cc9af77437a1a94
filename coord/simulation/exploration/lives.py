"""What one node does on one input, run once on a real replica and then remembered.

A `Life` is all that is of one node: its replica, what its disk has, what waits for the disk, and
what the world has heard from it. Lives and the messages under way (`Parcel`) are known by number.
What the rules demand of one node alone is checked here, over all its lives:

- no promise is taken back, neither on the disk nor in what it says;
- it leads with a ballot of its own, and with each once at most.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, TypeAlias

import msgspec

from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.durable import Durable, Header, Save, Value, Vote
from coord.paxos.effects import NOTHING, Chosen, Effects, Readable
from coord.paxos.lease import quiet_seconds
from coord.paxos.membership import Configuration, Governs
from coord.paxos.messages import Accepted, Message, Promise
from coord.paxos.replica import Replica
from coord.paxos.timing import Timing
from coord.simulation.exploration.picture import Picture, press, restore

NOW = 1000.0
"""What every clock shows: times in a picture are relative to it."""
QUANTUM_SECONDS = 0.5
"""How often a node looks at its clock."""
QUANTA_MAX = 24
"""A node that has nothing to say for so long has nothing to say."""


class Take(msgspec.Struct, frozen=True):
    """A message of ``sender`` arrives."""

    sender: str
    message: Message


class Write(msgspec.Struct, frozen=True):
    """The disk has done the oldest save that waits for it."""


class Crash(msgspec.Struct, frozen=True):
    """The node ends, and starts again from what its disk has."""


class Wait(msgspec.Struct, frozen=True):
    """Time passes until the node has something to say."""


class Lapse(msgspec.Struct, frozen=True):
    """Time passes, and the node has not looked at its clock yet."""

    seconds: float


class Propose(msgspec.Struct, frozen=True):
    """The node is asked to have a value chosen."""

    value: Value


class Change(msgspec.Struct, frozen=True):
    """The node is asked to have another configuration chosen."""

    configuration: Configuration


class Read(msgspec.Struct, frozen=True):
    """The node is asked for a point to read at."""

    number: int


class Announce(msgspec.Struct, frozen=True):
    """The node tells all what it knows to be chosen."""


Deed: TypeAlias = Take | Write | Crash | Wait | Lapse | Propose | Change | Read | Announce
Note: TypeAlias = Chosen | Readable


class Parcel(msgspec.Struct, frozen=True):
    """One message on its way."""

    sender: str
    to: str
    message: Message


class Life(NamedTuple):
    """One node, as a value.

    ``told`` is the highest ballot that it told anyone to have promised, ``led`` the last it led.
    """

    node: str
    picture: Picture
    header: Header
    votes: tuple[Vote, ...]
    pending: tuple[Save, ...]
    told: Ballot = NEVER
    led: Ballot = NEVER


class Outcome(NamedTuple):
    """What one input led to: the node's next life, messages, news, and what is wrong with it."""

    after: int
    sent: tuple[int, ...]
    notes: tuple[Note, ...]
    seconds: float
    flaw: str


class Prospect(NamedTuple):
    """What can happen to a node as it is."""

    can_write: bool
    can_propose: bool
    can_change: bool
    can_announce: bool
    is_leading: bool


class Numbers:
    """Values that are known by number, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        """Return the number of a value, new or known."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Level:
    """Dice that always show the same: which node is first is a choice of the search."""

    def random(self) -> float:
        """Return the least number."""
        return 0.0


class Lives:
    """All lives and messages that were ever met, and what came of each input to each."""

    def __init__(self, timing: Timing, names: tuple[str, ...], *, is_prompt: bool) -> None:
        self.timing = timing
        self.names = names
        self.is_prompt = is_prompt
        self._lives = Numbers()
        self._deeds = Numbers()
        self.parcels = Numbers()
        self._outcomes: dict[tuple[int, int], Outcome | None] = {}
        self._prospects: dict[int, Prospect] = {}
        self.steps = 0

    def __len__(self) -> int:
        return len(self._lives.values)

    def life(self, number: int) -> Life:
        """Return a life by its number."""
        found: Life = self._lives.values[number]
        return found

    def parcel(self, number: int) -> Parcel:
        """Return a message under way by its number."""
        found: Parcel = self.parcels.values[number]
        return found

    def deed(self, deed: Deed) -> int:
        """Return the number of a deed."""
        return self._deeds.of(deed)

    def born(self, node: str, first: Configuration) -> int:
        """Return a node that starts on an empty disk, long enough ago to help anyone."""
        header = Header(governs=(Governs(1, first),))
        replica = self.start(node, Durable(header))
        number = self.keep(Life(node, press(replica, NOW), header, (), ()), replica, NOW)
        outcome = self.after(number, self.deed(Lapse(quiet_seconds(self.timing.lease_seconds))))
        assert outcome is not None
        return outcome.after

    def after(self, life: int, deed: int) -> Outcome | None:
        """Return what ``deed`` leads to, None where it leads to nothing at all."""
        key = (life, deed)
        try:
            return self._outcomes[key]
        except KeyError:
            self.steps += 1
            step = _Step(self, self._lives.values[life])
            outcome = self._outcomes[key] = step.run(self._deeds.values[deed])
            return outcome

    def prospect(self, life: int) -> Prospect:
        """Return what can happen to a node as it is."""
        return self._prospects[life]

    def keep(self, life: Life, replica: Replica, now: float) -> int:
        """Return the number of a life, whose replica this is, at a clock that shows ``now``."""
        number = self._lives.of(life)
        if number not in self._prospects:
            has_room = replica.room(now) > 0
            self._prospects[number] = Prospect(
                can_write=bool(life.pending),
                can_propose=has_room,
                can_change=has_room and not replica.is_changing and not replica.may_found,
                can_announce=bool(replica.untold()),
                is_leading=replica.is_leading,
            )
        return number

    def start(self, node: str, durable: Durable) -> Replica:
        """Return a replica that starts from what is on a disk, and has links to all others."""
        replica = Replica(node, durable, self.timing, Level(), NOW)
        for other in self.names:
            if other != node:
                replica.connected(NOW, other)
        return replica


class _Step:
    """One input to one life."""

    def __init__(self, lives: Lives, life: Life) -> None:
        self._lives = lives
        self._life = life
        self._node = life.node
        self._replica: Replica = restore(life.picture, NOW)
        self._disk = {vote.slot: vote for vote in life.votes}
        self._header = life.header
        self._pending = list(life.pending)
        self._told = life.told
        self._led = life.led
        self._leads = self._replica.ballot if self._replica.is_leading else NEVER
        self._now = NOW
        self._sent: list[int] = []
        self._notes: list[Note] = []
        self._flaws: list[str] = []

    def run(self, deed: Deed) -> Outcome | None:
        """Have it done; None where nothing comes of it."""
        try:
            if self._do(deed) is NOTHING and isinstance(deed, Wait):
                return None
            while self._pending and self._lives.is_prompt:
                self._write()
        except Exception as error:
            self._object("raised", f"{type(error).__name__}: {error}")
        return self._outcome()

    def _do(self, deed: Deed) -> Effects:
        replica, now = self._replica, self._now
        match deed:
            case Take(sender, message):
                return self._obey(replica.step(now, sender, message))
            case Write():
                return self._write()
            case Crash():
                return self._crash()
            case Wait():
                return self._wait()
            case Lapse(seconds):
                self._now += seconds
                return NOTHING
            case Propose(value):
                return self._obey(replica.propose(now, (value,)))
            case Change(configuration):
                return self._obey(replica.reconfigure(now, configuration))
            case Read(number):
                return self._obey(replica.read(now, number))
            case Announce():
                return self._obey(replica.announce(now, replica.untold()))

    def _write(self) -> Effects:
        save = self._pending.pop(0)
        if save.header.promised < self._header.promised:
            was, now = self._header.promised, save.header.promised
            self._object("promise", "has on its disk", now, "after", was)
        self._header = save.header
        self._disk.update((vote.slot, vote) for vote in save.votes)
        return self._obey(self._replica.saved(self._now, save.ticket))

    def _crash(self) -> Effects:
        self._pending.clear()
        votes = tuple(self._disk[slot] for slot in sorted(self._disk))
        self._leads = NEVER
        self._replica = self._lives.start(self._node, Durable(self._header, votes))
        return self._obey(self._replica.start(self._now))

    def _wait(self) -> Effects:
        was_leading = self._replica.is_leading
        for _ in range(QUANTA_MAX):
            self._now += QUANTUM_SECONDS
            effects = self._replica.tick(self._now)
            if effects is not NOTHING or self._replica.is_leading != was_leading:
                self._obey(effects)
                return Effects()
        return NOTHING

    def _obey(self, effects: Effects) -> Effects:
        parcel = partial(Parcel, self._node)
        for envelope in effects.send:
            self._listen(envelope.message)
            self._sent += (
                self._lives.parcels.of(parcel(to, envelope.message))
                for to in envelope.to
                if to in self._lives.names
            )
        if effects.save is not None:
            self._pending.append(effects.save)
        self._notes += effects.chosen
        self._notes += effects.readable
        self._watch()
        return effects

    def _listen(self, message: Message) -> None:
        """Hold what a node says against what it said before."""
        if isinstance(message, Promise | Accepted) and message.ballot < self._told:
            self._object("promise", "says", message, "but promised", self._told)
        if isinstance(message, Promise):
            self._told = max(self._told, message.ballot)

    def _watch(self) -> None:
        """Hold a ballot that it begins to lead with against those before."""
        leads = self._replica.ballot if self._replica.is_leading else NEVER
        if leads not in {NEVER, self._leads}:
            if leads.node != self._node or leads <= self._led:
                self._object("leaders", "leads with", leads, "after", self._led)
            self._led = leads
        self._leads = leads

    def _object(self, rule: str, *what: object) -> None:
        self._flaws.append(f"{rule}: {self._node} {' '.join(map(describe, what))}")

    def _outcome(self) -> Outcome:
        votes = tuple(self._disk[slot] for slot in sorted(self._disk))
        pending = tuple(self._pending)
        picture = press(self._replica, self._now)
        life = Life(self._node, picture, self._header, votes, pending, self._told, self._led)
        after = self._lives.keep(life, self._replica, self._now)
        seconds = self._now - NOW
        return Outcome(
            after, tuple(self._sent), tuple(self._notes), seconds, "; ".join(self._flaws)
        )


def describe(what: object) -> str:
    """Return a word, a ballot, a value or a message as stories tell them."""
    match what:
        case Ballot():
            return what.describe() if what != NEVER else "-"
        case Vote():
            return f"{what.slot}={describe(what.value)}@{describe(what.ballot)}"
        case Configuration():
            learners = " ".join(("|", *what.learners)) if what.learners else ""
            return f"<{' '.join((*what.voters, learners)).strip()}>"
        case bytes():
            return what.decode() or "no-op"
        case tuple():
            return "[" + " ".join(map(describe, what)) + "]"
        case msgspec.Struct():
            fields = (f"{name} {describe(getattr(what, name))}" for name in what.__struct_fields__)
            return f"{type(what).__name__}({', '.join(fields)})"
        case _:
            return str(what)
