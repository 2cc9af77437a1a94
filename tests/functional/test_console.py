"""The console of a real node, by the SSH client that everyone has."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from coord.frontends.console.keys import write_private_key
from tests.functional.cluster import HOST, PATIENCE_SECONDS, Cluster, eventually, free_ports


class OpenSSH(TestCase):
    """OpenSSH at a node's console."""

    def setUp(self) -> None:
        """Start a node with a console, and make keys."""
        if shutil.which("ssh") is None:
            raise SkipTest("there is no ssh on this machine")
        (self.port,) = free_ports(1)
        self.cluster = Cluster(1)
        self.addCleanup(self.cluster.close)
        self.operator = self.key("operator")
        self.reader = self.key("reader")
        self.stranger = self.key("stranger")
        self.node = self.cluster.nodes[0]
        self.node.options = (
            *("--console", f"tcp:{self.port}"),
            *("--authorized-keys", f"{self.operator}.pub"),
            *("--console-readers", f"{self.reader}.pub"),
        )
        self.cluster.start()

    def key(self, name: str) -> Path:
        """Make a key; its public half is beside it."""
        path = self.cluster.folder / name
        path.with_name(f"{name}.pub").write_text(f"{write_private_key(path)} {name}\n")
        return path

    def command(self, *words: str, key: Path | None = None) -> list[str]:
        """Return the ssh command for some words."""
        known = self.cluster.folder / "known_hosts"
        return [
            *("ssh", "-F", "none", "-i", str(key or self.operator), "-p", str(self.port)),
            *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR"),
            *("-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={known}"),
            *("-o", "RekeyLimit=16K", HOST, *words),
        ]

    def ssh(self, *words: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run ssh to its end."""
        return subprocess.run(
            self.command(*words, key=key),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def test_words(self) -> None:
        """Each word prints and exits 0; what is not understood exits 2; the host key stays."""
        for word in ("status", "members", "tree", "slots", "links", "journal", "help"):
            done = self.ssh(word)
            self.assertEqual((done.returncode, done.stderr), (0, ""), word)
            self.assertTrue(done.stdout)
        self.assertEqual(self.ssh("fly").returncode, 2)
        self.assertEqual(self.ssh("tree", "/nowhere").returncode, 1)
        self.node.stop()
        self.cluster.start()
        self.assertEqual(self.ssh("status", key=self.reader).returncode, 0)

    def test_keys(self) -> None:
        """A stranger is refused without being asked for a password; a reader gets no Python."""
        refused = self.ssh("status", key=self.stranger)
        self.assertEqual(refused.returncode, 255)
        self.assertIn("Permission denied (publickey)", refused.stderr)
        self.assertEqual(self.ssh("step_down n1", key=self.reader).returncode, 1)

    def test_much(self) -> None:
        """Much output, over many exchanges of keys, comes whole."""
        with self.node.link() as link:
            link.send("".join(f"SET /k/{number} {'v' * 190}\n" for number in range(1000)).encode())
            link.lines(1000)
        done = self.ssh("tree /k 2000")
        self.assertEqual((done.returncode, done.stdout.count("\n")), (0, 1000))

    def test_killed(self) -> None:
        """A watch whose ssh is killed leaves nothing behind."""
        watch = subprocess.Popen(
            self.command("watch", "'/**'"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        try:
            eventually(lambda: self.watches() == "1", "the watch has begun")
            self.node.ask("SET /a one")
            assert watch.stdout is not None
            self.assertIn(b"set /a one", watch.stdout.readline())
        finally:
            watch.kill()
            watch.communicate()
        eventually(lambda: self.watches() == "0", "the watch is gone")

    def watches(self) -> str:
        """Return how many watches the node has."""
        return self.node.status().get("watches", "?")

    def test_terminal(self) -> None:
        """On a terminal there is a prompt; Ctrl-C ends a watch, Ctrl-D the session, with 0."""
        child, terminal = pty.fork()
        if child == 0:
            os.environ["TERM"] = "xterm"
            words = self.command()
            os.execvp(words[0], words)
        try:
            self.until(terminal, b"n1> ")
            os.write(terminal, b"6 * 7\r")
            self.until(terminal, b"42")
            os.write(terminal, b"watch('/a')\r")
            self.until(terminal, b"Ctrl-C ends it")
            self.node.ask("SET /a one")
            self.until(terminal, b"/a")
            os.write(terminal, b"\x03")
            self.until(terminal, b"n1> ")
            self.assertEqual(self.watches(), "0")
            os.write(terminal, b"\x04")
            self.until(terminal, None)
        finally:
            os.close(terminal)
            _, status = os.waitpid(child, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)

    def until(self, terminal: int, text: bytes | None) -> None:
        """Read until a text comes, or until the end."""
        seen = b""
        until = time.monotonic() + PATIENCE_SECONDS
        while text is None or text not in seen:
            self.assertLess(time.monotonic(), until, seen)
            if select.select([terminal], [], [], 1.0)[0]:
                try:
                    piece = os.read(terminal, 65536)
                except OSError:  # how Linux says that the other side has closed
                    piece = b""
                if not piece:
                    self.assertIsNone(text, seen)
                    return
                seen += piece
