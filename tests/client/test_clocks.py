"""Timers while somebody sets the time of day."""

from __future__ import annotations

from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from coord.client import clocks

HOUR = 3600.0


class SteadyTests(SynchronousTestCase):
    """A reactor that was made steady, and clocks that a test sets."""

    def setUp(self) -> None:
        """Make a reactor that does not run, at some time of day."""
        self.wall, self.boot = 1_000_000.0, 50.0
        self.patch(clocks, "boot_seconds", lambda: self.boot)
        self.reactor: Any = SelectReactor()
        self.addCleanup(self.reactor.disconnectAll)
        self.reactor.seconds = lambda: self.wall
        self.called: list[str] = []

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.boot += seconds
        self.reactor.runUntilCurrent()

    def later(self, name: str, seconds: float) -> None:
        """Have a call made later."""
        self.reactor.callLater(seconds, self.called.append, name)

    def test_without(self) -> None:
        """A reactor's timers are late where the time of day is set back: that is what is mended."""
        self.later("a", 1)
        self.wall -= HOUR
        self.go_on(10)
        self.assertEqual(self.called, [])

    def test_set_back(self) -> None:
        """Timers of before and after come in time though the time of day is set back by hours."""
        self.later("before", 2)
        clocks.steady(self.reactor)
        self.later("after", 1)
        self.wall -= 5 * HOUR
        self.later("much after", 3)
        self.assertEqual(self.reactor.timeout(), 1)
        for expected in ("after", "before", "much after"):
            self.go_on(1)
            self.assertEqual(self.called.pop(), expected)

    def test_set_forward(self) -> None:
        """No timer comes early because the time of day is set forward."""
        clocks.steady(self.reactor)
        self.later("a", 10)
        self.wall += 5 * HOUR
        self.go_on(9)
        self.assertEqual(self.called, [])
        self.go_on(1)
        self.assertEqual(self.called, ["a"])

    def test_twice(self) -> None:
        """To say it twice changes nothing."""
        clocks.steady(self.reactor)
        self.wall += HOUR
        seconds = self.reactor.seconds()
        clocks.steady(self.reactor)
        self.assertEqual(self.reactor.seconds(), seconds)

    def test_sleep(self) -> None:
        """After a machine slept, what was due meanwhile is done at once."""
        clocks.steady(self.reactor)
        self.later("a", 10)
        self.go_on(HOUR)
        self.assertEqual(self.called, ["a"])
