"""A node that cannot start says why in one line, ends with status 1, and touches nothing."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from twisted.trial.unittest import TestCase

from coord.frontends.console.keys import HOST_KEY_FILE, write_private_key
from coord.node.authority import create_authority, issue
from coord.replicator.admission import REMOVED
from tests.functional.cluster import HOST, Cluster, free_ports, surroundings, twistd


class Refusals(TestCase):
    """What is wrong at the start."""

    def setUp(self) -> None:
        """Make an empty folder to start in."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        line, web, self.peer_port = free_ports(3)
        self.listen = f"tcp:{line}:interface={HOST}"
        self.web = f"tcp:{web}:interface={HOST}"

    def refused(self, *words: str, listen: str | None = None, leaves: tuple[str, ...] = ()) -> str:
        """Start a node that cannot start, and return the one line it says."""
        given = [*("--listen", listen or self.listen), *("--web", self.web), *words]
        ended = subprocess.run(
            twistd(*given),
            cwd=self.folder,
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertRegex(ended.stderr, r"\Acoord: [^\n]+\n\Z")
        self.assertEqual({path.name for path in self.folder.iterdir()}, set(leaves))
        return ended.stderr

    def test_options(self) -> None:
        """An option that is not there, or not there yet, is named."""
        self.assertIn("--colour", self.refused("--colour", "red"))
        self.assertIn("not in this version", self.refused("--zookeeper", "tcp:1"))
        self.assertIn("--observer wants --peer", self.refused("--observer"))

    def test_removed(self) -> None:
        """A directory of a node that was removed from its cluster is refused, and left as it is."""
        data = self.folder / "coord-data"
        data.mkdir()
        (data / REMOVED).write_text("n1 was removed\n")
        said = self.refused(leaves=("coord-data",))
        self.assertIn("removed from its cluster", said)
        self.assertIn("empty that directory, MEMBER add", said)
        self.assertEqual([path.name for path in data.iterdir()], [REMOVED])

    def test_words(self) -> None:
        """A word that belongs to no option is refused."""
        self.refused("start")

    def test_unreadable(self) -> None:
        """A file that cannot be read is named."""
        self.assertIn("nowhere.toml", self.refused("--config", "nowhere.toml"))

    def test_endpoint(self) -> None:
        """An endpoint that Twisted does not know is refused."""
        self.assertIn("begins with none of", self.refused(listen="semaphore:flags"))
        self.assertIn("no endpoint", self.refused("--open", listen="semaphore:flags"))

    def test_console_without_keys(self) -> None:
        """A console without keys, and keys that cannot be read, are refused."""
        self.assertIn("--authorized-keys", self.refused("--console", "tcp:0"))
        keys = ("--authorized-keys", "nowhere.pub")
        self.assertIn("nowhere.pub", self.refused("--console", "tcp:0", *keys))

    def test_exposed_host_key(self) -> None:
        """A host key that others can read is refused, with what to do."""
        data, keys = self.folder / "coord-data", self.folder / "keys"
        data.mkdir()
        keys.touch()
        write_private_key(data / HOST_KEY_FILE)
        (data / HOST_KEY_FILE).chmod(0o644)
        words = ("--console", f"tcp:{self.peer_port}", "--authorized-keys", str(keys))
        self.assertIn("chmod 600", self.refused(*words, leaves=("coord-data", "keys")))

    def test_port_in_use(self) -> None:
        """A port that someone else has is named."""
        with socket.create_server((HOST, 0)) as taken:
            port = taken.getsockname()[1]
            said = self.refused(listen=f"tcp:{port}:interface={HOST}")
        self.assertIn(str(port), said)

    def test_exposed(self) -> None:
        """A listener that others reach is refused unless --open says that it is meant."""
        self.assertIn("--open", self.refused(listen="tcp:0"))

    def test_exposed_beside_certificates(self) -> None:
        """A listener that asks for certificates does not excuse one that does not."""
        asking = f"ssl:{self.peer_port}:privateKey=k:clientCA=c"
        self.assertIn("--open", self.refused("--listen", "tcp:0", listen=asking))
        self.assertIn("cannot read", self.refused(listen=asking))

    def test_secrets(self) -> None:
        """Secrets that cannot be read, are none, or are the same ones are refused, and not told."""
        folder = self.folder.with_name(f"{self.folder.name}-secrets")
        folder.mkdir()
        empty, good = folder / "empty", folder / "good"
        empty.write_text("# nothing yet\n")
        good.write_text("alice = hidden-1\n")
        (folder / "bad").write_text("alice=hidden-2\n")
        (folder / "same").write_text("eve = hidden-1\n")
        for words, said in (
            (("--read-secret", "nowhere"), "--read-secret nowhere: it cannot be read"),
            (("--write-secret", str(empty)), "holds no secret"),
            (("--admin-secret", str(folder / "bad")), "line 1"),
            (("--write-secret", str(good), "--admin-secret", str(folder / "same")), "same secret"),
        ):
            told = self.refused(*words)
            self.assertIn(said, told)
            self.assertNotIn("hidden", told)

    def cluster_words(self, credentials: Path, ca: Path) -> list[str]:
        """Return the options of a node n1 of two."""
        return [
            *("--peer-listen", f"tcp:{self.peer_port}:interface={HOST}"),
            *("--peer", f"n1={HOST}:{self.peer_port}", "--peer", f"n2={HOST}:1"),
            *("--ca", str(ca), "--certificate", str(credentials / "node.pem")),
            *("--key", str(credentials / "node.key")),
        ]

    def test_certificate(self) -> None:
        """A certificate of another node, or of another CA, is refused."""
        elsewhere = self.folder.with_name("certificates")
        authority = create_authority(elsewhere / "ca")
        create_authority(elsewhere / "other")
        issue(elsewhere / "n1", authority, "n1")
        issue(elsewhere / "n2", authority, "n2")
        ca = elsewhere / "ca" / "ca.pem"
        self.assertIn("n2", self.refused(*self.cluster_words(elsewhere / "n2", ca)))
        other = elsewhere / "other" / "ca.pem"
        self.assertIn("signed", self.refused(*self.cluster_words(elsewhere / "n1", other)))

    def test_other_node(self) -> None:
        """The folder of one node is refused to another, and stays as it was."""
        with Cluster(1) as cluster:
            cluster.start()
            revision = cluster.nodes[0].write("/a", "1")
            cluster.nodes[0].stop()
            state = cluster.folder / "n1" / "data"
            self.assertIn("n1", self.refused("--node", "n9", "--data", str(state)))
            self.refused("--cluster", "another", "--data", str(state))
            cluster.start()
            self.assertEqual(cluster.nodes[0].ask("GET /a"), f"VALUE {revision} 1")

    def test_folder_in_use(self) -> None:
        """Two nodes cannot share a folder."""
        with Cluster(1) as cluster:
            cluster.start()
            self.refused("--data", str(cluster.folder / "n1" / "data"))
            self.assertTrue(cluster.nodes[0].serves())
