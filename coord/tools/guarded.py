"""A command that runs while a lock is held, and the guard that ends it in time.

`coord.tools.guard` says who watches over whom. This is the part of ``coord`` itself: it tells the
guard how long the lock is certain to be held, passes signals on, kills the group where the guard
does not, and hands the terminal to the command and back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from coord.tools import guard

WATCH_SECONDS: Final = 0.1
"""How often it is seen to that the guard does what it should."""
EXTENSION_SECONDS_MIN: Final = 0.001
"""What is less than this longer is not told."""
GONE_SECONDS: Final = 2.0
"""How long a group that was killed may take to be gone."""
PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Margins(msgspec.Struct, frozen=True):
    """How long before the lock may pass on the command gets SIGTERM, and then SIGKILL."""

    term_seconds: float
    kill_seconds: float

    @classmethod
    def of(cls, timeout_seconds: float) -> Margins:
        """Return those that go with a session's timeout: a quarter of it, and a tenth.

        A tenth is time enough for a kernel to end a process on a busy machine. What is left of
        the timeout is there to find another server.
        """
        return cls(timeout_seconds / 4, timeout_seconds / 10)


class Ended(msgspec.Struct, frozen=True):
    """What became of a command: its exit status as a shell has it, and whether it was in time.

    ``is_late`` says that it was ended because the lock was lost, or could have been.
    """

    status: int
    is_late: bool


class Guarded(ProcessProtocol):
    """One command, run under a guard.

    :param reactor: the real one.
    :param until: the lock is certainly held until then, as `coord.tools.guard.now` counts.
    """

    def __init__(
        self,
        reactor: Any,
        command: Sequence[str],
        environment: Mapping[str, str],
        until: float,
        margins: Margins,
    ) -> None:
        self._waiting: list[Deferred[Ended]] = []
        self._outcome: Ended | None = None
        self._reactor = reactor
        self._command = command
        self._environment = {**os.environ, **environment}
        self._margins = margins
        self._until = until
        self._deadline = guard.Deadline(until, margins.term_seconds, margins.kill_seconds)
        self._terminal = Terminal()
        self._watching = LoopingCall(self._watch)
        self._watching.clock = reactor
        self._group: int | None = None
        self._ending: Ended | None = None
        self._is_late = False
        self._is_to_end = False
        self._gone_at = 0.0
        self._rest = b""

    def start(self) -> None:
        """Run the command."""
        guard.adopt_orphans()
        margins = self._margins
        words = [
            *(sys.executable, "-I", "-S", str(Path(guard.__file__))),
            *(repr(self._until), repr(margins.term_seconds), repr(margins.kill_seconds)),
            *("1" if self._terminal.is_ours else "0", *self._command),
        ]
        self._reactor.spawnProcess(
            self,
            sys.executable,
            words,
            env=self._environment,
            childFDs={0: 0, 1: 1, 2: 2, guard.TOLD: "w", guard.TELLS: "r"},
        )

    def ended(self) -> Deferred[Ended]:
        """Return what became of the command, once all of it is gone.

        To cancel the Deferred is to wait no longer, and changes nothing.
        """
        if self._outcome is not None:
            return succeed(self._outcome)
        waiting: Deferred[Ended] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    # -- what the lock tells ----------------------------------------------------------------------
    def extend(self, until: float) -> None:
        """Take note that the lock is certainly held until then."""
        if not self._is_late and until > self._until + EXTENSION_SECONDS_MIN:
            self._until = until
            self._deadline.extend(until)
            self._say(f"until {until!r}")

    def lost(self) -> None:
        """Take note that the lock is lost: end the command now."""
        self._deadline.end(guard.LOST_SECONDS)
        self._say("lost")

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        self._is_to_end = self._is_to_end or number in (signal.SIGTERM, signal.SIGHUP)
        self._say(f"signal {number}")

    def _say(self, line: str) -> None:
        transport = cast("Any", self.transport)
        if transport is not None and self._ending is None:
            transport.writeToChild(guard.TOLD, line.encode() + b"\n")

    # -- what the guard tells ---------------------------------------------------------------------
    def connectionMade(self) -> None:
        """Begin to see to it that the guard does what it should."""
        self._watching.start(WATCH_SECONDS, now=False)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Take what the guard tells, line by line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, argument = line.decode().partition(" ")
            self._hear(word, int(argument or 0))

    def _hear(self, word: str, number: int) -> None:
        if word == "started":
            self._group = number
        elif word == "late":
            self._is_late = True
        elif word == "stopped" and not self._is_to_end:
            self._terminal.stopped(number, self._group or 0, self)
        elif word == "ended":
            self._ending = Ended(number if number >= 0 else 128 - number, self._is_late)
        elif word == "failed":
            print(f"coord: {self._command[0]}: {os.strerror(number)}", file=sys.stderr)
            is_missing = number in (2, 20)
            self._ending = Ended(127 if is_missing else 126, False)

    def processEnded(self, reason: Failure) -> None:
        """Take note that the guard is gone, for whatever reason."""
        if self._ending is None:
            self._is_late = True  # it was killed; by whom and why does not matter
            self._gone_at = guard.now() + GONE_SECONDS
            self._watch()
        else:
            self._finish(self._ending)

    # -- where the guard does not do it -----------------------------------------------------------
    def _watch(self) -> None:
        """Kill what should be gone; once the guard is, wait until all of the group is."""
        if self._ending is not None:
            return
        now = guard.now()
        if now >= self._deadline.kill_at or self._gone_at:
            is_there = self._kill()
            if self._gone_at and (not is_there or now >= self._gone_at):
                self._finish(Ended(128 + signal.SIGKILL, True))

    def _kill(self) -> bool:
        """Kill the group; say whether anyone was there.

        Those whose guard is gone are ours to bury: until then they count as there.
        """
        if self._group is None:
            return False
        try:
            os.killpg(self._group, signal.SIGKILL)
            while os.waitpid(-self._group, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return not self._gone_at
        except OSError:
            return False
        return True

    def _finish(self, ending: Ended) -> None:
        if self._watching.running:
            self._watching.stop()
        self._ending = self._outcome = ending
        self._terminal.take_back(self._group or 0)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(ending)


class Terminal:
    """The terminal that ``coord`` was started from: the command has it while it runs.

    Where ``coord`` was started in the background, or its output goes into a pipe, whose other end
    may want the terminal as well, the command has it once it wants it. Where there is none, this
    does nothing.
    """

    def __init__(self) -> None:
        self.is_ours = _is_ours() and not stat.S_ISFIFO(os.fstat(1).st_mode)

    def stopped(self, number: int, group: int, guarded: Guarded) -> None:
        """Stop together with a command that was stopped, by Ctrl-Z say, and go on with it."""
        if _foreground() is None:
            return
        self.take_back(group)
        wants_it = number in (signal.SIGTTIN, signal.SIGTTOU)
        if not (wants_it and _is_ours()) and not _stand_still() and not _is_ours():
            return  # who can neither be stopped nor have the terminal would ask for it for ever
        if _is_ours():
            self._give(group)
        guarded.signal(signal.SIGCONT)

    def take_back(self, group: int) -> None:
        """Have the terminal again, where the command still has it: not after ``bg``."""
        holder = _foreground()
        if holder is not None and (holder == group or not _is_there(holder)):
            self._give(os.getpgrp())

    def _give(self, group: int) -> None:
        with _ignoring(signal.SIGTTOU), contextlib.suppress(OSError):
            os.tcsetpgrp(0, group)


def _foreground() -> int | None:
    """Return the process group that has the terminal; ``None`` where we have no such thing."""
    try:
        return os.tcgetpgrp(0)
    except OSError:
        return None


def _is_ours() -> bool:
    return _foreground() == os.getpgrp()


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stand_still() -> bool:
    """Stop our group until the shell lets it go on; say whether it was stopped at all.

    The kernel stops no group that nobody is there to let go on.
    """
    went_on: list[int] = []
    before = signal.signal(signal.SIGCONT, lambda number, frame: went_on.append(number))
    try:
        os.killpg(0, signal.SIGTSTP)  # here we stand
    finally:
        signal.signal(signal.SIGCONT, before)
    return bool(went_on)


@contextlib.contextmanager
def _ignoring(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextlib.contextmanager
def passing_on(reactor: Any, guarded: Guarded) -> Iterator[None]:
    """Pass on to the command, as long as this is entered, what we are asked to end by.

    What was ignored when we were started (``nohup``) stays ignored.
    """
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    for number, action in before.items():
        if action != signal.SIG_IGN:
            signal.signal(
                number, lambda caught, frame: reactor.callFromThread(guarded.signal, caught)
            )
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
