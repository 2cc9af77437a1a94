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
    Node,
    eventually,
    shared,
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
    """A cluster that all tests share, and commands that hold locks of it, each test its own."""

    size = 1

    def setUp(self) -> None:
        """See to it that the cluster is whole, and have a folder for what commands leave."""
        self.folder = Path(tempfile.mkdtemp(prefix="coord-test-"))
        self.addCleanup(rmtree, self.folder, ignore_errors=True)
        self.cluster = shared(self.size)
        self.path = f"/{self.id().rpartition('.')[2]}"

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

    def run_all(self, *commands: tuple[str, ...]) -> list[tuple[int, str, str]]:
        """Run several at one time to their ends."""
        return [self.end(process) for process in [self.begin(*words) for words in commands]]

    def working(self, path: str, *words: str, seconds: float = 60.0) -> subprocess.Popen[str]:
        """Start a command that notes when it runs, under a lock."""
        notes = self.notes(path)
        notes.mkdir(exist_ok=True)
        work = (sys.executable, "-I", "-S", "-c", WORK, str(notes), str(seconds))
        return self.begin("lock", path, *words, "--", *work)

    def notes(self, path: str) -> Path:
        """Return the folder for what commands under a lock note."""
        return self.folder / path.replace("/", "-")

    def runs(self, path: str) -> list[tuple[float, float, int]]:
        """Return of each command under a lock when it was first and last seen, and its id."""
        found = []
        for file in self.notes(path).iterdir():
            lines = [line.split() for line in file.read_text().splitlines()]
            times = [float(line[0]) for line in lines if len(line) == 2]
            if times:
                found.append((times[0], times[-1], int(lines[0][1])))
        return sorted(found)

    def started(self, count: int, path: str) -> int:
        """Wait until so many commands have run under a lock; return the id of the last."""
        eventually(lambda: len(self.runs(path)) >= count, f"{count} commands run")
        return self.runs(path)[-1][2]

    def see_that_none_overlap(self, path: str) -> None:
        """See that at no time two commands ran under one lock."""
        for (_, end, one), (begin, _, two) in pairwise(self.runs(path)):
            self.assertLess(end, begin, f"{one} ran on while {two} did")


class Locks(LockCase):
    """One lock, and what may befall who holds it."""

    def test_command(self) -> None:
        """The command has token and path, its status is handed on, and the lock is free after."""
        script = "echo $COORD_LOCK; test $COORD_TOKEN -gt 0 && exit 7"
        done, killed, missing = self.run_all(
            ("lock", "/l/a b", "--", "sh", "-c", script),
            ("lock", "/l/c", "--", "sh", "-c", "kill -9 $$"),
            ("lock", "/l/d", "--", "/no/such"),
        )
        self.assertEqual(done[:2], (7, "/l/a%20b\n"))
        self.assertEqual((killed[0], missing[0]), (137, 127))
        self.assertTrue(self.cluster.nodes[0].ask("LIST /l").startswith("ERR NOENT"))

    def test_usage(self) -> None:
        """Without a command, or with a path that is none, nothing is asked."""
        wrong = (("lock", "/l"), ("lock", "/l", "--"), ("lock", "l", "--", "true"))
        for status, _, err in self.run_all(*wrong):
            self.assertEqual((status, err.count("\n")), (2, 1), err)

    def test_signals(self) -> None:
        """What ``coord`` is told to end by is told to the command, whose status counts."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        processes = []
        for number in numbers:
            script = f"trap 'exit {number}' {number.name[3:]}; echo up; while :; do sleep 0.1; done"
            processes.append(self.begin("lock", f"{self.path}/{number}", "--", "sh", "-c", script))
        for number, process in zip(numbers, processes, strict=True):
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "up\n")
            process.send_signal(number)
        for number, process in zip(numbers, processes, strict=True):
            self.assertEqual(self.end(process)[0], number)

    def test_stopped_command_ends(self) -> None:
        """A command that is stopped, as by reading a terminal in the background, can be ended."""
        process = self.begin("lock", self.path, "--", "sh", "-c", "echo up; kill -TTIN $$")
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "up\n")
        process.terminate()
        self.assertEqual(self.end(process)[0], 128 + signal.SIGTERM)

    def test_not_had(self) -> None:
        """Who does not want to wait, or not for ever, is told that it is held: status 1."""
        self.working(self.path, "--shared", "--timeout", "3")
        self.started(1, self.path)
        sharing, at_once, later = self.run_all(
            ("lock", self.path, "--shared", "--", "true"),
            ("lock", self.path, "--wait", "0", "--", "true"),
            ("lock", self.path, "--wait", "0.5", "--", "true"),
        )
        self.assertEqual(sharing[0], 0)
        self.assertEqual((at_once[0], at_once[2].split()[1]), (1, "LOCKED"))
        self.assertEqual((later[0], later[2].split()[1]), (1, "TIMEOUT"))

    def test_interrupted_in_line(self) -> None:
        """Who gives up waiting gives up the place in line."""
        first = self.working(self.path)
        self.started(1, self.path)
        second = self.working(self.path)
        node = self.cluster.nodes[0]
        eventually(lambda: "waiting=1" in node.ask(f"STAT {self.path}"), "the second waits")
        second.send_signal(signal.SIGINT)
        self.assertEqual(self.end(second)[0], 130)
        eventually(lambda: "waiting=0" in node.ask(f"STAT {self.path}"), "it waits no more")
        first.terminate()
        self.assertEqual(self.end(first)[0], 128 + signal.SIGTERM)

    def test_interrupted_at_the_end(self) -> None:
        """Who has no time to give the lock up hands the command's status on all the same."""
        go_on = self.folder / "go-on"
        script = f"trap '' TERM; echo up; until test -e {go_on}; do sleep 0.05; done; exit 7"
        process = self.begin("lock", self.path, "--timeout", "5", "--", "sh", "-c", script)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "up\n")
        node = self.cluster.nodes[0]
        node.freeze()
        self.addCleanup(node.thaw)
        go_on.touch()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        eventually(lambda: not children.read_text(), "the command has ended")
        process.terminate()
        status, _, err = self.end(process)
        self.assertEqual((status, err.count("no time")), (7, 1), err)

    def test_elections(self) -> None:
        """Who is elected says who it is; the next in line is when the first is done."""
        node = self.cluster.nodes[0]
        first = self.elect("one")
        eventually(lambda: self.leads("one"), "the first is elected")
        second = self.elect("two")
        eventually(lambda: "waiting=1" in node.ask(f"STAT {self.path}"), "the second stands")
        self.assertTrue(self.leads("one"))
        first.terminate()
        eventually(lambda: self.leads("two"), "the second is elected")
        second.terminate()
        eventually(lambda: node.ask(f"GET {self.path}").startswith("ERR NOENT"), "both are done")

    def elect(self, name: str) -> subprocess.Popen[str]:
        """Start one who would lead."""
        return self.begin("elect", self.path, "--value", name, "--", "sleep", "60")

    def leads(self, name: str) -> bool:
        """Say whether the node tells that this one leads."""
        return self.cluster.nodes[0].ask(f"GET {self.path}").endswith(f" {name}")

    def test_out_of_action(self) -> None:
        """With ``coord`` stopped, or killed, its command is gone when another begins.

        So it is with all of its group, and with the command stopped as well: all of these at one
        time, each with a lock of its own.
        """
        blows = {"coord": self.stop, "group": self.stop_group, "all": self.stop_all}
        paths = {f"{self.path}/{name}": blow for name, blow in {**blows, "kill": self.kill}.items()}
        held = {path: self.working(path, "--timeout", "1.5") for path in paths}
        for path, blow in paths.items():
            blow(held[path], self.started(1, path))
            self.working(path)
        for path, blow in paths.items():
            self.started(2, path)
            held[path].send_signal(signal.SIGCONT)
            self.assertEqual(self.end(held[path])[0], -signal.SIGKILL if blow == self.kill else 75)
            self.see_that_none_overlap(path)

    def stop(self, held: subprocess.Popen[str], command: int) -> None:
        """Stop ``coord`` alone."""
        held.send_signal(signal.SIGSTOP)

    def stop_group(self, held: subprocess.Popen[str], command: int) -> None:
        """Stop all of its process group."""
        os.killpg(held.pid, signal.SIGSTOP)

    def stop_all(self, held: subprocess.Popen[str], command: int) -> None:
        """Stop the command as well."""
        held.send_signal(signal.SIGSTOP)
        os.kill(command, signal.SIGSTOP)

    def kill(self, held: subprocess.Popen[str], command: int) -> None:
        """Kill ``coord``."""
        held.kill()


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

    def lock(self, script: str, wanted: str, *words: str, after: str = "") -> None:
        """Have the shell run a script under a lock."""
        coord = f"{sys.executable} -m coord.tools.cli lock {self.path} {' '.join(words)} -- sh -c"
        self.type(f"{coord} {shlex.quote(script)}{after}\n", wanted)

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
        self.lock("echo u''p; read x; echo do''ne; exit 6", "up\r\n")
        self.type("\x1a", "Stopped")
        self.type("fg\n", "sh -c")
        self.type("\n", "done")
        self.type("echo status $?\n", "status 6")
        self.lock("echo u''p; sleep 60; echo do''ne", "up\r\n", "--timeout", "1.5")
        self.type("\x1a", "Stopped")
        node = self.cluster.nodes[0]
        eventually(lambda: node.ask(f"GET {self.path}").startswith("ERR NOENT"), "the lock is lost")
        self.type("fg\n", "was lost")
        self.type("echo status $?\n", "status 75")

    def test_in_the_background(self) -> None:
        """After Ctrl-Z and ``bg`` the terminal is the shell's, also once the command is done."""
        self.lock("echo u''p; sleep 1; echo do''ne", "up\r\n")
        self.type("\x1a", "Stopped")
        self.type("bg\n", "done")
        self.type("wait; echo sh''ell\n", "shell")

    def test_wanted_later(self) -> None:
        """A command that was begun in the background has the terminal after ``fg``."""
        self.lock("read x; echo got $x; exit 8", "[1]", after=" &")
        eventually(lambda: self.is_job("Stopped"), "the shell knows that it is stopped")
        self.type("fg\n", "sh -c")
        self.type("something\n", "got something")
        self.type("echo status $?\n", "status 8")

    def test_ended_in_the_background(self) -> None:
        """A command that waits for the terminal in the background is ended by one ``kill``."""
        self.lock("read x", "[1]", after=" &")
        eventually(lambda: self.is_job("Stopped"), "the shell knows that it is stopped")
        self.type("kill %1; echo so''on\n", "soon")
        eventually(lambda: "143" in self.seen or self.is_job("143"), "it is at its end")

    def test_piped(self) -> None:
        """What the command's output is piped into may have the terminal, as a pager wants it."""
        self.type("r() { read u; echo $u; read x </dev/tty; echo got $x; cat; }\n", "> ")
        self.lock("echo u''p; sleep 1; echo do''ne", "up\r\n", after=" | r")
        self.type("something\n", "done")

    def is_job(self, state: str) -> bool:
        """Say whether the shell tells of a job that it is in such a state."""
        self.type("jobs; echo tol''d\n", "told")
        return state in self.seen


class Losses(LockCase):
    """Locks of a cluster that loses nodes."""

    size = 3

    def test_node_killed(self) -> None:
        """The command does not notice that the node is killed by which its lock is held."""
        process = self.working(self.path, "--timeout", "2", seconds=3.5)
        self.started(1, self.path)
        self.cluster.nodes[0].kill()
        self.assertEqual(self.end(process)[0], 0)
        (begin, end, _) = self.runs(self.path)[0]
        self.assertGreater(end - begin, 3.3)

    def test_no_quorum(self) -> None:
        """When the cluster is lost the command is stopped before the session can be over."""
        process = self.working(self.path, "--timeout", "2")
        self.started(1, self.path)
        for node in self.cluster.nodes[1:]:
            node.kill()
        lost = time.monotonic()
        status, _, err = self.end(process)
        self.assertEqual((status, err.count("lost")), (75, 1), err)
        self.assertLess(self.runs(self.path)[0][1], lost + 2)

    def test_contest(self) -> None:
        """Many want one lock, nodes and holders are killed and stopped: never do two run."""
        dice = random.Random(4)
        contenders = [self.working(self.path, "--timeout", "1", seconds=0.4) for _ in range(8)]
        self.started(1, self.path)
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
        self.see_that_none_overlap(self.path)
