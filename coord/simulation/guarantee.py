"""What the design promises, known from above: which disk may be lost now, and who must serve.

A disk is *wounded* from when it was emptied or set back until the cluster has admitted it, or what
took its place, anew; that of a node which is no member any more stays so. The promise holds while,
of every configuration that still matters to a node that is behind, a majority of disks is whole;
and a wounded disk is known for one by every node that could count its votes. So nobody loses a disk
here before that is so: the node's name for its directory is in the log within seconds of its first
link, and what it promised and voted for is told to all about once a second.

The wounded do not know each other for what they are, and each may believe in a configuration that
is long over: so they never are a majority of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from coord.limits import ALPHA
from coord.paxos.durable import Header
from coord.paxos.membership import Configuration, Governs
from coord.simulation.cluster import Cluster, SimulatedNode
from coord.simulation.platter import Platter

LATELY_SECONDS: Final = 3.5
"""By then all have noticed that a node which crashed is gone."""


class Guarantee:
    """Knows which disks are wounded, by node: the platter that was lost."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.wounded = cluster.wounded
        self.lost_at = -LATELY_SECONDS
        self.is_changing: Callable[[], bool] = lambda: False
        """Whether a change of the members is asked for, which may or may not be made."""

    # -- disks -----------------------------------------------------------------------------
    def may_lose(self, node: SimulatedNode, instead: Platter | None) -> bool:
        """Say whether ``node`` may lose its disk now, for an empty one or one set back."""
        others = [one for one in self._whole() if one is not node]
        header = node.disk.initial if instead is None else instead.header
        if self.is_changing() or self._could_rise(node, header):
            return False
        return self._stands(others) and all(_would_know(one, node, instead) for one in others)

    def _could_rise(self, node: SimulatedNode, header: Header) -> bool:
        """Say whether, with this one, so many have forgotten so much that they go on alone.

        Together they have the majority of what one of them believes to be in force: a configuration
        of former days, or the first one, where they are emptied and were not told to join. None of
        them has heard of what the others forgot, and who has may never be asked.
        """
        others = [one for one in self._forgetful() if one is not node]
        headers = [header, *(one.disk.platter.header for one in others)]
        names = {node.name, *(one.name for one in others)}
        return any(
            governs.configuration.is_quorum(names) for one in headers for governs in one.governs
        )

    def _forgetful(self) -> list[SimulatedNode]:
        """Return the machines that may live on a wounded disk."""
        self.heal()
        nodes = self._cluster.nodes.values()
        return [one for one in nodes if one.name in self.wounded and not one.is_out]

    def may_take_away(self, node: SimulatedNode) -> bool:
        """Say whether nothing is lost with a machine."""
        return self._stands([one for one in self._whole() if one is not node])

    def lose(self, node: SimulatedNode, instead: Platter | None) -> None:
        """Let a node, which is down, have another platter; it must be allowed to."""
        self.lost_at = self._cluster.world.now
        if self._was_member(node):
            self._wound(node)
        if instead is None:
            node.empty()
        else:
            node.disk.set_back()
            node.reports.clear()

    def _wound(self, node: SimulatedNode) -> None:
        """Take note of what is lost with a disk, unless more was lost of the same one before."""
        self.heal()
        lost, before = node.disk.platter, self.wounded.get(node.name)
        if before is None or before.name != lost.name:
            self.wounded[node.name] = lost

    def _was_member(self, node: SimulatedNode) -> bool:
        """Say whether what a node promised, or voted for, can ever have counted."""
        return any(node.name in one.configuration.nodes for one in self._cluster.governs())

    def heal(self) -> None:
        """Forget the wounds of disks that were admitted anew, and are whole again."""
        (*_, last) = self._cluster.governs()
        for name, lost in list(self.wounded.items()):
            node = self._cluster.nodes.get(name)
            if node is None or _is_whole_again(node, lost, last):
                del self.wounded[name]

    @property
    def has_lost_lately(self) -> bool:
        """Whether a disk was lost so lately that its node may still be taken for one that is up.

        What the cluster bears then it does not bear when the operator takes one more away.
        """
        return self._cluster.world.now < self.lost_at + LATELY_SECONDS

    def needed(self) -> list[SimulatedNode]:
        """Return the members, and the nodes of which one of these may need something yet."""
        members = self._cluster.members()
        least = min((one.disk.platter.header.chosen for one in members), default=0)
        named = {name for one in self.since(least + 1) for name in one.voters}
        named.update(one.name for one in members)
        return [one for one in self._cluster.nodes.values() if one.name in named]

    def wounded_members(self) -> list[str]:
        """Return the members whose disks are wounded still."""
        self.heal()
        return [name for name in self._cluster.configuration.nodes if name in self.wounded]

    def _whole(self) -> list[SimulatedNode]:
        """Return the machines whose disks hold all that was ever saved on them."""
        self.heal()
        nodes = self._cluster.nodes.values()
        return [one for one in nodes if one.name not in self.wounded and not one.is_out]

    def _stands(self, whole: Sequence[SimulatedNode]) -> bool:
        """Say whether every configuration that matters has its majority among ``whole``."""
        names = {one.name for one in whole}
        configuration = self._cluster.configuration
        voters = [one for one in whole if one.name in configuration.voters]
        if not voters:
            return False
        least = min(one.disk.platter.header.chosen for one in voters)
        return all(one.is_quorum(names) for one in self.since(least + 1))

    # -- configurations ----------------------------------------------------------------------
    def since(self, slot: int) -> list[Configuration]:
        """Return those that govern ``slot`` or later ones, or may turn out to do so."""
        governs = self._cluster.governs()
        later = [one for one in governs if one.slot > slot]
        before = [one for one in governs if one.slot <= slot]
        return [one.configuration for one in (before[-1], *later)] + self._open(governs[-1])

    def _open(self, last: Governs) -> list[Configuration]:
        """Return what somebody voted for, and may be chosen without anybody knowing yet."""
        found: dict[Configuration, None] = {}
        for node in self._cluster.nodes.values():
            for slot, configuration in node.disk.platter.configurations():
                if slot + ALPHA > last.slot:
                    found[configuration] = None
        return list(found)

    # -- who must serve ------------------------------------------------------------------------
    def quorum(self, nodes: Iterable[SimulatedNode], *, all_of_them: bool) -> list[SimulatedNode]:
        """Return the first of ``nodes`` that together can do whatever a majority must be able to.

        Learners who are to get their vote are among them: as soon as they have it they count.
        """
        configuration = self._cluster.configuration
        whole = {one.name for one in self._whole()}
        named = {name for one in self.since(0) for name in one.voters}.union(configuration.nodes)
        able = [one for one in nodes if one.name in whole & named]
        chosen: dict[str, SimulatedNode] = {}
        for node in able:
            member = configuration.member(node.name)
            wants_vote = member is not None and member.wants_vote
            is_voter = node.name in configuration.voters
            is_missed = is_voter and not configuration.is_quorum(chosen)
            if all_of_them or wants_vote or is_missed:
                chosen[node.name] = node
        for node in able:
            if not self._serves(list(chosen.values())):
                chosen[node.name] = node
        return list(chosen.values())

    def _serves(self, nodes: Sequence[SimulatedNode]) -> bool:
        least = min((one.disk.platter.header.chosen for one in nodes), default=0)
        names = {one.name for one in nodes}
        return all(one.is_quorum(names) for one in self.since(least + 1))


def _would_know(knower: SimulatedNode, node: SimulatedNode, instead: Platter | None) -> bool:
    """Say whether ``knower``, even after a crash, would refuse ``node`` on what it has instead."""
    header = knower.disk.platter.header
    governs = [one.configuration for one in header.governs]
    if not any(node.name in one.nodes for one in governs):
        return True
    if not any(knower.name in one.voters for one in governs):
        return True  # it counts nobody's votes
    member = header.governs[-1].configuration.member(node.name)
    if instead is None:
        return member is not None and member.disk == node.disk.platter.name
    seen = next((one for one in header.witnessed if one.node == node.name), None)
    if seen is None:
        return False
    return seen.promised > instead.header.promised or seen.reach > instead.reach


def _is_whole_again(node: SimulatedNode, lost: Platter, last: Governs) -> bool:
    """Say whether a node's new disk is the one that its membership rests on, and has all of it.

    One that was set back is as good as ever once it has learnt the outcome of all that it voted
    for: by a node that was new, and had not heard of it.
    """
    platter = node.disk.platter
    if platter.name == lost.name and platter.outlives(lost):
        return True
    member = last.configuration.member(node.name)
    is_admitted = member is not None and member.disk == platter.name != lost.name
    is_voter = node.name in last.configuration.voters
    return is_admitted and (not is_voter or platter.header.chosen >= last.slot)
