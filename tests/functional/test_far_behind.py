"""A node that was away for longer than the others keep their logs."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.functional.cluster import Cluster, Link, Node, eventually

MIB = 1 << 20
OPTIONS = ("--log-bytes-kept", str(MIB), "--image-every-bytes", str(MIB))


def fill(node: Node, count: int, size_bytes: int) -> None:
    """Write so much to a node that no log in memory or on disk holds all of it."""
    with node.link() as link:
        for first in range(0, count, 20):
            numbers = range(first, min(first + 20, count))
            link.send("\n".join(f"SET /fill/{number} {'x' * size_bytes}" for number in numbers))
            for answer in link.lines(len(numbers)):
                assert answer.startswith("OK "), answer


def same(nodes: list[Node]) -> bool:
    """Say whether all nodes have the same."""
    found = [node.status() for node in nodes]
    return all(found) and len({one["digest"] for one in found}) == 1


class FarBehind(TestCase):
    """A cluster of three with short logs."""

    def test_back_within_seconds(self) -> None:
        """It asks another node for an image, and is back within seconds with all that they have."""
        with Cluster(3, OPTIONS) as cluster:
            cluster.start()
            leader = cluster.leader()
            away = next(node for node in cluster.nodes if node is not leader)
            away.stop()
            fill(leader, count=500, size_bytes=60_000)
            away.start()
            away.wait_until_serving()
            eventually(lambda: same(cluster.nodes), "all have the same")
            self.assertEqual(away.status()["fault"], "-")
            self.assertIn("goes on after slot", away.log.read_text())
            self.watches_again(away)

    def watches_again(self, node: Node) -> None:
        """Assert that a node tells of what is written after it came back."""
        with node.link() as link:
            self.assertTrue(link.ask("WATCH /after").startswith("OK "))
            rev = node.write("/after", "value")
            self.assertEqual(self.event(link), f"EVENT {rev} set /after value")

    def event(self, link: Link) -> str:
        """Return what a watch tells next."""
        return link.line()
