"""The leader's part in changing who the members are: what is asked, checked, and proposed.

A configuration is proposed only when the one before it governs already and a majority of its
voters knows all that went before; so one change waits for another. Three things make a leader
propose one:

* somebody asked: a node is added (it learns), removed, promoted (it votes) or replaced;
* a learner that is to vote is close: it has learnt nearly all, so its vote will not be waited for;
* a member's disk is not known to the configuration yet: it is bound to the one that it has.

What would leave fewer voters up than a majority is not done, unless it was forced; that much the
leader sees by its links, and by who answers its beats there. While a voter is linked that runs
the release before, which cannot read what configurations say now, nothing is proposed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from coord.commands import ChangeMembers, Deed
from coord.errors import BadRequest, CoordError, Overloaded, Unavailable
from coord.limits import ALPHA
from coord.names import valid_address
from coord.paxos import plans
from coord.paxos.ballot import NEVER
from coord.paxos.effects import Effects
from coord.paxos.membership import Configuration
from coord.paxos.replica import Replica
from coord.replicator.admission import Admission
from coord.replicator.applier import Applier
from coord.replicator.asking import is_as_wanted
from coord.replicator.identity import Identity
from coord.replicator.interfaces import IPeers
from coord.wire.peer import CARDS_SINCE, MembersAnswer, MembersWanted

BIND_SECONDS: Final = 5.0
"""How long a new leader waits for all voters, to bind them in one go."""
WANTED_MAX: Final = 64
"""Changes of other nodes' clients that may wait here for the one before them."""


def changed(change: ChangeMembers, before: Configuration) -> Configuration:
    """Return what a change makes of a configuration, whoever is up; see `coord.paxos.plans`.

    :raises CoordError: where the names do not fit what there is.
    """
    match change.deed:
        case Deed.ADD:
            is_observer = change.is_observer
            return plans.added(before, change.node, change.address, is_observer=is_observer)
        case Deed.REMOVE:
            return plans.removed(before, change.node)
        case Deed.PROMOTE:
            return plans.promoted(before, change.node)
        case Deed.REPLACE:
            return plans.replaced(before, change.node, change.successor, change.address)


class Reconfiguring:
    """What one node does about the members while it leads.

    :param obey: does what the core wants.
    :param answer: tells the node that was asked why a change is not made, or the plan.
    """

    def __init__(
        self,
        identity: Identity,
        replica: Replica,
        applier: Applier,
        peers: IPeers,
        admission: Admission,
        *,
        now: Callable[[], float],
        obey: Callable[[Effects], None],
        answer: Callable[[str, MembersAnswer], None],
    ) -> None:
        self._identity = identity
        self._replica = replica
        self._applier = applier
        self._peers = peers
        self._admission = admission
        self._now = now
        self._obey = obey
        self._answer = answer
        self._wanted: OrderedDict[tuple[str, int], MembersWanted] = OrderedDict()
        self._ballot = NEVER
        self._led_at = 0.0
        self._spoken: dict[str, int] = {}

    # -- the loop's side -----------------------------------------------------------------------
    def wanted(self, sender: str, message: MembersWanted) -> None:
        """Take what a node asks of the leader; where another leads it will ask that one."""
        key = (sender, message.number)
        if not self._replica.is_leading or key in self._wanted:
            return
        if len(self._wanted) < WANTED_MAX:
            self._wanted[key] = message
        else:
            self._refuse(sender, message, Overloaded("too many changes of the members wait"))

    def turn(self) -> None:
        """See to what was asked, as far as that is possible now."""
        if not self._replica.is_leading:
            self._wanted.clear()
            return
        for key in [key for key, message in self._wanted.items() if message.change.plan]:
            self._plan(key[0], self._wanted.pop(key))
        for key, message in list(self._wanted.items()):
            if not self._may_propose():
                break
            self._take(key, message)

    def tick(self) -> None:
        """Bind disks, and give votes to learners that are close."""
        replica = self._replica
        self._spoken.update({peer: one.protocol for peer, one in self._peers.cards().items()})
        if not replica.is_leading:
            return
        if replica.ballot != self._ballot:
            self._ballot, self._led_at = replica.ballot, self._now()
        self.turn()
        if self._may_propose() and not self._older():
            after = self._binding() or self._address() or self._promotion()
            if after is not None:
                self._propose(after)

    # -- what was asked --------------------------------------------------------------------------
    def _take(self, key: tuple[str, int], message: MembersWanted) -> None:
        """Propose what was asked, or say why not, or that it is done."""
        (sender, number), change, before = key, message.change, self.described()
        if message.again and is_as_wanted(change, before, message.disk):
            del self._wanted[key]
            self._answer(sender, MembersAnswer(number))
            return
        try:
            after = self._checked(change, before)
        except CoordError as refusal:
            del self._wanted[key]
            self._refuse(sender, message, refusal)
        else:
            self._wanted[key] = msgspec.structs.replace(message, again=True)
            self._propose(after)

    def _checked(self, change: ChangeMembers, before: Configuration) -> Configuration:
        """Return the configuration that was asked for; raises `CoordError` where it cannot be."""
        older = self._older()
        if older is not None:
            raise Unavailable(f"not done: {older} runs an older release; upgrade it first")
        older = self._older(but_down=True)
        if older is not None and not change.force:
            raise Unavailable(
                f"not done: {older} is down, and ran an older release when it was last heard of;"
                " upgrade it first, or say force where it never comes back"
            )
        after = self._changed(change, before)
        if not change.force:
            plans.refuse_unless_it_stands(after, self._up())
        return after

    def _changed(self, change: ChangeMembers, before: Configuration) -> Configuration:
        """Return what a change makes of a configuration; raises `CoordError` where it cannot be."""
        if change.deed in (Deed.ADD, Deed.REPLACE) and not valid_address(self._own_address()):
            raise BadRequest(
                f"other nodes cannot reach {self._identity.node}: start it with --peer-listen and"
                " its certificates first (coord init makes them)"
            )
        after = changed(change, before)
        if change.deed is Deed.PROMOTE:
            self._check_close(change.node, before)
        return after

    def _check_close(self, node: str, before: Configuration) -> None:
        member = before.member(node)
        if node not in self._up():
            raise BadRequest(f"{node} is not up: its vote would be missed from the first moment on")
        if not self._is_close(node):
            behind = self._replica.chosen - self._replica.progress.get(node, 0)
            raise BadRequest(f"{node} is {behind} slots behind: promote it once it is close")
        if member is None or not member.disk:
            raise BadRequest(f"it is not known yet on which disk {node} is: try again in a moment")

    def _plan(self, sender: str, message: MembersWanted) -> None:
        """Tell what would become of a change."""
        before, up = self.described(), self._up()
        try:
            after = self._changed(message.change, before)
        except CoordError as refusal:
            self._refuse(sender, message, refusal)
            return
        rows = plans.plan(before, after, up)
        if not plans.Outlook(after, up).has_quorum:
            rows += ("that would lose the quorum: it is refused, unless forced",)
        self._answer(sender, MembersAnswer(message.number, rows=rows))

    def _refuse(self, sender: str, message: MembersWanted, error: CoordError) -> None:
        self._answer(sender, MembersAnswer(message.number, error.code, error.text))

    # -- of its own accord -------------------------------------------------------------------------
    def _binding(self) -> Configuration | None:
        """Return a configuration that says on which disks members are, if more are known now."""
        before, disks = self.described(), self._disks()
        if all(one.disk or one.node not in disks for one in before.members):
            return None
        is_first = not self._replica.configuration.members
        is_early = self._now() - self._led_at < BIND_SECONDS
        if is_first and is_early and not disks.keys() >= set(before.voters):
            return None
        return plans.bound(before, disks, {})

    def _address(self) -> Configuration | None:
        """Return a configuration that says where this node is, which was alone until now."""
        before, address = self._replica.configuration, self._own_address()
        own = before.member(self._identity.node)
        if own is None or valid_address(own.address) or not valid_address(address):
            return None
        return plans.reached(before, own.node, address)

    def _promotion(self) -> Configuration | None:
        """Return a configuration in which a learner votes that wanted to, and may by now."""
        before = self._replica.configuration
        for one in plans.waiting(before):
            if one.disk and one.node in self._up() and self._is_close(one.node):
                after = plans.promoted(before, one.node)
                if plans.Outlook(after, self._up()).has_quorum:
                    return after
        return None

    # -- what is known -----------------------------------------------------------------------------
    def described(self) -> Configuration:
        """Return the latest configuration, with the addresses of all its nodes."""
        latest = self._replica.configuration
        if latest.members:
            return latest
        return plans.described(latest, self._admission.addresses(latest))

    def _disks(self) -> Mapping[str, str]:
        """Return the disks of those who are linked, and this node's own.

        A link outlives a machine by some seconds. So who was admitted just now, perhaps anew, has
        to answer first that it knows so: else it would be bound to the disk that it has lost.
        """
        replica = self._replica
        knowing = [node for node, slot in replica.progress.items() if slot + 1 >= replica.knowledge]
        disks = {
            peer: card.disk
            for peer, card in self._peers.cards().items()
            if card.disk and (peer in replica.configuration.voters or peer in knowing)
        }
        if self._identity.disk:
            disks[self._identity.node] = self._identity.disk
        return disks

    def _own_address(self) -> str:
        return self._identity.addresses.get(self._identity.node, "")

    def _up(self) -> frozenset[str]:
        """Return who is linked and answers, too, with this node."""
        replica = self._replica
        return (self._peers.connected() & replica.listening) | {self._identity.node}

    def _is_close(self, node: str) -> bool:
        """Say whether a node has learnt so much that its vote would be there when it is wanted."""
        return self._replica.progress.get(node, 0) + ALPHA >= self._replica.chosen

    def _older(self, *, but_down: bool = False) -> str | None:
        """Return a voter that is linked and cannot read what configurations say now.

        :param but_down: one that is not linked, but could not when it was.
        """
        linked = self._peers.cards()
        for voter in self._replica.configuration.voters:
            known = self._spoken.get(voter) if but_down else None
            protocol = linked[voter].protocol if voter in linked else known
            if protocol is not None and protocol < CARDS_SINCE:
                return voter
        return None

    def _may_propose(self) -> bool:
        """Say whether this node leads a founded cluster whose latest configuration holds."""
        replica = self._replica
        is_founded = replica.is_leading and self._applier.slot > 0 and not replica.may_found
        return is_founded and replica.room(self._now()) > 0 and self._holds()

    def _holds(self) -> bool:
        """Say whether the latest configuration governs, and can do without who is none of it.

        What was chosen before it may have been chosen by the votes of those who leave, and be known
        to nobody else yet. So a majority of its own voters has to have all that on its disks.
        """
        replica = self._replica
        if replica.is_changing:
            return False
        last = replica.knowledge - 1
        knowing = [node for node, slot in replica.progress.items() if slot >= last]
        return replica.is_settled and replica.configuration.is_quorum((*knowing, replica.node))

    def _propose(self, after: Configuration) -> None:
        founding = self._replica.configuration.founding or self._identity.disk
        of_history = msgspec.structs.replace(after, founding=founding)
        self._obey(self._replica.reconfigure(self._now(), of_history))
