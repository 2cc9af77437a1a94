"""``coord init``: folders from which nodes can start."""

from __future__ import annotations

import io
import stat
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from coord.node.settings import Refused, parse, read_toml
from coord.peers.identity import Credentials, Identity
from coord.tools.cli import main
from coord.tools.init import make_cluster

MEMBERS = ["n1=10.0.0.1:8076", "n2=127.0.0.1:8076", "n3=[::1]:8077", "n4=127.0.0.1:8078"]


class Init(SynchronousTestCase):
    """Making a cluster's folders."""

    def setUp(self) -> None:
        """Choose a folder that is not there yet."""
        self.folder = Path(self.mktemp())

    def test_settings(self) -> None:
        """Each node's file is read by a node, and says who it is, where, and who the others are."""
        told = [parse(read_toml(path)) for path in make_cluster(self.folder, MEMBERS, "prod")]
        self.assertEqual([one.node for one in told], ["n1", "n2", "n3", "n4"])
        self.assertEqual({one.cluster for one in told}, {"prod"})
        everyone = tuple((text[:2], text[3:]) for text in MEMBERS)
        self.assertEqual({one.peers for one in told}, {everyone})
        self.assertEqual(
            [one.peer_listen for one in told],
            [
                "tcp:8076",
                "tcp:8076:interface=127.0.0.1",
                r"tcp6:8077:interface=\:\:1",
                "tcp:8078:interface=127.0.0.1",
            ],
        )

    def test_one_host(self) -> None:
        """Nodes on one host have ports of their own for clients and for the web page."""
        told = [parse(read_toml(path)) for path in make_cluster(self.folder, MEMBERS)]
        same_host = [told[1], told[3]]
        self.assertEqual(len({one.listen for one in same_host}), 2)
        self.assertEqual(len({one.web for one in same_host}), 2)

    def test_certificates(self) -> None:
        """Each node's certificate is its own, signed by the cluster's CA; keys are private."""
        for path in make_cluster(self.folder, MEMBERS):
            told = parse(read_toml(path))
            assert told.ca
            assert told.certificate
            assert told.key
            Identity.load(Credentials(told.ca, told.certificate, told.key), told.node)
            self.assertEqual(stat.S_IMODE(told.key.stat().st_mode), 0o600)
            self.assertFalse((path.parent / "ca.key").exists())
        self.assertEqual(stat.S_IMODE((self.folder / "ca" / "ca.key").stat().st_mode), 0o600)

    def test_refused(self) -> None:
        """Wrong names and folders that are there already are refused before anything is made."""
        for members in (["n1"], ["n1=h:1", "n1=h:2"], ["ca=h:1"], ["N 1=h:1"], ["n1=h:99999"]):
            self.assertRaises(Refused, make_cluster, self.folder, members)
        self.assertRaises(Refused, make_cluster, self.folder, ["n1=h:1"], "two words")
        self.assertFalse(self.folder.exists())
        (self.folder / "n2").mkdir(parents=True)
        self.assertRaises(Refused, make_cluster, self.folder, ["n1=h:1", "n2=h:2"])
        self.assertEqual([one.name for one in self.folder.iterdir()], ["n2"])


class Command(SynchronousTestCase):
    """The command line."""

    def run_command(self, *words: str) -> tuple[int, str, str]:
        """Return exit status, standard output and standard error of a command."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as left:
                status = int(left.code or 0)
        return status, out.getvalue(), err.getvalue()

    def test_init(self) -> None:
        """``coord init`` says how to start what it made."""
        folder = self.mktemp()
        status, out, err = self.run_command("init", "n1=127.0.0.1:8076", "--dir", folder)
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"twistd -n coord --config {folder}/n1/coord.toml", out)

    def test_again(self) -> None:
        """A second time is refused in one line, with status 1."""
        folder = self.mktemp()
        self.run_command("init", "n1=127.0.0.1:8076", "--dir", folder)
        status, out, err = self.run_command("init", "n1=127.0.0.1:8076", "--dir", folder)
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"\Acoord: [^\n]+\n\Z")

    def test_usage(self) -> None:
        """What makes no sense at all ends with status 2."""
        for words in ((), ("init",), ("init", "n1=h:1"), ("sing",)):
            self.assertEqual(self.run_command(*words)[0], 2)

    def test_members_that_cannot_be(self) -> None:
        """Nodes that cannot be are told of by what was typed, with status 2; nothing is made."""
        folder = self.mktemp()
        for members, wanted in (
            (["n1"], "'n1' is not NAME=HOST:PORT, such as n1=10.0.0.1:8076"),
            (["n1=h:port"], "'n1=h:port' is not NAME=HOST:PORT, such as n1=10.0.0.1:8076"),
            (["n1=h:99999"], "'n1=h:99999': 99999 is no port; take one from 1 to 65535"),
            (["n1=h:0"], "'n1=h:0': 0 is no port; take one from 1 to 65535"),
            (["n1=h:1", "n1=h:2"], "n1 is named twice: name each node once"),
            (["n1=h:1", "n2=H:1"], "n1 and n2 cannot both be at H:1"),
            (["n1=n2:1", "n2=h:1"], "n1 cannot be at a host that is called as the node n2 is"),
            (["ca=h:1"], "no node can be called ca: that is where the CA is kept"),
            (["clients=h:1"], "no node can be called clients: that is where theirs are kept"),
            ([], "name the nodes of a new cluster, NAME=HOST:PORT each, or a --client of one"),
        ):
            told = self.run_command("init", *members, "--dir", folder)
            self.assertEqual(told, (2, "", f"coord: {wanted}\n"))
        status, _, err = self.run_command("init", "N 1=h:1", "--dir", folder)
        self.assertEqual(status, 2)
        self.assertTrue(err.startswith("coord: 'N 1' is no name for a node: "), err)
        self.assertFalse(Path(folder).exists())

    def test_clients(self) -> None:
        """Clients get certificates with the cluster or later, each in a folder of its own."""
        folder = Path(self.mktemp())
        new = ("init", "n1=127.0.0.1:8076", "--dir", str(folder), "--client", "alice")
        status, out, err = self.run_command(*new)
        self.assertEqual((status, err), (0, ""))
        self.assertIn(str(folder / "clients" / "alice"), out)
        later = ("init", "--dir", str(folder), "--client", "bob", "--client", "web-1.example.org")
        self.assertEqual(self.run_command(*later)[0], 0)
        for name in ("alice", "bob", "web-1.example.org"):
            place = folder / "clients" / name
            files = {one.name for one in place.iterdir()}
            self.assertEqual(files, {"ca.pem", "client.key", "client.pem"})
            self.assertEqual(stat.S_IMODE((place / "client.key").stat().st_mode), 0o600)

    def test_clients_that_cannot_be(self) -> None:
        """Clients that cannot be, are there already, or have no cluster are refused."""
        folder = Path(self.mktemp())
        for names, status, said in (
            (["a b"], 2, "'a b' is no name for a client"),
            (["a", "a"], 2, "named twice"),
            (["a"], 1, "No such file"),
        ):
            words = [word for name in names for word in ("--client", name)]
            told = self.run_command("init", *words, "--dir", str(folder))
            self.assertEqual(told[0], status)
            self.assertIn(said, told[2])
        self.assertFalse(folder.exists())
        (folder / "clients" / "a").mkdir(parents=True)
        told = self.run_command("init", "n1=h:1", "--client", "a", "--dir", str(folder))
        self.assertEqual(told[0], 1)
        self.assertEqual([one.name for one in folder.iterdir()], ["clients"])

    def test_folder_that_cannot_be(self) -> None:
        """A folder that cannot be made is named, in one line."""
        blocked = Path(self.mktemp())
        blocked.write_text("a file")
        status, _, err = self.run_command("init", "n1=h:1", "--dir", str(blocked / "x"))
        self.assertEqual(status, 1)
        self.assertIn(str(blocked), err)
