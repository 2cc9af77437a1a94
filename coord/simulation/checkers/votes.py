"""No vote counts that was cast from a disk which the cluster has not admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.paxos.messages import Accepted

if TYPE_CHECKING:
    from coord.paxos.replica import Replica
    from coord.simulation.cluster import Cluster
    from coord.simulation.network import SimulatedPeers


class Votes:
    """Hears of every vote that another node's leader is about to count."""

    def __init__(self, cluster: Cluster) -> None:
        self.violations: list[str] = []
        self.counted = 0
        self._cluster = cluster

    def watch(self, replica: Replica, peers: SimulatedPeers) -> None:
        """Hear of the votes that come to one life of a node."""
        take = replica._on_accepted

        def taken(sender: str, message: Accepted) -> None:
            if sender != replica.node and replica.ballot == message.ballot:
                self._look_at(replica, peers, sender, message)
            take(sender, message)

        replica._on_accepted = taken  # type: ignore[method-assign]

    def _look_at(
        self, replica: Replica, peers: SimulatedPeers, sender: str, message: Accepted
    ) -> None:
        """Hold a vote against what the configuration says, and against what happened to the disk.

        What an earlier life sent, and is heard only now, was as good as it seemed when it was sent.
        """
        link, node = peers.links.get(sender), self._cluster.nodes.get(sender)
        configuration = replica._state.membership.at(message.slot)
        if not replica.is_leading or link is None or sender not in configuration.voters:
            return
        self.counted += 1
        member, disk = configuration.member(sender), link.cards[sender].disk
        if member is not None and member.disk not in ("", disk):
            self._object(replica, message, f"{sender} from disk {disk}, but {member} is admitted")
        if node is None or link.ends[sender].process is not node.process:
            return
        lost = self._cluster.wounded.get(sender)
        if lost is not None and lost.name == disk and not node.has_outlived(lost):
            self._object(replica, message, f"{sender} from disk {disk}, which was set back")

    def _object(self, replica: Replica, message: Accepted, what: str) -> None:
        self.violations.append(f"votes: {replica.node} counts {message}: of {what}")
