"""The console's keys: the node's own, and the files of those who may come in."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from coord.frontends.console.keys import (
    HOST_KEY_FILE,
    ConsoleError,
    KeyFile,
    load_host_key,
    parse_keys,
    write_private_key,
)

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqu6nVWJWn7ZBqRr0bsgqDUMxmXzQGKZ8gtIPd0dqWG"


class HostKey(SynchronousTestCase):
    """The node's own key."""

    def setUp(self) -> None:
        """Make a folder."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / HOST_KEY_FILE

    def test_once(self) -> None:
        """It is made once, kept, and readable to its owner alone."""
        first = load_host_key(self.folder)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(load_host_key(self.folder), first)
        self.assertEqual([path.name for path in self.folder.iterdir()], [HOST_KEY_FILE])

    def test_exposed(self) -> None:
        """One that others can read is refused, with what to do."""
        load_host_key(self.folder)
        self.path.chmod(0o644)
        error = self.assertRaises(ConsoleError, load_host_key, self.folder)
        self.assertIn("chmod 600", str(error))

    def test_damaged(self) -> None:
        """One that is no key is refused, and left as it is."""
        self.path.write_text("nonsense")
        self.path.chmod(0o600)
        error = self.assertRaises(ConsoleError, load_host_key, self.folder)
        self.assertIn("no private key", str(error))
        self.assertEqual(self.path.read_text(), "nonsense")

    def test_nowhere(self) -> None:
        """Where it cannot be written, that is said."""
        error = self.assertRaises(ConsoleError, load_host_key, self.folder / "no" / "where")
        self.assertIn("cannot read or make", str(error))


class Lines(SynchronousTestCase):
    """What stands in a file of keys."""

    def test_comment(self) -> None:
        """A key has a comment, or none; lines that are empty or begin with # are passed over."""
        keys = parse_keys(f"# us\n\n{PUBLIC} alice@laptop at home\n{PUBLIC}\n", is_operator=True)
        self.assertEqual([key.comment for key in keys], ["alice@laptop at home", ""])
        self.assertRegex(keys[0].fingerprint, r"\ASHA256:[A-Za-z0-9+/]{43}\Z")

    def test_options(self) -> None:
        """Options that only forbid are taken, names are kept, and any other is an error."""
        line = f'restrict,no-port-forwarding,principals="alice,bob" {PUBLIC} c'
        (key,) = parse_keys(line, is_operator=False)
        self.assertEqual(key.principals, {"alice", "bob"})
        for options in ('from="10.0.0.1"', "cert-authority", 'command="ls"', "no-pty", "?", '"'):
            error = self.assertRaises(
                ConsoleError, parse_keys, f"\n{options} {PUBLIC}", is_operator=True
            )
            self.assertIn("line 2", str(error))

    def test_no_key(self) -> None:
        """A line that is no key is named."""
        for line in ("hello", "ssh-ed25519", "ssh-ed25519 AAAA", PUBLIC[:-9], f"x{PUBLIC}"):
            self.assertRaises(ConsoleError, parse_keys, line, is_operator=True)

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(strategies.text(max_size=200))
    def test_junk(self, text: str) -> None:
        """Whatever stands in a file, it is keys or an error of one line."""
        for junk in (text, f"{text} {PUBLIC}", f"{PUBLIC} {text}"):
            try:
                parse_keys(junk, is_operator=True)
            except ConsoleError as error:
                self.assertNotIn("\n", str(error))


class Files(SynchronousTestCase):
    """A file of keys as time goes on."""

    def setUp(self) -> None:
        """Make a file with one key."""
        self.path = Path(self.mktemp())
        self.path.write_text(PUBLIC)

    def file(self) -> KeyFile:
        """Return the file as the console has it."""
        return KeyFile("authorized-keys", self.path, is_operator=True)

    def test_changed(self) -> None:
        """A change counts at once; while the file cannot be read nobody comes in by it."""
        file = self.file()
        self.assertEqual(len(file.known()), 1)
        self.path.write_text(f"{PUBLIC}\n{PUBLIC}\n")
        self.assertEqual(len(file.known()), 2)
        for break_it in (lambda: self.path.write_text("junk"), self.path.unlink):
            break_it()
            self.assertEqual(len(file.known()), 0)
        self.path.write_text(PUBLIC)
        self.assertEqual(len(file.known()), 1)

    def test_refused(self) -> None:
        """A file that is not there, or that all can write, or that is no text, is refused."""
        self.path.chmod(0o666)
        self.assertIn("chmod", str(self.assertRaises(ConsoleError, self.file)))
        self.path.chmod(0o600)
        self.path.write_bytes(b"\xff")
        self.assertIn("no text", str(self.assertRaises(ConsoleError, self.file)))
        self.path.write_bytes(b"#" * (1 << 21))
        self.assertIn("too long", str(self.assertRaises(ConsoleError, self.file)))
        self.path.unlink()
        self.assertIn("cannot read", str(self.assertRaises(ConsoleError, self.file)))

    def test_made(self) -> None:
        """A key that was made opens what its public half is in."""
        private = self.path.with_name("key")
        self.path.write_text(write_private_key(private))
        self.assertEqual(len(self.file().known()), 1)
        self.assertEqual(os.stat(private).st_mode & 0o777, 0o600)
