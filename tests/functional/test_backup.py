"""``coord-backup`` and ``coord`` as processes, against real nodes that are killed meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from shutil import rmtree

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.cluster import (
    HOST,
    PATIENCE_SECONDS,
    Cluster,
    Link,
    Node,
    eventually,
    surroundings,
)

NODES = 3000


class Case(SynchronousTestCase):
    """Programs run beside a cluster."""

    def setUp(self) -> None:
        """Make a folder for what they write."""
        self.folder = Path(tempfile.mkdtemp(prefix="coord-test-"))
        self.addCleanup(rmtree, self.folder, ignore_errors=True)

    def cluster(self, size: int) -> Cluster:
        """Return a cluster that serves."""
        cluster = Cluster(size)
        self.addCleanup(cluster.close)
        cluster.start()
        return cluster

    def words(self, module: str, *words: str) -> list[str]:
        """Return the command line of one of the programs."""
        return [sys.executable, "-m", f"coord.tools.{module}", *words]

    def servers(self, *nodes: Node) -> dict[str, str]:
        """Return an environment that names these nodes."""
        addresses = ",".join(f"{HOST}:{node.line_port}" for node in nodes)
        return {**surroundings(), "COORD_SERVERS": addresses}

    def run_program(
        self, module: str, *words: str, nodes: list[Node], status: int = 0, typed: bytes = b""
    ) -> str:
        """Run a program to its end; return what it printed, or its complaint where it refused."""
        ended = subprocess.run(
            self.words(module, *words),
            input=typed,
            capture_output=True,
            env=self.servers(*nodes),
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
        complaint = ended.stderr.decode()
        self.assertEqual(ended.returncode, status, complaint)
        self.assertNotIn("Traceback", complaint)
        return complaint if status else ended.stdout.decode()

    def start_program(self, module: str, *words: str, nodes: list[Node]) -> subprocess.Popen[bytes]:
        """Start a program that goes on; it is ended with the test."""
        log = self.folder / "log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.words(module, *words), env=self.servers(*nodes), stdout=file, stderr=file
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def log(self) -> str:
        """Return what such programs said."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def load(self, node: Node) -> None:
        """Write some thousand nodes, some with bytes that no line bears."""
        with node.link() as link:
            for first in range(0, NODES, 500):
                numbers = range(first, first + 500)
                link.send(b"".join(b"SET /load/%04d value %d\n" % (one, one) for one in numbers))
                link.lines(500)
            link.send(b"SET /binary {6}\n\x00\xff\n\r\n{\n")
            link.line()
            link.ask("SET /a%20space ")
            link.ask("SET / the root")

    def rows(self, path: Path) -> list[str]:
        """Return path and value of each node of a dump, but for the cluster's own."""
        lines = path.read_text(encoding="utf-8").split("\n")[1:-2]
        found = [line.split(" ", 4)[3:] for line in lines]
        return [" ".join(one) for one in found if not one[0].startswith("/ctl/")]


class Backups(Case):
    """Dumps, restores and records of real clusters."""

    def test_from_one_into_another(self) -> None:
        """A dump taken under load is one revision, and comes back whole in another cluster."""
        one, two = self.cluster(1).nodes[0], self.cluster(1).nodes[0]
        self.load(one)
        first, again = self.folder / "first", self.folder / "again"
        with Writing(one):
            self.run_program("backup", "dump", str(first), "--rows-per-second", "6000", nodes=[one])
        with first.open(encoding="utf-8") as file:
            rev = re.search(r"rev=(\d+)", file.readline())
        assert rev is not None
        rows = self.rows(first)
        with one.link() as link:
            asked = [
                line.split(" ", 3) for line in link.rows(f"WALK rev={rev[1]} /counter/**")[:-1]
            ]
        told = [row for row in rows if row.startswith("/counter/")]
        self.assertEqual(told, [f"{row[1]} {row[3]}" for row in asked])
        printed = self.run_program("backup", "restore", str(first), nodes=[two])
        self.assertIn(f"{len(rows):,} made", printed)
        self.assertIn("/ctl left out", printed)
        self.run_program("backup", "dump", str(again), nodes=[two])
        self.assertEqual(self.rows(again), rows)
        self.run_program("backup", "verify", str(first), str(again), nodes=[])
        refusal = self.run_program("backup", "restore", str(first), nodes=[two], status=1)
        self.assertRegex(refusal, r"\Acoord-backup: the cluster is not empty[^\n]+\n\Z")

    def test_node_killed_under_a_dump(self) -> None:
        """A dump goes on at another node, at the same revision, where its own is killed."""
        cluster = self.cluster(3)
        self.load(cluster.nodes[0])
        path = self.folder / "dump"
        leader = cluster.leader()
        others = [node for node in cluster.nodes if node is not leader]
        dumping = self.start_program(
            "backup", "dump", str(path), "--rows-per-second", "1000", nodes=[others[0], leader]
        )
        partial = self.folder / "dump.partial"
        eventually(lambda: partial.exists() and partial.stat().st_size > 0, "the dump has begun")
        others[0].kill()
        self.assertIsNone(dumping.poll())
        self.assertEqual(dumping.wait(PATIENCE_SECONDS), 0, self.log())
        self.assertFalse(partial.exists())
        self.assertEqual(len(self.rows(path)), NODES + 3)
        self.run_program("backup", "verify", str(path), nodes=[])

    def test_interrupted_dump(self) -> None:
        """A dump that is broken off leaves no file, and says nothing but its status."""
        nodes = self.cluster(1).nodes
        self.load(nodes[0])
        words = ("backup", "dump", str(self.folder / "dump"), "--rows-per-second", "100")
        dumping = self.start_program(*words, nodes=nodes)
        partial = self.folder / "dump.partial"
        eventually(lambda: partial.exists() and partial.stat().st_size > 0, "the dump has begun")
        dumping.send_signal(signal.SIGINT)
        self.assertEqual(dumping.wait(PATIENCE_SECONDS), 130)
        self.assertEqual([one.name for one in self.folder.iterdir()], ["log"])
        self.assertEqual(self.log(), "")

    def test_node_killed_under_a_follow(self) -> None:
        """A record has every moment, whatever became of the nodes and of itself."""
        cluster = self.cluster(3)
        folder = self.folder / "record"
        words = ("backup", "follow", str(folder), "--rotate-bytes", "2000")
        following = self.start_program(*words, nodes=cluster.nodes)
        eventually(lambda: "the base of revision" in self.log(), "the base is there")
        past: dict[int, str] = {}

        def live(node: Node, name: str) -> None:
            for number in range(20):
                value = f"{name}{number}"
                past[node.write(f"/now/{number % 7}", value)] = value

        live(cluster.nodes[1], "one")
        cluster.nodes[0].kill()
        live(cluster.nodes[1], "two")
        cluster.nodes[0].start()
        cluster.nodes[0].wait_until_serving()
        cluster.nodes[1].kill()
        live(cluster.nodes[2], "three")
        following.kill()
        following.wait()
        live(cluster.nodes[2], "four")
        following = self.start_program(*words, nodes=cluster.nodes)
        last = max(past)

        def caught_up() -> bool:
            texts = (path.read_text(encoding="utf-8") for path in folder.glob("*changes*"))
            return any(f" set {last} " in text for text in texts)

        eventually(caught_up, "the record has it all")
        following.send_signal(signal.SIGTERM)
        self.assertEqual(following.wait(PATIENCE_SECONDS), 0, self.log())
        self.run_program("backup", "verify", str(folder), nodes=[])
        target = self.cluster(1).nodes[0]
        for rev in [*sorted(past)[::13], last]:
            self.run_program("backup", "restore", str(folder), "--at", str(rev), nodes=[target])
            with cluster.nodes[2].link() as link, target.link() as copy:
                rows = link.rows(f"WALK rev={rev} /now/**")[:-1]
                wanted = [(row.split()[1], row.split()[3]) for row in rows]
                found = [(row.split()[1], row.split()[3]) for row in copy.rows("WALK /now/**")[:-1]]
                self.assertEqual(found, wanted)
                copy.ask("DEL tree /now")
        self.run_program("backup", "restore", str(folder), "--at", "999999", nodes=[], status=1)

    def test_sessions(self) -> None:
        """What goes with a session is left out and counted; lifetimes and rules come back."""
        one, two = self.cluster(1).nodes[0], self.cluster(1).nodes[0]
        dump, folder = self.folder / "dump", self.folder / "record"
        with one.link() as link:
            for request in (
                "SET /config old",
                "SET ttl=500 /seen up",
                "SET /ctl/acl * may read /**",
                "ADD ephemeral /services/1 up",
                "LOCK /locks/1 me",
                "LOCK /config mine",
            ):
                self.assertTrue(link.ask(request).startswith("OK "), request)
            log = self.run_twice(one, dump, folder, link)
            self.assertIn("left out: 1 ephemeral node, 2 locks, 1 session", log)
        sound = self.run_program("backup", "verify", str(dump), nodes=[])
        self.assertIn("left out: 1 ephemeral node, 2 locks, 1 session", sound)
        last = one.write("/last", "word")
        self.run_program("backup", "restore", str(dump), nodes=[two])
        self.see_what_lasts(two)
        with two.link() as link:
            for path in ("/ctl/acl", "/config", "/seen"):
                self.assertTrue(link.ask(f"DEL {path}").startswith("OK "), path)
        eventually(lambda: f" set {last} " in self.changes(folder), "the record has it all")
        self.assertNotIn("/services", self.changes(folder))
        self.run_program("backup", "restore", str(folder), nodes=[two])
        self.see_what_lasts(two)

    def test_secrets(self) -> None:
        """A cluster that wants secrets is dumped and restored by who shows one, rules and all."""
        node = self.closed()
        dump = self.folder / "dump"
        complaint = self.run_program("backup", "dump", str(dump), nodes=[node], status=1)
        self.assertRegex(complaint, r"\Acoord-backup: DENIED [^\n]+\n\Z")
        shown = ("--secret-file", str(self.folder / "admin"))
        self.run_program("cli", "set", "/a", "1", *shown, nodes=[node])
        self.run_program("cli", "set", "/ctl/acl", "bob may read /a", *shown, nodes=[node])
        self.run_program("cli", "lock", "/l", *shown, "--", "true", nodes=[node])
        self.run_program("backup", "dump", str(dump), *shown, nodes=[node])
        copy = self.closed()
        reading = ("--secret-file", str(self.folder / "read"))
        self.run_program("backup", "restore", str(dump), *reading, nodes=[copy], status=1)
        self.run_program("backup", "restore", str(dump), *shown, nodes=[copy])
        self.assertEqual(
            self.run_program("cli", "get", "/ctl/acl", *shown, nodes=[copy])[:3], "bob"
        )
        self.run_program("cli", "get", "/a", *reading, nodes=[copy], status=1)

    def closed(self) -> Node:
        """Return a node that wants to know who asks."""
        cluster = Cluster(1)
        self.addCleanup(cluster.close)
        for level in ("read", "admin"):
            path = self.folder / level
            path.write_text(f"{level}er = s3cret-{level}\n")
            cluster.nodes[0].options += (f"--{level}-secret", str(path))
        cluster.start()
        return cluster.nodes[0]

    def run_twice(self, node: Node, dump: Path, folder: Path, link: Link) -> str:
        """Dump and follow a node while something comes that does not last; return what is said."""
        self.start_program("backup", "follow", str(folder), nodes=[node])
        eventually(lambda: "the base of revision" in self.log(), "the base is there")
        link.ask("ADD ephemeral /services/2 up")
        link.ask("SET ttl=500 /seen up")
        link.ask("DEL /services/2")
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                self.words("backup", "dump", str(dump)),
                env=self.servers(node),
                stderr=log,
                check=True,
                timeout=PATIENCE_SECONDS,
            )
        return self.log()

    def changes(self, folder: Path) -> str:
        """Return the changes of a record."""
        texts = (path.read_text(encoding="utf-8") for path in folder.glob("*changes*"))
        return "".join(texts)

    def see_what_lasts(self, node: Node) -> None:
        """See that a restored cluster has what would have been there without sessions."""
        self.assertTrue(node.ask("GET /config").endswith(" old"))
        self.assertIn(" ttl=500 ", node.ask("STAT /seen"))
        self.assertTrue(node.ask("GET /ctl/acl").endswith(" * may read /**"))
        for path in ("/services/1", "/services", "/locks/1", "/locks"):
            self.assertTrue(node.ask(f"GET {path}").startswith("ERR NOENT"), path)

    def test_offline(self) -> None:
        """A node that was killed is dumped from its directory, up to its last answer."""
        node = self.cluster(1).nodes[0]
        self.load(node)
        last = node.write("/last", "word")
        running = str(node.config.parent / "data")
        path = self.folder / "dump"
        refusal = self.run_program("backup", "offline", running, str(path), nodes=[], status=1)
        self.assertIn("in use", refusal)
        node.kill()
        self.run_program("backup", "offline", running, str(path), nodes=[])
        self.assertEqual(len(self.rows(path)), NODES + 4)
        self.assertIn(f" node {last} /last word\n", path.read_text(encoding="utf-8"))
        node.start()
        node.wait_until_serving()
        self.assertEqual(node.ask("GET /last"), f"VALUE {last} word")
        nowhere = self.folder / "nowhere"
        self.run_program("backup", "offline", str(nowhere), str(path) + "2", nodes=[], status=1)
        self.assertFalse(nowhere.exists())

    def test_offline_of_three(self) -> None:
        """Of three nodes, each directory holds what that node knew to be decided."""
        cluster = self.cluster(3)
        rev = cluster.nodes[0].write("/last", "word")
        eventually(
            lambda: all(int(node.status().get("rev", 0)) >= rev for node in cluster.nodes),
            "all nodes have it",
        )
        for node in cluster.nodes:
            node.stop()
            data, path = node.config.parent / "data", self.folder / node.name
            self.run_program("backup", "offline", str(data), str(path), "--undecided", nodes=[])
            self.assertEqual(self.rows(path), ["/last word"])

    def test_pipes(self) -> None:
        """A dump goes through a pipe, compressed or not, without a word."""
        one, two = self.cluster(1).nodes[0], self.cluster(1).nodes[0]
        self.load(one)
        lines = self.run_program("backup", "dump", "-", nodes=[one])
        printed = self.run_program("backup", "restore", "-", nodes=[two], typed=lines.encode())
        self.assertIn(f"{NODES + 3:,} made", printed)
        cut = lines.encode()[:-100]
        complaint = self.run_program("backup", "verify", "-", nodes=[], typed=cut, status=1)
        self.assertRegex(complaint, r"\Acoord-backup: -: line \d+: [^\n]+\n\Z")

    def test_refusals(self) -> None:
        """What cannot be done is said in a line, with a status that says why."""
        path = self.folder / "file"
        path.write_text("something else\n")
        for words, status in (
            (("dump", str(path)), 1),
            (("verify", str(path)), 1),
            (("verify", str(self.folder / "none")), 1),
            (("restore", str(path)), 1),
            (("restore", str(path), "--at", "yesterday"), 2),
            (("dump", str(path) + "2", "--server", "nowhere"), 2),
        ):
            complaint = self.run_program("backup", *words, nodes=[], status=status)
            self.assertRegex(complaint, r"\Acoord-backup: [^\n]+\n\Z")
        self.assertEqual([one.name for one in self.folder.iterdir()], ["file"])


class Writing:
    """Somebody who writes to a node all the while."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        with self._node.link() as link:
            number = 0
            while not self._stopped.is_set():
                number += 1
                link.ask(f"SET /counter/{number % 50} {number}")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


class Commands(Case):
    """``coord`` in a shell."""

    def test_first_steps(self) -> None:
        """What a visitor tries first works, and any bytes go in and come out."""
        nodes = self.cluster(1).nodes
        revision = self.run_program("cli", "set", "/message", nodes=nodes, typed=b"hello, world\n")
        self.assertEqual(self.run_program("cli", "get", "/message", nodes=nodes), "hello, world\n")
        self.assertEqual(
            json.loads(self.run_program("cli", "get", "/message", "--json", nodes=nodes)),
            {"path": "/message", "rev": int(revision), "value": "hello, world"},
        )
        self.run_program("cli", "set", "/raw", "--raw", nodes=nodes, typed=b"\0\n\n")
        self.assertEqual(self.run_program("cli", "get", "/raw", "--raw", nodes=nodes), "\0\n\n")
        self.run_program("cli", "set", "/words", "two", "words", nodes=nodes)
        self.assertEqual(self.run_program("cli", "get", "/words", nodes=nodes), "two words\n")
        refusal = self.run_program("cli", "get", "/none", nodes=nodes, status=1)
        self.assertEqual(refusal, "coord: NOENT /none is not there\n")

    def test_nobody_there(self) -> None:
        """Where no server is reached the status is 3, in a line."""
        node = Node("n1", self.folder / "n1" / "coord.toml")
        complaint = self.run_program(
            "cli", "get", "/a", "--request-timeout", "1", nodes=[node], status=3
        )
        self.assertRegex(complaint, r"\Acoord: no server[^\n]+\n\Z")

    def test_watch_through_a_kill(self) -> None:
        """A watch runs its command once for each change, in order, though its node is killed."""
        cluster = self.cluster(3)
        first, second, _ = cluster.nodes
        told = self.folder / "told"
        command = f'echo "$COORD_REV $COORD_EVENT $COORD_PATH $(cat)" >> {told}'
        begin = int(first.ask("SET /w/0 0").split()[1])
        watching = self.start_program(
            *("cli", "watch", "/w/**", "--from", str(begin), "--count", "20", "--exec", command),
            nodes=[first, second],
        )
        wanted = [f"{second.write('/w/x', str(number))} set /w/x {number}" for number in range(10)]
        eventually(told.exists, "the watch has begun")
        first.kill()
        wanted += [f"{second.write('/w/y', str(number))} set /w/y {number}" for number in range(10)]
        self.assertEqual(watching.wait(PATIENCE_SECONDS), 0, self.log())
        self.assertEqual(told.read_text().splitlines(), wanted)

    def test_interrupted(self) -> None:
        """Ctrl-C ends a watch without a word, with status 130."""
        nodes = self.cluster(1).nodes
        watching = self.start_program("cli", "watch", "/**", "--from", "0", nodes=nodes)
        eventually(lambda: "/ctl/cluster" in self.log(), "the watch has begun")
        before = self.log()
        watching.send_signal(signal.SIGINT)
        self.assertEqual(watching.wait(PATIENCE_SECONDS), 130)
        self.assertEqual(self.log(), before)

    def test_reader_gone(self) -> None:
        """``coord walk | head`` is no reason to complain."""
        nodes = self.cluster(1).nodes
        self.load(nodes[0])
        reading, writing = os.pipe()
        os.close(reading)
        try:
            ended = subprocess.run(
                self.words("cli", "walk", "/**"),
                stdout=writing,
                stderr=subprocess.PIPE,
                env=self.servers(*nodes),
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        finally:
            os.close(writing)
        self.assertEqual((ended.returncode, ended.stderr), (141, b""))
