"""All agree on who the members are, tell it to their clients, and who is none keeps quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.commands import Get
from coord.paxos.membership import Configuration
from coord.results import Value

if TYPE_CHECKING:
    from coord.simulation.cluster import Cluster, SimulatedNode


def check(cluster: Cluster) -> list[str]:
    """Return what is wrong, once all has come to rest."""
    (*_, last) = cluster.governs()
    found = []
    for node in cluster.members():
        known = node.configuration
        if known != last.configuration:
            found.append(f"members: {node.name} knows {known} instead of {last.configuration}")
        elif known.members:
            found += _untold(node, known)
    for node in cluster.up():
        if node.name not in last.configuration.nodes and node.is_leading:
            found.append(f"members: {node.name} leads and is no member")
    return found


def _untold(node: SimulatedNode, configuration: Configuration) -> list[str]:
    """Return what a node's store tells of the members, and is not so."""
    found = []
    for member in configuration.members:
        suffix = "" if member.node in configuration.voters else " observer"
        wanted = f"{member.address}{suffix}".encode()
        told = node.store.answer(Get(f"/ctl/members/{member.node}"))
        if not isinstance(told, Value) or told.value != wanted:
            found.append(f"members: {node.name} tells {told!r} of {member}, not {wanted!r}")
    return found
