"""A time that a request may take, however long that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_TIMER_SECONDS_MAX: Final = 86_400.0
"""Longest single timer; a reactor does not wait for months in one go."""


class Alarm:
    """Calls ``ring`` once, after ``seconds``, unless it is cancelled before."""

    def __init__(self, clock: IReactorTime, seconds: float, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._until = clock.seconds() + seconds
        self._ring = ring
        self._timer: IDelayedCall | None = None
        self._go_on()

    def cancel(self) -> None:
        """Do not ring any more; safe to call at any time."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _go_on(self) -> None:
        left = self._until - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(min(left, _TIMER_SECONDS_MAX), self._go_on)
        else:
            self._timer = None
            self._ring()
