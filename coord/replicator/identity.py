"""Who a node is, as it was told at its start and as its directory says."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Identity:
    """Who a node is: its name, its cluster, its life, and where it was told that all members are.

    ``disk`` names its directory (`coord.replicator.interfaces.Recovered`). ``is_joining``: the
    cluster runs already, and is to admit this node; ``is_observer``: as one that never votes.
    """

    node: str
    cluster: str
    incarnation: int
    addresses: dict[str, str]
    disk: str = ""
    is_joining: bool = False
    is_observer: bool = False

    @property
    def origin(self) -> str:
        """What batches of this node are numbered under: a node on another disk begins anew."""
        return origin_of(self.node, self.disk)


def origin_of(node: str, disk: str) -> str:
    """Return the origin of the batches that a node takes while its state is on ``disk``."""
    return f"{node}@{disk}" if disk else node


def node_of(origin: str) -> str:
    """Return the node whose batches are of this origin."""
    return origin.partition("@")[0]
