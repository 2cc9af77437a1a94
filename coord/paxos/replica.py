"""The door into the core: one replica of the log.

``step`` (a message came), ``tick`` (time went on), ``propose`` (a value to be chosen), ``read``
(a point to read at), ``saved`` (the disk caught up), ``connected`` and ``disconnected`` (links):
each takes the time, changes this value and returns the `Effects` to be obeyed, in order.
Nothing else happens in here: no clock, no dice but those handed in, no I/O.

A replica is at once (PMMC 2)

* an acceptor, always: `coord.paxos.acceptor`, with the lease it granted, `coord.paxos.lease`;
* a learner, always: `coord.paxos.learner`, which catches up by `coord.paxos.catchup`;
* nothing more (a follower), or a candidate (`coord.paxos.candidacy`), or a leader
  (`coord.paxos.leadership`); what these two gather is counted in `coord.paxos.proposer`.

The way to lead: a follower that has heard of no leader for a lease and a random while
*canvasses*: would you promise me? Acceptors that granted a lease to someone else, or know
much more of the log, say no, and nothing durable happens. With a quorum of yes it saves its own
promise of the ballot, then asks for the others' (were it to ask first, crash, and forget, it
might use the ballot twice). Then it leads until it hears of a higher ballot.

What depends on a save, to this node itself too, waits in `coord.paxos.outbox` for ``saved``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import assert_never

from coord.limits import MESSAGE_BYTES_SOFT
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.candidacy import Candidacy
from coord.paxos.catchup import Catchup
from coord.paxos.durable import Durable, Value, Vote
from coord.paxos.effects import Effects
from coord.paxos.leadership import Leadership
from coord.paxos.membership import Configuration, Governs
from coord.paxos.messages import (
    Accept,
    Accepted,
    Answer,
    Beat,
    BeatAnswer,
    Canvass,
    Commit,
    Endorse,
    Fetch,
    Message,
    Prepare,
    Promise,
    Query,
    Refuse,
    Supply,
)
from coord.paxos.patience import Patience
from coord.paxos.reads import Question
from coord.paxos.state import State
from coord.paxos.timing import Dice, Timing


class Replica:
    """One node's part in choosing one log."""

    def __init__(self, node: str, durable: Durable, timing: Timing, dice: Dice, now: float) -> None:
        self._state = State(node, durable, timing, now)
        self._timing = timing
        self._acceptor = self._state.acceptor
        self._learner = self._state.learner
        self._grant = self._state.grant
        self._out = self._state.out
        self._durable = durable
        self._catchup = Catchup()
        self._question: Question | None = None
        self._candidacy: Candidacy | None = None
        self._leadership: Leadership | None = None
        self._followed = NEVER
        self._highest = durable.header.promised
        self._patience = Patience(self._state, dice)
        self.elections = 0

    # -- what others may know --------------------------------------------------------
    @property
    def chosen(self) -> int:
        """The end of the chosen prefix."""
        return self._learner.chosen

    @property
    def target(self) -> int:
        """The last slot that this node has heard to be chosen."""
        return self._learner.target

    @property
    def configuration(self) -> Configuration:
        """The latest configuration known."""
        return self._state.membership.latest

    @property
    def governs(self) -> tuple[Governs, ...]:
        """The configurations that govern what is not chosen yet, and from which slot on."""
        return self._state.membership.known()

    @property
    def is_leading(self) -> bool:
        """Whether this node believes that it leads."""
        return self._leadership is not None

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._state.node

    @property
    def leader(self) -> str | None:
        """Whom this node takes for the leader, None where it knows of none."""
        if self._leadership is not None:
            return self.node
        is_known = self._followed != NEVER and self._patience.is_fresh
        return self._followed.node if is_known else None

    @property
    def ballot(self) -> Ballot:
        """The ballot of the leader that this node follows or is; NEVER where it knows none."""
        return self._followed if self._leadership is None else self._leadership.ballot

    @property
    def role(self) -> str:
        """``leader``, ``follower``, ``candidate`` or ``observer``."""
        if self.node not in self.configuration.voters:
            return "observer"
        if self._leadership is not None:
            return "leader"
        return "candidate" if self.leader is None else "follower"

    @property
    def may_found(self) -> bool:
        """Whether this node leads and nothing was ever proposed: the cluster is new."""
        return self._leadership is not None and self._leadership.slots.next_slot == 1

    def has_quorum(self, now: float) -> bool:
        """Say whether this node is, as far as it can know, in touch with a majority."""
        self._state.now = now
        led = self._leadership
        return self.leader is not None if led is None else led.has_quorum()

    def room(self, now: float) -> int:
        """Return how many values may be proposed here now; 0 where this node does not lead."""
        self._state.now = now
        return 0 if self._leadership is None else self._leadership.room()

    def can_read(self, now: float) -> bool:
        """Say whether this node may answer linearizable reads at once, as a leader with a lease."""
        self._state.now = now
        return self._leadership is not None and self._leadership.can_read()

    def describe(self, now: float) -> str:
        """Return the replica in one line."""
        self._state.now = now
        line = f"{self.node} {self.role} b={self.ballot.describe()} chosen {self.chosen}"
        if self._leadership is not None:
            line += f" {self._leadership.describe()}"
        elif self._learner.is_behind:
            line += f" behind {self._learner.target - self.chosen}"
        return line

    def open_slots(self, now: float) -> list[str]:
        """Return one line for each slot that is open here: proposed, or voted for, not chosen."""
        if self._leadership is not None:
            return self._leadership.slots.describe(now)
        return [vote.describe() for _, vote in sorted(self._acceptor.votes.items())]

    # -- inputs ------------------------------------------------------------------------
    def start(self, now: float) -> Effects:
        """Learn again what the journal knows to be chosen. Called once, first."""
        self._state.now = now
        for vote in self._durable.votes:
            if vote.slot <= self._durable.header.chosen:
                assert vote.slot == self.chosen + 1, "the chosen log has no gap"
                self._learner.restore(vote.value)
                self._emit(vote.slot, vote.value)
        assert self.chosen >= self._durable.header.chosen, "the chosen log is whole"
        self._durable = Durable(self._durable.header)
        return self._effects()

    def step(self, now: float, sender: str, message: Message) -> Effects:
        """Take a message of a peer."""
        self._state.now = now
        self._step(sender, message)
        return self._effects()

    def saved(self, now: float, ticket: int) -> Effects:
        """Take note that the saves up to ``ticket`` are on the disk."""
        self._state.now = now
        self._out.saved(ticket)
        return self._effects()

    def propose(self, now: float, values: Sequence[Value]) -> Effects:
        """Propose values in the next slots; at most ``room`` of them."""
        self._state.now = now
        assert self._leadership is not None, "ask room first"
        assert len(values) <= self._leadership.room(), "ask room first"
        self._leadership.propose(values)
        return self._effects()

    def read(self, now: float, number: int) -> Effects:
        """Find the point from which a linearizable read may be answered.

        One read is under way at a time; a new ``number`` takes the place of the old one. The answer
        comes as `Readable`, or never: the caller has a deadline of its own.
        """
        self._state.now = now
        self._question = Question(number)
        self._ask()
        return self._effects()

    def untold(self) -> tuple[str, ...]:
        """Return the nodes that have not been told of all that this leader knows to be chosen."""
        return () if self._leadership is None else self._leadership.untold()

    def announce(self, now: float, to: Collection[str]) -> Effects:
        """Tell those of ``to`` what was chosen, if no other message has told it."""
        self._state.now = now
        if self._leadership is not None:
            self._leadership.announce(to)
        return self._effects()

    def connected(self, now: float, peer: str) -> Effects:
        """Take note that there is a link to ``peer``, new or again."""
        self._state.now = now
        self._state.connected.add(peer)
        if self._leadership is not None:
            self._leadership.beat()
        return self._effects()

    def disconnected(self, now: float, peer: str) -> Effects:
        """Take note that there is no link to ``peer``: if it led, look for another soon."""
        self._state.now = now
        self._state.connected.discard(peer)
        if self._leadership is None and self._followed.node == peer:
            self._patience.lost()
        return self._effects()

    def skip(self, now: float, slot: int, governs: Iterable[Governs], source: str) -> Effects:
        """Go on after ``slot``, whose outcome came from ``source`` and is on the disk."""
        self._state.skip(now, slot, governs)
        self._lead_no_more(self._followed if self._leadership is None else NEVER)
        self._catchup.prefer(source)
        self._advance()
        return self._effects()

    def tick(self, now: float) -> Effects:
        """Take note of the time: beat, send again, stand for election."""
        self._state.now = now
        if self._leadership is None:
            if self._patience.is_over:
                self._canvass()
        elif self._leadership.is_deaf():
            self._lead_no_more(NEVER)
            self._patience.begin()
        else:
            self._leadership.tick()
        self._fetch()
        if self._question and now - self._question.asked_at > self._timing.retry_seconds:
            self._ask()
        return self._effects()

    def resign(self, now: float) -> Effects:
        """Lead no more, and let another be elected first; it finds what is open by its votes."""
        self._state.now = now
        if self._leadership is not None:
            self._lead_no_more(NEVER)
            self._patience.stand_back()
        return self._effects()

    # -- messages -----------------------------------------------------------------------
    def _step(self, sender: str, message: Message) -> None:  # noqa: C901 (one line a sentence)
        match message:
            case Accept():
                self._on_accept(sender, message)
            case Accepted():
                self._on_accepted(sender, message)
            case Commit():
                if self._obeys(sender, message.ballot):
                    self._learner.commit(message.ballot, message.chosen)
                    self._advance()
            case Query():
                if self._leadership is not None:
                    self._leadership.asked(sender, message.number)
            case Answer():
                self._on_answer(message)
            case Beat():
                self._on_beat(sender, message)
            case BeatAnswer():
                leadership = self._leadership
                if leadership is not None and leadership.ballot == message.ballot:
                    leadership.beat_answered(sender, message)
            case Fetch():
                self._state.supply(sender, message)
            case Supply():
                self._on_supply(sender, message)
            case Canvass():
                self._on_canvass(sender, message)
            case Endorse():
                self._on_endorse(sender, message)
            case Prepare():
                self._on_prepare(sender, message)
            case Promise():
                self._on_promise(sender, message)
            case Refuse():
                self._on_refuse(message)
            case _:
                assert_never(message)

    def _obeys(self, sender: str, ballot: Ballot) -> bool:
        """Follow the leader of ``ballot``, unless a higher one is promised."""
        if ballot.node != sender or not self._acceptor.promise(ballot):
            if ballot.node == sender:
                self._to(sender, Refuse(ballot, self._acceptor.promised))
            return False
        if ballot.node != self.node:
            self._follow(ballot)
        return True

    def _follow(self, ballot: Ballot) -> None:
        self._patience.heard()
        if ballot != self._followed or self._leadership is not None or self._candidacy is not None:
            self._lead_no_more(ballot)
            self._ask()

    def _lead_no_more(self, followed: Ballot) -> None:
        """Be a follower: of the leader of ``followed``, or of nobody known."""
        self._leadership = self._candidacy = None
        self._followed = followed
        self._highest = max(self._highest, followed)

    def _on_accept(self, sender: str, message: Accept) -> None:
        if not self._obeys(sender, message.ballot):
            return
        if not self._state.has_room(message.slot):
            self._learner.aim(message.chosen)
            self._fetch()
            return
        self._state.vote(message.ballot, message.slot, message.values)
        self._out.after_save(
            sender, Accepted(message.ballot, message.slot, message.slot + len(message.values))
        )
        self._learner.commit(message.ballot, message.chosen)
        self._advance()

    def _on_accepted(self, sender: str, message: Accepted) -> None:
        leadership = self._leadership
        if leadership is not None and leadership.ballot == message.ballot:
            leadership.accepted(sender, message)
            self._advance()

    def _on_beat(self, sender: str, message: Beat) -> None:
        if self._obeys(sender, message.ballot):
            self._grant.give(sender, self._state.now + self._timing.lease_seconds)
            self._to(sender, BeatAnswer(message.ballot, message.number))
            self._learner.commit(message.ballot, message.chosen)
            self._advance()

    def _on_supply(self, sender: str, message: Supply) -> None:
        if not message.values:
            self._catchup.forsake(sender)
        # A leader learns from votes alone: had a higher ballot chosen something else in a slot
        # that it has open, to announce it would make its own proposal look chosen.
        # What does not join on to the chosen prefix answers a question of an earlier life.
        if self._leadership is not None or message.slot > self.chosen + 1 or self._out.is_full:
            return
        for slot, value in enumerate(message.values, message.slot):
            self._learner.learn(slot, value)
        self._advance()

    # -- elections -----------------------------------------------------------------------
    def _canvass(self) -> None:
        if self.node not in self.configuration.voters:
            self._patience.begin()
            return
        if not self._grant.allows(self.node, self._state.now):
            self._patience.until_free()
            return
        self.elections += 1
        ballot = max(self._highest, self._acceptor.promised).after(self.node)
        self._followed = NEVER
        self._candidacy = Candidacy(self._state, ballot)
        self._patience.retry(self._timing.retry_seconds / 2)

    def _on_canvass(self, sender: str, message: Canvass) -> None:
        promised = self._acceptor.promised
        is_free = self._grant.allows(sender, self._state.now)
        knows_enough = message.chosen + self._timing.alpha >= self.chosen
        helps = is_free and knows_enough and message.ballot > promised
        self._to(sender, Endorse(message.ballot) if helps else Refuse(message.ballot, promised))

    def _on_endorse(self, sender: str, message: Endorse) -> None:
        candidacy = self._candidacy
        if candidacy is None or candidacy.ballot != message.ballot:
            return
        if candidacy.endorsed(sender):
            self._patience.retry(2 * self._timing.retry_seconds)

    def _on_prepare(self, sender: str, message: Prepare) -> None:
        if sender == self.node:
            if self._candidacy is not None and self._candidacy.ballot == message.ballot:
                self._candidacy.prepare()
            return
        ballot = message.ballot
        known = ballot == self._acceptor.promised
        is_free = known or self._grant.allows(sender, self._state.now)
        if ballot.node != sender or not is_free or not self._acceptor.promise(ballot):
            self._to(sender, Refuse(ballot, self._acceptor.promised))
            return
        if not known:
            self._out.save()
            self._lead_no_more(NEVER)
            self._highest = max(self._highest, ballot)
            self._patience.begin()
        votes, until = self._acceptor.report(message.slot, MESSAGE_BYTES_SOFT)
        self._out.after_save(sender, Promise(ballot, message.slot, until, self.chosen, votes))

    def _on_promise(self, sender: str, message: Promise) -> None:
        candidacy = self._candidacy
        if candidacy is not None and candidacy.ballot == message.ballot:
            candidacy.promised(sender, message)
            self._lead_if_possible(candidacy)

    def _lead_if_possible(self, candidacy: Candidacy) -> None:
        if candidacy.is_behind:
            self._patience.begin()
            self._fetch()
        elif candidacy.has_won:
            self._candidacy = None
            self._followed = candidacy.ballot
            found = candidacy.gathered.found(self.chosen)
            self._leadership = Leadership(self._state, candidacy.ballot, found)
            self._ask()

    def _on_refuse(self, message: Refuse) -> None:
        self._highest = max(self._highest, message.promised)
        if self._leadership is not None:
            if message.ballot == self._leadership.ballot and message.promised > message.ballot:
                self._lead_no_more(NEVER)
                self._patience.retry(0.0)
        elif self._candidacy is not None and message.promised > self._candidacy.ballot:
            self._candidacy = None

    # -- reading and learning ----------------------------------------------------------------
    def _ask(self) -> None:
        """Ask the leader, who may be this node, for the point of the read under way."""
        question, leader = self._question, self.leader
        if question is not None and leader is not None:
            question.asked_at = self._state.now
            self._to(leader, Query(question.number))

    def _on_answer(self, message: Answer) -> None:
        if self._question is not None and self._question.number == message.number:
            self._question = None
            self._learner.aim(message.slot)
            self._out.readable(message.number, message.slot)

    def _advance(self) -> None:
        """Take everything that is now chosen without gap."""
        before = self.chosen
        while (step := self._learner.advance(self._acceptor.votes)) is not None:
            value, is_own = step
            slot = self.chosen
            if not is_own:
                # The journal's log must hold what was chosen, whoever voted for it.
                self._out.save(Vote(slot, NEVER, value))
            self._acceptor.forget(slot)
            self._emit(slot, value)
        if self.chosen != before:
            if self._leadership is not None:
                self._leadership.advanced()
            if self._candidacy is not None:
                self._lead_if_possible(self._candidacy)
        self._fetch()

    def _emit(self, slot: int, value: Value) -> None:
        if isinstance(value, Configuration):
            self._state.membership.learn(slot, value)
            self._out.save()
        self._out.chosen(slot, value)

    def _fetch(self) -> None:
        if self._leadership is not None or not self._learner.is_behind:
            return
        source = self._candidacy.gathered.source if self._candidacy else self.leader
        source = self._catchup.preferred(self._state.connected) or source
        slot = self.chosen + 1
        if source and source != self.node and self._catchup.wants(source, slot, self._state.now):
            self._to(source, Fetch(slot, self._learner.target + 1))

    # -- outputs ------------------------------------------------------------------------
    def _to(self, peer: str, message: Message) -> None:
        self._out.send((peer,), message)

    def _effects(self) -> Effects:
        for message in self._out.inbox():
            self._step(self.node, message)
        return self._out.effects(self._state.header())
