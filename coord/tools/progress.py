"""How far some long work is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

SHOW_SECONDS: Final = 0.2
"""How often the bar is drawn anew."""
BAR_WIDTH: Final = 30


class Progress:
    """Counts work, and shows it on one line of ``screen`` where that is a terminal.

    :param what: what is counted, such as ``nodes``.
    :param whole: how much there will be, ``None`` where nobody knows.
    """

    def __init__(
        self,
        what: str,
        whole: int | None = None,
        *,
        screen: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.whole = whole
        self.done = 0
        self._what = what
        self._screen = sys.stderr if screen is None else screen
        self._now = now
        self._began = self._shown = now()
        self._is_drawn = False

    def add(self, count: int) -> None:
        """Count ``count`` more."""
        self.done += count
        now = self._now()
        if now - self._shown >= SHOW_SECONDS and self._screen.isatty():
            self._shown = now
            self._is_drawn = True
            print(f"\r{self.describe()}\x1b[K", end="", file=self._screen, flush=True)

    def restart(self) -> None:
        """Count from nothing again."""
        self.done = 0
        self._began = self._now()

    def close(self) -> None:
        """Take the bar away."""
        if self._is_drawn:
            print("\r\x1b[K", end="", file=self._screen, flush=True)
            self._is_drawn = False

    def describe(self) -> str:
        """Return how far it is, how fast, and how long it will take, in one line."""
        seconds = max(self._now() - self._began, 1e-6)
        rate = self.done / seconds
        text = f"{self.done:,} {self._what} {rate:,.0f}/s"
        if not self.whole:
            return f"{text} {_clock(seconds)}"
        part = min(1.0, self.done / self.whole)
        full = int(BAR_WIDTH * part)
        left = _clock(max(0, self.whole - self.done) / rate) if rate else "-"
        return f"[{'#' * full}{' ' * (BAR_WIDTH - full)}] {part:4.0%} {text}, {left} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
