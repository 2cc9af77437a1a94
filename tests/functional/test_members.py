"""Nodes that come and go while the cluster serves, by the commands that an operator types."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import ALPHA
from tests.functional.cluster import (
    HOST,
    PATIENCE_SECONDS,
    Cluster,
    Node,
    eventually,
    free_ports,
    surroundings,
)


class Operator(SynchronousTestCase):
    """A cluster of three, and somebody with a shell."""

    def setUp(self) -> None:
        """Start the nodes."""
        self.cluster = Cluster(3)
        self.addCleanup(self.cluster.close)
        self.cluster.start()

    def coord(self, *words: str, asked: int = 0, status: int = 0) -> str:
        """Return what a command prints that asks one of the nodes first, by its place."""
        nodes = [node for node in self.cluster.nodes[asked:] if node.runs()]
        servers = [f"--server={HOST}:{node.line_port}" for node in nodes]
        done = subprocess.run(
            [sys.executable, "-m", "coord.tools.cli", *words, "--request-timeout=30", *servers],
            env=surroundings(),
            capture_output=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return done.stdout.decode() + done.stderr.decode()

    def join(self, name: str, *options: str) -> Node:
        """Have a node join by the one line, and start it as it says."""
        (port,) = free_ports(1)
        folder = self.cluster.folder
        told = self.coord("join", f"{name}={HOST}:{port}", "--dir", str(folder), *options)
        config = folder / name / "coord.toml"
        self.assertIn(f"twistd -n coord --config {config}", told)
        node = Node(name, config)
        self.cluster.nodes.append(node)
        node.start()
        return node

    def rows(self, node: Node, request: str) -> list[list[str]]:
        """Return the words of each row with which a node answers."""
        with node.link() as link:
            return [row.split()[1:] for row in link.rows(request)[:-1]]

    def parts(self, node: Node) -> dict[str, str]:
        """Return each member's part, as a node sees it."""
        return {row[0]: row[2] for row in self.rows(node, "MEMBERS")}

    def becomes(self, name: str, part: str | None) -> None:
        """Wait until all that serve say this of a member."""
        nodes = [node for node in self.cluster.nodes if node.name != name and node.runs()]

        def agreed() -> bool:
            return all(self.parts(node).get(name) == part for node in nodes)

        eventually(agreed, f"all say that {name} is {part}")

    def test_one_more(self) -> None:
        """A fourth node joins in one line, learns, votes; removed it stops, and stays stopped."""
        first = self.cluster.nodes[0]
        first.write("/before", "1")
        fourth = self.join("n4")
        self.becomes("n4", "voter")
        fourth.wait_until_serving()
        self.assertIn(" 1", fourth.ask("GET /before"))
        fourth.write("/after", "2")
        self.assertIn(" 2", first.ask("GET /after"))
        self.coord("member", "remove", "n4")
        self.becomes("n4", None)
        eventually(lambda: "removed" in fourth.status()["fault"], "n4 says that it was removed")
        self.assertFalse(fourth.serves())
        fourth.stop()
        fourth.start()
        assert fourth.process is not None
        self.assertEqual(fourth.process.wait(PATIENCE_SECONDS), 1)
        self.assertIn("removed", fourth.log.read_text().splitlines()[-1])

    def test_every_node_replaced(self) -> None:
        """Each of three nodes is replaced by a new one, and nothing that was written is lost."""
        for index, old in enumerate(self.cluster.nodes[:3]):
            old.write(f"/by/{old.name}", "x")
            new = self.join(f"n{index + 4}", "--replace", old.name)
            self.becomes(new.name, "voter")
            new.wait_until_serving()
            old.stop()
        last = self.cluster.nodes[-1]
        self.assertEqual(self.parts(last), dict.fromkeys(("n4", "n5", "n6"), "voter"))
        self.assertEqual(self.rows(last, "LIST /by"), [["n1"], ["n2"], ["n3"]])

    def test_observer(self) -> None:
        """An observer serves what was written, takes writes, and never votes."""
        observer = self.join("n4", "--observer")
        observer.wait_until_serving()
        observer.write("/by/n4", "x")
        self.assertEqual(observer.status()["role"], "observer")
        self.assertEqual(self.parts(observer)["n4"], "observer")

    def test_lost_disk(self) -> None:
        """A node whose disk was lost is found out, admitted anew by one line, and votes again."""
        first, _, third = self.cluster.nodes
        first.write("/before", "1")
        eventually(lambda: int(third.status()["slot"]) > ALPHA, "the cluster knows all disks")
        third.stop()
        (third.config.parent / "data").rename(third.config.parent / "lost")
        third.start()
        eventually(lambda: "MEMBER replace" in third.status().get("fault", ""), "it is found out")
        (address,) = (row[1] for row in self.rows(first, "MEMBERS") if row[0] == "n3")
        self.coord("member", "replace", "n3", "n3", address, "--wait")
        self.assertEqual(self.parts(first)["n3"], "voter")
        third.wait_until_serving()
        self.assertIn(" 1", third.ask("GET /before"))

    def test_arithmetic(self) -> None:
        """What would lose the quorum is refused with the arithmetic, and a plan tells it before."""
        first, second, third = self.cluster.nodes
        eventually(lambda: self.coord("members").count("\tup") == 3, "all are seen to be up")
        self.assertIn("2 of 3 needed", self.coord("member", "plan", "remove", "n1"))
        third.stop()
        eventually(lambda: "down" in str(self.rows(first, "MEMBERS")), "n3 is seen to be down")
        told = self.coord("member", "remove", "n2", status=1)
        self.assertIn("BAD_REQUEST", told)
        self.assertIn("of 2 needed", told)
        self.assertEqual(self.parts(second)["n2"], "voter")
