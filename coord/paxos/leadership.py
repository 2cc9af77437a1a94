"""Leading: proposing, sending again, keeping the lease, saying where to read.

One value of `Leadership` is one ballot's time as leader; when it ends the value is dropped and
nothing of it is left, but for the votes of the acceptors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from coord.limits import MESSAGE_BYTES_SOFT, WITNESS_SECONDS
from coord.paxos.acceptor import size_of
from coord.paxos.ballot import Ballot
from coord.paxos.coverage import Coverage
from coord.paxos.durable import Value
from coord.paxos.lease import Beats
from coord.paxos.membership import Configuration
from coord.paxos.messages import Accept, Accepted, Answer, Beat, BeatAnswer, Commit, Promise
from coord.paxos.proposer import NO_OP, Candidate, Slots
from coord.paxos.reads import Readers
from coord.paxos.state import State
from coord.paxos.witness import Witnessed


class Told:
    """How far each node was told the log to be chosen: all to ``slot``, some further."""

    def __init__(self) -> None:
        self.slot = 0
        self._further: dict[str, int] = {}

    def all(self, slot: int) -> None:
        """Note that everyone was told of ``slot``."""
        self.slot = slot
        self._further.clear()

    def some(self, nodes: Iterable[str], slot: int) -> None:
        """Note that ``nodes`` were told of ``slot``."""
        self._further.update(dict.fromkeys(nodes, slot))

    def by(self, node: str) -> int:
        """Return the slot that ``node`` was told of."""
        return self._further.get(node, self.slot)


class Leadership:
    """One ballot's time as leader."""

    def __init__(self, state: State, ballot: Ballot, gathered: Candidate) -> None:
        self.ballot = ballot
        self.slots = Slots(state.chosen, gathered.found(state.chosen))
        self.progress: dict[str, int] = {}
        self._state = state
        self._beats = Beats(state.node, state.timing.lease_seconds, state.now)
        self._began_at = state.now
        self._answered_at: dict[str, float] = {}
        self._readers = Readers()
        self._beat_at = self._share_at = state.now
        self._told = Told()
        self._coverage = Coverage(state, ballot, gathered)
        self._governing = state.membership.at(state.chosen + 1)
        self._governs_from = state.membership.knowledge
        self.beat()
        self._go_on()

    def describe(self) -> str:
        """Return what is open and how long the lease holds, as part of the replica's line."""
        opened = self.slots.opened
        span = f"{min(opened)}..{max(opened)}" if opened else "-"
        return f"open {span} lease {self.lease_seconds_left():.2f}s"

    # -- proposing -------------------------------------------------------------------------
    def room(self) -> int:
        """Return how many new values may be proposed now."""
        if self._state.out.is_full or not self.has_quorum():
            return 0
        return self.slots.room(self._last_slot())

    def _last_slot(self) -> int:
        """Return the last slot that may be open now."""
        return self._coverage.last(self._state.chosen + self._state.timing.alpha)

    def propose(self, values: Sequence[Value]) -> None:
        """Open the next slots for ``values``, in messages that are not too long."""
        piece: list[Value] = []
        size_bytes = 0
        first = self.slots.next_slot
        for value in values:
            governs = self._state.membership.at(self.slots.next_slot)
            slot = self.slots.open(value, governs, self._state.now)
            if isinstance(value, Configuration):
                self._governs_from = slot + self._state.timing.alpha
            piece.append(value)
            size_bytes += size_of(value)
            if size_bytes >= MESSAGE_BYTES_SOFT:
                self._accept(first, piece)
                first, piece, size_bytes = self.slots.next_slot, [], 0
        if piece:
            self._accept(first, piece)

    def _accept(self, slot: int, values: list[Value]) -> None:
        state = self._state
        self._told.all(state.chosen)
        state.broadcast(Accept(self.ballot, slot, tuple(values), state.chosen))
        state.vote(self.ballot, slot, values)
        state.out.after_save(state.node, Accepted(self.ballot, slot, slot + len(values)))

    def _go_on(self) -> None:
        """Propose again what phase 1 found, then what brings a new configuration into force."""
        last = self._last_slot()
        self.propose(self.slots.refill(last))
        if self.slots.next_slot < self._governs_from and not self._state.out.is_full:
            room = self.slots.room(min(last, self._governs_from - 1))
            self.propose([NO_OP] * room)

    def accepted(self, sender: str, message: Accepted) -> None:
        """Count votes, and learn what is chosen by them."""
        for slot, value in self.slots.voted(sender, message.slot, message.until):
            self._state.learner.learn(slot, value)

    def advanced(self) -> None:
        """Take note that more is chosen: slots may be opened, and reads answered."""
        self._coverage.review()  # first of all: who has not promised may know more than is read
        governing = self._state.membership.at(self._state.chosen + 1)
        if governing is not self._governing:
            self._change(governing)
        self._go_on()
        self.answer_readers()

    def announce(self, to: Collection[str]) -> None:
        """Tell those of ``to`` what was chosen whom no other message has told it."""
        chosen = self._state.chosen
        behind = tuple(node for node in self.untold() if node in to)
        if behind:
            self._told.some(behind, chosen)
            self._state.out.send(behind, Commit(self.ballot, chosen))

    def untold(self) -> tuple[str, ...]:
        """Return the nodes that have not been told of all that is chosen."""
        chosen = self._state.chosen
        if self._told.slot == chosen:
            return ()
        return tuple(node for node in self._state.others if self._told.by(node) < chosen)

    # -- configurations ----------------------------------------------------------------------
    @property
    def is_changing(self) -> bool:
        """Whether a configuration is under way that does not govern the next slot yet."""
        return self._governs_from > self._state.chosen + 1

    @property
    def is_outvoted(self) -> bool:
        """Whether this leader has no vote in what governs the next slot."""
        return self._state.node not in self._governing.voters

    def reconfigure(self, configuration: Configuration) -> None:
        """Propose a configuration in the next slot, and with it what brings it into force."""
        room = min(self.room(), self._state.timing.alpha)
        self.propose([configuration, *[NO_OP] * (room - 1)])

    def promised(self, sender: str, message: Promise) -> bool:
        """Count a promise of a new voter; False where another leader knew more than this one."""
        if not self._coverage.promised(sender, message):
            return False
        self._go_on()
        self.answer_readers()
        return True

    def _change(self, governing: Configuration) -> None:
        """Let other voters decide from now on who leads; tell those who leave, and all the rest.

        Who is no member any more is told nothing later. A leader that has no vote now has nothing
        to say to anyone later.
        """
        before, self._governing = self._governing, governing
        leaving = tuple(node for node in before.nodes if node not in governing.nodes)
        staying = self._state.others if self.is_outvoted else ()
        told = tuple(node for node in leaving + staying if node != self._state.node)
        self._state.out.send(told, Commit(self.ballot, self._state.chosen))
        if governing.voters != before.voters:
            self._beats.recount(governing, self._state.now)
            if not self.is_outvoted:
                self.beat()

    # -- time ------------------------------------------------------------------------------
    def is_deaf(self) -> bool:
        """Say whether nothing was heard of a majority for so long that another should lead.

        We may still be heard where we hear nothing: as long as we beat, the others stay.
        """
        if self._governing.is_quorum((self._state.node,)):
            return False
        return self._state.now - self._beats.heard_at > self._state.timing.patience_seconds

    def tick(self) -> None:
        """Beat, and send again what was not answered."""
        if self._state.now >= self._beat_at:
            self.beat()
        self._coverage.tick()
        self._send_again()

    def _send_again(self) -> None:
        state = self._state
        size_bytes = 0
        for slot in self.slots.overdue(state.now - state.timing.retry_seconds):
            entry = self.slots.opened[slot]
            entry.sent_at = state.now
            silent = tuple(node for node in state.others if node not in entry.voters)
            state.out.send(silent, Accept(self.ballot, slot, (entry.value,), state.chosen))
            size_bytes += size_of(entry.value)
            if size_bytes >= MESSAGE_BYTES_SOFT:
                return

    # -- the lease, and reads ------------------------------------------------------------------
    def beat(self) -> None:
        """Say that this node leads, which asks everyone to confirm it."""
        state = self._state
        self._beat_at = state.now + state.timing.beat_seconds
        number = self._beats.send(state.now)
        state.grant.give(state.node, state.now + state.timing.lease_seconds)
        self._beats.count(self._governing)
        self._told.all(state.chosen)
        state.broadcast(Beat(self.ballot, number, state.chosen, *self._testimony()))
        self.answer_readers()

    def introduce(self) -> None:
        """Beat at once, and say what is known of everyone's disk: there is a new link."""
        self._share_at = self._state.now
        self.beat()

    def _testimony(self) -> tuple[tuple[Witnessed, ...], int]:
        """Return what is known of everyone's disk, and as of which configuration, now and then."""
        state = self._state
        if state.now < self._share_at:
            return (), 0
        self._share_at = state.now + WITNESS_SECONDS
        state.witness.settle(state.now)
        return state.witness.known, state.membership.knowledge

    def beat_answered(self, sender: str, message: BeatAnswer) -> None:
        """Take note of who still follows."""
        self.progress[sender] = max(message.chosen, self.progress.get(sender, 0))
        self._answered_at[sender] = self._state.now
        self._beats.answered(sender, message.number, self._governing)
        self.answer_readers()

    def listening(self) -> frozenset[str]:
        """Return the nodes that answered a beat lately, or have had no time to.

        A link does not tell it: a node that has stopped over its disk, say, may still have one.
        """
        since = self._state.now - self._state.timing.absence_seconds
        heard = {node: self._answered_at.get(node, self._began_at) for node in self._state.others}
        return frozenset(node for node, at in heard.items() if at >= since)

    def has_quorum(self) -> bool:
        """Say whether a majority was heard of within a lease and has links to here."""
        state = self._state
        fresh = state.now - self._beats.heard_at < state.timing.lease_seconds
        return fresh and state.membership.latest.is_quorum(state.connected | {state.node})

    def lease_seconds_left(self) -> float:
        """Return how long no other node can lead, as far as is known; 0 for not at all."""
        return max(0.0, self._beats.lease_until - self._state.now)

    def can_read(self) -> bool:
        """Say whether this node may read linearizably without asking anyone."""
        return (
            self._state.timing.leases
            and self._state.now < self._beats.lease_until
            and self._is_recovered()
        )

    def _is_recovered(self) -> bool:
        """Say whether all that an earlier leader may have had chosen is chosen, and known here."""
        chosen = self._state.chosen
        return self.slots.is_recovered(chosen) and self._coverage.holds(chosen + 1)

    def asked(self, reader: str, number: int) -> None:
        """Take a question: answer it now, or once it is known that this node leads still."""
        self._readers.wait(reader, number, self._beats.number + 1)
        if not self.can_read():
            self.beat()
        self.answer_readers()

    def answer_readers(self) -> None:
        """Answer the questions for which it is now known that no one else led when they came."""
        if not self._readers or not self._is_recovered():
            return
        confirmed = None if self.can_read() else self._beats.confirmed
        for reader, number in self._readers.take(confirmed):
            self.announce((reader,))  # or it would wait at the point that it is given
            self._state.out.send((reader,), Answer(number, self._state.chosen))
