"""Clocks for what must not outlive its time: they go on while the machine sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import Clock

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_seconds() -> float:
    """Return the seconds since the machine was started, those that it slept among them."""
    return time.clock_gettime(_CLOCK)


def clock_of(reactor: Any) -> Callable[[], float]:
    """Return the clock that goes with a reactor; a test's clock is its own."""
    if isinstance(reactor, Clock):
        return reactor.seconds
    return boot_seconds
