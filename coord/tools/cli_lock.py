"""``coord lock`` and ``coord elect``: a command that runs while a lock is held, and no longer."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError
from twisted.internet.task import LoopingCall

from coord.client import Verbs
from coord.errors import CoordError
from coord.paths import encode
from coord.tools import guard
from coord.tools.cli_words import lock_path
from coord.tools.guarded import Ended, Guarded, Margins, passing_on

LOST: Final = 75
"""Exit status where the command was stopped because the lock was lost, or could have been."""
TELLS_PER_TIMEOUT: Final = 40
"""How often the guard is told how long the lock is certain to be held."""


async def hold(
    reactor: Any, client: Verbs, given: argparse.Namespace, note: Callable[[str], None]
) -> int:
    """Take the lock, run the command, give the lock up; return the exit status.

    :raises CoordError: why the lock was not had.
    """
    path = lock_path(given)
    session = client.session(timeout_seconds=given.timeout)
    lock = await client.lock(
        path,
        _value(given),
        shared=given.shared,
        wait_seconds=given.wait,
        delay_seconds=given.delay or 0.0,
    )
    where = {"COORD_TOKEN": str(lock.token), "COORD_LOCK": encode(path).decode()}

    def certain_until() -> float:
        return guard.now() + session.seconds_left

    margins = Margins.of(session.timeout_seconds)
    guarded = Guarded(reactor, given.run, where, certain_until(), margins)
    telling = LoopingCall(lambda: guarded.extend(certain_until()))
    telling.clock = reactor
    lock.lost().addCallback(lambda why: None if why is None else guarded.lost())
    guarded.start()
    telling.start(session.timeout_seconds / TELLS_PER_TIMEOUT, now=False)
    with passing_on(reactor, guarded):
        ended = await _end_of(guarded)
    telling.stop()
    try:
        await lock.release()
    except CancelledError:
        note("the lock goes with the session, since there was no time to give it up")
    except CoordError as error:
        note(f"the lock goes with the session, since it could not be given up: {error.text}")
    if ended.is_late:
        note(f"the lock at {where['COORD_LOCK']} was lost, or could have been: stopped the command")
        return LOST
    return ended.status


async def _end_of(guarded: Guarded) -> Ended:
    """Return what became of a command; whoever wants us to end meanwhile has that end first."""
    while True:
        try:
            return await guarded.ended()
        except CancelledError:
            guarded.signal(signal.SIGTERM)


def _value(given: argparse.Namespace) -> bytes | None:
    """Return what the lock's node holds meanwhile: who is elected says who it is."""
    if given.value is not None:
        return os.fsencode(given.value)
    return f"{socket.gethostname()}:{os.getpid()}".encode() if given.command == "elect" else None
