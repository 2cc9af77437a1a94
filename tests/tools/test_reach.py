"""How programs reach a cluster: servers, secret and TLS from options and from the environment."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from coord.node.authority import create_authority, issue_client
from coord.tools.reach import SECRET_FILE, TLS_FILES, Reach, add_reach, reach_of, secret_in
from coord.tools.running import Usage


class Reaching(SynchronousTestCase):
    """What options and environment come to."""

    def setUp(self) -> None:
        """Have an environment that says nothing, and a folder."""
        for variable in (SECRET_FILE, *TLS_FILES.values()):
            self.patch_variable(variable, "")
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def patch_variable(self, name: str, value: str) -> None:
        """Set a variable of the environment for one test."""
        before = os.environ.get(name)
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name, None)
        if before is not None:
            self.addCleanup(os.environ.__setitem__, name, before)

    def reach(self, *words: str) -> Reach:
        """Return what some options come to."""
        parser = argparse.ArgumentParser()
        add_reach(parser)
        return reach_of(parser.parse_args(words), ["h:1"])

    def file(self, name: str, content: str) -> str:
        """Make a file; return its name."""
        path = self.folder / name
        path.write_text(content)
        return str(path)

    def test_nothing(self) -> None:
        """Without any, there is neither secret nor TLS."""
        reach = self.reach()
        self.assertEqual((reach.servers, reach.secret, reach.tls), (["h:1"], None, None))

    def test_secret(self) -> None:
        """The first secret of a file counts, as a node would read it, and is never shown."""
        for content, wanted in (
            ("s3cret\n", b"s3cret"),
            ("# ours\n\n  alice = s3 = cret \nbob = other\n", b"s3 = cret"),
            ("c2VjcmV0==\n", b"c2VjcmV0=="),
        ):
            path = self.file("secret", content)
            self.assertEqual(secret_in(path), wanted)
            self.assertNotIn("s3", repr(self.reach("--secret-file", path)))
        self.patch_variable(SECRET_FILE, self.file("two", "from the environment\n"))
        self.assertEqual(self.reach().secret, b"from the environment")

    def test_no_secret(self) -> None:
        """A file that holds none, or is not there, is told of."""
        self.assertRaises(Usage, self.reach, "--secret-file", self.file("none", "# none\n"))
        self.assertRaises(OSError, self.reach, "--secret-file", str(self.folder / "lost"))

    def test_tls(self) -> None:
        """TLS is spoken where a file for it is named, and the files are looked at before that."""
        ours = create_authority(self.folder / "ca")
        alice = issue_client(self.folder / "alice", ours, "alice")
        shown = ("--tls-certificate", str(alice.certificate), "--tls-key", str(alice.key))
        reach = self.reach("--tls-ca", str(alice.ca), *shown)
        assert reach.tls is not None
        self.assertEqual(reach.tls.certificate, str(alice.certificate))
        self.patch_variable("COORD_TLS_CA", str(alice.ca))
        self.assertIsNotNone(self.reach().tls)
        self.assertRaises(Usage, self.reach, "--tls-ca", self.file("bad", "no certificate\n"))
        self.assertRaises(Usage, self.reach, "--tls-key", str(alice.key))
        self.assertRaises(OSError, self.reach, "--tls-ca", str(self.folder / "lost"))
