"""A command under guard: it is gone before its lock can be somebody else's, whoever is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from coord.tools import guard
from coord.tools.guarded import Ended, Guarded, Margins
from tests.functional.cluster import PATIENCE_SECONDS, ROOT, eventually

STUBBORN = "trap '' TERM; touch started; while :; do sleep 0.05; done"


def is_alive(process: int) -> bool:
    """Say whether a process runs, or could."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class UnderGuard(TestCase):
    """What becomes of a command, by the clock that the lock's deadline is told in."""

    timeout = PATIENCE_SECONDS

    def setUp(self) -> None:
        """Have a folder for what commands leave."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def begin(self, seconds: float, *command: str, term: float = 0.6) -> Guarded:
        """Run a command under a lock that is certain for some seconds."""
        self.until = guard.now() + seconds
        made = Guarded(reactor, command, {"HOME": str(self.folder)}, self.until, Margins(term, 0.3))
        made.start()
        self.addCleanup(self.clear, made)
        return made

    def shell(self, seconds: float, script: str) -> Guarded:
        """Run a shell script, which notes its id first."""
        return self.begin(seconds, "sh", "-c", f"cd {self.folder}; echo $$ > pid; {script}")

    def clear(self, guarded: Guarded) -> None:
        """Leave nothing behind."""
        process = cast("Any", guarded.transport)
        for pid in (self.pid() if (self.folder / "pid").exists() else None, process.pid):
            if pid is not None and is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    def pid(self) -> int:
        """Return the id of the shell that runs, once it does."""
        eventually(lambda: bool(self.told("pid")), "the command runs")
        return int(self.told("pid"))

    def told(self, name: str) -> str:
        """Return what a command wrote into a file."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def guard_of(self, guarded: Guarded) -> int:
        """Return the id of the guard."""
        return int(cast("Any", guarded.transport).pid)

    async def late(self, guarded: Guarded) -> Ended:
        """Wait for the end, and see that it came before the lock could pass on."""
        ended = await guarded.ended()
        self.assertLess(guard.now(), self.until)
        self.assertTrue(ended.is_late)
        return ended

    async def test_status(self) -> None:
        """What a command ends with is handed on: of one that a signal ended, 128 and its number."""
        ended = await self.begin(20, "sh", "-c", "exit 7").ended()
        self.assertEqual(ended, Ended(7, False))
        ended = await self.begin(20, "sh", "-c", "kill -USR1 $$").ended()
        self.assertEqual(ended, Ended(128 + signal.SIGUSR1, False))

    async def test_no_command(self) -> None:
        """One that is not there, or no program, is 127 and 126, as with every shell."""
        self.assertEqual(await self.begin(20, "/nonesuch").ended(), Ended(127, False))
        self.assertEqual(await self.begin(20, str(self.folder)).ended(), Ended(126, False))

    async def test_too_late_to_begin(self) -> None:
        """A command is not begun where its lock is not certain any more."""
        running = self.shell(0.5, "touch begun")
        self.assertTrue((await running.ended()).is_late)
        self.assertEqual(list(self.folder.iterdir()), [])

    async def test_extended(self) -> None:
        """While the lock is made sure of again and again, the command runs on."""
        running = self.shell(1.2, "sleep 2; exit 3")
        for _ in range(10):
            await deferLater(cast("Any", reactor), 0.2)
            running.extend(guard.now() + 1.2)
        running.extend(guard.now() + 30)
        self.assertEqual(await running.ended(), Ended(3, False))

    async def test_asked_first(self) -> None:
        """When the time is nearly over the command is asked to end, and has time to tidy up."""
        running = self.shell(1.5, "trap 'echo tidied > end; exit 9' TERM; sleep 60 & wait")
        ended = await self.late(running)
        self.assertEqual((ended.status, self.told("end")), (9, "tidied\n"))

    async def test_stubborn(self) -> None:
        """One that does not listen is killed in time, with all that it started."""
        running = self.shell(1.5, f"sleep 61 & echo $! > child; {STUBBORN}")
        ended = await self.late(running)
        self.assertEqual(ended.status, 128 + signal.SIGKILL)
        self.assertFalse(is_alive(int(self.told("child"))))

    async def test_lost(self) -> None:
        """When the lock is known to be lost the command does not run on until the deadline."""
        running = self.shell(30, STUBBORN)
        eventually(lambda: (self.folder / "started").exists(), "it runs")
        began = guard.now()
        running.lost()
        await self.late(running)
        self.assertLess(guard.now() - began, 5)

    async def test_left_behind(self) -> None:
        """What a command leaves behind does not run on without the lock."""
        ended = await self.shell(20, "sleep 62 & echo $! > child; exit 2").ended()
        self.assertEqual(ended, Ended(2, False))
        self.assertFalse(is_alive(int(self.told("child"))))

    async def test_signals(self) -> None:
        """Signals reach the command."""
        running = self.shell(20, "trap 'echo got > end; exit 5' HUP; touch up; sleep 60 & wait")
        eventually(lambda: (self.folder / "up").exists(), "it listens")
        running.signal(signal.SIGHUP)
        self.assertEqual(await running.ended(), Ended(5, False))
        self.assertEqual(self.told("end"), "got\n")

    async def test_guard_stopped(self) -> None:
        """A guard that is stopped is no way round it: the command is killed from outside."""
        running = self.shell(2, STUBBORN)
        self.pid()
        os.kill(self.guard_of(running), signal.SIGSTOP)
        await self.late(running)

    async def test_guard_killed(self) -> None:
        """A command whose guard is killed goes with it."""
        running = self.shell(30, STUBBORN)
        command = self.pid()
        os.kill(self.guard_of(running), signal.SIGKILL)
        await self.late(running)
        self.assertFalse(is_alive(command))

    def test_all_stopped(self) -> None:
        """With the guard, the command and us all stopped, the kernel still kills it in time."""
        script = (
            "import os, sys; from twisted.internet import reactor; from coord.tools import guard;"
            "from coord.tools.guarded import Guarded, Margins;"
            "one = Guarded(reactor, ['sh', '-c', sys.argv[1]], {}, guard.now() + 2,"
            " Margins(0.6, 0.3)); one.start(); one.ended().addCallback(lambda _: reactor.stop());"
            "print(one.transport.pid, flush=True); reactor.run()"
        )
        command = f"cd {self.folder}; echo $$ > pid; {STUBBORN}"
        before = guard.now()
        parent = subprocess.Popen(
            [sys.executable, "-c", script, command], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        with parent:
            assert parent.stdout is not None
            guardian = int(parent.stdout.readline())
            child = self.pid()
            for process in (parent.pid, guardian, child):
                os.kill(process, signal.SIGSTOP)
            self.assertLess(guard.now(), before + 2.5)
            eventually(lambda: not is_alive(child), "the kernel kills it")
            self.assertFalse(is_alive(guardian))
            parent.send_signal(signal.SIGCONT)

    async def test_parent_killed(self) -> None:
        """A command whose lock nobody keeps any more is ended."""
        running = self.shell(30, "trap 'echo tidied > end; exit 9' TERM; touch up; sleep 60 & wait")
        eventually(lambda: (self.folder / "up").exists(), "it listens")
        cast("Any", running.transport).closeChildFD(guard.TOLD)
        self.assertEqual((await self.late(running)).status, 9)
        self.assertEqual(self.told("end"), "tidied\n")
