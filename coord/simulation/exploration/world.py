"""A small world as a tuple of numbers, its choices, and the rules that all nodes keep together.

- *agreement*: over all nodes and all their lives a slot has one value;
- *validity*: it is one that was proposed, or the one that does nothing;
- *durability*: what a node takes as chosen is on the disks of a majority of those that vote on it;
- *reads*: no read is answered from a point older than what any node knew to be chosen when it was
  asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import attrs

from coord.paxos.durable import Value
from coord.paxos.effects import Chosen
from coord.paxos.membership import Configuration
from coord.paxos.proposer import NO_OP
from coord.paxos.timing import Timing
from coord.simulation.exploration.lives import (
    Announce,
    Change,
    Crash,
    Lapse,
    Life,
    Lives,
    Numbers,
    Outcome,
    Propose,
    Read,
    Take,
    Wait,
    Write,
    describe,
)


@attrs.frozen(kw_only=True)
class Bounds:
    """How large a world is, and how often each thing may happen in it.

    ``proposals`` are values ``a``, ``b`` ... in that order; ``changes`` are configurations, in that
    order too. So many ``voters`` are the first of the ``nodes`` (0: all); the others learn.

    ``is_ordered``
        Links keep the order, messages are lost as often as ``losses`` says, and a crash loses what
        is under way to the node. Without it any message may arrive at any time, or never.
    ``is_apart``
        Clocks run as they like, so reads go without leases.
    ``is_prompt``
        Disks write at once.
    ``is_led``
        n1 leads from the start.
    """

    nodes: int = 3
    voters: int = 0
    proposals: int = 1
    changes: tuple[Configuration, ...] = ()
    crashes: int = 0
    losses: int = 0
    repeats: int = 0
    waits: int = 1
    reads: int = 0
    alpha: int = 2
    is_ordered: bool = True
    is_apart: bool = False
    is_prompt: bool = False
    is_led: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    @property
    def timing(self) -> Timing:
        """Times in which few things fall together, in seconds."""
        return Timing(
            beat_seconds=3.0,
            lease_seconds=5.0,
            spread_seconds=1.0,
            retry_seconds=2.0,
            leases=not self.is_apart,
            alpha=self.alpha,
        )


class Kind(IntEnum):
    """What may happen."""

    TAKE = 0
    LOSE = 1
    REPEAT = 2
    WRITE = 3
    CRASH = 4
    WAIT = 5
    PAUSE = 6
    PROPOSE = 7
    CHANGE = 8
    ANNOUNCE = 9
    READ = 10


class Choice(NamedTuple):
    """One thing that may happen: to which node, and with which message."""

    kind: Kind
    node: int
    parcel: int = -1


class Past(NamedTuple):
    """What the judge remembers: what is agreed on, and reads not answered yet with their floors."""

    agreed: tuple[Value, ...] = ()
    asked: tuple[tuple[int, int], ...] = ()


class Left(NamedTuple):
    """What may still happen."""

    crashes: int
    losses: int
    repeats: int
    waits: int
    proposals: int
    changes: int
    reads: int


SETTLING = {Kind.TAKE, Kind.WRITE, Kind.ANNOUNCE}
FOUNDING = b"founding"

State = tuple[int, ...]
"""The numbers of: the messages under way, the past, what is left; then each node's life."""
FIRST = 3
"""Where the lives begin in a state."""


class World:
    """All states of one small world, and the ways between them."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        names = bounds.names
        self.lives = Lives(bounds.timing, names, is_prompt=bounds.is_prompt)
        self._names = names
        values = tuple(bytes([ord("a") + number]) for number in range(bounds.proposals))
        self._values = (FOUNDING, *values) if bounds.changes and bounds.is_led else values
        self._allowed = {NO_OP, *self._values, *bounds.changes}
        self._networks, self._pasts, self._lefts = Numbers(), Numbers(), Numbers()
        voting = names[: bounds.voters or len(names)]
        self.first = Configuration(voting, names[len(voting) :])
        deed = self.lives.deed
        self._deeds = {
            Kind.WRITE: deed(Write()),
            Kind.CRASH: deed(Crash()),
            Kind.WAIT: deed(Wait()),
            Kind.PAUSE: deed(Lapse(2 * bounds.timing.lease_seconds)),
            Kind.ANNOUNCE: deed(Announce()),
        }
        self._routes: list[tuple[int, int]] = []

    # -- states ------------------------------------------------------------------------------
    def initial(self) -> State:
        """Return the state in which everything begins."""
        bounds = self.bounds
        left = Left(
            bounds.crashes,
            bounds.losses,
            bounds.repeats,
            bounds.waits + 1,
            len(self._values),
            len(bounds.changes),
            bounds.reads,
        )
        born = (self.lives.born(name, self.first) for name in self._names)
        state = (self._networks.of(()), self._pasts.of(Past()), self._lefts.of(left), *born)
        if bounds.is_led:
            state = self._elected(state)
        return state

    def _elected(self, state: State) -> State:
        """Let n1 be the leader; where changes are to come, of a cluster that was founded."""
        state, _ = self.perform(state, Choice(Kind.WAIT, 0))
        state = self._settled(state)
        if self.bounds.changes:
            state, _ = self.perform(state, Choice(Kind.PROPOSE, 0))
            state = self._settled(state)
        return state

    def _settled(self, state: State) -> State:
        """Let all messages arrive, and the disks write."""
        while soon := [one for one in self.choices(state) if one.kind in SETTLING]:
            state, flaw = self.perform(state, soon[0])
            assert not flaw, flaw
        return state

    def left(self, state: State) -> Left:
        """Return what may still happen."""
        found: Left = self._lefts.values[state[2]]
        return found

    def past(self, state: State) -> Past:
        """Return what the judge remembers."""
        found: Past = self._pasts.values[state[1]]
        return found

    @property
    def most_agreed(self) -> int:
        """How many slots have been agreed on at most, in all states met."""
        return max(len(past.agreed) for past in self._pasts.values)

    def is_torn(self, state: State) -> bool:
        """Say whether two nodes lead, as far as they know."""
        prospect = self.lives.prospect
        return sum(prospect(life).is_leading for life in state[FIRST:]) > 1

    # -- choices -----------------------------------------------------------------------------
    def choices(self, state: State) -> Iterator[Choice]:
        """Return what may happen next."""
        left: Left = self._lefts.values[state[2]]
        for parcel in self._arriving(self._networks.values[state[0]]):
            node = self._route(parcel)[0]
            yield Choice(Kind.TAKE, node, parcel)
            if left.losses and self.bounds.is_ordered:
                yield Choice(Kind.LOSE, node, parcel)
            if left.repeats:
                yield Choice(Kind.REPEAT, node, parcel)
        for node, life in enumerate(state[FIRST:]):
            yield from self._choices_of(node, life, left)

    def _choices_of(self, node: int, life: int, left: Left) -> Iterator[Choice]:
        prospect = self.lives.prospect(life)
        if prospect.can_write:
            yield Choice(Kind.WRITE, node)
        if prospect.can_announce:
            yield Choice(Kind.ANNOUNCE, node)
        if prospect.can_propose and left.proposals:
            yield Choice(Kind.PROPOSE, node)
        if prospect.can_change and left.changes:
            yield Choice(Kind.CHANGE, node)
        if left.waits:
            yield Choice(Kind.WAIT, node)
            if self.bounds.is_apart:
                yield Choice(Kind.PAUSE, node)
        if left.crashes:
            yield Choice(Kind.CRASH, node)
        if left.reads:
            yield Choice(Kind.READ, node)

    def _arriving(self, network: tuple[int, ...]) -> list[int]:
        """Return the messages that may arrive next: each, or the first on each link."""
        if not self.bounds.is_ordered:
            return list(dict.fromkeys(network))
        firsts: dict[tuple[str, str], int] = {}
        for number in network:
            parcel = self.lives.parcel(number)
            firsts.setdefault((parcel.sender, parcel.to), number)
        return list(firsts.values())

    def _route(self, parcel: int) -> tuple[int, int]:
        """Return who gets a message, and the number of the deed of getting it."""
        while len(self._routes) <= parcel:
            one = self.lives.parcel(len(self._routes))
            deed = self.lives.deed(Take(one.sender, one.message))
            self._routes.append((self._names.index(one.to), deed))
        return self._routes[parcel]

    # -- steps -------------------------------------------------------------------------------
    def perform(self, state: State, choice: Choice) -> tuple[State, str]:
        """Let something happen; return what comes of it, and which rule it breaks.

        Where nothing comes of it, what is returned is ``state`` itself.
        """
        kind, node, parcel = choice
        if kind == Kind.LOSE:
            return self._lose(state, parcel), ""
        left: Left = self._lefts.values[state[2]]
        past: Past = self._pasts.values[state[1]]
        deed, left, past = self._prepared(choice, left, past)
        outcome = self.lives.after(state[FIRST + node], deed)
        if outcome is None:
            return state, ""
        lives = list(state[FIRST:])
        lives[node] = outcome.after
        if outcome.seconds and not self.bounds.is_apart:
            self._lapse(lives, node, outcome.seconds)
        network = self._networks.values[state[0]]
        if kind == Kind.CRASH and self.bounds.is_ordered:
            network = tuple(one for one in network if self._route(one)[0] != node)
        if kind == Kind.TAKE or outcome.sent:
            network = self._carry(network, parcel if kind == Kind.TAKE else -1, outcome.sent)
        flaw = outcome.flaw
        if outcome.notes:
            past, wrong = self._judge(past, lives, outcome)
            flaw = flaw or wrong
        numbers = (self._networks.of(network), self._pasts.of(past), self._lefts.of(left))
        return (*numbers, *lives), flaw

    def _prepared(self, choice: Choice, left: Left, past: Past) -> tuple[int, Left, Past]:
        """Return the deed's number, what is left after it, and what the judge has to remember."""
        match choice.kind:
            case Kind.TAKE:
                return self._route(choice.parcel)[1], left, past
            case Kind.REPEAT:
                left = left._replace(repeats=left.repeats - 1)
                return self._route(choice.parcel)[1], left, past
            case Kind.CRASH:
                left = left._replace(crashes=left.crashes - 1)
            case Kind.WAIT | Kind.PAUSE:
                left = left._replace(waits=left.waits - 1)
            case Kind.PROPOSE:
                deed = self.lives.deed(Propose(self._next(choice.kind, left)))
                return deed, left._replace(proposals=left.proposals - 1), past
            case Kind.CHANGE:
                changes = self.bounds.changes
                deed = self.lives.deed(Change(changes[len(changes) - left.changes]))
                return deed, left._replace(changes=left.changes - 1), past
            case Kind.READ:
                number = self.bounds.reads - left.reads + 1
                left = left._replace(reads=left.reads - 1)
                past = past._replace(asked=(*past.asked, (number, len(past.agreed))))
                return self.lives.deed(Read(number)), left, past
        return self._deeds[choice.kind], left, past

    def _next(self, kind: Kind, left: Left) -> Value:
        if kind == Kind.CHANGE:
            return self.bounds.changes[len(self.bounds.changes) - left.changes]
        return self._values[len(self._values) - left.proposals]

    def value(self, kind: Kind, state: State) -> Value:
        """Return the value, or the change, that is proposed next."""
        return self._next(kind, self.left(state))

    def outcome(self, state: State, choice: Choice) -> Outcome | None:
        """Return what a choice means to its node, None where it means nothing."""
        if choice.kind == Kind.LOSE:
            return None
        deed, _, _ = self._prepared(choice, self.left(state), self.past(state))
        return self.lives.after(state[FIRST + choice.node], deed)

    def _lose(self, state: State, parcel: int) -> State:
        left: Left = self._lefts.values[state[2]]
        network = self._carry(self._networks.values[state[0]], parcel, ())
        left = left._replace(losses=left.losses - 1)
        return (self._networks.of(network), state[1], self._lefts.of(left), *state[FIRST:])

    def _lapse(self, lives: list[int], but: int, seconds: float) -> None:
        """Let the same time pass for all others."""
        deed = self.lives.deed(Lapse(seconds))
        for node, life in enumerate(lives):
            if node != but:
                outcome = self.lives.after(life, deed)
                assert outcome is not None
                lives[node] = outcome.after

    def _carry(
        self, network: tuple[int, ...], taken: int, sent: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the messages under way, in the one order that stands for all that are as good."""
        under_way = list(network)
        if taken >= 0:
            under_way.remove(taken)
        under_way += sent
        if self.bounds.is_ordered:
            under_way.sort(key=self._link)
        else:
            under_way.sort()
        return tuple(under_way)

    def _link(self, number: int) -> tuple[str, str]:
        parcel = self.lives.parcel(number)
        return parcel.sender, parcel.to

    # -- the judge ---------------------------------------------------------------------------
    def _judge(self, past: Past, lives: list[int], outcome: Outcome) -> tuple[Past, str]:
        flaws: list[str] = []
        for note in outcome.notes:
            if isinstance(note, Chosen):
                past = self._chosen(past, lives, note, flaws)
            else:
                floor = dict(past.asked).get(note.number, 0)
                asked = tuple(one for one in past.asked if one[0] != note.number)
                past = past._replace(asked=asked)
                if note.slot < floor:
                    flaws.append(
                        f"reads: read {note.number} answered from {note.slot}, not {floor}"
                    )
        return past, "; ".join(flaws)

    def _chosen(self, past: Past, lives: list[int], note: Chosen, flaws: list[str]) -> Past:
        agreed = past.agreed
        if note.slot <= len(agreed):
            if agreed[note.slot - 1] != note.value:
                was, now = describe(agreed[note.slot - 1]), describe(note.value)
                flaws.append(f"agreement: slot {note.slot} is {was} and {now}")
            return past
        if note.value not in self._allowed:
            flaws.append(f"validity: slot {note.slot} is {describe(note.value)}, never proposed")
        if not self._is_durable(agreed, lives, note):
            flaws.append(f"durability: slot {note.slot} is not on the disks of a majority")
        return past._replace(agreed=(*agreed, note.value))

    def _is_durable(self, agreed: tuple[Value, ...], lives: list[int], note: Chosen) -> bool:
        """Say whether a majority has it, by an arithmetic that is not the one of the core."""
        voters = self.first.voters
        for value in agreed[: max(0, note.slot - self.bounds.alpha)]:
            voters = value.voters if isinstance(value, Configuration) else voters
        having = [life for life in map(self.lives.life, lives) if self._holds(life, note)]
        return 2 * sum(life.node in voters for life in having) > len(voters)

    def _holds(self, life: Life, note: Chosen) -> bool:
        return any(vote.slot == note.slot and vote.value == note.value for vote in life.votes)
