"""The replicator: one node's loop around the core.

Inputs (frames, saves done, requests, ticks) are taken as they come; each is put to the
replica, and what the replica wants is done at once and in order: send, hand saves to the
disk, apply what was chosen. What concerns others waits for the end of the turn: one batch
of all that was asked, one announcement of all that was chosen, one call to each watcher
that sees a change, all answers, one write to each peer. So nothing that belongs to someone
else runs inside a change of state, and a thousand requests in a turn cost one of each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from coord.errors import Unavailable
from coord.limits import TICK_SECONDS
from coord.paxos.acceptor import size_of
from coord.paxos.effects import Chosen, Effects
from coord.paxos.membership import Configuration
from coord.paxos.messages import Supply
from coord.paxos.replica import Replica
from coord.replicator.account import Account
from coord.replicator.applier import FOUNDER, Applier, Outcome
from coord.replicator.batches import Batches
from coord.replicator.digests import Digests
from coord.replicator.faults import Faults
from coord.replicator.identity import Identity, node_of
from coord.replicator.images import Images
from coord.replicator.imaging import LogMarks
from coord.replicator.interfaces import IJournal, IPeers
from coord.replicator.members import Members
from coord.replicator.queues import Call, Group, Reads, Writes
from coord.replicator.receiving import Adopted
from coord.replicator.saving import Saving
from coord.replicator.sessions import Sessions
from coord.replicator.telling import Announcements, Recalls
from coord.replicator.tracing import Traces
from coord.replicator.tuning import Tuning
from coord.results import Result
from coord.wire import peer as wire


class Replicator:
    """One node: obeys the core, applies the log, answers the coordinator's groups.

    ``now`` is a clock that never stops or steps (seconds), for leases and deadlines;
    ``time_ms`` is the time of day that the leader stamps, which may step as it likes.
    ``report`` keeps a text for a person, under a name, where the node's state is.
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
        settle: Callable[[], None],
        tuning: Tuning,
        report: Callable[[str, str], None],
    ) -> None:
        self._reactor = reactor
        self._identity = identity
        self._replica = replica
        self._applier = applier
        self._journal = journal
        self._peers = peers
        self._settle = settle
        self.now = now
        began_at = now()
        self._request_seconds = tuning.request_seconds
        self.store = applier.store
        self.saving = Saving(now)
        self._writes = Writes(identity.origin, identity.incarnation)
        self._reads = Reads(identity.incarnation << 32)
        self._answers: list[Call] = []
        self._turn_call: IDelayedCall | None = None
        self._tick_call: IDelayedCall | None = None
        self.traces = Traces(identity.node, lambda: now() - began_at)
        self.digests = Digests(
            replica=replica, applier=applier, peers=peers, traces=self.traces, now=now
        )
        self.faults = self._make_faults(report)
        self._guard = self.faults.guard
        self._is_replaying = False
        self.images = self._make_images(log_marks, tuning)
        self.sessions = self._make_sessions(tuning.request_seconds)
        self.members = self._make_members(tuning.request_seconds)
        self.account = self._make_account(began_at)
        self._batches = self._make_batches(time_ms)
        self._announcements = Announcements(
            reactor, replica, now=now, obey=self._obey, tell_all=self._tell_all
        )
        self._recalls = Recalls(journal, peers, self.account)
        journal.observe(self)
        peers.observe(self)

    def _make_faults(self, report: Callable[[str, str], None]) -> Faults:
        return Faults(
            self._identity,
            report=report,
            testimony=self.digests.testimony,
            leave=self._leave,
        )

    def _make_sessions(self, request_seconds: float) -> Sessions:
        return Sessions(
            store=self.store,
            replica=self._replica,
            peers=self._peers,
            traces=self.traces,
            now=self.now,
            read=self.read,
            wake=self._wake,
            serves=self._serves,
            request_seconds=request_seconds,
        )

    def _make_members(self, request_seconds: float) -> Members:
        return Members(
            identity=self._identity,
            replica=self._replica,
            applier=self._applier,
            peers=self._peers,
            faults=self.faults,
            traces=self.traces,
            now=self.now,
            obey=self._obey,
            wake=self._wake,
            request_seconds=request_seconds,
        )

    def _make_batches(self, time_ms: Callable[[], int]) -> Batches:
        return Batches(
            self._identity,
            self._replica,
            self._applier,
            self._writes,
            self._peers,
            now=self.now,
            time_ms=time_ms,
            obey=self._obey,
        )

    def _make_account(self, began_at: float) -> Account:
        return Account(
            identity=self._identity,
            replica=self._replica,
            applier=self._applier,
            writes=self._writes,
            reads=self._reads,
            images=self.images,
            sessions=self.sessions,
            digests=self.digests,
            saving=self.saving,
            admission=self.members.admission,
            peers=self._peers,
            now=self.now,
            fault=lambda: self.faults.reason,
            began_at=began_at,
        )

    def _make_images(self, log_marks: LogMarks, tuning: Tuning) -> Images:
        return Images(
            self._reactor,
            self._replica,
            self._applier,
            self._journal,
            self._peers,
            log_marks,
            first_number=self._identity.incarnation << 32,
            every_bytes=tuning.image_every_bytes,
            kept_bytes=tuning.log_bytes_kept,
            history_revisions=tuning.history_revisions,
            now=self.now,
            guard=self._guard,
            adopt=self._adopt,
        )

    def _serves(self) -> bool:
        return self.account.serves()

    # -- life -----------------------------------------------------------------------------
    def start(self) -> None:
        """Apply what the journal knows to be chosen, then take part."""
        self.digests.start()
        self._guard(self._look_back)
        self._is_replaying = True
        self._obey(self._replica.start(self.now()))
        self._is_replaying = False
        self._guard(self.members.start)
        self.sessions.start()
        self._tick()

    def _look_back(self) -> None:
        """See that the image holds nothing of this node that is yet to come."""
        self._writes.passed_over(self._applier.origins.last(self._identity.origin))

    def stop(self) -> None:
        """Take part no more; what waits is answered ``UNAVAILABLE`` or ``UNKNOWN``."""
        self.faults.withdraw("stopped")
        for call in (self._turn_call, self._tick_call):
            if call is not None and call.active():
                call.cancel()
        self._turn_call = self._tick_call = None
        self._announcements.stop()
        self._fire()

    # -- the coordinator's side --------------------------------------------------------------
    def write(self, group: Group) -> None:
        """Queue a group that writes."""
        error = self.faults.refusal() or self._writes.add(group)
        if error is not None:
            group.refuse(error)
        else:
            self._wake()

    def read(self, group: Group) -> None:
        """Answer a group of linearizable reads, at once where that is possible."""
        refusal = self.faults.refusal()
        if refusal is not None:
            group.refuse(refusal)
        elif self._replica.can_read(self.now()) and self._applier.slot == self._replica.chosen:
            self.answer(group)
        else:
            error = self._reads.add(group)
            if error is not None:
                group.refuse(error)
            self._wake()

    def answer(self, group: Group) -> None:
        """Answer a group of reads from the store as it stands, unless that cannot be trusted."""
        try:
            self.trust()
        except Unavailable as refusal:
            group.refuse(refusal)
        else:
            group.settle(self._read(group))

    def trust(self) -> None:
        """Raise `Unavailable` where the store as it stands is not to be believed."""
        self.faults.trust()

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
            if self._batches.forwarded(message):
                self._wake()
        elif isinstance(message, wire.Renew | wire.Renewed):
            self._guard(self.sessions.received, sender, message)
        elif isinstance(message, wire.Digests):
            self._guard(self.digests.received, sender, message)
        elif isinstance(message, wire.MembersMessage):
            self._guard(self.members.received, sender, message)
        elif isinstance(message, wire.ImageMessage):
            self._guard(self.images.received, sender, message)
        else:
            if isinstance(message, Supply) and message.oldest:
                self._recalls.told_of_gap(sender, message.oldest)
            self._take(self._replica.step, sender, message)

    def connected(self, peer: str) -> None:
        """Take note of a link; what was sent before may be lost, so send it again."""
        self.traces.note(f"linked with {peer}")
        self._batches.linked(peer)
        self.sessions.linked(peer)
        self.members.linked(peer)
        self._guard(self.digests.linked, peer)
        self._guard(self.images.receiving.connected, peer)
        card = self._peers.cards().get(peer)
        self._take(self._replica.connected, peer, card.slot if card else 0)

    def disconnected(self, peer: str) -> None:
        """Take note that a link is gone."""
        self.traces.note(f"no link with {peer}")
        self._take(self._replica.disconnected, peer)

    def saved(self, ticket: int) -> None:
        """Take note that saves are on the disk."""
        self.saving.saved(ticket)
        self._take(self._replica.saved, ticket)

    def failed(self, error: Exception) -> None:
        """Stop acknowledging: the disk has failed, and what it holds is not known any more."""
        self._log.critical("the journal failed, this node stops serving: {error}", error=error)
        self.saving.failed()
        self.faults.of_disk(error)

    # -- the loop -----------------------------------------------------------------------------
    def _take(self, enter: Callable[..., Effects], *what: object) -> None:
        """Put one input to the core and do what it wants; end the turn if that concerns others."""
        self._guard(self._step, enter, *what)

    def _step(self, enter: Callable[..., Effects], *what: object) -> None:
        effects = enter(self.now(), *what)
        self._obey(effects)
        if effects.send or effects.chosen or effects.readable or self._has_work():
            self._wake()

    def _leave(self, refusal: Unavailable) -> None:
        """Take part no more, and answer what waits."""
        self.images.stop()
        self.digests.stop()
        self.sessions.stop()
        self.members.stop()
        self.store.end_watches(refusal)
        self._expire(float("inf"))
        self._wake()

    def _has_work(self) -> bool:
        """Say whether something is to be told, or may be sent that could not be before."""
        return bool(self._answers) or self._reads.has_waiting or self._batches.has_work

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
            self.saving.handed(effects.save.ticket)
            self._journal.save(effects.save)
        for chosen in effects.chosen:
            self._apply(chosen)
        for readable in effects.readable:
            self._reads.found(readable.number, readable.slot)
        for recall in effects.recall:
            self._recalls.send(recall)

    def _apply(self, chosen: Chosen) -> None:
        outcome = self._applier.apply(chosen.slot, chosen.value, self._writes)
        if isinstance(chosen.value, Configuration):
            self.members.admission.learnt(chosen.value)
        self.images.imaging.applied(chosen.slot, size_of(chosen.value))
        self.digests.applied(chosen.slot)
        if outcome is not None:
            self._landed(outcome)
        if self._is_replaying:
            self.store.news()  # old by now: nobody is told, and a log has more than fits in memory
        self._answer_ready()

    def _landed(self, outcome: Outcome) -> None:
        """Answer a batch of this node's own; take note of whose it is, and whether it was lost."""
        if outcome.origin == FOUNDER:
            self.sessions.applied(outcome.commands)
            return
        self._announcements.owe(node_of(outcome.origin))
        calls = self._writes.landed(outcome)
        if calls is None:
            self._batches.overtaken()
        elif calls:
            self._answers += calls
            waited = self.now() - self._writes.landed_deadline + self._request_seconds
            self.account.batch_seconds.count(waited)

    def _adopt(self, image: Adopted) -> None:
        """Go on from an image of another node that is in the journal, in one step."""
        there = image.applier
        self._answers += self._writes.passed_over(there.origins.last(self._identity.origin))
        self.sessions.before_image()
        self._applier.adopt(there)
        effects = self._replica.skip(self.now(), there.slot, image.governs, image.peer)
        self.images.adopted(there.slot, image.size_bytes)
        self.digests.stop()
        self.digests.applied(there.slot)
        self.sessions.after_image()
        self._batches.overtaken()
        self._log.info("goes on after slot {slot}, from an image", slot=there.slot)
        self._obey(effects)
        self._answer_ready()
        self._wake()
        self._reactor.callLater(0, self._settle)

    def _answer_ready(self) -> None:
        """Read for the groups whose point is reached, before anything later is applied."""
        for group in self._reads.ready(self._applier.slot):
            self._answers.append(partial(group.settle, self._read(group)))

    def _wake(self) -> None:
        if self._turn_call is None:
            self._turn_call = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._turn_call = None
        self._guard(self._end_turn)
        self._fire()
        self._peers.flush()

    def _end_turn(self) -> None:
        """Do once what concerns others, however much came in."""
        self._batches.send()
        self.members.turn()
        self.sessions.turn()
        self._ask()
        self._announcements.send()
        self._answer_ready()
        self.images.imaging.consider()

    def _fire(self) -> None:
        """Tell everyone what happened, now that nothing is changing."""
        calls: list[Call] = [watch.wake for watch in self.store.publish()]
        calls += self.sessions.fates()
        calls += self._answers
        calls += self.members.calls()
        calls += self.sessions.troubles()
        self._answers = []
        for call in calls:
            try:
                call()
            except Exception:
                self._log.failure("a front end failed to take what it was told")
        self.sessions.fired()

    def _tick(self) -> None:
        self._tick_call = self._reactor.callLater(TICK_SECONDS, self._tick)
        if self.faults.reason is not None:
            return
        now = self.now()
        self._expire(now)
        self._batches.tick(now)
        self._guard(self._watch_time, now)
        self._guard(self.images.tick, now)
        self._watch_disk()
        self._take(self._replica.tick)

    def _watch_disk(self) -> None:
        """Let another node lead where this one's disk hangs, if the others can do without it."""
        self.saving.tick()
        if (
            self.saving.is_hung
            and self._replica.is_leading
            and self._replica.configuration.is_quorum(self._peers.connected())
        ):
            self._log.warn("leads no more: its disk is {how}", how=self.saving.describe())
            self._take(self._replica.resign)

    def _watch_time(self, now: float) -> None:
        """See to digests and sessions, and propose the end of what has lapsed."""
        self.digests.tick(now)
        self.sessions.tick(now)
        self.members.tick(now)
        lapse = self.sessions.lapses.next(now, may_propose=self._batches.may_lapse(now))
        if lapse is not None:
            self._batches.lapse(lapse, now)
            self._wake()

    def _tell_all(self) -> None:
        self._take(self._replica.announce, self._replica.untold())

    def _expire(self, now: float) -> None:
        self._answers += self._writes.expire(now)
        self._answers += self._reads.expire(now)

    def _ask(self) -> None:
        number = self._reads.next_question()
        if number is not None:
            self._obey(self._replica.read(self.now(), number))

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
