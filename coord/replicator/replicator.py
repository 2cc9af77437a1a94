"""The replicator: one node's loop around the core.

Inputs (frames, saves done, requests, ticks) are taken as they come; each is put to the
replica, and what the replica wants is done at once and in order: send, hand saves to the
disk, apply what was chosen. What concerns others waits for the end of the turn: one batch
of all that was asked, one announcement of all that was chosen, one call to each watcher
that sees a change, all answers, one write to each peer. So nothing that belongs to someone
else runs inside a change of state, and a thousand requests in a turn cost one of each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from coord.commands import Genesis
from coord.errors import CoordError, Unavailable
from coord.limits import (
    HISTORY_REVISIONS,
    IMAGE_EVERY_BYTES,
    LOG_BYTES_KEPT,
    MESSAGE_BYTES_SOFT,
    REQUEST_SECONDS,
    TICK_SECONDS,
)
from coord.paxos.acceptor import size_of
from coord.paxos.ballot import NEVER
from coord.paxos.durable import Value
from coord.paxos.effects import Chosen, Effects, Recall
from coord.paxos.messages import Supply
from coord.paxos.replica import Replica
from coord.paxos.timing import Timing
from coord.replicator.account import Account, Identity
from coord.replicator.applier import FOUNDER, Applier
from coord.replicator.imaging import Imaging, LogMarks
from coord.replicator.interfaces import IJournal, IPeers
from coord.replicator.queues import Call, Group, Reads, SetBackError, Writes
from coord.replicator.tracing import Traces
from coord.results import Result
from coord.wire import peer as wire
from coord.wire.values import Batch, encode_batch, stamp

FORWARD_AGAIN_SECONDS: Final = 0.6
"""Batches handed to a leader and not applied for so long are handed to it again."""
ANNOUNCE_SECONDS: Final = 0.001
"""How long a node that waits for nothing may not be told what was chosen."""
PROPOSALS_MAX: Final = 256
"""Batches of other nodes that wait for a slot; past it they are dropped, and come again. Each
waits once, however often it came, so there are no more than the nodes have in flight."""


@attrs.frozen(kw_only=True)
class Tuning:
    """What an operator may change; see `coord.limits` for each."""

    timing: Timing = attrs.Factory(Timing)
    request_seconds: float = REQUEST_SECONDS
    history_revisions: int = HISTORY_REVISIONS
    image_every_bytes: int = IMAGE_EVERY_BYTES
    log_bytes_kept: int = LOG_BYTES_KEPT


class Replicator:
    """One node: obeys the core, applies the log, answers the coordinator's groups.

    ``now`` is a clock that never stops or steps (seconds), for leases and deadlines;
    ``time_ms`` is the time of day that the leader stamps, which may step as it likes.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        identity: Identity,
        replica: Replica,
        applier: Applier,
        log_marks: LogMarks,
        journal: IJournal,
        peers: IPeers,
        now: Callable[[], float],
        time_ms: Callable[[], int],
        tuning: Tuning,
    ) -> None:
        self._reactor = reactor
        self._identity = identity
        self._replica = replica
        self._applier = applier
        self._journal = journal
        self._peers = peers
        self.now = now
        self._time_ms = time_ms
        self._began_at = now()
        self._request_seconds = tuning.request_seconds
        self.store = applier.store
        self._writes = Writes(identity.node, identity.incarnation)
        self._reads = Reads(identity.incarnation << 32)
        self._proposals: deque[bytes] = deque()
        self._answers: list[Call] = []
        self._turn_call: IDelayedCall | None = None
        self._tick_call: IDelayedCall | None = None
        self._announce_call: IDelayedCall | None = None
        self._owed: set[str] = set()
        self._sent_under = NEVER
        self._sent_at = self._began_at
        self._must_send_again = False
        self._fault: str | None = None
        self._is_broken = False
        self._complained: set[str] = set()
        self._imaging = Imaging(
            reactor,
            journal,
            applier,
            log_marks,
            every_bytes=tuning.image_every_bytes,
            kept_bytes=tuning.log_bytes_kept,
        )
        self.account = Account(
            identity=identity,
            replica=replica,
            applier=applier,
            writes=self._writes,
            reads=self._reads,
            imaging=self._imaging,
            peers=peers,
            now=now,
            fault=lambda: self._fault,
            began_at=self._began_at,
        )
        self.traces = Traces(identity.node, self.account.uptime)
        journal.observe(self)
        peers.observe(self)

    # -- life -----------------------------------------------------------------------------
    def start(self) -> None:
        """Apply what the journal knows to be chosen, then take part."""
        self._obey(self._replica.start(self.now()))
        self._tick()

    def stop(self) -> None:
        """Take part no more; what waits is answered ``UNAVAILABLE`` or ``UNKNOWN``."""
        self._withdraw("stopped")
        for call in (self._turn_call, self._tick_call, self._announce_call):
            if call is not None and call.active():
                call.cancel()
        self._turn_call = self._tick_call = self._announce_call = None
        self._fire()

    # -- the coordinator's side --------------------------------------------------------------
    def write(self, group: Group) -> None:
        """Queue a group that writes."""
        error = self._refusal() or self._writes.add(group)
        if error is not None:
            group.refuse(error)
        else:
            self._wake()

    def read(self, group: Group) -> None:
        """Answer a group of linearizable reads, at once where that is possible."""
        refusal = self._refusal()
        if refusal is not None:
            group.refuse(refusal)
        elif self._replica.can_read(self.now()) and self._applier.slot == self._replica.chosen:
            self.answer(group)
        else:
            error = self._reads.add(group)
            if error is not None:
                group.refuse(error)
            self._wake()

    def _refusal(self) -> CoordError | None:
        """Return what a node that takes part no more says to those who ask; None where it does."""
        if self._fault is None:
            return None
        return Unavailable(f"not done: this node has stopped serving: {self._fault}")

    def answer(self, group: Group) -> None:
        """Answer a group of reads from the store as it stands, unless that cannot be trusted."""
        refusal = self._refusal() if self._is_broken else None
        if refusal is not None:
            group.refuse(refusal)
            return
        group.settle(self._read(group))

    def _read(self, group: Group) -> list[Result]:
        self._reads.answered += len(group.commands)
        return group.read_by(self.store.answer)

    # -- what journal and links say ------------------------------------------------------------
    def received(self, sender: str, frame: bytes) -> None:
        """Take a frame of a peer; raises `ValueError` where it is not a message."""
        message = wire.decode(frame)
        if self.traces.is_on:
            self.traces.received(sender, message)
        if isinstance(message, wire.Forward):
            self._forwarded(message)
        else:
            if isinstance(message, Supply) and message.oldest:
                self._told_of_gap(sender, message.oldest)
            self._take(self._replica.step, sender, message)

    def connected(self, peer: str) -> None:
        """Take note of a link; what was sent before may be lost, so send it again."""
        self.traces.note(f"linked with {peer}")
        self._must_send_again |= peer == self._replica.leader
        self._take(self._replica.connected, peer)

    def disconnected(self, peer: str) -> None:
        """Take note that a link is gone."""
        self.traces.note(f"no link with {peer}")
        self._take(self._replica.disconnected, peer)

    def saved(self, ticket: int) -> None:
        """Take note that saves are on the disk."""
        self._take(self._replica.saved, ticket)

    def failed(self, error: Exception) -> None:
        """Stop acknowledging: the disk has failed, and what it holds is not known any more."""
        self._log.critical("the journal failed, this node stops serving: {error}", error=error)
        self._withdraw(f"journal: {error}")

    # -- the loop -----------------------------------------------------------------------------
    def _take(self, enter: Callable[..., Effects], *what: object) -> None:
        """Put one input to the core and do what it wants; end the turn if that concerns others."""
        if self._fault is not None:
            return
        try:
            effects = enter(self.now(), *what)
            self._obey(effects)
        except Exception as error:
            self._break(error)
            return
        if effects.send or effects.chosen or effects.readable or self._has_work():
            self._wake()

    def _has_work(self) -> bool:
        """Say whether something is to be told, or may be sent that could not be before."""
        return (
            bool(self._answers)
            or self._writes.has_queued
            or self._reads.has_waiting
            or bool(self._proposals)
            or self._must_send_again
            or self._replica.ballot != self._sent_under
        )

    def _break(self, error: Exception) -> None:
        """Stop serving rather than answer wrongly: an invariant has turned out not to hold."""
        self._is_broken = True
        if isinstance(error, SetBackError):
            self._log.critical("{error}", error=error)
            self._withdraw(str(error))
        else:
            self._log.failure("a bug: this node stops serving; restart it, and report this")
            self._withdraw(f"bug: {error!r}")

    def _withdraw(self, reason: str) -> None:
        """Take part no more, and answer what waits."""
        self._fault = self._fault or " ".join(reason.split())
        self._imaging.stop()
        self._expire(float("inf"))
        self._wake()

    def _obey(self, effects: Effects) -> None:
        """Do what the core wants, in its order. The only function that does."""
        if self.traces.is_on:
            self.traces.obeyed(effects)
        for envelope in effects.send:
            frame = wire.encode(envelope.message)
            for peer in envelope.to:
                self._peers.send(peer, frame)
        if effects.save is not None:
            if effects.send:
                self._peers.flush()  # the longer way first: the disk of others
            self._journal.save(effects.save)
        for chosen in effects.chosen:
            self._apply(chosen)
        for readable in effects.readable:
            self._reads.found(readable.number, readable.slot)
        for recall in effects.recall:
            self._recall(recall)

    def _apply(self, chosen: Chosen) -> None:
        outcome = self._applier.apply(chosen.slot, chosen.value, self._writes)
        self._imaging.applied(chosen.slot, size_of(chosen.value))
        if outcome is not None:
            self._owed.add(outcome.origin)
            calls = self._writes.landed(outcome)
            if calls is None:
                self._must_send_again = True
            elif calls:
                self._answers += calls
                waited = self.now() - self._writes.landed_deadline + self._request_seconds
                self.account.batch_seconds.count(waited)
        self._answer_ready()

    def _answer_ready(self) -> None:
        """Read for the groups whose point is reached, before anything later is applied."""
        for group in self._reads.ready(self._applier.slot):
            self._answers.append(partial(group.settle, self._read(group)))

    def _wake(self) -> None:
        if self._turn_call is None:
            self._turn_call = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._turn_call = None
        if self._fault is None:
            try:
                self._send_batches()
                self._ask()
                self._announce(self._owed)
                self._answer_ready()
                self._imaging.consider()
            except Exception as error:
                self._break(error)
        self._fire()
        self._peers.flush()

    def _fire(self) -> None:
        """Tell everyone what happened, now that nothing is changing."""
        calls: list[Call] = [watch.wake for watch in self.store.publish()]
        calls += self._answers
        self._answers = []
        for call in calls:
            try:
                call()
            except Exception:
                self._log.failure("a front end failed to take what it was told")

    def _tick(self) -> None:
        self._tick_call = self._reactor.callLater(TICK_SECONDS, self._tick)
        if self._fault is not None:
            return
        now = self.now()
        self._expire(now)
        late = now - self._sent_at > FORWARD_AGAIN_SECONDS
        if late and self._writes.flights and not self._replica.is_leading:
            self._must_send_again = True
        self._take(self._replica.tick)

    def _expire(self, now: float) -> None:
        self._answers += self._writes.expire(now)
        self._answers += self._reads.expire(now)

    # -- announcements ----------------------------------------------------------------------------
    def _announce(self, to: Collection[str]) -> None:
        """Tell ``to`` at once what was chosen: they wait for it. The rest hear of it soon.

        Most often the next proposal tells it to them on its way; a message of its own would cost
        each of them a turn, and the leader a system call, for nothing.
        """
        if self._replica.untold():
            self._obey(self._replica.announce(self.now(), to))
            if self._announce_call is None and self._replica.untold():
                self._announce_call = self._reactor.callLater(
                    ANNOUNCE_SECONDS, self._announce_to_all
                )
        self._owed.clear()

    def _announce_to_all(self) -> None:
        self._announce_call = None
        self._take(self._replica.announce, self._replica.untold())

    # -- batches -------------------------------------------------------------------------------
    def _send_batches(self) -> None:
        """Hand batches to the leader, be it this node or another; keep them where there is none."""
        if self._replica.is_leading:
            self._lead()
            return
        self._proposals.clear()
        leader = self._replica.leader
        if leader is None or leader not in self._peers.connected():
            self._sent_under = NEVER
            return
        self._must_send_again |= self._replica.ballot != self._sent_under
        self._sent_under = self._replica.ballot
        payloads = self._due()
        if payloads:
            self._forward(leader, payloads)

    def _due(self) -> list[bytes]:
        """Return the batches to be sent now: new ones, after all in flight if need be."""
        again = [flight.payload for flight in self._writes.flights] if self._must_send_again else []
        self._must_send_again = False
        while (flight := self._writes.next_batch()) is not None:
            again.append(flight.payload)
        if again:
            self._sent_at = self.now()
        return again

    def _forward(self, leader: str, payloads: Sequence[bytes]) -> None:
        piece: list[bytes] = []
        size_bytes = 0
        for payload in payloads:
            piece.append(payload)
            size_bytes += len(payload)
            if size_bytes >= MESSAGE_BYTES_SOFT:
                self._peers.send(leader, wire.encode(wire.Forward(tuple(piece))))
                piece, size_bytes = [], 0
        if piece:
            self._peers.send(leader, wire.encode(wire.Forward(tuple(piece))))

    def _forwarded(self, message: wire.Forward) -> None:
        if self._replica.is_leading and len(self._proposals) < PROPOSALS_MAX:
            waiting = self._proposals
            waiting.extend(batch for batch in message.batches if batch not in waiting)
            self._wake()

    def _lead(self) -> None:
        """Propose: the founding write first, then batches of others and of our own."""
        now = self.now()
        room = self._replica.room(now)
        if self._applier.slot == 0:
            # Nothing is proposed beside the founding write: were it lost, and what came after it
            # not, a later leader would fill its slot with nothing.
            if room and self._replica.may_found:
                self._propose([self._genesis()], now)
            return
        if self._replica.ballot != self._sent_under or self._must_send_again:
            self._proposals.extend(flight.payload for flight in self._writes.flights)
            self._sent_under, self._must_send_again = self._replica.ballot, False
            self._sent_at = now
        batches: list[bytes] = []
        while room > len(batches) and self._proposals:
            batches.append(self._proposals.popleft())
        while room > len(batches) and (flight := self._writes.next_batch()) is not None:
            batches.append(flight.payload)
            self._sent_at = now
        self._propose(batches, now)

    def _propose(self, batches: Sequence[bytes], now: float) -> None:
        """Propose batches for which there was room ``now``: a moment later there may be less."""
        if batches:
            time_ms = max(self._time_ms(), self._applier.time_ms)
            values: list[Value] = [stamp(batch, time_ms) for batch in batches]
            self._obey(self._replica.propose(now, values))

    def _genesis(self) -> bytes:
        members = tuple(sorted(self._identity.addresses.items()))
        return encode_batch(Batch(FOUNDER, 0, 0, (Genesis(self._identity.cluster, members),)))

    # -- reads and recalls -----------------------------------------------------------------------
    def _ask(self) -> None:
        number = self._reads.next_question()
        if number is not None:
            self._obey(self._replica.read(self.now(), number))

    def _told_of_gap(self, sender: str, oldest: int) -> None:
        self.account.log_begins_at = oldest
        gap = self.account.gap()
        if gap is not None and sender not in self._complained:
            self._complained.add(sender)
            self._log.error("{gap}; {peer} says so", gap=gap, peer=sender)

    def _recall(self, recall: Recall) -> None:
        """Send old chosen values from the journal to a peer that was away."""
        reading = self._journal.read(recall.slot, recall.until, MESSAGE_BYTES_SOFT)

        def found(values: Sequence[Value]) -> None:
            oldest = 0 if values else self._journal.oldest()
            if oldest > recall.slot and recall.peer not in self._complained:
                self._complained.add(recall.peer)
                self._log.warn(
                    "{peer} asks for slot {slot}, but the log begins at {oldest}",
                    peer=recall.peer,
                    slot=recall.slot,
                    oldest=oldest,
                )
            supply = Supply(recall.slot, tuple(values), oldest)
            self._peers.send(recall.peer, wire.encode(supply))

        reading.addCallback(found)
        reading.addErrback(lambda failure: self._log.failure("cannot read the log", failure))

    # -- what people ask of it ----------------------------------------------------------------
    def step_down(self) -> str | None:
        """Lead no more, so that another node does; return why not, None where it is done."""
        if not self._replica.is_leading:
            return f"{self._replica.node} does not lead; {self._replica.leader or 'nobody'} does"
        if not self._peers.connected().intersection(self._replica.configuration.voters):
            return "no other voter is linked: nobody could lead instead"
        self._take(self._replica.resign)
        return None

    def describe(self) -> str:
        """Return the node in one line."""
        return self.account.describe()
