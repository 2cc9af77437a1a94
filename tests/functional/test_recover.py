"""All disks are lost but one: the forced recovery, with real processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from coord.tools.recover import REPORT
from tests.functional.cluster import Cluster, Node, eventually, surroundings

WRITES = 200


def coord(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "coord.tools.cli", *words],
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def data_of(node: Node) -> Path:
    """Return where a node's state is."""
    return node.config.parent / "data"


def rename(node: Node, cluster: str) -> str:
    """Put another cluster's name into a node's config; return the old text."""
    text = node.config.read_text()
    lines = [
        f'cluster = "{cluster}"' if line.startswith("cluster =") else line
        for line in text.splitlines()
    ]
    node.config.write_text("\n".join([*lines, ""]))
    return text


class Recovery(TestCase):
    """Three nodes, of whose disks two are lost."""

    def setUp(self) -> None:
        """Write to a cluster, see that n3 has it all, kill everyone, and lose two disks."""
        self.cluster = Cluster(3)
        self.addCleanup(self.cluster.close)
        self.first, self.second, self.survivor = self.cluster.nodes
        self.cluster.start()
        for number in range(WRITES):
            self.first.write(f"/kept/{number}", f"value {number}")
        rev = int(self.first.status()["rev"])
        eventually(lambda: int(self.survivor.status()["rev"]) >= rev, "n3 has it all")
        for node in self.cluster.nodes:
            node.kill()
        self.aside = self.cluster.folder / "aside"
        shutil.copytree(data_of(self.first), self.aside)
        for node in (self.first, self.second):
            shutil.rmtree(data_of(node))

    def recover(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Say what an operator says."""
        return coord("recover", str(self.survivor.config.parent), "--cluster", "again", *words)

    def address_of(self, node: Node) -> str:
        """Return where the others reach a node."""
        line = next(one for one in node.config.read_text().splitlines() if f"{node.name}=" in one)
        return line.strip(' ",').partition("=")[2]

    def add(self, node: Node) -> None:
        """Let a node with an empty directory join."""
        rename(node, "again")
        node.options = ("--join",)
        node.start()
        answers: list[str] = []

        def added() -> bool:
            answers.append(self.survivor.ask(f"MEMBER add {node.name} {self.address_of(node)}"))
            return answers[-1].startswith(("OK ", "ERR EXISTS"))

        eventually(added, f"{node.name} is a member, instead of {answers[-1:]}")
        eventually(lambda: self.part_of(node) == "voter", f"{node.name} votes")
        node.wait_until_serving()

    def part_of(self, node: Node) -> str:
        """Return whether a node votes, as the survivor tells."""
        with self.survivor.link() as link:
            rows = link.rows("MEMBERS")
        found = [row.split() for row in rows if row.startswith(f"ITEM {node.name} ")]
        return found[0][3] if found else ""

    def see_all(self, node: Node) -> None:
        """See that a node has all that was acknowledged."""
        with node.link() as link:
            for number in range(WRITES):
                answer = link.ask(f"GET /kept/{number}")
                self.assertEqual(answer.split(maxsplit=2)[2], f"value {number}")

    def test_all_of_it(self) -> None:
        """From the last disk comes a new cluster that has all, and takes new nodes only."""
        self.look()
        self.do()
        self.survivor.start()
        self.survivor.wait_until_serving()
        self.see_all(self.survivor)
        self.assertEqual(self.survivor.status()["cluster"], "again")
        self.assertTrue(self.survivor.ask("GET /ctl/cluster").endswith(" again"))
        self.refuse_the_old()
        for node in (self.first, self.second):
            shutil.rmtree(data_of(node), ignore_errors=True)
            self.add(node)
            self.see_all(node)
        self.survivor.kill()  # the other two are a majority now
        self.second.write("/after", "all")
        self.assertTrue(self.first.ask("GET /after").endswith(" all"))
        self.see_all(self.first)

    def look(self) -> None:
        """See that nothing is done that was not asked for twice, or with a name that was taken."""
        before = self.survivor.config.read_text()
        ended = self.recover()
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn("node n3 of the cluster", ended.stdout)
        self.assertIn("Nothing was done", ended.stdout)
        self.assertEqual(self.survivor.config.read_text(), before)
        old = next(line for line in before.splitlines() if line.startswith("cluster ="))
        name = old.partition("=")[2].strip(' "')
        for words in (("--cluster", name), ("--cluster", "two words")):
            ended = self.recover(*words, "--yes")
            self.assertEqual(ended.returncode, 1)
            self.assertRegex(ended.stderr, r"\Acoord: [^\n]+\n\Z")
        self.assertEqual(self.survivor.config.read_text(), before)

    def do(self) -> None:
        """See that the name is changed where it stands, and that there are a report and a copy."""
        ended = self.recover("--yes")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("DONE: n3 is the only node of the cluster again", ended.stdout)
        self.assertIn('cluster = "again"', self.survivor.config.read_text())
        self.assertIn("forced recovery", (data_of(self.survivor) / REPORT).read_text())
        self.assertTrue((data_of(self.survivor) / "coord.db.before-recovery-1").exists())

    def refuse_the_old(self) -> None:
        """See that a disk of the old cluster which turns up is of no use, under either name."""
        shutil.copytree(self.aside, data_of(self.first))
        self.first.start()
        eventually(
            lambda: "is of cluster" in self.survivor.log.read_text(), "n3 refuses the old n1"
        )
        self.assertFalse(self.first.serves())
        self.first.stop()
        old = rename(self.first, "again")
        self.first.start()
        eventually(lambda: not self.first.runs(), "n1 does not start on a disk of before")
        self.first.clean()
        self.assertIn("belongs to cluster", self.first.log.read_text())
        self.first.config.write_text(old)

    def test_running(self) -> None:
        """A node that runs cannot be recovered, nor a directory that is nobody's."""
        self.survivor.start()
        eventually(lambda: bool(self.survivor.status()), "n3 answers")
        ended = self.recover("--yes")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("in use", ended.stderr)
        ended = coord("recover", str(self.cluster.folder), "--cluster", "again", "--yes")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("no directory of a node", ended.stderr)
