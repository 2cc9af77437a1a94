"""Disks that lie: what is damaged is refused at the start, or found by the other nodes."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from twisted.trial.unittest import TestCase

from coord.journal.directory import FILE_NAME
from coord.paxos.ballot import Ballot
from coord.wire.journal import piece_checksum, record_checksum
from tests.functional.cluster import Cluster, Node, eventually
from tests.replicator.damage import flip_in_image

PRECIOUS = b"very precious"


def journal_of(node: Node) -> Path:
    """Return the file in which a node keeps its state."""
    (found,) = node.config.parent.rglob(FILE_NAME)
    return found


@contextmanager
def opened(node: Node) -> Iterator[sqlite3.Connection]:
    """Open the file of a node that is stopped."""
    with closing(sqlite3.connect(journal_of(node), isolation_level=None)) as connection:
        yield connection


def damage_log(node: Node) -> int:
    """Flip a bit of a value in the log, and make the record's checksum fit; return how many."""
    changed = 0
    with opened(node) as connection:
        rows = connection.execute("SELECT slot, ballot, node, content FROM log").fetchall()
        for slot, number, name, content in rows:
            if slot and PRECIOUS in content:
                flipped = content.replace(PRECIOUS, b"wery precious")
                checksum = record_checksum(slot, Ballot(number, name), flipped)
                connection.execute(
                    "UPDATE log SET content = ?, checksum = ? WHERE slot = ?",
                    (flipped, checksum, slot),
                )
                changed += 1
    return changed


def damage_image(node: Node, path: str) -> bool:
    """Flip a bit of a value in the image, and make all hashes fit; say whether it was there."""
    with opened(node) as connection:
        query = "SELECT number, content FROM piece, image WHERE number >= first AND number < until"
        rows = connection.execute(f"{query} ORDER BY number").fetchall()
        before = tuple(content for _, content in rows)
        for (number, content), flipped in zip(rows, flip_in_image(before, path), strict=True):
            if flipped != content:
                connection.execute(
                    "UPDATE piece SET content = ?, checksum = ? WHERE number = ?",
                    (flipped, piece_checksum(number, flipped), number),
                )
        return b"wery precious" in b"".join(flip_in_image(before, path))


class Damage(TestCase):
    """Three nodes, of which one is stopped, damaged and started again."""

    def begin(self, *options: str) -> tuple[Node, list[Node]]:
        """Start the nodes and write something precious; return one and the others."""
        self.cluster = Cluster(3, options)
        self.addCleanup(self.cluster.close)
        self.cluster.start()
        leader = self.cluster.leader()
        leader.write("/precious", PRECIOUS.decode())
        victim = next(node for node in self.cluster.nodes if node is not leader)
        eventually(lambda: "very" in victim.ask("GET /precious"), "it is everywhere")
        return victim, [node for node in self.cluster.nodes if node is not victim]

    def assert_stopped(self, victim: Node, others: list[Node], kind: str) -> None:
        """See that a node has stopped and says so, and that the others go on."""
        eventually(lambda: "digest" in victim.status().get("fault", ""), "it is found")
        status = victim.status()
        names = ", ".join(sorted(node.name for node in others))
        self.assertRegex(
            status["fault"], rf"\Adigest differs from {names} at slot [0-9]+ \({kind}\)\Z"
        )
        self.assertEqual((status["quorum"], status["leader"]), ("no", "-"))
        for request in ("GET /precious", "GET local /precious", "SET /a 1", "WATCH from=1 /**"):
            self.assertRegex(victim.ask(request), r"\AERR UNAVAILABLE .*digest differs", request)
        reports = journal_of(victim).parent.glob("diverged-*.txt")
        self.assertIn(status["fault"], "".join(one.read_text() for one in reports))
        self.assertIn("digest differs from", victim.log.read_text())
        for node in others:
            self.assertEqual(node.status()["fault"], "-")
            node.write("/after", "all")
            self.assertIn(PRECIOUS.decode(), node.ask("GET /precious"))

    def test_log(self) -> None:
        """A damaged log whose checksums fit: the node is found as soon as it is back."""
        victim, others = self.begin()
        victim.stop()
        self.assertEqual(damage_log(victim), 1)
        victim.start()
        self.assert_stopped(victim, others, "chain")
        victim.stop()
        victim.start()
        self.assert_stopped(victim, others, "chain")
        self.assertIn("an earlier life of this node stopped", victim.log.read_text())

    def test_image(self) -> None:
        """A damaged image whose hashes fit: the node is found at the next survey."""
        victim, others = self.begin("--image-every-bytes", "1048576")
        with others[0].link() as link:
            for number in range(150):
                link.ask(f"SET /filler/{number % 50} {'x' * 10_000}")
        eventually(lambda: victim.status()["images"] != "0", "there is an image")
        victim.stop()
        self.assertTrue(damage_image(victim, "/precious"))
        victim.start()
        with others[0].link() as link:
            for number in range(400):
                link.ask(f"SET /filler/{number % 50} again")
        self.assert_stopped(victim, others, "survey")

    def test_checksum(self) -> None:
        """A record whose checksum does not fit is refused at the start, in one line."""
        victim, others = self.begin()
        victim.stop()
        with opened(victim) as connection:
            connection.execute("UPDATE log SET checksum = abs(checksum - 1)")
        victim.start()
        assert victim.process is not None
        try:
            self.assertEqual(victim.process.wait(60), 1)
        except subprocess.TimeoutExpired:
            self.fail("it started")
        last = victim.log.read_text().splitlines()[-1]
        self.assertRegex(last, r"\Acoord: .*slot [0-9]+.* is damaged: ")
        others[0].write("/after", "all")
