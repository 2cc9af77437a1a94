"""``coord lock`` and ``coord elect`` as processes: who holds a lock runs, and nobody else does."""

from __future__ import annotations

import os
import pty
import random
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.cluster import (
    HOST,
    PATIENCE_SECONDS,
    ROOT,
    Cluster,
    Node,
    eventually,
    surroundings,
)

WORK = """
import os, sys, time
with open(sys.argv[1] + "/" + os.environ["COORD_TOKEN"], "a", buffering=1) as file:
    until = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < until:
        print(time.monotonic(), os.getpid(), file=file)
        time.sleep(0.005)
"""
"""A command that writes down, two hundred times a second, that it runs."""


class LockCase(SynchronousTestCase):
    """A cluster, and commands that hold locks of it."""

    size = 1

    def setUp(self) -> None:
        """Start a cluster, and have a folder for what commands leave."""
        self.folder = Path(tempfile.mkdtemp(prefix="coord-test-"))
        self.addCleanup(rmtree, self.folder, ignore_errors=True)
        self.cluster = Cluster(self.size)
        self.addCleanup(self.cluster.close)
        self.cluster.start()

    def begin(self, *words: str, nodes: list[Node] | None = None) -> subprocess.Popen[str]:
        """Start ``coord`` in a process group of its own."""
        asked = self.cluster.nodes if nodes is None else nodes
        servers = ",".join(f"{HOST}:{node.line_port}" for node in asked)
        process = subprocess.Popen(
            [sys.executable, "-m", "coord.tools.cli", *words],
            env={**surroundings(), "COORD_SERVERS": servers},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.clear, process)
        return process

    def clear(self, process: subprocess.Popen[str]) -> None:
        """Let nothing run on."""
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Wait for the end of one; return its status and what it said."""
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertNotIn("Traceback", err)
        return process.returncode, out, err

    def run_coord(self, *words: str) -> tuple[int, str, str]:
        """Run one to its end."""
        return self.end(self.begin(*words))

    def working(self, path: str, *words: str, seconds: float = 60.0) -> subprocess.Popen[str]:
        """Start a command that notes when it runs, under a lock."""
        work = (sys.executable, "-c", WORK, str(self.folder), str(seconds))
        return self.begin("lock", path, *words, "--", *work)

    def runs(self) -> list[tuple[float, float, int]]:
        """Return of each command when it was first and last seen to run, and its id."""
        found = []
        for path in self.folder.iterdir():
            lines = [line.split() for line in path.read_text().splitlines()]
            times = [float(line[0]) for line in lines if len(line) == 2]
            if times:
                found.append((times[0], times[-1], int(lines[0][1])))
        return sorted(found)

    def started(self, count: int) -> int:
        """Wait until so many commands have run; return the id of the last."""
        eventually(lambda: len(self.runs()) >= count, f"{count} commands run")
        return self.runs()[-1][2]

    def see_that_none_overlap(self) -> None:
        """See that at no time two commands ran."""
        for (_, end, one), (begin, _, two) in pairwise(self.runs()):
            self.assertLess(end, begin, f"{one} ran on while {two} did")


class Locks(LockCase):
    """One lock, and what may befall who holds it."""

    def test_command(self) -> None:
        """The command has token and path, its status is handed on, and the lock is free after."""
        script = "echo $COORD_LOCK; test $COORD_TOKEN -gt 0 && exit 7"
        status, out, _ = self.run_coord("lock", "/l/a b", "--", "sh", "-c", script)
        self.assertEqual((status, out), (7, "/l/a%20b\n"))
        self.assertEqual(self.run_coord("stat", "/l/a b")[0], 1)
        self.assertEqual(self.run_coord("lock", "/l", "--", "sh", "-c", "kill -9 $$")[0], 137)
        self.assertEqual(self.run_coord("lock", "/l", "--", "/no/such")[0], 127)

    def test_usage(self) -> None:
        """Without a command, or with a path that is none, nothing is asked."""
        for words in (("lock", "/l"), ("lock", "/l", "--"), ("lock", "l", "--", "true")):
            status, _, err = self.run_coord(*words)
            self.assertEqual((status, err.count("\n")), (2, 1), err)

    def test_signals(self) -> None:
        """What ``coord`` is told to end by is told to the command, whose status counts."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            script = f"trap 'exit {number}' {number.name[3:]}; echo up; while :; do sleep 0.1; done"
            process = self.begin("lock", "/l", "--", "sh", "-c", script)
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "up\n")
            process.send_signal(number)
            self.assertEqual(self.end(process)[0], number)

    def test_not_had(self) -> None:
        """Who does not want to wait, or not for ever, is told that it is held: status 1."""
        self.working("/l", "--shared")
        self.started(1)
        self.assertEqual(self.run_coord("lock", "/l", "--shared", "--", "true")[0], 0)
        status, _, err = self.run_coord("lock", "/l", "--wait", "0", "--", "true")
        self.assertEqual((status, err.split()[1]), (1, "LOCKED"))
        status, _, err = self.run_coord("lock", "/l", "--wait", "0.5", "--", "true")
        self.assertEqual((status, err.split()[1]), (1, "TIMEOUT"))

    def test_interrupted_in_line(self) -> None:
        """Who gives up waiting gives up the place in line."""
        first = self.working("/l")
        self.started(1)
        second = self.working("/l")
        node = self.cluster.nodes[0]
        eventually(lambda: "waiting=1" in node.ask("STAT /l"), "the second waits")
        second.send_signal(signal.SIGINT)
        self.assertEqual(self.end(second)[0], 130)
        eventually(lambda: "waiting=0" in node.ask("STAT /l"), "it waits no more")
        first.terminate()
        self.assertEqual(self.end(first)[0], 128 + signal.SIGTERM)

    def test_elections(self) -> None:
        """Who is elected says who it is; the next in line is when the first is done."""
        node = self.cluster.nodes[0]
        self.begin("elect", "/leader", "--value", "one", "--", "sleep", "1")
        eventually(lambda: "VALUE" in node.ask("GET /leader"), "the first is elected")
        self.begin("elect", "/leader", "--value", "two", "--", "sleep", "1")
        eventually(lambda: "waiting=1" in node.ask("STAT /leader"), "the second stands")
        self.assertTrue(node.ask("GET /leader").endswith(" one"))
        eventually(lambda: node.ask("GET /leader").endswith(" two"), "the second is elected")
        eventually(lambda: node.ask("GET /leader").startswith("ERR NOENT"), "both are done")

    def test_stopped(self) -> None:
        """With ``coord`` stopped, alone or its group, its command is gone when another begins."""
        for number, stop in enumerate((os.kill, os.killpg)):
            held = self.working("/l", "--timeout", "1.5")
            self.started(2 * number + 1)
            stop(held.pid, signal.SIGSTOP)
            other = self.working("/l")
            self.started(2 * number + 2)
            self.see_that_none_overlap()
            held.send_signal(signal.SIGCONT)
            self.assertEqual(self.end(held)[0], 75)
            other.terminate()
            self.end(other)

    def test_killed(self) -> None:
        """With ``coord`` killed, its command is gone when another begins."""
        held = self.working("/l", "--timeout", "1.5")
        self.started(1)
        held.kill()
        self.working("/l")
        self.started(2)
        self.see_that_none_overlap()

    def test_command_stopped_too(self) -> None:
        """With the command stopped as well, it does not go on when all are let go."""
        held = self.working("/l", "--timeout", "1.5")
        command = self.started(1)
        os.kill(held.pid, signal.SIGSTOP)
        os.kill(command, signal.SIGSTOP)
        self.working("/l")
        self.started(2)
        held.send_signal(signal.SIGCONT)
        self.assertEqual(self.end(held)[0], 75)
        self.see_that_none_overlap()


class Terminals(LockCase):
    """A command at a terminal, as under a shell."""

    def setUp(self) -> None:
        """Begin a shell on a terminal of its own."""
        if shutil.which("bash") is None:
            raise SkipTest("there is no bash on this machine")
        super().setUp()
        servers = f"{HOST}:{self.cluster.nodes[0].line_port}"
        environment = {**surroundings(), "COORD_SERVERS": servers, "PS1": "> ", "TERM": "dumb"}
        shell, self.terminal = pty.fork()
        if not shell:
            os.chdir(ROOT)
            os.execvpe("bash", ["bash", "--norc", "-i"], environment)
        self.addCleanup(os.waitpid, shell, 0)
        self.addCleanup(os.close, self.terminal)
        self.addCleanup(os.kill, shell, signal.SIGKILL)
        self.seen = ""

    def type(self, text: str, wanted: str) -> None:
        """Type something, and wait for what it brings onto the screen."""
        self.seen = ""
        os.write(self.terminal, text.encode())

        def is_there() -> bool:
            while select.select([self.terminal], [], [], 0)[0]:
                self.seen += os.read(self.terminal, 4096).decode("utf-8", "replace")
            return wanted in self.seen

        eventually(is_there, f"{wanted} comes after {text!r}")

    def lock(self, script: str, wanted: str, *words: str) -> None:
        """Have the shell run a script under a lock."""
        coord = f"{sys.executable} -m coord.tools.cli lock /l {' '.join(words)} -- sh -c"
        self.type(f"{coord} {shlex.quote(script)}\n", wanted)

    def test_typing(self) -> None:
        """The command reads what is typed, and Ctrl-C reaches it."""
        self.lock("echo u''p; read x; echo got $x; exit 3", "up\r\n")
        self.type("something\n", "got something")
        self.type("echo status $?\n", "status 3")
        self.lock("trap 'exit 5' INT; echo u''p; while :; do sleep 0.1; done", "up\r\n")
        self.type("\x03", "> ")
        self.type("echo status $?\n", "status 5")

    def test_suspended(self) -> None:
        """Ctrl-Z stops it, and it goes on, as long as the session has not run out meanwhile."""
        self.lock("echo u''p; sleep 2; echo do''ne; exit 6", "up\r\n")
        self.type("\x1a", "Stopped")
        self.type("fg\n", "done")
        self.type("echo status $?\n", "status 6")
        self.lock("echo u''p; sleep 60; echo do''ne", "up\r\n", "--timeout", "3")
        self.type("\x1a", "Stopped")
        node = self.cluster.nodes[0]
        eventually(lambda: node.ask("GET /l").startswith("ERR NOENT"), "the lock is lost")
        self.type("fg\n", "was lost")
        self.type("echo status $?\n", "status 75")


class Losses(LockCase):
    """Locks of a cluster that loses nodes."""

    size = 3

    def test_node_killed(self) -> None:
        """The command does not notice that the node is killed by which its lock is held."""
        process = self.working("/l", "--timeout", "5", seconds=5.0)
        self.started(1)
        self.cluster.nodes[0].kill()
        self.assertEqual(self.end(process)[0], 0)
        (begin, end, _) = self.runs()[0]
        self.assertGreater(end - begin, 4.5)

    def test_no_quorum(self) -> None:
        """When the cluster is lost the command is stopped before the session can be over."""
        process = self.working("/l", "--timeout", "2")
        self.started(1)
        for node in self.cluster.nodes[1:]:
            node.kill()
        lost = time.monotonic()
        status, _, err = self.end(process)
        self.assertEqual((status, err.count("lost")), (75, 1), err)
        self.assertLess(self.runs()[0][1], lost + 2)

    def test_contest(self) -> None:
        """Many want one lock, nodes and holders are killed and stopped: never do two run."""
        dice = random.Random(4)
        contenders = [self.working("/l", "--timeout", "1", seconds=0.7) for _ in range(8)]
        self.started(1)
        for count in range(4):
            victim = dice.choice(contenders)
            if victim.poll() is None:
                victim.send_signal(dice.choice((signal.SIGSTOP, signal.SIGKILL)))
            if count == 1:
                self.cluster.nodes[0].kill()
            time.sleep(0.6)
        for process in contenders:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        statuses = [self.end(process)[0] for process in contenders]
        self.assertGreater(statuses.count(0), 3, statuses)
        self.see_that_none_overlap()
