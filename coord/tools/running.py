"""A program's work in the reactor: begun, ended, and broken off by Ctrl-C without a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.python.failure import Failure

from coord.client import NoServer, steady
from coord.client.dialler import endpoint
from coord.errors import CoordError

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NO_SERVER: Final = 3
INTERRUPTED: Final = 130
SERVERS: Final = "COORD_SERVERS"
DEFAULT_SERVER: Final = "127.0.0.1:8046"

Work = Callable[[Any], Coroutine[Deferred[Any], Any, int]]


class Usage(Exception):
    """The command line makes no sense; the text says why."""


def servers_of(given: list[str] | None) -> list[str]:
    """Return the servers that were named, by options or in the environment; raises `Usage`."""
    from twisted.internet import reactor

    names = given or os.environ.get(SERVERS, "").replace(",", " ").split() or [DEFAULT_SERVER]
    for name in names:
        try:
            endpoint(reactor, name)
        except ValueError as error:
            raise Usage(f"{name!r} is no server: {error}") from None
    return names


def run(program: str, work: Work, known: tuple[type[Exception], ...] = ()) -> int:
    """Run ``work(reactor)`` to its end and return the exit status that it returned.

    What the store says is printed in one line, with status 1, as is every error that is
    ``known``; that nobody answered, with status 3. SIGINT and SIGTERM cancel the work, which
    may still put its things in order; then the status is 130, unless the work says another.
    """
    from twisted.internet import reactor

    status = [INTERRUPTED]
    loop: Any = reactor
    steady(loop)

    def begin() -> None:
        working = ensureDeferred(_judged(program, work(loop), known))

        def interrupt() -> Deferred[None]:
            ended: Deferred[None] = Deferred()
            working.addBoth(lambda _: ended.callback(None))
            working.cancel()
            return ended

        trigger = loop.addSystemEventTrigger("before", "shutdown", interrupt)

        def end(outcome: int | Failure) -> None:
            if isinstance(outcome, int):
                status[0] = outcome
            elif not outcome.check(CancelledError):
                status[0] = REFUSED
                outcome.printTraceback(file=sys.stderr)  # a mistake of ours: all that is known
            if not loop._stopped:
                loop.removeSystemEventTrigger(trigger)
                loop.stop()

        working.addBoth(end)

    loop.callWhenRunning(begin)
    loop.run()
    return _flushed(status[0])


async def _judged(program: str, work: Awaitable[int], known: tuple[type[Exception], ...]) -> int:
    try:
        return await work
    except NoServer as error:
        complain(program, error.text)
        return NO_SERVER
    except CoordError as error:
        complain(program, f"{error.code} {error.text}".strip())
        return REFUSED
    except BrokenPipeError:
        return INTERRUPTED + signal.SIGPIPE - signal.SIGINT
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(program, f"{where}{error.strerror or error}")
        return REFUSED
    except known as error:
        complain(program, str(error))
        return REFUSED


def open_streams() -> None:
    """See to it that standard input and output are there: a parent may have closed them."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # for as long as we live
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def complain(program: str, text: str) -> None:
    """Say one line on standard error."""
    print(f"{program}: {' '.join(text.split())}", file=sys.stderr, flush=True)


def _flushed(status: int) -> int:
    """Return ``status`` once what was printed is on its way; who reads may have gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED + signal.SIGPIPE - signal.SIGINT
    return status
