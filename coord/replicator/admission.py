"""Which nodes this one has links with, by what it knows of the cluster's configurations.

A name and a certificate do not make a node one of us: its directory may have been emptied, or
set back to an old copy, and then it has forgotten what it promised and voted. So each configuration
says which disk each member is on, all nodes keep what they heard of the others' promises and votes
(`coord.paxos.witness`), and a node says on its `Card` what it knows of itself. Who is behind is
careful: of a node that knows a later configuration it believes what it has not learnt yet.

A node that is refused does not always take that for the truth:

* told that it is set back it stops at once, unless it knows all that was heard of it: one vote too
  many would do the harm; so it does when told that it was emptied and has founded a second cluster
  with others: each write that it takes is one more that is lost;
* told that it is no member, or that another disk was admitted in its place, it stops for good if it
  ever was a member on this disk: it was removed. But only when a majority of the voters says so
  that know no less than itself: what was chosen last may have been chosen by its own vote, and
  until then it may be the only one left that knows it, so it stays to be asked;
* else it was not admitted yet, or its disk was emptied. It has nothing to lose, so it waits, asks
  again, and says in its status what an operator has to do. Nor does it found a cluster meanwhile,
  with others whose disks were emptied, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from twisted.logger import Logger

from coord.paxos.ballot import NEVER
from coord.paxos.membership import Configuration
from coord.paxos.replica import Replica
from coord.replicator.faults import Faults
from coord.replicator.identity import Identity
from coord.replicator.interfaces import Card, IPeers, Unfit, Why
from coord.wire.peer import CARDS_SINCE

REMOVED: Final = "removed.txt"
"""The text that a removed node leaves in its directory; a node does not start beside it."""

_REMOVED_TEXT: Final = """{why}

This node votes no more, serves no more, and does not start again on this directory: what it holds
is older than what the cluster has. To have it as a member again, empty the directory, start it with
--join, and have an admin say, on a node of the cluster,

    MEMBER add {node} {address}
"""


class Admission:
    """Judges nodes, and takes note of how this one is judged; provides `IAdmission`.

    :param knocked: an observer that is no member yet wants to be one.
    """

    _log = Logger()

    def __init__(
        self,
        identity: Identity,
        replica: Replica,
        peers: IPeers,
        faults: Faults,
        *,
        knocked: Callable[[Card], None],
    ) -> None:
        self._identity = identity
        self._replica = replica
        self._peers = peers
        self._faults = faults
        self._knocked = knocked
        self._refusals: dict[str, str] = {}
        self._was_member = self._is_gone = False
        self._disowners: dict[str, int] = {}
        self._governs = replica.governs
        self._addresses: dict[str, str] = {}

    # -- asked by the links --------------------------------------------------------------------
    def card(self) -> Card:
        """Return what this node says of itself now."""
        identity, replica = self._identity, self._replica
        return Card(
            node=identity.node,
            incarnation=identity.incarnation,
            disk=identity.disk,
            address=identity.addresses.get(identity.node, ""),
            promised=replica.promised,
            reach=replica.reach,
            slot=replica.knowledge,
            is_observer=identity.is_observer,
            founding=replica.configuration.founding,
        )

    def judge(self, card: Card) -> Unfit | None:
        """Return why a node gets no link, None where it gets one."""
        unfit = self._strayed(card) or self._misplaced(card) or self._set_back(card)
        if unfit is not None and unfit.why is Why.STRANGER and card.is_observer and card.address:
            self._knocked(card)
        return unfit

    def disowned(self, peer: str, unfit: Unfit) -> None:
        """Take note that ``peer`` refuses a link with this node, and why."""
        if self._faults.reason is not None:
            return
        self._refusals[peer] = unfit.text
        if unfit.why is Why.OTHER_HISTORY or (
            unfit.why is Why.SET_BACK and self._still_knows(unfit)
        ):
            return
        if unfit.why in (Why.SET_BACK, Why.FOUNDED_ANEW):
            self._log.critical("{peer} says: {text}", peer=peer, text=unfit.text)
            self._faults.withdraw(f"{unfit.text} ({peer} says so)")
        else:
            self._disowners[peer] = unfit.slot
            self._replica.told(max(self._disowners.values()))
            self._believe(unfit)

    # -- asked by the loop ---------------------------------------------------------------------
    def waits(self) -> str | None:
        """Return in one line that this node is not admitted, and what to do; None where it is."""
        if self._is_gone:
            return "removed: it stays until a majority of the others has all that it has"
        # A link with one who is as far behind, or was removed, too, is of no use.
        knows_less = max(self._disowners.values(), default=0) > self._replica.knowledge
        if not self._refusals or (self._peers.connected() and not knows_less):
            return None
        peer, text = next(iter(sorted(self._refusals.items())))
        return f"not admitted: {text} ({peer} says so)"

    def linked(self, peer: str) -> None:
        """Take note of a link: who refused this node before does so no more."""
        self._refusals.pop(peer, None)
        self._disowners.pop(peer, None)
        self._replica.told(max(self._disowners.values(), default=0))

    def look(self) -> None:
        """Act on the configurations as they are now known: links, and this node's own place.

        But not before all is on the disk that led to them: who is told here to be no member any
        more is not there when this node needs to be told again.
        """
        governs = self._replica.governs
        if not self._replica.is_settled:
            return
        self._governs, governing = governs, tuple(one.configuration for one in governs)
        self._was_member |= any(self._is_own(one) for one in governing)
        for peer, card in self._peers.cards().items():
            unfit = self._strayed(card) or self._misplaced(card)
            if unfit is not None:
                self._peers.part(peer, unfit)
        is_named = any(self._identity.node in one.nodes for one in governing)
        self._is_gone = self._was_member and not is_named
        self._move(governing)

    def learnt(self, configuration: Configuration) -> None:
        """Take note of a configuration that was chosen at some time."""
        self._was_member |= self._is_own(configuration)

    @property
    def is_late(self) -> bool:
        """Whether there is more known than was acted on."""
        return self._governs is not self._replica.governs

    def addresses(self, configuration: Configuration) -> dict[str, str]:
        """Return where the nodes of a configuration are, as it says; else as this one was told."""
        told = self._identity.addresses
        members = {one.node: one.address for one in configuration.members}
        return {node: members.get(node) or told.get(node, "") for node in configuration.nodes}

    # -- within ----------------------------------------------------------------------------------
    def _move(self, governing: Iterable[Configuration]) -> None:
        """Have links with all members, where they are, and with nobody else."""
        told, addresses = self._identity.addresses, dict[str, str]()
        for configuration in governing:
            addresses.update(self.addresses(configuration))
            for member in configuration.members:
                if member.is_original and told.get(member.node):
                    addresses[member.node] = told[member.node]
        addresses = {node: where for node, where in addresses.items() if where}
        if addresses != self._addresses:
            self._addresses = addresses
            self._peers.move(addresses)

    def _is_own(self, configuration: Configuration) -> bool:
        """Say whether a configuration has this node, on this very disk."""
        member = configuration.member(self._identity.node)
        return member is not None and bool(member.disk) and member.disk == self._identity.disk

    def _believe(self, unfit: Unfit) -> None:
        """Go for good if so many say that this node is no member that nobody needs it any more."""
        node, known = self._identity.node, self._replica.knowledge
        others = tuple(one for one in self._replica.configuration.voters if one != node)
        agreed = sorted(one for one, slot in self._disowners.items() if slot >= known)
        if self._was_member and Configuration(others).is_quorum(agreed):
            is_other = unfit.why is Why.OTHER_DISK
            became = "replaced by itself on another disk" if is_other else "removed"
            self._removed(f"{node} was {became} (according to {', '.join(agreed)})")

    def _removed(self, why: str) -> None:
        """Take part no more, for good: the others go on without this node."""
        node = self._identity.node
        self._log.critical("this node stops serving: {why}", why=why)
        self._faults.withdraw(why)
        address = self._identity.addresses.get(node) or "HOST:PORT"
        self._faults.keep(REMOVED, _REMOVED_TEXT.format(why=why, node=node, address=address))
        self._peers.move({})

    def _strayed(self, card: Card) -> Unfit | None:
        """Return that a node is of another history of this cluster, whoever knows more of its own.

        What is chosen in the one says nothing of the other, so there is never a link between them.
        """
        latest, known, node = self._replica.configuration, self._governs[-1].slot, card.node
        if not latest.founding or card.founding in ("", latest.founding):
            return None
        member = latest.member(node)
        if member is None or member.disk in ("", card.disk):
            text = f"{node} is of a cluster that has the name of this one, and was founded apart"
            return Unfit(Why.OTHER_HISTORY, text, known)
        text = (
            f"{node} was emptied, and is of a cluster that was founded anew beside this one: what"
            " is written there is lost; empty its directory again once it is sure which of the two"
            " is to be kept"
        )
        return Unfit(Why.FOUNDED_ANEW, text, known)

    def _misplaced(self, card: Card) -> Unfit | None:
        """Return what the configurations have against a node, if they know as much as it does."""
        known, node = self._governs[-1].slot, card.node
        if card.slot > known:
            return None
        governing = (one.configuration for one in self._governs)
        configurations = [one for one in governing if node in one.nodes]
        if not configurations:
            where = card.address or "HOST:PORT"
            text = f"{node} is not a member of this cluster: MEMBER add {node} {where} makes it one"
            return Unfit(Why.STRANGER, text, known)
        member = configurations[-1].member(node)
        if member is None or not member.disk or card.disk in ("", member.disk):
            return None
        text = (
            f"{node} is not on the disk that was admitted: it was emptied, or exchanged;"
            f" MEMBER replace {node} {node} {member.address} admits it anew"
        )
        return Unfit(Why.OTHER_DISK, text, known)

    def _set_back(self, card: Card) -> Unfit | None:
        """Return what was heard of a node that it has forgotten."""
        if card.protocol and card.protocol < CARDS_SINCE:
            return None
        latest = self._replica.configuration.member(card.node)
        is_new = latest is not None and not (latest.disk or latest.is_original)
        if is_new or (latest is not None and latest.disk not in ("", card.disk)):
            # It may be on any disk, or knows of a later configuration which has it on another one.
            # What was heard may be of the former: its last votes may have come after that was told.
            return None
        heard = self._replica.witness(card.node)
        if card.promised >= heard.promised and card.reach >= heard.reach:
            return None
        node = card.node
        text = (
            f"{node}'s disk was set back: it has promised b={card.promised.describe()} and reaches"
            f" to slot {card.reach}, but said b={heard.promised.describe()} and {heard.reach};"
            f" empty its directory, then MEMBER replace {node} {node} HOST:PORT admits it anew"
        )
        known = self._replica.knowledge
        return Unfit(Why.SET_BACK, text, known, heard.promised, heard.reach)

    def _still_knows(self, unfit: Unfit) -> bool:
        """Say whether nothing of what was heard of this node is forgotten.

        Then its card was long on its way, and what it promised and voted for meanwhile was faster::

            n1 -> n3   a card: promised 3, reaches to 89      n3 stands still
            n1 -> n2   promised 4, voted for 90
            n2 -> n3   heard of n1: 4, 90
            n3         goes on, takes what n2 said, then the card: set back!
        """
        replica = self._replica
        is_told = (unfit.promised, unfit.reach) != (NEVER, 0)
        return is_told and replica.promised >= unfit.promised and replica.reach >= unfit.reach
