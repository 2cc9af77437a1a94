"""Three nodes that keep next to no log, one of which is away for longer than that."""

from __future__ import annotations

from coord.paxos.timing import Timing
from coord.replicator.tuning import Tuning
from coord.wire.peer import PeerMessage
from tests.replicator.case import Case


class FarBehind(Case):
    """Three nodes that keep next to no log."""

    tuning = Tuning(
        image_every_bytes=20_000, log_bytes_kept=0, timing=Timing(recent_bytes_max=1000)
    )

    def setUp(self) -> None:
        """Found a cluster, and choose who is going to be away."""
        super().setUp()
        self.found(3)
        self.away, self.other = self.followers()

    def fill(self, count: int = 60, name: str = "", size_bytes: int = 1000) -> None:
        """Write values, one slot each, into nodes of their own."""
        name = name or self.leader()
        for number in range(count):
            self.set(name, f"/fill/{number}", b"x" * size_bytes)
            self.advance(0.01)
        self.advance(0.05)

    def miss(self, count: int = 60, size_bytes: int = 1000) -> None:
        """Let a node miss so much that no log has it."""
        self.hub.isolate(self.away)
        self.fill(count, size_bytes=size_bytes)

    def come_back(self, seconds: float = 2.0) -> None:
        """Let the node have its links again."""
        self.hub.heal(self.away)
        self.advance(seconds)

    def same(self) -> None:
        """Assert that all nodes have the same."""
        self.assertEqual(len({self.fact(name, "digest") for name in self.nodes}), 1)
        self.assertEqual(len({self.fact(name, "slot") for name in self.nodes}), 1)

    def figure(self, name: str, figure: str) -> float:
        """Return one of the figures that a node counts."""
        return self.nodes[name].replicator.account.figures()[figure]

    def sent(self, name: str, kind: type[PeerMessage]) -> list[tuple[str, PeerMessage]]:
        """Return the messages of a kind that a node sent, and to whom."""
        return [one for one in self.hub.links[name].sent if isinstance(one[1], kind)]
