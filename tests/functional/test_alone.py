"""One node as a process: what it keeps, what it serves, how it starts and stops."""

from __future__ import annotations

import contextlib
import resource
import signal
import urllib.error
import urllib.request
from contextlib import ExitStack
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from tests.functional.cluster import HOST, Cluster, Link, eventually


class Alone(TestCase):
    """A node without peers."""

    def setUp(self) -> None:
        """Start a node on free ports."""
        self.cluster = Cluster(1)
        self.addCleanup(self.cluster.close)
        self.cluster.start()
        self.node = self.cluster.nodes[0]

    def test_round_trip(self) -> None:
        """What is written is read, on the same connection and on another."""
        with self.node.link() as link:
            written = link.ask("SET /message hello, world")
            self.assertRegex(written, "^OK [0-9]+$")
            revision = written.split()[1]
            self.assertEqual(link.ask("GET /message"), f"VALUE {revision} hello, world")
        self.assertEqual(self.node.ask("GET /message"), f"VALUE {revision} hello, world")
        self.assertTrue(self.node.ask("GET /other").startswith("ERR NOENT "))

    def test_killed(self) -> None:
        """Everything that was answered OK is there after kill -9, once."""
        with self.node.link() as link:
            link.send("".join(f"SET /keys/{number} {number}\n" for number in range(500)).encode())
            answers = link.lines(500)
        self.assertEqual({answer.split()[0] for answer in answers}, {"OK"})
        self.node.kill()
        self.cluster.start()
        with self.node.link() as link:
            rows = link.rows("WALK /keys/*")
        self.assertEqual(
            {row.split()[1]: row.split()[3] for row in rows[:-1]},
            {f"/keys/{number}": str(number) for number in range(500)},
        )
        self.assertEqual(rows[-1], f"END {answers[-1].split()[1]}")

    def test_stops(self) -> None:
        """A node that is asked to stop does, and can be started again at once."""
        self.assertIn(self.node.stop(), (0, -signal.SIGTERM))
        self.cluster.start()
        self.assertTrue(self.node.ask("PING").startswith("OK"))

    def test_status(self) -> None:
        """STATUS says all that is promised, and MEMBERS names the node itself."""
        status = self.node.status()
        for name in (
            *("node", "cluster", "role", "leader", "quorum", "rev", "slot", "digest"),
            *("sessions", "watches", "uptime", "version"),
        ):
            self.assertIn(name, status)
        self.assertEqual((status["node"], status["leader"], status["quorum"]), ("n1", "n1", "yes"))
        with self.node.link() as link:
            rows = link.rows("MEMBERS")
        self.assertRegex(rows[0], r"^ITEM n1 \S+:[0-9]+ voter up$")

    def test_web(self) -> None:
        """The web page shows the status, and the probe says that all is well."""
        self.assertIn("node=n1", self.load("/"))
        self.assertEqual(self.load("/health"), "ok\n")

    def load(self, path: str) -> str:
        """Return a page of the node's web site."""
        url = f"http://{HOST}:{self.node.web_port}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text: str = answer.read().decode()
            return text


class Crowd(TestCase):
    """Many clients of one node."""

    CROWD = 1500

    def setUp(self) -> None:
        """Let this process have the files that a crowd of clients takes."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2 * self.CROWD:
            raise SkipTest("this machine does not let a process have so many files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * self.CROWD), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def test_silent(self) -> None:
        """A crowd that connects and says nothing keeps nobody from being served."""
        with Cluster(1) as cluster, ExitStack() as crowd:
            cluster.start()
            node = cluster.nodes[0]
            for _ in range(self.CROWD):
                crowd.enter_context(node.link())
            self.assertTrue(node.ask("SET /a b").startswith("OK "))

    def test_one_too_many(self) -> None:
        """Who comes when no more are allowed is told so, and the others are served."""
        with Cluster(1, ["--connections-max", "2"]) as cluster:
            cluster.start()
            node = cluster.nodes[0]
            admitted: list[Link] = []

            def two_admitted() -> bool:
                """Say whether two are in; who asked before may still be on the way out."""
                link = node.link()
                self.addCleanup(link.close)
                with contextlib.suppress(ConnectionError):  # who is refused may not hear why
                    if link.ask("PING") == "OK":
                        admitted.append(link)
                return len(admitted) == 2

            eventually(two_admitted, "two are admitted")
            with node.link() as third:
                self.assertTrue(third.line().startswith("ERR OVERLOADED "))
                self.assertRaises(ConnectionError, third.line)
            self.assertEqual([one.ask("PING") for one in admitted], ["OK", "OK"])


class Lonely(TestCase):
    """A node that never reached its peers."""

    def test_health(self) -> None:
        """The probe of a node without a quorum answers 503 and says why."""
        cluster = Cluster(3)
        self.addCleanup(cluster.close)
        node = cluster.nodes[0]
        node.start()
        eventually(lambda: bool(node.status()), "the node answers")
        url = f"http://{HOST}:{node.web_port}/health"
        error = self.assertRaises(urllib.error.HTTPError, urllib.request.urlopen, url, timeout=30)
        with error:
            self.assertEqual(error.code, 503)
            self.assertIn(b"no quorum", error.read())
