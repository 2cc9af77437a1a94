"""All that a node does about who the members are.

`coord.replicator.admission` says with whom there are links, `coord.replicator.asking` has
changes made that clients of this node want, and `coord.replicator.reconfiguring` makes them where
this node leads. Who is added learns; who is close gets its vote; who is removed is let go once the
configuration without it governs. All of them look at what the log has told, and at who is linked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coord.commands import CLUSTER, Caller, ChangeMembers, Deed
from coord.paxos.effects import Effects
from coord.paxos.replica import Replica
from coord.replicator.admission import Admission
from coord.replicator.applier import Applier
from coord.replicator.asking import Answer, Asking, Call
from coord.replicator.faults import Faults
from coord.replicator.identity import Identity
from coord.replicator.interfaces import Card, IPeers
from coord.replicator.reconfiguring import Reconfiguring
from coord.replicator.tracing import Traces
from coord.wire import peer as wire
from coord.wire.peer import MembersAnswer, MembersWanted

KNOCK_SECONDS: Final = 2.0
"""An observer that is no member yet is proposed at most this often."""
_KNOCKS_MAX: Final = 256


class Members:
    """Brings `Admission`, `Asking` and `Reconfiguring` together.

    :param wake: has the loop end its turn soon.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        replica: Replica,
        applier: Applier,
        peers: IPeers,
        faults: Faults,
        traces: Traces,
        now: Callable[[], float],
        obey: Callable[[Effects], None],
        wake: Callable[[], None],
        request_seconds: float,
    ) -> None:
        self._node = identity.node
        self._replica = replica
        self._peers = peers
        self._faults = faults
        self._traces = traces
        self._now = now
        self._obey = obey
        self._wake = wake
        self._knocked_at: dict[str, float] = {}
        self.admission = Admission(identity, replica, peers, faults, knocked=self._knocked)
        self._reconfiguring = self._make_reconfiguring(identity, applier)
        self._asking = self._make_asking(identity, applier, request_seconds)
        peers.admit_by(self.admission)

    def _make_reconfiguring(self, identity: Identity, applier: Applier) -> Reconfiguring:
        return Reconfiguring(
            identity,
            self._replica,
            applier,
            self._peers,
            self.admission,
            now=self._now,
            obey=self._do,
            answer=self._answer,
        )

    def _make_asking(self, identity: Identity, applier: Applier, request_seconds: float) -> Asking:
        return Asking(
            self._replica,
            self._peers,
            applier.store,
            first_number=identity.incarnation << 32,
            request_seconds=request_seconds,
            now=self._now,
            refusal=self._faults.refusal,
            lead=self._reconfiguring.wanted,
            send=self._send,
        )

    # -- the loop's side -----------------------------------------------------------------------
    def start(self) -> None:
        """Say with whom there are to be links, before there are any."""
        self.admission.look()

    def change(self, change: ChangeMembers, answer: Answer, caller: Caller) -> None:
        """Change who the members are; see `coord.replicator.interfaces.ICoordinator`."""
        self._asking.change(change, answer, caller)
        self._wake()

    def received(self, sender: str, message: wire.MembersMessage) -> None:
        """Take a message of a node that was asked, or of the leader."""
        if isinstance(message, MembersWanted):
            self._reconfiguring.wanted(sender, message)
        else:
            self._asking.received(message)
        self._wake()

    def linked(self, peer: str) -> None:
        """Take note of a new link."""
        self.admission.linked(peer)
        self._asking.linked(peer)

    def turn(self) -> None:
        """Do what can be done now, and no sooner than what was learnt allows it."""
        self._asking.turn()  # before this node may find itself removed
        if self.admission.is_late:
            self.admission.look()
        self._reconfiguring.turn()

    def tick(self, now: float) -> None:
        """Let time pass."""
        self._asking.tick(now)
        if self.admission.is_late:
            self.admission.look()
        self._reconfiguring.tick()
        if self._asking.has_calls:
            self._wake()

    def stop(self) -> None:
        """Answer those who wait, as far as is known."""
        self._asking.stop()

    def calls(self) -> list[Call]:
        """Take the calls that answer."""
        return self._asking.calls()

    # -- within ----------------------------------------------------------------------------------
    def _do(self, effects: Effects) -> None:
        self._obey(effects)
        self._wake()

    def _knocked(self, card: Card) -> None:
        """Have an observer added that knows nothing yet, and is known by nobody."""
        now = self._now()
        if card.reach or now < self._knocked_at.get(card.node, 0.0):
            return
        if len(self._knocked_at) >= _KNOCKS_MAX:
            self._knocked_at.clear()
        self._knocked_at[card.node] = now + KNOCK_SECONDS
        wanted = ChangeMembers(Deed.ADD, card.node, card.address, is_observer=True)
        self.change(wanted, _nobody_waits, CLUSTER)

    def _answer(self, to: str, message: MembersAnswer) -> None:
        if to == self._node:
            self._asking.received(message)
            self._wake()
        else:
            self._send(to, message)

    def _send(self, to: str, message: wire.MembersMessage) -> None:
        if self._traces.is_on:
            self._traces.sent(to, message)
        self._peers.send(to, wire.encode(message))


def _nobody_waits(result: object) -> None:
    """Do nothing: what becomes of it is seen when the node knocks again."""
