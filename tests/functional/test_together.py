"""Three nodes as processes: one store, whatever befalls one of them."""

from __future__ import annotations

import threading

from twisted.trial.unittest import TestCase

from tests.functional.cluster import Cluster, Node, eventually


class Writer(threading.Thread):
    """Someone who writes numbers to one node for as long as it is told to.

    ``sure`` are the numbers answered OK, ``open`` those whose fate is not known.
    """

    def __init__(self, nodes: list[Node], folder: str) -> None:
        super().__init__(daemon=True)
        self.nodes = nodes
        self.folder = folder
        self.sure: list[int] = []
        self.open: list[int] = []
        self.refused: list[int] = []
        self._enough = threading.Event()

    def run(self) -> None:
        """Write until told to stop; go to the next node where one does not answer."""
        number = 0
        while not self._enough.is_set():
            number += 1
            node = self.nodes[number % len(self.nodes)]
            try:
                with node.link(10.0) as link:
                    answer = link.ask(f"ADD {self.folder}/{number} x")
            except OSError:
                self.open.append(number)
                continue
            if answer.startswith("OK "):
                self.sure.append(number)
            elif answer.startswith(("ERR UNAVAILABLE", "ERR OVERLOADED")):
                self.refused.append(number)
            else:
                self.open.append(number)

    def wait_for(self, count: int) -> None:
        """Return once so many more writes were answered OK."""
        until = len(self.sure) + count
        eventually(lambda: len(self.sure) >= until, f"{count} more writes")

    def finish(self) -> None:
        """Let the write under way end, then stop."""
        self._enough.set()
        self.join(30)


class Together(TestCase):
    """A cluster of three."""

    def setUp(self) -> None:
        """Start three nodes."""
        self.cluster = Cluster(3)
        self.addCleanup(self.cluster.close)
        self.cluster.start()

    def written(self, node: Node, folder: str) -> set[int]:
        """Return the numbers that a node holds in a folder."""
        with node.link() as link:
            rows = link.rows(f"LIST {folder}")
        self.assertTrue(rows[-1].startswith("END "), rows[-1])
        return {int(row.split()[1]) for row in rows[:-1]}

    def check(self, writer: Writer, node: Node) -> None:
        """See that all that was answered OK is there, and nothing that was refused."""
        held = self.written(node, writer.folder)
        self.assertEqual(set(writer.sure) - held, set())
        self.assertEqual(held - set(writer.sure) - set(writer.open), set())

    def test_one_store(self) -> None:
        """What is written on one node is read at once on each."""
        for number, node in enumerate(self.cluster.nodes):
            revision = node.write("/shared", str(number))
            for other in self.cluster.nodes:
                self.assertEqual(other.ask("GET /shared"), f"VALUE {revision} {number}")

    def test_equal(self) -> None:
        """Nodes at the same revision have the same digest."""
        revision = self.cluster.nodes[0].write("/a/b", "c")
        pictures = []
        for node in self.cluster.nodes:
            self.assertEqual(node.ask("SYNC"), f"OK {revision}")
            pictures.append(node.status()["digest"])
        self.assertEqual(len(set(pictures)), 1)

    def test_watch(self) -> None:
        """A watch on one node sees what is written on another, in order and once."""
        with self.cluster.nodes[0].link() as link:
            self.assertRegex(link.ask("#w WATCH /w/*"), "^#w OK [0-9]+$")
            revisions = [self.cluster.nodes[1].write("/w/x", str(number)) for number in range(20)]
            self.assertEqual(
                link.lines(20),
                [f"#w EVENT {rev} set /w/x {number}" for number, rev in enumerate(revisions)],
            )

    def test_leader_killed(self) -> None:
        """When the leader is killed under load, writes go on and nothing is lost or invented."""
        leader = self.cluster.leader()
        others = [node for node in self.cluster.nodes if node is not leader]
        writer = Writer(others, "/load")
        writer.start()
        writer.wait_for(50)
        leader.kill()
        writer.wait_for(50)
        leader.start()
        leader.wait_until_serving()
        writer.wait_for(50)
        writer.finish()
        for node in self.cluster.nodes:
            self.check(writer, node)

    def test_leader_frozen(self) -> None:
        """A leader that stands still is replaced, and follows once it goes on."""
        leader = self.cluster.leader()
        others = [node for node in self.cluster.nodes if node is not leader]
        leader.freeze()
        revision = others[0].write("/frozen", "no")
        leader.thaw()
        leader.wait_until_serving()
        self.assertEqual(leader.ask("GET /frozen"), f"VALUE {revision} no")

    def test_minority(self) -> None:
        """With two of three gone local reads go on, all else is refused; it heals by itself."""
        alone, *others = self.cluster.nodes
        revision = alone.write("/kept", "yes")
        for node in others:
            node.kill()
        eventually(lambda: alone.status().get("quorum") == "no", "it sees that it is alone")
        eventually(  # a lease, if it had one, may last a moment longer
            lambda: alone.ask("GET /kept").startswith("ERR UNAVAILABLE "), "reads are refused"
        )
        self.assertEqual(alone.ask("GET local /kept"), f"VALUE {revision} yes")
        self.assertRegex(alone.ask("SET /kept no"), "^ERR UNAVAILABLE ")
        others[0].start()
        alone.wait_until_serving()
        self.assertEqual(alone.ask("GET /kept"), f"VALUE {revision} yes")
        alone.write("/kept", "still")

    def test_all_killed(self) -> None:
        """When all three are killed at once under load, all that was answered OK is there."""
        writer = Writer(self.cluster.nodes, "/load")
        writer.start()
        writer.wait_for(100)
        for node in self.cluster.nodes:
            node.kill()
        self.cluster.start()
        writer.wait_for(20)
        writer.finish()
        for node in self.cluster.nodes:
            self.check(writer, node)
