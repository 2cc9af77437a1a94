"""Batches on their way to a slot: proposed where this node leads, else handed to who does.

A batch that was sent is kept in `coord.replicator.queues.Writes` until it is seen applied, and
sent again when another leads, when the link is new, or when it was passed over because one
before it was lost. What the leader says of its own accord (the founding write, the end of what
has lapsed) takes part in none of that: it goes into a slot under its ballot, or nowhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from coord.commands import Genesis, Lapse
from coord.limits import MESSAGE_BYTES_SOFT
from coord.paxos.ballot import NEVER
from coord.paxos.durable import Value
from coord.paxos.effects import Effects
from coord.paxos.replica import Replica
from coord.replicator.applier import FOUNDER, Applier
from coord.replicator.identity import Identity
from coord.replicator.interfaces import IPeers
from coord.replicator.queues import Writes
from coord.wire import peer as wire
from coord.wire.values import Batch, encode_batch, stamp

FORWARD_AGAIN_SECONDS: Final = 0.6
"""Batches handed to a leader and not applied for so long are handed to it again."""
PROPOSALS_MAX: Final = 256
"""Batches of other nodes that wait for a slot; past it they are dropped, and come again. Each
waits once, however often it came, so there are no more than the nodes have in flight."""


class Batches:
    """Sends what `coord.replicator.queues.Writes` holds, and proposes what others send."""

    def __init__(
        self,
        identity: Identity,
        replica: Replica,
        applier: Applier,
        writes: Writes,
        peers: IPeers,
        *,
        now: Callable[[], float],
        time_ms: Callable[[], int],
        obey: Callable[[Effects], None],
    ) -> None:
        self._identity = identity
        self._replica = replica
        self._applier = applier
        self._writes = writes
        self._peers = peers
        self._now = now
        self._time_ms = time_ms
        self._obey = obey
        self._proposals: deque[bytes] = deque()
        self._sent_under = NEVER
        self._sent_at = now()
        self._must_send_again = False

    @property
    def has_work(self) -> bool:
        """Whether something may be sent that could not be before."""
        return (
            self._writes.has_queued
            or bool(self._proposals)
            or self._must_send_again
            or self._replica.ballot != self._sent_under
        )

    def linked(self, peer: str) -> None:
        """Take note of a new link: what was sent to a leader before may be lost."""
        self._must_send_again |= peer == self._replica.leader

    def overtaken(self) -> None:
        """Take note that a batch was passed over: one before it was lost."""
        self._must_send_again = True

    def tick(self, now: float) -> None:
        """Have what was handed to a leader too long ago handed to it again."""
        late = now - self._sent_at > FORWARD_AGAIN_SECONDS
        if late and self._writes.flights and not self._replica.is_leading:
            self._must_send_again = True

    def forwarded(self, message: wire.Forward) -> bool:
        """Take batches of another node; says whether there is anything to do about them."""
        if not self._replica.is_leading or len(self._proposals) >= PROPOSALS_MAX:
            return False
        waiting = self._proposals
        waiting.extend(batch for batch in message.batches if batch not in waiting)
        return True

    def send(self) -> None:
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
            self._sent_at = self._now()
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

    def _lead(self) -> None:
        """Propose: the founding write first, then batches of others and of our own."""
        now = self._now()
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

    # -- the leader's own word ------------------------------------------------------------------
    def may_lapse(self, now: float) -> bool:
        """Say whether this node leads a founded cluster, hears a majority, and has a slot free."""
        return self._applier.slot > 0 and self._replica.room(now) > 0

    def lapse(self, lapse: Lapse, now: float) -> None:
        """Propose what has lapsed, under this node's own ballot."""
        self._propose([encode_batch(Batch(FOUNDER, 0, 0, (lapse,)))], now)
