"""Nodes with links between them: real TLS over wires in memory, on a clock of the test."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from coord.node.authority import Authority, create_authority, issue
from coord.peers.admission import Versions
from coord.peers.identity import Credentials
from coord.peers.link import Bounds
from coord.peers.transport import Transport
from tests.peers.contract import Ear, Judge
from tests.peers.wires import Wires

ADDRESSES = {"n1": "one:1", "n2": "two:2", "n3": "three:3"}


def warnings(events: Iterable[LogEvent]) -> list[str]:
    """Return the lines that a person should read."""
    return [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]


class NodesTestCase(SynchronousTestCase):
    """A test of nodes that are started when it says so."""

    def setUp(self) -> None:
        """Make a CA, and wires on a clock."""
        self.place = Path(self.mktemp())
        self.authority = create_authority(self.place / "ca")
        self.clock = Clock()
        self.wires = Wires(self.clock)
        self.nodes: dict[str, Transport] = {}
        self.ears: dict[str, Ear] = {}
        self.judges: dict[str, Judge] = {}

    def credentials(self, name: str, authority: Authority | None = None) -> Credentials:
        """Issue a certificate for a node, of the cluster's CA or another one."""
        return issue(self.place / name, authority or self.authority, name)

    def make(
        self,
        name: str,
        *,
        cluster: str = "cluster",
        incarnation: int = 1,
        peers: dict[str, str] = ADDRESSES,
        credentials: Credentials | None = None,
        bounds: Bounds | None = None,
        versions: Versions | None = None,
        judged: bool = False,
    ) -> Transport:
        """Make a node, an ear that hears of its links, and where wanted a judge of them."""
        node = Transport(
            self.clock,
            node=name,
            cluster=cluster,
            incarnation=incarnation,
            peers=peers,
            listen=self.wires.listening(name, ADDRESSES[name]),
            credentials=credentials or self.credentials(name),
            dice=random.Random(7),
            bounds=bounds,
            endpoint=self.wires.dialling(name),
            versions=versions,
        )
        if judged:
            self.judges[name] = Judge(name)
            node.admit_by(self.judges[name])
        self.nodes[name], self.ears[name] = node, Ear()
        node.observe(self.ears[name])
        return node

    def start(self, *nodes: Transport) -> None:
        """Start nodes, the last one first, so that who listens is there when it is dialled."""
        for node in reversed(nodes):
            self.successResultOf(node.start())
        self.wires.pump()

    def start_pair(self, bounds: Bounds | None = None) -> tuple[Transport, Transport]:
        """Start n1 and n2, which know only each other, and let them link."""
        peers = {name: ADDRESSES[name] for name in ("n1", "n2")}
        first, second = (self.make(name, peers=peers, bounds=bounds) for name in ("n1", "n2"))
        self.start(first, second)
        self.assertEqual(first.connected(), {"n2"})
        self.assertEqual(second.connected(), {"n1"})
        return first, second
