"""Python at the prompt, as manholes have it, with the traps taken out.

What runs here runs in the node, in the reactor's thread: while it runs nothing else does. So a
line that takes too long is ended, and what would wait for a keyboard that is not there, or end
the process, does neither.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final, Never, Protocol

from twisted.conch.manhole import ManholeInterpreter

LINE_SECONDS_MAX: Final = 1.0
"""How long a line may hold the node."""


class IShows(Protocol):
    """Who shows what the interpreter has to say."""

    def addOutput(self, data: str, isAsync: bool | None = None) -> None:
        """Show a text; an asynchronous one comes while something is typed."""

    def display(self, value: object) -> bool:
        """Show a value in a way of its own; say whether it has one."""

    def leave(self) -> None:
        """End the session."""


class TookTooLong(BaseException):
    """A line held the node for too long; no ``except Exception`` in it stops this."""


class Interpreter(ManholeInterpreter):
    """Runs lines for one session."""

    def __init__(self, shows: IShows, namespace: dict[str, Any]) -> None:
        self._shows = shows
        ManholeInterpreter.__init__(self, shows, {**namespace, **_safer()})

    def runcode(self, code: CodeType) -> None:
        """Run a line; to leave is to end the session, not the node."""
        try:
            with _limited(LINE_SECONDS_MAX):
                ManholeInterpreter.runcode(self, code)
        except SystemExit:
            self._shows.leave()

    def displayhook(self, value: object) -> None:
        """Show what a line came to."""
        if value is None:
            return
        if self._shows.display(value):
            self.locals["_"] = value
        else:
            ManholeInterpreter.displayhook(self, value)

    def excepthook(self, kind: Any, error: Any, trace: Any) -> None:
        """Show what went wrong, without the frames that are ours."""
        while trace is not None and trace.tb_frame.f_code.co_filename != self.filename:
            trace = trace.tb_next
        self.write("".join(traceback.format_exception(kind, error, trace)))

    def showsyntaxerror(self, filename: str | None = None, **named: Any) -> None:
        """Show that a line is no Python, to the person and not to the node's own output."""
        lines = traceback.format_exc(limit=0).splitlines(keepends=True)
        self.write("".join(line for line in lines if not line.startswith("Traceback")))

    def write(self, data: str, isAsync: bool | None = None) -> None:
        """Show a text."""
        self._shows.addOutput(data, isAsync)


class _Leaving:
    """``exit`` and ``quit``."""

    def __call__(self, status: object = None) -> Never:
        """Leave."""
        raise SystemExit

    def __repr__(self) -> str:
        raise SystemExit


def _safer() -> dict[str, Any]:
    """Return names that take the place of those which would stop the node, or end it."""

    def not_here(*given: object, **named: object) -> Never:
        raise RuntimeError("it would have the node wait for a keyboard")

    leaving = _Leaving()
    return {
        "__name__": "__console__",
        "breakpoint": not_here,
        "exit": leaving,
        "input": not_here,
        "quit": leaving,
    }


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """End what runs inside if it takes longer; only the main thread can be helped so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"a line may hold the node for {seconds:g} s")

    before: Callable[[int, FrameType | None], Any] | int | None
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
