"""``coord join``: one more node for a cluster that runs."""

from __future__ import annotations

import io
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Genesis
from coord.errors import CoordError, Unavailable
from coord.node.settings import Refused
from coord.peers.identity import Credentials, Identity
from coord.testing import MemoryClient
from coord.tools.cli import main
from coord.tools.cli_output import Output
from coord.tools.cli_words import parser
from coord.tools.init import BadMember, make_cluster
from coord.tools.join import join, joining_of


class Joins(SynchronousTestCase):
    """A cluster in memory called memory, of the node memory, and the folder of its CA."""

    def setUp(self) -> None:
        """Make both."""
        self.folder = Path(self.mktemp())
        make_cluster(self.folder, ["n1=127.0.0.1:8076", "n2=127.0.0.1:8077"], "memory")
        self.client = MemoryClient()
        self.client.store.perform(Genesis("memory", (("memory", "memory:0"),)))
        for name, port in (("n1", 8076), ("n2", 8077)):
            self.successResultOf(self.client.add_member(name, f"127.0.0.1:{port}"))

    def join(self, *words: str) -> str:
        """Return what a command prints."""
        out = io.BytesIO()
        given = parser().parse_args(["join", "--dir", str(self.folder), *words])
        doing = join(self.client, joining_of(given), Output(out, is_terminal=False))
        self.assertEqual(self.successResultOf(ensureDeferred(doing)), 0)
        return out.getvalue().decode()

    def refusal(self, *words: str) -> str:
        """Return why a node cannot join."""
        given = parser().parse_args(["join", "--dir", str(self.folder), *words])
        doing = ensureDeferred(join(self.client, joining_of(given), Output(io.BytesIO())))
        return str(self.failureResultOf(doing, Refused, CoordError).value)

    def config(self, name: str) -> dict[str, Any]:
        """Return what a node is told."""
        return tomllib.loads((self.folder / name / "coord.toml").read_text())

    def parts(self) -> dict[str, str]:
        """Return each member's part."""
        members = self.successResultOf(self.client.members())
        return {one.name: one.part for one in members}

    def test_join(self) -> None:
        """The folder is made, the node is a member, and the line that starts it is printed."""
        told = self.join("n4=127.0.0.1:8079")
        config = self.folder / "n4" / "coord.toml"
        self.assertIn("n4 is a member, and will vote", told)
        self.assertEqual(told.splitlines()[-1], f"  twistd -n coord --config {config}")
        self.assertEqual(self.parts()["n4"], "voter")
        made = self.config("n4")
        self.assertEqual((made["node"], made["cluster"], made["join"]), ("n4", "memory", True))
        self.assertIn("n1=127.0.0.1:8076", made["peer"])
        self.assertIn("n4=127.0.0.1:8079", made["peer"])
        place = config.parent
        files = (place / "ca.pem", place / "node.pem", place / "node.key")
        self.assertEqual(Identity.load(Credentials(*files), "n4").node, "n4")

    def test_ports(self) -> None:
        """On a host with others it gets ports for clients that none of them has."""
        self.join("n4=127.0.0.1:8079")
        self.join("n5=10.0.0.5:8076")
        listens = [tuple(self.config(name)["listen"]) for name in ("n1", "n2", "n4")]
        self.assertEqual(len(set(listens)), 3)
        self.assertEqual(self.config("n5")["listen"], self.config("n1")["listen"])
        self.assertNotEqual(self.config("n4")["web"], self.config("n2")["web"])

    def test_observer(self) -> None:
        """An observer is one from the start."""
        self.join("n4=127.0.0.1:8079", "--observer")
        self.assertEqual(self.parts()["n4"], "observer")
        self.assertTrue(self.config("n4")["observer"])
        self.assertNotIn("join", self.config("n4"))

    def test_replace(self) -> None:
        """A node can take the vote of one that it replaces, of whom it is not told."""
        self.join("n4=127.0.0.1:8077", "--replace", "n2")
        self.assertNotIn("n2", self.parts())
        self.assertNotIn("n2=127.0.0.1:8077", self.config("n4")["peer"])

    def test_again(self) -> None:
        """Asked for again it prints the same and changes nothing."""
        told = self.join("n4=127.0.0.1:8079")
        key = (self.folder / "n4" / "node.key").read_bytes()
        rev = self.client.store.rev
        self.assertEqual(self.join("n4=127.0.0.1:8079").split()[-4:], told.split()[-4:])
        self.assertEqual((self.folder / "n4" / "node.key").read_bytes(), key)
        self.assertEqual(self.client.store.rev, rev)

    def test_interrupted(self) -> None:
        """A folder that was made without its node becoming a member is taken up."""
        change = self.client.store.change_members

        def lost(asked: Any) -> Any:
            return change(asked) if asked.plan else Unavailable("nobody answers")

        self.patch(self.client.store, "change_members", lost)
        self.refusal("n4=127.0.0.1:8079")
        self.assertTrue((self.folder / "n4").is_dir())
        self.assertNotIn("n4", self.parts())
        self.client.store.change_members = change  # type: ignore[method-assign]
        self.join("n4=127.0.0.1:8079")
        self.assertEqual(self.parts()["n4"], "voter")

    def test_lost_disk(self) -> None:
        """A node whose disk was lost comes back by its old folder, told to join."""
        told = self.join("n2=127.0.0.1:8077", "--replace", "n2")
        self.assertTrue(told.endswith("n2/coord.toml --join\n"), told)
        (self.folder / "n2" / "data").mkdir()
        self.join("n2=127.0.0.1:8077", "--replace", "n2")
        (self.folder / "n2" / "data" / "journal").touch()
        self.assertIn("holds a node's state", self.refusal("n2=127.0.0.1:8077", "--replace", "n2"))

    def test_refused_first(self) -> None:
        """What the cluster refuses is refused before anything is made."""
        for words in (
            ("memory=127.0.0.1:8079",),
            ("n1=127.0.0.1:8079",),
            ("n4=127.0.0.1:8076",),
            ("n4=127.0.0.1:8079", "--replace", "n9"),
        ):
            self.assertTrue(self.refusal(*words))
        self.assertFalse((self.folder / "n4").exists())
        self.assertEqual(set(self.parts()), {"memory", "n1", "n2"})

    def test_other_cluster(self) -> None:
        """A folder of one cluster gives no node to another."""
        other = Path(self.mktemp())
        make_cluster(other, ["n1=127.0.0.1:8076"], "another")
        self.folder = other
        self.assertIn("of the cluster another", self.refusal("n4=127.0.0.1:8079"))
        self.assertFalse((other / "n4").exists())

    def test_usage(self) -> None:
        """What cannot be is told before any server is asked."""
        for words in (
            ("n4",),
            ("N4=h:1",),
            ("ca=h:1",),
            ("n4=h:1", "--observer", "--replace", "n1"),
            ("n4=h:1", "--replace", "N 1"),
        ):
            given = parser().parse_args(["join", "--dir", str(self.folder), *words])
            self.assertRaises(BadMember, joining_of, given)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.assertEqual(main(["join", "n4=h:1", "--dir", self.mktemp()]), 1)
        self.assertRegex(err.getvalue(), r"\Acoord: [^\n]+ holds no CA[^\n]+\n\Z")

    def test_alone(self) -> None:
        """A node that no other can reach gets no company, and is told what it lacks."""
        self.client = MemoryClient()
        self.client.store.perform(Genesis("memory", (("memory", "localhost:0"),)))
        self.assertIn("--peer-listen", self.refusal("n4=127.0.0.1:8079"))
        self.assertFalse((self.folder / "n4").exists())
