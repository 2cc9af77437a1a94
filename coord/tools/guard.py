"""The guard: a small process between ``coord lock`` and the command that it runs.

A lock must not pass on while the command runs. ``coord`` sees to that as long as it runs itself,
but it may be stopped (SIGSTOP) or killed at any moment. So the command is the child of a guard,
in a process group of its own, and the guard knows how long the lock is certain to be held: each
time that grows, it is told.

1. A while before that time is over the group gets SIGTERM, then SIGKILL. It gets them as well
   when the guard hears nothing more because ``coord`` is gone.
2. If the guard is stopped, ``coord`` kills the group (`coord.tools.guarded`).
3. If both are stopped, a timer in the kernel that the guard winds up anew each time kills the
   guard, which a stopped process cannot escape; and when the guard dies the kernel kills the
   command (``PR_SET_PDEATHSIG``). For this nobody has to run. What the command itself has
   started is not reached by this: it is killed as soon as ``coord`` goes on.

Started as ``python -I -S guard.py UNTIL TERM KILL FOREGROUND COMMAND...``: the first three are
seconds as in `Deadline`, the fourth is 1 where the command is to have the terminal. It reads
lines from descriptor 3 (``until SECONDS``, ``signal NUMBER``, ``lost``) and tells lines on 4
(``started PID``, ``stopped NUMBER``, ``late``, ``ended STATUS``, ``failed ERRNO``). It imports
nothing of coord, to be there at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

TOLD = 3
TELLS = 4
STEP_SECONDS = 0.5
"""The longest sleep: what sleeps does not count the time for which a machine did."""
LOST_SECONDS = 0.1
"""Between SIGTERM and SIGKILL where the lock is gone already."""
REST_SECONDS = 1.0
"""The same for what the command leaves behind in its group when it ends."""
POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WANTING_AN_END = (signal.SIGTERM, signal.SIGHUP)
_PASSED_OVER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTOU)


def now() -> float:
    """Return seconds on the clock of all deadlines: one that goes on while a machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """When the command has to be gone.

    :param until: the lock is certainly held until then, as `now` counts.
    :param term: SIGTERM so many seconds before ``until``.
    :param kill: SIGKILL so many seconds before it.
    """

    def __init__(self, until: float, term: float, kill: float) -> None:
        self._term = term
        self._kill = kill
        self.extend(until)

    def extend(self, until: float) -> None:
        """Take note that it is certainly held until then."""
        self.term_at = until - self._term
        self.kill_at = until - self._kill
        self.dead_at = until - self._kill / 2

    def end(self, seconds: float) -> None:
        """Bring the end near: SIGTERM now, SIGKILL soon, and nothing later than before."""
        self.term_at = now()
        self.kill_at = min(self.kill_at, self.term_at + seconds)


# -- what only the C library has --------------------------------------------------------------
class _Event(ctypes.Structure):
    """``struct sigevent``, which has 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _Span(ctypes.Structure):
    """``struct itimerspec``."""

    _fields_ = (
        ("every_seconds", ctypes.c_long),
        ("every_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class LastResort:
    """A timer of the kernel that kills this process, also while it is stopped."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "timer_create"):  # before glibc 2.34
            self._libc = ctypes.CDLL("librt.so.1", use_errno=True)
        self._timer = ctypes.c_void_p()
        event = _Event(signal=signal.SIGKILL)
        made = self._libc.timer_create(
            time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)
        )
        if made != 0:
            raise OSError(ctypes.get_errno(), "there is no timer to be had")

    def wind(self, at: float) -> None:
        """Kill at ``at`` and no sooner."""
        whole = int(at)
        span = _Span(seconds=whole, nanoseconds=int((at - whole) * 1e9))
        absolute = 1
        self._libc.timer_settime(self._timer, absolute, ctypes.byref(span), None)


def adopt_orphans() -> None:
    """Become the parent of those below us whose own parent ends: they can be waited for then."""
    _control(_PR_SET_CHILD_SUBREAPER, 1)


def _control(option: int, argument: int) -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


# -- the command ------------------------------------------------------------------------------
def start(command: list[str], foreground: bool) -> int:
    """Run a command in a group of its own, which dies with this process; return its id.

    :raises OSError: where it cannot be run.
    """
    faults, fault = os.pipe()
    guard = os.getpid()
    child = os.fork()
    if not child:
        try:
            _become(command, guard, foreground)
        except OSError as error:
            os.write(fault, str(error.errno or 1).encode())
        finally:
            os._exit(127)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)  # here as well as there, so that it is done for both
    os.close(fault)
    problem = os.read(faults, 20)
    os.close(faults)
    if problem:
        os.waitpid(child, 0)
        raise OSError(int(problem), os.strerror(int(problem)))
    return child


def _become(command: list[str], guard: int, foreground: bool) -> None:
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        return
    os.setpgid(0, 0)
    if foreground:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(0, os.getpgrp())  # SIGTTOU is ignored so far
    for number in (*_PASSED_OVER, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.closerange(TOLD, TELLS + 1)
    os.execvp(command[0], command)  # noqa: S606 - no shell, on purpose


class Guard:
    """Watches over one command until it, and its group, are gone."""

    def __init__(self, deadline: Deadline, last_resort: LastResort) -> None:
        self._deadline = deadline
        self._last_resort = last_resort
        self._group = 0
        self._status: int | None = None
        self._is_termed = False
        self._is_late = False
        self._has_parent = True
        self._rest = b""

    def run(self, command: list[str], foreground: bool) -> None:
        """Run a command to its end; not at all where it would have to end at once."""
        if now() >= self._deadline.term_at:
            _tell("late")
            _tell(f"ended {-signal.SIGTERM}")
            return
        self._last_resort.wind(self._deadline.dead_at)
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake)
        try:
            self._group = start(command, foreground)
        except OSError as error:
            _tell(f"failed {error.errno}")
            return
        _tell(f"started {self._group}")
        while self._status is None:
            self._mind()
            self._listen(woken)
            self._reap()
        self._clear()
        _tell(f"ended {self._status}")

    def _mind(self) -> None:
        """Send what is due."""
        time_now = now()
        if time_now >= self._deadline.term_at and not self._is_termed:
            self._is_termed = self._is_late = True
            _tell("late")
            self._send(signal.SIGTERM)
            self._send(signal.SIGCONT)
        if time_now >= self._deadline.kill_at:
            self._send(signal.SIGKILL)

    def _listen(self, woken: int) -> None:
        """Wait until something is due, was told, or became of the command."""
        due = self._deadline.kill_at if self._is_termed else self._deadline.term_at
        seconds = min(STEP_SECONDS, max(POLL_SECONDS, due - now()))
        wanted = [woken, TOLD] if self._has_parent else [woken]
        ready, _, _ = select.select(wanted, [], [], seconds)
        if woken in ready:
            os.read(woken, 4096)
        if TOLD in ready:
            content = os.read(TOLD, 4096)
            *lines, self._rest = (self._rest + content).split(b"\n")
            for line in lines:
                self._hear(*line.split())
            if not content:
                self._has_parent = False
                self._deadline.end(max(0.0, self._deadline.kill_at - self._deadline.term_at))

    def _hear(self, word: bytes, argument: bytes = b"") -> None:
        if word == b"until" and not self._is_late:
            self._deadline.extend(float(argument))
            self._last_resort.wind(self._deadline.dead_at)
        elif word == b"signal":
            self._send(int(argument))
            if int(argument) in _WANTING_AN_END:
                self._send(signal.SIGCONT)  # who is stopped would not take it in
        elif word == b"lost":
            self._deadline.end(LOST_SECONDS)

    def _reap(self) -> None:
        """Take note of what became of the command, and of what it left behind."""
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if not child:
                return
            if child != self._group:
                continue
            if os.WIFSTOPPED(status):
                _tell(f"stopped {os.WSTOPSIG(status)}")
            else:
                self._status = os.waitstatus_to_exitcode(status)

    def _clear(self) -> None:
        """End what the command left behind in its group: it would go on without the lock."""
        self._send(signal.SIGTERM)
        kill_at = min(self._deadline.kill_at, now() + REST_SECONDS)
        while self._send(0):
            if now() >= kill_at:
                self._send(signal.SIGKILL)
            time.sleep(POLL_SECONDS)
            self._reap()

    def _send(self, number: int) -> bool:
        """Send a signal to the group; say whether anyone is there."""
        try:
            os.killpg(self._group, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return bool(number)  # who has become somebody else cannot be waited for
        return True


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to hear it
        os.write(TELLS, line.encode() + b"\n")


def main(words: list[str]) -> None:
    """Guard the command that the words name."""
    until, term, kill = map(float, words[:3])
    for number in _PASSED_OVER:
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    adopt_orphans()
    os.set_inheritable(TOLD, False)
    os.set_inheritable(TELLS, False)
    Guard(Deadline(until, term, kill), LastResort()).run(words[4:], words[3] == "1")


if __name__ == "__main__":
    main(sys.argv[1:])
