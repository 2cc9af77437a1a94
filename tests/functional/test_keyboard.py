"""Sessions, locks and transactions on three nodes as processes, as someone at a keyboard does."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.frontends.test_line import KEYBOARD
from tests.functional.cluster import Cluster, Link, eventually


class Keyboard(TestCase):
    """A cluster of three, and people with nc."""

    def setUp(self) -> None:
        """Start three nodes."""
        self.cluster = Cluster(3)
        self.addCleanup(self.cluster.close)
        self.cluster.start()

    def links(self) -> list[Link]:
        """Return a connection to each node."""
        links = [node.link() for node in self.cluster.nodes]
        for link in links:
            self.addCleanup(link.close)
        return links

    def test_page(self) -> None:
        """The session at the keyboard goes byte for byte as the protocol's page shows it."""
        link = self.links()[1]
        for request, reply in KEYBOARD:
            link.send(request)
            self.assertEqual("\n".join(link.lines(reply.count("\n"))) + "\n", reply)

    def test_own_session_ends_with_its_connection(self) -> None:
        """What goes with a connection is gone on every node as soon as that is closed."""
        first, second, third = self.links()
        self.assertTrue(first.ask("ADD ephemeral /here 1").startswith("OK "))
        token = first.ask("LOCK /lock a")
        second.send("LOCK wait=10 /lock b\n")
        self.assertEqual(third.ask("GET /here").split()[-1], "1")
        first.close()
        self.assertGreater(int(second.line().split()[1]), int(token.split()[1]))
        self.assertTrue(third.ask("GET /here").startswith("ERR NOENT "))
        self.assertTrue(third.ask("GET /lock").endswith(" b"))

    def test_session_outlives_its_node(self) -> None:
        """A session is taken up on another node: it owns what it owned, and answers as before."""
        links = self.links()
        session = links[0].ask("SESSION timeout=20").split()[1]
        written = links[0].ask("ADD seq ephemeral id=w1 /q/n- x")
        token = links[0].ask("LOCK /lock a")
        self.cluster.nodes[0].kill()
        link = links[1]
        eventually(
            lambda: link.ask(f"SESSION resume={session}") == f"OK {session} timeout=20",
            "taking up the session",
        )
        self.assertEqual(link.ask("ADD seq ephemeral id=w1 /q/n- x"), written)
        self.assertEqual(link.ask("OUTCOME w1"), written)
        self.assertEqual(link.ask("LOCK /lock a"), token)
        self.assertTrue(link.ask("SESSION keep").startswith(f"OK {session.split(':')[0]} "))
        self.assertTrue(link.ask("SESSION end").startswith("OK "))
        self.assertTrue(links[2].ask("GET /lock").startswith("ERR NOENT "))

    def test_silent_session_expires(self) -> None:
        """A session that nobody keeps expires, on every node, and its connection is told."""
        first, second, _ = self.links()
        session = first.ask("SESSION timeout=0.5").split()[1].split(":")[0]
        second.ask("WATCH /here")
        rev = first.ask("SET ephemeral /here 1").split()[1]
        self.assertEqual(second.line(), f"EVENT {rev} set /here 1")
        gone = second.line().split()
        self.assertEqual([gone[0], *gone[2:]], ["EVENT", "del", "/here"])
        self.assertEqual(first.line(), f"EVENT {gone[1]} expired {session}")
        self.assertTrue(first.ask("SET ephemeral /here 1").startswith("ERR SESSION_EXPIRED "))

    def test_danger(self) -> None:
        """Who holds a lock at a node that lost the others is told, and told when it is over."""
        leader = self.cluster.leader()
        node, *others = sorted(self.cluster.nodes, key=lambda node: node is leader)
        link = node.link()
        self.addCleanup(link.close)
        session = link.ask("SESSION timeout=60").split()[1].split(":")[0]
        mine = link.ask("LOCK /lock me")
        own = node.link()
        self.addCleanup(own.close)
        rev = own.ask("SET ephemeral /here 1").split()[1]
        for other in others:
            other.freeze()
        words = own.line().split()
        self.assertEqual(words[:3], ["EVENT", rev, "jeopardy"])
        own.send("LOCK /other\n")
        self.assertTrue(own.line().startswith(("ERR UNAVAILABLE ", "ERR UNKNOWN ")))
        for other in others:
            other.thaw()
        self.assertEqual(own.line().split()[::2], ["EVENT", "safe"])
        self.assertEqual(link.ask("GET local /lock").split()[-1], "me")
        eventually(lambda: link.ask("SESSION keep").startswith(f"OK {session} "), "a sure word")
        self.assertEqual(link.ask("LOCK /lock me"), mine)
