"""Disks that refuse, are full, hang or vanish: a node says why, and comes back by itself."""

from __future__ import annotations

import re
import resource
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from coord.journal.directory import NEW_NAME, RENEWED_NAME
from tests.functional.cluster import HOST, Cluster, Node, eventually, surroundings, twistd
from tests.functional.test_damage import journal_of, opened

LIMIT_BYTES = 64 << 10
"""How large files may become: a journal's do at once, a log's do not."""
SMALL_DISK_BYTES = 24 << 20
VALUE = "x" * 1000


def limit(node: Node, size_bytes: int = resource.RLIM_INFINITY) -> None:
    """Have a node's disk refuse what goes beyond a size, which looks like a fault of the disk."""
    assert node.process is not None
    limits = (size_bytes, resource.RLIM_INFINITY)
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, limits)


def health(node: Node) -> tuple[int, str]:
    """Return status and text of a node's ``/health``."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{node.web_port}/health") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def mounted(stack: ExitStack, folder: Path, *words: str) -> None:
    """Mount something on a folder until the end, or skip the test, saying why."""
    folder.mkdir(exist_ok=True)
    run(["mount", *words, str(folder)])
    stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)


def run(words: list[str]) -> str:
    """Return what a program says, or skip the test: not every machine allows it."""
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except OSError as error:
        raise SkipTest(f"no {words[0]} here: {error}") from None
    if done.returncode:
        raise SkipTest(f"{words[0]} does not work here: {done.stderr.strip()}")
    return done.stdout.strip()


class Disks(TestCase):
    """Nodes of which one's disk is not well for a while."""

    size = 3

    def setUp(self) -> None:
        """Make the nodes."""
        self.cluster = Cluster(self.size)
        self.addCleanup(self.cluster.close)
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)  # before the folders go

    def begin(self) -> tuple[Node, list[Node]]:
        """Start the nodes; return the first and the others."""
        self.cluster.start()
        self.acknowledged: dict[str, int] = {}
        return self.cluster.nodes[0], self.cluster.nodes[1:]

    def load(self, node: Node, count: int, do: Callable[[], object] = lambda: None) -> None:
        """Write to a node; ``do`` something while that goes on; keep what was answered OK."""
        first = len(self.acknowledged)
        paths = [f"/k/{number}" for number in range(first, first + count)]
        with node.link() as link:
            link.send("".join(f"SET {path} {VALUE}\n" for path in paths).encode())
            do()
            for path in paths:
                answer = link.line()
                if answer.startswith("OK "):
                    self.acknowledged[path] = int(answer.split()[1])

    def assert_told(self, node: Node, what: str, text: str) -> None:
        """See that something comes to stand in a node's ``STATUS``."""
        eventually(
            lambda: re.search(text, node.status().get(what, "")) is not None,
            f"{node.name} has {what}={text}",
        )

    def assert_stopped(self, node: Node, why: str) -> None:
        """See that a node takes part no more, and says why to everyone."""
        self.assert_told(node, "fault", f"journal: .*({why})")
        status = node.status()
        self.assertEqual((status["quorum"], status["leader"]), ("no", "-"))
        self.assertRegex(node.ask("SET /refused x"), "ERR UNAVAILABLE .*journal: ")
        code, text = health(node)
        self.assertEqual(code, 503)
        self.assertRegex(text, f"journal: .*({why})")
        self.assertIn("the journal failed, this node stops serving", node.log.read_text())

    def assert_back(self, node: Node) -> None:
        """See that a node came back by itself, with all that was acknowledged."""
        eventually(lambda: node.status().get("fault") == "-", "it has come back")
        node.wait_until_serving()
        eventually(self.are_equal, "all nodes hold the same")
        self.assertEqual(health(node), (200, "ok\n"))
        self.assert_kept(node)
        node.write("/after", "back")

    def are_equal(self) -> bool:
        """Say whether all nodes have the same digest at the same slot."""
        facts = [node.status() for node in self.cluster.nodes]
        return len({(one.get("slot"), one.get("digest")) for one in facts}) == 1

    def assert_kept(self, node: Node) -> None:
        """See that a node has everything that was acknowledged."""
        self.assertTrue(self.acknowledged)
        with node.link() as link:
            rows = link.rows("WALK /k/*")
        found = {row.split()[1] for row in rows[:-1]}
        self.assertEqual(set(self.acknowledged) - found, set())


class Refusing(Disks):
    """A disk that fails to write, and works again."""

    def broken(self) -> tuple[Node, list[Node]]:
        """Start the nodes, and have the first one's disk fail; return it and the others."""
        victim, others = self.begin()
        self.load(others[0], 100, lambda: limit(victim, LIMIT_BYTES))
        self.assert_stopped(victim, "I/O error|full")
        return victim, others

    def test_comes_back(self) -> None:
        """A node whose disk fails under load stops, the others go on, and it comes back."""
        self.begin()
        victim = self.cluster.leader()
        others = [node for node in self.cluster.nodes if node is not victim]
        self.load(others[0], 300, lambda: limit(victim, LIMIT_BYTES))
        self.load(others[1], 300)
        self.assert_stopped(victim, "I/O error|full")
        self.assertGreaterEqual(len(self.acknowledged), 300)
        limit(victim)
        self.assert_back(victim)
        self.assertIn("a new life begins", victim.log.read_text())
        victim.kill()
        victim.start()
        self.assert_back(victim)

    def test_killed_as_it_comes_back(self) -> None:
        """A node killed at any moment of its coming back has everything when it is started."""
        victim, others = self.begin()
        folder = journal_of(victim).parent
        for name in ("probe", NEW_NAME, RENEWED_NAME):
            self.load(others[0], 100, lambda: limit(victim, LIMIT_BYTES))
            self.assert_stopped(victim, "I/O error|full")
            limit(victim)
            eventually(partial(self.is_about, victim, folder / name), f"{name} is there")
            victim.kill()
            victim.start()
            self.assert_back(victim)

    def test_all(self) -> None:
        """Nothing that was acknowledged is lost when the disks of all nodes fail at one time."""
        first, _ = self.begin()
        self.load(first, 100)
        self.load(first, 100, self.break_all)
        eventually(self.is_majority_stopped, "too few are left to write anything more")
        for node in self.cluster.nodes:
            limit(node)
        for node in self.cluster.nodes:
            self.assert_back(node)

    def is_majority_stopped(self) -> bool:
        """Say whether most nodes have a fault; what is left has no more to write."""
        faults = [node.status().get("fault", "") for node in self.cluster.nodes]
        return sum(fault.startswith("journal: ") for fault in faults) > len(faults) // 2

    def break_all(self) -> None:
        """Have the disks of all nodes fail."""
        for node in self.cluster.nodes:
            limit(node, LIMIT_BYTES)

    def is_about(self, node: Node, path: Path) -> bool:
        """Say whether a node is about to come back, or has already."""
        return path.exists() or node.status().get("fault") == "-"

    def test_damaged(self) -> None:
        """A node whose file turns out to be damaged stays stopped, and says so."""
        victim, others = self.broken()
        with opened(victim) as connection:
            connection.execute("UPDATE log SET checksum = checksum / 2 WHERE slot = 1")
        limit(victim)
        self.assert_told(victim, "fault", "stays stopped: .*slot 1 is damaged")
        others[0].write("/after", "all")

    def test_vanished(self) -> None:
        """A node whose directory is gone says so, and goes on when it is there again."""
        victim, _ = self.broken()
        folder = journal_of(victim).parent
        away = folder.rename(folder.with_name("away"))
        limit(victim)
        self.assert_told(victim, "fault", "No such file")
        away.rename(folder)
        self.assert_back(victim)

    def test_exchanged(self) -> None:
        """Nobody gets the directory of a node that waits, and it takes no other one for its own."""
        victim, _ = self.broken()
        folder = journal_of(victim).parent
        self.assert_claimed(folder)
        folder.rename(folder.with_name("away"))
        folder.mkdir()
        (folder / "lock").touch()
        limit(victim)
        self.assert_told(victim, "fault", "stays stopped: .* is not the directory that")
        self.assertEqual([one.name for one in folder.iterdir()], ["lock"])

    def assert_claimed(self, folder: Path) -> None:
        """See that no other process gets a directory."""
        words = ("--listen", f"tcp:0:interface={HOST}", "--data", str(folder), "--web", "none")
        done = subprocess.run(
            twistd(*words), env=surroundings(), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Acoord: .* is in use by another process.*\n\Z")


class Alone(Disks):
    """A node without others."""

    size = 1

    def test_comes_back(self) -> None:
        """A node alone whose disk fails answers nothing as done that is not on the disk."""
        (node,) = self.begin()[:1]
        self.load(node, 300, lambda: limit(node, LIMIT_BYTES))
        self.assert_stopped(node, "I/O error|full")
        page = self.stack.enter_context(socket.create_connection((HOST, node.web_port)))
        page.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        self.assertIn(b" 503 ", page.recv(4096))
        line = self.stack.enter_context(node.link())
        limit(node)
        if not self.acknowledged:
            self.acknowledged["/k/first"] = node.write("/k/first", "x")
        self.assert_back(node)
        self.assertRaises(ConnectionError, line.line)
        while page.recv(4096):
            """Whoever keeps a connection is to see the new life, and not the old one for ever."""


class Full(Disks):
    """A disk without room, on a small one of its own."""

    def small_disk(self) -> tuple[Node, Path]:
        """Give the first node a small disk; skip where that is not possible."""
        node = self.cluster.nodes[0]
        folder = node.config.parent / "data"
        size = f"size={SMALL_DISK_BYTES},mode=700"
        mounted(self.stack, folder, "-t", "tmpfs", "-o", size, "coord")
        return node, folder

    def fill(self, folder: Path) -> Path:
        """Leave no room."""
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return filler
        raise AssertionError("a file never ends with nothing written")

    def test_comes_back(self) -> None:
        """A node whose disk is full comes back once there is room for its journal and a copy."""
        victim, folder = self.small_disk()
        _, others = self.begin()
        self.load(others[0], 1000, partial(self.fill, folder))
        self.load(others[1], 1000)
        self.assert_stopped(victim, "full")
        self.assert_told(victim, "fault", "are free, [0-9]+ are wanted to go on")
        (folder / "filler").unlink()
        self.assert_back(victim)

    def test_start(self) -> None:
        """A node whose disk is full, or read only, at the start says so in one line."""
        victim, folder = self.small_disk()
        filler = self.fill(folder)
        self.assertRegex(self.refused(victim), "full|No space left")
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        self.assertIn("Read-only file system", self.refused(victim))

    def refused(self, node: Node) -> str:
        """Start a node that cannot, and return the one line that it says."""
        node.start()
        assert node.process is not None
        self.assertEqual(node.process.wait(60), 1)
        node.clean()
        *_, last = node.log.read_text().splitlines()
        self.assertRegex(last, r"\Acoord: .* cannot be used: ")
        return last


class Hanging(Disks):
    """A disk that finishes nothing, and then goes on."""

    @contextmanager
    def frozen(self, folder: Path) -> Iterator[None]:
        """Have a file system hang."""
        run(["fsfreeze", "--freeze", str(folder)])
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(folder)], check=True)

    def disk_of_its_own(self, node: Node) -> Path:
        """Give a node a file system of its own; skip where that is not possible."""
        folder, image = node.config.parent / "data", node.config.parent / "image"
        with image.open("wb") as file:
            file.truncate(64 << 20)
        run(["mkfs.ext4", "-q", str(image)])
        mounted(self.stack, folder, "-o", "loop", str(image))
        return folder

    def test_leader(self) -> None:
        """A leader whose disk hangs lets another lead, and is a node as any when it goes on."""
        folders = {node.name: self.disk_of_its_own(node) for node in self.cluster.nodes}
        self.begin()
        victim = self.cluster.leader()
        others = [node for node in self.cluster.nodes if node is not victim]
        with self.frozen(folders[victim.name]):
            self.load(others[0], 100)
            self.assertEqual(len(self.acknowledged), 100)
            self.assert_told(victim, "disk", "slow: a save waits for")
            self.assert_told(others[0], "leader", "|".join(one.name for one in others))
            eventually(lambda: health(victim)[0] == 503, "it is not called healthy")
            self.load(others[0], 100)
            self.assertEqual(len(self.acknowledged), 200)
        self.assert_told(victim, "disk", "ok")
        self.assert_back(victim)
