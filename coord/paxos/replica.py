"""The door into the core: one replica of the log.

``step`` (a message came), ``tick`` (time went on), ``propose`` (a value to be chosen), ``read``
(a point to read at), ``saved`` (the disk caught up), ``connected`` and ``disconnected`` (links):
each takes the time, changes this value and returns the `Effects` to be obeyed, in order.
Nothing else happens in here: no clock, no dice but those handed in, no I/O.

A replica is at once (PMMC 2)

* an acceptor, always: `coord.paxos.acceptor`, with the lease it granted, `coord.paxos.lease`;
* a learner, always: `coord.paxos.learner`, which catches up by `coord.paxos.catchup`;
* nothing more (a follower), or a candidate (`coord.paxos.candidacy`), or a leader
  (`coord.paxos.leadership`): see `coord.paxos.elections`. What these two gather is counted in
  `coord.paxos.proposer`.

What depends on a save, to this node itself too, waits in `coord.paxos.outbox` for ``saved``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import assert_never

from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.catchup import Catchup
from coord.paxos.durable import Durable, Value, Vote
from coord.paxos.effects import Effects
from coord.paxos.elections import Elections
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
from coord.paxos.reads import Question
from coord.paxos.state import State
from coord.paxos.timing import Dice, Timing
from coord.paxos.witness import Witnessed


class Replica:
    """One node's part in choosing one log; to one that ``is_reachable`` others may come."""

    def __init__(
        self,
        node: str,
        durable: Durable,
        timing: Timing,
        dice: Dice,
        now: float,
        *,
        is_reachable: bool = False,
    ) -> None:
        self._state = State(node, durable, timing, now, is_reachable=is_reachable)
        self._timing = timing
        self._acceptor = self._state.acceptor
        self._learner = self._state.learner
        self._out = self._state.out
        self._durable = durable
        self._catchup = Catchup()
        self._question: Question | None = None
        self._elections = Elections(self._state, dice, self._ask)

    # -- what others may know --------------------------------------------------------
    @property
    def chosen(self) -> int:
        """The end of the chosen prefix."""
        return self._learner.chosen

    @property
    def durable_chosen(self) -> int:
        """The end of what a restart would know to be chosen, at least."""
        return self._out.durable_chosen

    @property
    def is_settled(self) -> bool:
        """Whether a restart would know all that came before the configuration that governs now.

        Then those who left with the one before need not be asked any more.
        """
        return self.durable_chosen + 1 >= self.governs[0].slot

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
    def is_changing(self) -> bool:
        """Whether a configuration is under way that does not govern the next slot yet."""
        if self._leadership is not None:
            return self._leadership.is_changing
        return self.knowledge > self.chosen + 1

    @property
    def knowledge(self) -> int:
        """The slot from which on the latest configuration that is known governs."""
        return self._state.membership.knowledge

    @property
    def is_voter(self) -> bool:
        """Whether this node votes in any configuration that governs an unchosen slot."""
        return self._state.is_voter

    @property
    def promised(self) -> Ballot:
        """The ballot below which this node accepts nothing, on its disk or on the way there."""
        return self._acceptor.promised

    @property
    def reach(self) -> int:
        """The last slot that this node voted for, or knows to be chosen."""
        return max(self.chosen, max(self._acceptor.votes, default=0))

    def witness(self, node: str) -> Witnessed:
        """Return the most that ``node`` is known to have said to be on its disk."""
        return self._state.witness.of(node)

    @property
    def listening(self) -> frozenset[str]:
        """The nodes that answered a beat of this leader lately; nobody where others lead."""
        return frozenset() if self._leadership is None else self._leadership.listening()

    @property
    def progress(self) -> Mapping[str, int]:
        """How far each node that answers this leader's beats has learnt; empty elsewhere."""
        return {} if self._leadership is None else self._leadership.progress

    @property
    def elections(self) -> int:
        """How often this node stood for election."""
        return self._elections.count

    @property
    def _leadership(self) -> Leadership | None:
        return self._elections.leadership

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
        return self._elections.leader

    @property
    def ballot(self) -> Ballot:
        """The ballot of the leader that this node follows or is; NEVER where it knows none."""
        return self._elections.ballot

    @property
    def role(self) -> str:
        """``leader``, ``follower``, ``candidate`` or ``observer``."""
        if self._leadership is not None:
            return "leader"
        if not self.is_voter:
            return "observer"
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

    def reconfigure(self, now: float, configuration: Configuration) -> Effects:
        """Propose a configuration, and with it values that do nothing, so that it governs soon.

        To be asked of a leader that has room and is not changing, of a cluster that was founded.
        """
        self._state.now = now
        assert self._leadership is not None, "ask room first"
        assert self._leadership.room(), "ask room first"
        assert not self.is_changing, "one change at a time"
        assert not self.may_found, "slot 1 founds the cluster"
        self._leadership.reconfigure(configuration)
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

    def connected(self, now: float, peer: str, knowledge: int = 0) -> Effects:
        """Take note of a link to ``peer``, that knows what governs from slot ``knowledge`` on."""
        self._state.now = now
        self._state.connected.add(peer)
        if knowledge > self.knowledge:
            self._elections.outdated(peer)
        if self._leadership is not None:
            self._leadership.introduce()
        return self._effects()

    def told(self, knowledge: int) -> None:
        """Take note up to where those know the configurations who refuse this node; 0 for none."""
        self._state.known_elsewhere = knowledge

    def disconnected(self, now: float, peer: str) -> Effects:
        """Take note that there is no link to ``peer``: if it led, look for another soon."""
        self._state.now = now
        self._state.connected.discard(peer)
        self._elections.lost(peer)
        return self._effects()

    def skip(self, now: float, slot: int, governs: Iterable[Governs], source: str) -> Effects:
        """Go on after ``slot``, whose outcome came from ``source`` and is on the disk."""
        self._state.skip(now, slot, governs)
        elections = self._elections
        elections.lead_no_more(elections.followed if elections.leadership is None else NEVER)
        self._catchup.prefer(source)
        self._advance()
        return self._effects()

    def tick(self, now: float) -> Effects:
        """Take note of the time: beat, send again, stand for election."""
        self._state.now = now
        self._state.witness.tick(now)
        if self._may_settle():
            self._out.save()  # nothing else may have to be for a long time
        self._elections.tick()
        self._fetch()
        if self._question and now - self._question.asked_at > self._timing.retry_seconds:
            self._ask()
        return self._effects()

    def _may_settle(self) -> bool:
        """Say whether a save would make this node independent of those who have left."""
        is_known = self.chosen + 1 >= self.governs[0].slot
        return is_known and not self.is_settled and not self._out.is_saving

    def resign(self, now: float) -> Effects:
        """Lead no more, and let another be elected first; it finds what is open by its votes."""
        self._state.now = now
        self._elections.resign()
        return self._effects()

    # -- messages -----------------------------------------------------------------------
    def _step(self, sender: str, message: Message) -> None:  # noqa: C901 (one line a sentence)
        match message:
            case Accept():
                self._on_accept(sender, message)
            case Accepted():
                self._on_accepted(sender, message)
            case Commit():
                if self._elections.obeys(sender, message.ballot):
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
                self._elections.on_canvass(sender, message)
            case Endorse():
                self._elections.endorsed(sender, message)
            case Prepare():
                self._elections.on_prepare(sender, message)
            case Promise():
                self._on_promise(sender, message)
            case Refuse():
                self._elections.refused(message)
            case _:
                assert_never(message)

    def _on_accept(self, sender: str, message: Accept) -> None:
        if not self._elections.obeys(sender, message.ballot):
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
        self._state.witness.said(sender, message.ballot, message.until - 1)
        leadership = self._leadership
        if leadership is not None and leadership.ballot == message.ballot:
            leadership.accepted(sender, message)
            self._advance()

    def _on_beat(self, sender: str, message: Beat) -> None:
        state = self._state
        if not self._elections.obeys(sender, message.ballot):
            return
        if message.knowledge == self.knowledge:
            state.witness.merge(message.witnessed)
        # Who was made leader by others than those that vote now gets nothing here that was
        # granted to another: see `coord.paxos.lease`.
        if state.grant.allows(sender, state.now):
            state.grant.give(sender, state.now + self._timing.lease_seconds)
            learnt = self.chosen if self.is_settled else self.durable_chosen
            self._to(sender, BeatAnswer(message.ballot, message.number, learnt))
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
        before = self.chosen
        for slot, value in enumerate(message.values, message.slot):
            self._learner.learn(slot, value)
        self._advance()
        if self.chosen > before and self.leader is None and not self._learner.is_behind:
            self._elections.pull(sender)

    def _on_promise(self, sender: str, message: Promise) -> None:
        self._state.witness.said(sender, message.ballot)
        if self._elections.promised(sender, message):
            self._fetch()

    # -- reading and learning ----------------------------------------------------------------
    def _ask(self) -> None:
        """Ask the leader, who may be this node, for the point of the read under way."""
        leader = self.leader
        if self._question is not None and leader is not None:
            self._question.asked_at = self._state.now
            self._to(leader, Query(self._question.number))

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
            if self._state.membership.passed(self.chosen):
                # Or after a restart it would ask those who left, and may be gone for good.
                self._out.save()
            self._elections.advanced()
        self._fetch()

    def _emit(self, slot: int, value: Value) -> None:
        if isinstance(value, Configuration):
            self._state.learnt(slot, value)
        self._out.chosen(slot, value)

    def _fetch(self) -> None:
        if self._leadership is not None or not self._learner.is_behind:
            return
        candidacy = self._elections.candidacy
        source = candidacy.gathered.source if candidacy else self.leader
        source = self._catchup.preferred(self._state.connected) or source
        slot, now = self.chosen + 1, self._state.now
        if source and source != self.node and self._catchup.wants(source, slot, now):
            self._to(source, Fetch(slot, self._learner.target + 1))

    # -- outputs ------------------------------------------------------------------------
    def _to(self, peer: str, message: Message) -> None:
        self._out.send((peer,), message)

    def _effects(self) -> Effects:
        for message in self._out.inbox():
            self._step(self.node, message)
        return self._out.effects(self._state.header())
