"""The door into the core: one replica of the log.

``step`` (a message came), ``tick`` (time went on), ``propose`` (a value to be chosen), ``read``
(a point to read at), ``saved`` (the disk caught up), ``connected`` and ``disconnected`` (links):
each takes the time, changes this value and returns the `Effects` to be obeyed, in order.
Nothing else happens in here: no clock, no dice but those handed in, no I/O.

A replica is at once (PMMC 2)

* an acceptor, always: `coord.paxos.acceptor`, with the lease it granted, `coord.paxos.lease`;
* a learner, always: `coord.paxos.learner`, which catches up by `coord.paxos.catchup`;
* nothing more (a follower), or a candidate, or a leader: `coord.paxos.proposer`.

The way to lead: a follower that has heard of no leader for a lease and a random while
*canvasses*: would you promise me? Acceptors that granted a lease to someone else, or know
much more of the log, say no, and nothing durable happens. With a quorum of yes it saves its own promise
of the ballot, then asks for the others' (were it to ask first, crash, and forget, it
might use the ballot twice). Then it leads until it hears of a higher ballot.

Messages that depend on a save wait in ``_bound`` until ``saved`` says that it is on the
disk; those to this node itself wait there too, so a leader's own vote counts only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import assert_never

from coord.limits import MESSAGE_BYTES_SOFT
from coord.paxos.acceptor import Acceptor, size_of
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.catchup import Catchup
from coord.paxos.durable import Durable, Header, Value, Vote
from coord.paxos.effects import NOTHING, Effects
from coord.paxos.learner import Learner
from coord.paxos.lease import NO_TIME, Beats, Grant, quiet_seconds
from coord.paxos.membership import Configuration, Membership
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
from coord.paxos.outbox import Outbox
from coord.paxos.proposer import Candidate, Leader
from coord.paxos.reads import Question, Readers
from coord.paxos.timing import Timing


class Replica:
    """One node's part in choosing one log."""

    def __init__(
        self, node: str, durable: Durable, timing: Timing, dice: Random, now: float
    ) -> None:
        self.node = node
        self._timing = timing
        self._dice = dice
        self._now = now
        self._membership = Membership(durable.header.governs, timing.alpha)
        self._learner = Learner(durable.base)
        self._durable = durable
        known = max(durable.header.chosen, durable.base)
        self._acceptor = Acceptor(
            durable.header.promised, (vote for vote in durable.votes if vote.slot > known)
        )
        alone = self._membership.latest.voters == (node,)
        self._grant = Grant(now if alone else now + quiet_seconds(timing.lease_seconds))
        self._catchup = Catchup()
        self._beats = Beats(node, timing.lease_seconds, now)
        self._readers = Readers()
        self._question: Question | None = None
        self._out = Outbox()
        self._candidate: Candidate | None = None
        self._leader: Leader | None = None
        self._followed = NEVER
        self._heard_at = NO_TIME
        self._highest = durable.header.promised
        self._election_at = now if alone else self._after_lease()
        self._beat_at = now
        self._connected: set[str] = set()
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
        return self._membership.latest

    @property
    def is_leading(self) -> bool:
        """Whether this node believes that it leads."""
        return self._leader is not None

    @property
    def leader(self) -> str | None:
        """Whom this node takes for the leader, None where it knows of none."""
        if self._leader is not None:
            return self.node
        fresh = self._now <= self._heard_at + self._timing.patience_seconds
        return self._followed.node if self._followed != NEVER and fresh else None

    @property
    def role(self) -> str:
        """``leader``, ``follower``, ``candidate`` or ``observer``."""
        if self.node not in self.configuration.voters:
            return "observer"
        if self._leader is not None:
            return "leader"
        return "candidate" if self.leader is None else "follower"

    def has_quorum(self, now: float) -> bool:
        """Say whether this node is, as far as it can know, in touch with a majority."""
        self._now = now
        if self._leader is None:
            return self.leader is not None
        reachable = self._connected | {self.node}
        fresh = now - self._beats.heard_at < self._timing.lease_seconds
        return fresh and self.configuration.is_quorum(reachable)

    def room(self, now: float) -> int:
        """Return how many values may be proposed here now; 0 where this node does not lead."""
        if self._leader is None or not self.has_quorum(now):
            return 0
        return self._leader.room(self.chosen, self._timing.alpha)

    def can_read(self, now: float) -> bool:
        """Say whether this node may answer linearizable reads at once, as a leader with a lease."""
        return (
            self._leader is not None
            and self._timing.leases
            and now < self._beats.lease_until
            and self._leader.is_recovered(self.chosen)
        )

    @property
    def may_found(self) -> bool:
        """Whether this node leads and nothing was ever proposed: the cluster is new."""
        return self._leader is not None and self._leader.next_slot == 1

    def describe(self, now: float) -> str:
        """Return the replica in one line."""
        ballot = self._leader.ballot if self._leader else self._followed
        line = f"{self.node} {self.role} b={ballot.describe()} chosen {self.chosen}"
        if self._leader is not None:
            slots = self._leader.open_slots
            span = f"{min(slots)}..{max(slots)}" if slots else "-"
            line += f" open {span} lease {max(0.0, self._beats.lease_until - now):.2f}s"
        elif self._learner.is_behind:
            line += f" behind {self._learner.target - self.chosen}"
        return line

    # -- inputs ------------------------------------------------------------------------
    def start(self, now: float) -> Effects:
        """Learn again what the journal knows to be chosen. Called once, first."""
        self._now = now
        for vote in self._durable.votes:
            if vote.slot <= self._durable.header.chosen:
                assert vote.slot == self.chosen + 1, "the chosen log has no gap"
                self._learner.restore(vote.value)
                self._emit(vote.slot, vote.value)
        self._durable = Durable(self._durable.header)
        return self._effects()

    def step(self, now: float, sender: str, message: Message) -> Effects:
        """Take a message of a peer."""
        self._now = now
        self._step(sender, message)
        return self._effects()

    def saved(self, now: float, ticket: int) -> Effects:
        """Take note that the saves up to ``ticket`` are on the disk."""
        self._now = now
        self._out.saved(ticket)
        return self._effects()

    def propose(self, now: float, values: Sequence[Value]) -> Effects:
        """Propose values in the next slots; at most ``room`` of them."""
        self._now = now
        assert self._leader is not None, "ask room first"
        assert len(values) <= self.room(now), "ask room first"
        self._open_slots(self._leader, values)
        return self._effects()

    def read(self, now: float, number: int) -> Effects:
        """Find the point from which a linearizable read may be answered.

        One read is under way at a time; a new ``number`` takes the place of the old one. The answer
        comes as `Readable`, or never: the caller has a deadline of its own.
        """
        self._now = now
        self._question = Question(number)
        self._ask()
        return self._effects()

    def announce(self, now: float) -> Effects:
        """Tell the others what was chosen, if no other message has told it. Once a turn."""
        leader = self._leader
        if leader is None or leader.told == self.chosen:
            return NOTHING
        self._now = now
        leader.told = self.chosen
        self._broadcast(Commit(leader.ballot, self.chosen))
        return self._effects()

    def connected(self, now: float, peer: str) -> Effects:
        """Take note that there is a link to ``peer``, new or again."""
        self._now = now
        self._connected.add(peer)
        if self._leader is not None:
            self._beat_at = now
        return self._effects()

    def disconnected(self, now: float, peer: str) -> Effects:
        """Take note that there is no link to ``peer``: if it led, look for another soon."""
        self._now = now
        self._connected.discard(peer)
        if self._leader is None and self._followed.node == peer:
            soon = self._grant.until + self._dice.random() * self._timing.spread_seconds / 4
            self._election_at = min(self._election_at, max(soon, now))
            self._heard_at = NO_TIME
        return self._effects()

    def tick(self, now: float) -> Effects:
        """Take note of the time: beat, send again, stand for election."""
        self._now = now
        if self._leader is not None:
            self._tick_leader(self._leader)
        elif now >= self._election_at:
            self._canvass()
        self._fetch()
        question = self._question
        if question is not None and now - question.asked_at > self._timing.retry_seconds:
            self._ask()
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
                self._on_query(sender, message)
            case Answer():
                self._on_answer(message)
            case Beat():
                self._on_beat(sender, message)
            case BeatAnswer():
                self._on_beat_answer(sender, message)
            case Fetch():
                self._on_fetch(sender, message)
            case Supply():
                self._on_supply(message)
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
        if ballot != self._followed or self._leader is not None or self._candidate is not None:
            self._lead_no_more(ballot)
            self._heard_at = self._now
            self._ask()
        self._heard_at = self._now
        self._election_at = self._after_lease()

    def _lead_no_more(self, followed: Ballot) -> None:
        """Be a follower: of the leader of ``followed``, or of nobody known."""
        self._leader = self._candidate = None
        self._readers.clear()
        self._followed = followed
        self._highest = max(self._highest, followed)

    def _on_accept(self, sender: str, message: Accept) -> None:
        if not self._obeys(sender, message.ballot):
            return
        if not self._acceptor.has_room():
            self._learner.aim(message.chosen)
            self._fetch()
            return
        self._vote(message.ballot, message.slot, message.values)
        self._out.after_save(
            sender, Accepted(message.ballot, message.slot, message.slot + len(message.values))
        )
        self._learner.commit(message.ballot, message.chosen)
        self._advance()

    def _vote(self, ballot: Ballot, slot: int, values: Sequence[Value]) -> None:
        for number, value in enumerate(values, slot):
            if number > self.chosen:
                vote = self._acceptor.vote(ballot, number, value)
                if vote is not None:
                    self._out.save(vote)

    def _on_accepted(self, sender: str, message: Accepted) -> None:
        leader = self._leader
        if leader is None or leader.ballot != message.ballot:
            return
        for slot, value in leader.voted(sender, message.slot, message.until):
            self._learner.learn(slot, value)
        self._advance()

    def _on_fetch(self, sender: str, message: Fetch) -> None:
        until = min(message.until, self.chosen + 1)
        if message.slot >= until:
            return
        values = self._learner.recall(message.slot, until, MESSAGE_BYTES_SOFT)
        if values is None:
            self._out.recall(sender, message.slot, until)
        else:
            self._to(sender, Supply(message.slot, values))

    def _on_supply(self, message: Supply) -> None:
        # A leader learns from votes alone: had a higher ballot chosen something else in a slot
        # that it has open, to announce it would make its own proposal look chosen.
        if self._leader is not None:
            return
        for slot, value in enumerate(message.values, message.slot):
            self._learner.learn(slot, value)
        self._advance()

    # -- elections -----------------------------------------------------------------------
    def _after_lease(self) -> float:
        until = max(self._now + self._timing.lease_seconds, self._grant.until)
        return until + self._dice.random() * self._timing.spread_seconds

    def _canvass(self) -> None:
        if self.node not in self.configuration.voters:
            self._election_at = self._after_lease()
            return
        if not self._grant.allows(self.node, self._now):
            self._election_at = self._grant.until + self._jitter(self._timing.spread_seconds / 4)
            return
        self.elections += 1
        ballot = max(self._highest, self._acceptor.promised).after(self.node)
        slot = self.chosen + 1
        self._candidate = Candidate(ballot, slot, self._membership.since(slot))
        self._followed = NEVER
        self._election_at = self._now + self._timing.retry_seconds / 2
        self._election_at += self._jitter(self._timing.retry_seconds)
        self._broadcast(Canvass(ballot, self.chosen))
        self._on_endorse(self.node, Endorse(ballot))

    def _on_canvass(self, sender: str, message: Canvass) -> None:
        helps = self._grant.allows(sender, self._now) and message.ballot > self._acceptor.promised
        knows_enough = message.chosen + self._timing.alpha >= self.chosen
        if helps and knows_enough:
            self._to(sender, Endorse(message.ballot))
        else:
            self._to(sender, Refuse(message.ballot, self._acceptor.promised))

    def _on_endorse(self, sender: str, message: Endorse) -> None:
        candidate = self._candidate
        if candidate is None or candidate.ballot != message.ballot:
            return
        if not candidate.endorsed(sender):
            return
        self._acceptor.promise(candidate.ballot)
        self._out.save()
        self._election_at = self._now + 2 * self._timing.retry_seconds
        self._election_at += self._jitter(self._timing.retry_seconds)
        self._out.after_save(self.node, Prepare(candidate.ballot, candidate.slot))

    def _on_prepare(self, sender: str, message: Prepare) -> None:
        if sender == self.node:
            self._own_promise_saved(message)
            return
        ballot = message.ballot
        known = ballot == self._acceptor.promised
        if ballot.node != sender or not (known or self._grant.allows(sender, self._now)):
            self._to(sender, Refuse(ballot, self._acceptor.promised))
            return
        if not self._acceptor.promise(ballot):
            self._to(sender, Refuse(ballot, self._acceptor.promised))
            return
        if not known:
            self._out.save()
            self._lead_no_more(NEVER)
            self._highest = max(self._highest, ballot)
            self._election_at = self._after_lease()
        votes, until = self._acceptor.report(message.slot, MESSAGE_BYTES_SOFT)
        self._out.after_save(sender, Promise(ballot, message.slot, until, self.chosen, votes))

    def _own_promise_saved(self, message: Prepare) -> None:
        candidate = self._candidate
        if candidate is None or candidate.ballot != message.ballot:
            return
        self._broadcast(message)
        votes, _ = self._acceptor.report(message.slot, 1 << 62)
        self._on_promise(self.node, Promise(message.ballot, message.slot, 0, self.chosen, votes))

    def _on_promise(self, sender: str, message: Promise) -> None:
        candidate = self._candidate
        if candidate is None or candidate.ballot != message.ballot or not candidate.is_preparing:
            return
        more = candidate.promised(sender, message)
        if more:
            self._to(sender, Prepare(candidate.ballot, more))
        self._learner.aim(candidate.chosen)
        self._lead_if_possible()

    def _lead_if_possible(self) -> None:
        candidate = self._candidate
        if candidate is None or not candidate.has_quorum():
            return
        if self.chosen < candidate.chosen:
            self._election_at = self._after_lease()
            self._fetch()
            return
        self._candidate = None
        self._followed = candidate.ballot
        self._leader = Leader(candidate.ballot, self.chosen, candidate.found(self.chosen))
        self._beats = Beats(self.node, self._timing.lease_seconds, self._now)
        self._beat(self._leader)
        self._refill(self._leader)
        self._ask()

    def _on_refuse(self, message: Refuse) -> None:
        self._highest = max(self._highest, message.promised)
        if self._leader is not None:
            if message.ballot == self._leader.ballot and message.promised > message.ballot:
                self._lead_no_more(NEVER)
                self._election_at = self._now + self._jitter(self._timing.retry_seconds)
        elif self._candidate is not None and message.promised > self._candidate.ballot:
            self._candidate = None

    # -- leading ------------------------------------------------------------------------
    def _open_slots(self, leader: Leader, values: Sequence[Value]) -> None:
        piece: list[Value] = []
        size_bytes = 0
        first = leader.next_slot
        for value in values:
            leader.open(value, self._membership.at(leader.next_slot), self._now)
            piece.append(value)
            size_bytes += size_of(value)
            if size_bytes >= MESSAGE_BYTES_SOFT:
                self._accept(leader, first, piece)
                first, piece, size_bytes = leader.next_slot, [], 0
        if piece:
            self._accept(leader, first, piece)

    def _accept(self, leader: Leader, slot: int, values: list[Value]) -> None:
        leader.told = self.chosen
        self._broadcast(Accept(leader.ballot, slot, tuple(values), self.chosen))
        self._vote(leader.ballot, slot, values)
        self._out.after_save(self.node, Accepted(leader.ballot, slot, slot + len(values)))

    def _refill(self, leader: Leader) -> None:
        values = leader.refill(self.chosen, self._timing.alpha)
        if values:
            self._open_slots(leader, values)

    def _tick_leader(self, leader: Leader) -> None:
        if self._now - self._beats.heard_at > self._timing.patience_seconds:
            # We may still be heard where we hear nothing: as long as we beat, the others stay.
            self._lead_no_more(NEVER)
            self._election_at = self._after_lease()
            return
        if self._now >= self._beat_at:
            self._beat(leader)
        self._send_again(leader)

    def _send_again(self, leader: Leader) -> None:
        """Send what was not answered for a while to those who did not answer."""
        size_bytes = 0
        for slot in leader.overdue(self._now - self._timing.retry_seconds):
            entry = leader.open_slots[slot]
            entry.sent_at = self._now
            silent = tuple(node for node in self._others if node not in entry.voters)
            message = Accept(leader.ballot, slot, (entry.value,), self.chosen)
            self._out.send(silent, message)
            size_bytes += size_of(entry.value)
            if size_bytes >= MESSAGE_BYTES_SOFT:
                return

    # -- leases and reads --------------------------------------------------------------------
    def _beat(self, leader: Leader) -> None:
        self._beat_at = self._now + self._timing.beat_seconds
        number = self._beats.send(self._now)
        self._grant.give(self.node, self._now + self._timing.lease_seconds)
        self._beats.count(self._membership.at(self.chosen + 1))
        leader.told = self.chosen
        self._broadcast(Beat(leader.ballot, number, self.chosen))
        self._answer_readers()

    def _on_beat(self, sender: str, message: Beat) -> None:
        if not self._obeys(sender, message.ballot):
            return
        self._grant.give(sender, self._now + self._timing.lease_seconds)
        self._to(sender, BeatAnswer(message.ballot, message.number))
        self._learner.commit(message.ballot, message.chosen)
        self._advance()

    def _on_beat_answer(self, sender: str, message: BeatAnswer) -> None:
        leader = self._leader
        if leader is not None and leader.ballot == message.ballot:
            self._beats.answered(sender, message.number, self._membership.at(self.chosen + 1))
            self._answer_readers()

    def _ask(self) -> None:
        """Ask the leader, who may be this node, for the point of the read under way."""
        question, leader = self._question, self.leader
        if question is None or leader is None:
            return
        question.asked_at = self._now
        if leader == self.node:
            self._on_query(self.node, Query(question.number))
        else:
            self._to(leader, Query(question.number))

    def _on_query(self, sender: str, message: Query) -> None:
        leader = self._leader
        if leader is None:
            return
        self._readers.wait(sender, message.number, self._beats.number + 1)
        if not self.can_read(self._now):
            self._beat(leader)
        self._answer_readers()

    def _answer_readers(self) -> None:
        """Answer the questions for which it is now known that no one else led when they came."""
        leader = self._leader
        if leader is None or not self._readers or not leader.is_recovered(self.chosen):
            return
        confirmed = None if self.can_read(self._now) else self._beats.confirmed
        for reader, number in self._readers.take(confirmed):
            if reader == self.node:
                self._on_answer(Answer(number, self.chosen))
            else:
                self._to(reader, Answer(number, self.chosen))

    def _on_answer(self, message: Answer) -> None:
        if self._question is not None and self._question.number == message.number:
            self._question = None
            self._learner.aim(message.slot)
            self._out.readable(message.number, message.slot)

    # -- learning -----------------------------------------------------------------------
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
            if self._leader is not None:
                self._refill(self._leader)
                self._answer_readers()
            self._lead_if_possible()
        self._fetch()

    def _emit(self, slot: int, value: Value) -> None:
        if isinstance(value, Configuration):
            self._membership.learn(slot, value)
            self._out.save()
        self._out.chosen(slot, value)

    def _fetch(self) -> None:
        if self._leader is not None or not self._learner.is_behind:
            return
        source = self._candidate.source if self._candidate else self.leader
        if source and source != self.node and self._catchup.wants(self.chosen + 1, self._now):
            self._to(source, Fetch(self.chosen + 1, self._learner.target + 1))

    # -- outputs ------------------------------------------------------------------------
    @property
    def _others(self) -> tuple[str, ...]:
        return tuple(node for node in self.configuration.nodes if node != self.node)

    def _to(self, peer: str, message: Message) -> None:
        self._out.send((peer,), message)

    def _broadcast(self, message: Message) -> None:
        self._out.send(self._others, message)

    def _jitter(self, seconds: float) -> float:
        return self._dice.random() * seconds

    def _effects(self) -> Effects:
        for peer, message in self._out.due():
            if peer == self.node:
                self._step(peer, message)
            else:
                self._to(peer, message)
        return self._out.effects(
            Header(self._acceptor.promised, self.chosen, self._membership.known())
        )
