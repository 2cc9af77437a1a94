"""``bin/demo``'s program, with real nodes: it serves, survives, stops, and goes on later."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.functional.cluster import HOST, Link, eventually, free_base, surroundings

OFFSETS = [kind + index for kind in (0, 10, 20, 30) for index in range(3)]
"""The ports of lines, pages, consoles and peers, counted from the first."""


class Demo(TestCase):
    """Someone tries it out."""

    def setUp(self) -> None:
        """Choose a folder and ports."""
        self.folder = Path(tempfile.mkdtemp(prefix="coord-demo-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.out = self.folder / "out"

    def start(self, base: int) -> subprocess.Popen[bytes]:
        """Start the demonstration and wait until it says that it serves."""
        words = [
            "-m",
            "coord.tools.demo",
            "--dir",
            str(self.folder / "d"),
            "--base-port",
            str(base),
        ]
        with self.out.open("wb") as out:
            demo = subprocess.Popen(
                [sys.executable, *words],
                env=surroundings(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.addCleanup(self.end, demo)
        eventually(lambda: "Ctrl-C" in self.said() or demo.poll() is not None, "it serves")
        self.assertIsNone(demo.poll(), self.said())
        return demo

    def end(self, demo: subprocess.Popen[bytes]) -> int:
        """Press Ctrl-C, if that was not done yet; return the exit status."""
        if demo.poll() is None:
            demo.send_signal(signal.SIGINT)
        return demo.wait(60)

    def said(self) -> str:
        """Return what it printed so far."""
        return self.out.read_text()

    def ask(self, port: int, request: str) -> str:
        """Return the line that answers a request."""
        with Link(port) as link:
            return link.ask(request)

    def test_life(self) -> None:
        """It serves on the ports it prints, stops on Ctrl-C with status 0, and goes on later."""
        base = free_base(OFFSETS)
        demo = self.start(base)
        ports = [int(port) for port in re.findall(r"line protocol 127.0.0.1:([0-9]+)", self.said())]
        self.assertEqual(ports, [base, base + 1, base + 2])
        self.hints()
        self.assertEqual(self.ask(base + 2, "GET /message"), "VALUE 5 hello, world")
        self.console()
        self.assertEqual(self.end(demo), 0)
        self.assertRaises(ConnectionRefusedError, Link, base)
        other = free_base(OFFSETS)
        demo = self.start(other)
        self.assertEqual(self.ask(other + 1, "GET /message"), "VALUE 5 hello, world")
        self.assertEqual(self.end(demo), 0)

    def hints(self) -> None:
        """Type the commands of ``coord`` that are printed, which stand before those of others."""
        hints = self.said().partition("Three commands to try")[2]
        said = re.findall(r"^  (\S+) (.*)$", hints, re.MULTILINE)
        self.assertEqual(
            [Path(program).name for program, _ in said], ["coord", "coord", "nc", "ssh"]
        )
        for (program, words), wanted in zip(said, (b"5\n", b"hello, world\n"), strict=False):
            self.assertTrue(Path(program).is_absolute())
            done = subprocess.run(
                [sys.executable, "-m", "coord.tools.cli", *shlex.split(words)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=surroundings(),
                timeout=60,
                check=False,
            )
            self.assertEqual((done.stdout, done.stderr), (wanted, b""))

    def console(self) -> None:
        """Open the console by the command that is printed, where there is an ssh."""
        if shutil.which("ssh") is None:
            return
        (command,) = re.findall(r"^  (ssh .*)$", self.said(), re.MULTILINE)
        done = subprocess.run(
            [*shlex.split(command), "members"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
        self.assertIn(b"n3 127.0.0.1:", done.stdout)

    def test_node_dies(self) -> None:
        """When a node is killed it says so, the others go on, and it is started again by a word."""
        base = free_base(OFFSETS)
        demo = self.start(base)
        os.kill(int((self.folder / "d/n1/pid").read_text()), signal.SIGKILL)
        eventually(lambda: "n1 ended with status -9" in self.said(), "it tells of the death")
        self.assertIn(f"bin/demo --dir {self.folder / 'd'} start n1", self.said())
        eventually(
            lambda: self.ask(base + 1, "SET /a b").startswith("OK "), "the others take writes"
        )
        self.assertRegex(self.deed("start", "n1"), "n1 runs: role=follower .* quorum=yes fault=-")
        self.assertEqual(self.ask(base, "GET /a"), "VALUE 5 b")
        self.assertEqual(
            self.deed("stop", "n2", "n1"), "coord: n2 is stopped\ncoord: n1 is stopped\n"
        )
        self.assertRaises(ConnectionRefusedError, Link, base + 1)
        self.assertEqual(self.end(demo), 0)
        self.assertRegex(self.deed("start", "n1", status=1), "no demonstration runs in")

    def deed(self, *words: str, status: int = 0) -> str:
        """Return what is said of a node that is started or stopped from elsewhere."""
        done = subprocess.run(
            [sys.executable, "-m", "coord.tools.demo", "--dir", str(self.folder / "d"), *words],
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr if status else done.stdout

    def test_port_in_use(self) -> None:
        """A port that is taken is named in one line, with status 1, and nothing is made."""
        base = free_base(OFFSETS)
        with socket.create_server((HOST, base + 1)):
            ended = subprocess.run(
                [
                    *(sys.executable, "-m", "coord.tools.demo", "--base-port", str(base)),
                    *("--dir", str(self.folder / "d")),
                ],
                env=surroundings(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, rf"\Acoord: port {base + 1} [^\n]+\n\Z")
        self.assertFalse((self.folder / "d").exists())
