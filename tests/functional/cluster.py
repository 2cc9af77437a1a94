"""Real nodes for tests: those of `coord.simulation.processes`, their folders made in this process.

::

    with Cluster(3) as cluster:
        cluster.start()
        first, second, third = cluster.nodes
        first.ask("SET /a 1")
        second.kill()
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from functools import cache

from coord.simulation import processes
from coord.simulation.ports import HOST, free_base, free_ports
from coord.simulation.processes import (
    PATIENCE_SECONDS,
    ROOT,
    Link,
    Node,
    TooLong,
    eventually,
    surroundings,
    twistd,
)
from coord.tools.init import make_cluster

__all__ = [
    "HOST",
    "PATIENCE_SECONDS",
    "ROOT",
    "Cluster",
    "Link",
    "Node",
    "TooLong",
    "eventually",
    "free_base",
    "free_ports",
    "shared",
    "surroundings",
    "twistd",
]


class Cluster(processes.Cluster):
    """A cluster of nodes n1, n2 ... in a folder of its own; nothing runs until `start`."""

    def __init__(self, size: int = 3, options: Iterable[str] = ()) -> None:
        super().__init__(size, options, make_cluster)


@cache
def _lasting(size: int) -> Cluster:
    cluster = Cluster(size)
    atexit.register(cluster.close)
    return cluster


def shared(size: int) -> Cluster:
    """Return the cluster of so many nodes that tests of this process share; all of it runs.

    It holds whatever those before have left. A test may kill nodes, and lets none stay frozen.
    """
    cluster = _lasting(size)
    cluster.start()
    return cluster
