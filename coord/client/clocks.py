"""Clocks for what must not outlive its time: they go on while the machine sleeps.

A reactor's timers go by the time of day as long as nobody has made it `steady`: where that is set
back by an hour, each of them is an hour late.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import Clock

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_seconds() -> float:
    """Return the seconds since the machine was started, those that it slept among them."""
    return time.clock_gettime(_CLOCK)


def steady(reactor: Any) -> None:
    """Have a reactor's timers go by a clock that nobody sets, from now on.

    For programs of whose process the reactor is: call it once, before anything else. What
    ``reactor.seconds()`` says begins with the time of day as it is now and goes on evenly, so that
    calls which wait already come when they should. Safe to call twice.
    """
    ahead = reactor.seconds() - boot_seconds()
    reactor.seconds = lambda: boot_seconds() + ahead


def clock_of(reactor: Any) -> Callable[[], float]:
    """Return the clock that goes with a reactor; a test's clock is its own."""
    if isinstance(reactor, Clock):
        return reactor.seconds
    return boot_seconds
