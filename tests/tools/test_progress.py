"""How far some long work is."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from coord.tools.progress import Progress


class Screen(io.StringIO):
    """A terminal, or what stands in for one in a pipe."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        """Say what it is."""
        return self.is_terminal


class Bars(SynchronousTestCase):
    """What is shown, and when."""

    def begin(self, whole: int | None, *, is_terminal: bool = True) -> Progress:
        """Begin some work at time 0."""
        self.time = 0.0
        self.screen = Screen(is_terminal=is_terminal)
        return Progress("nodes", whole, screen=self.screen, now=lambda: self.time)

    def test_rate_and_rest(self) -> None:
        """The bar says how much is done, how fast, and how long the rest will take."""
        progress = self.begin(10_000)
        self.time = 2.0
        progress.add(2500)
        self.assertEqual(
            progress.describe(), f"[{'#' * 7}{' ' * 23}]  25% 2,500 nodes 1,250/s, 0:06 left"
        )
        self.assertIn(progress.describe(), self.screen.getvalue())

    def test_unknown_end(self) -> None:
        """Where nobody knows how much there is, the time that it took stands for the rest."""
        progress = self.begin(None)
        self.time = 3725.0
        progress.add(3725)
        self.assertEqual(progress.describe(), "3,725 nodes 1/s 1:02:05")

    def test_seldom(self) -> None:
        """It is drawn a few times a second, and taken away at the end."""
        progress = self.begin(10_000)
        for _ in range(1000):
            self.time += 0.001
            progress.add(1)
        self.assertLess(self.screen.getvalue().count("\r"), 6)
        progress.close()
        self.assertTrue(self.screen.getvalue().endswith("\r\x1b[K"))

    def test_pipe(self) -> None:
        """Nothing is shown in a pipe."""
        progress = self.begin(10, is_terminal=False)
        self.time = 9.0
        progress.add(10)
        progress.close()
        self.assertEqual(self.screen.getvalue(), "")

    def test_more_than_there_was(self) -> None:
        """More than was thought is all of it."""
        progress = self.begin(10)
        self.time = 1.0
        progress.add(12)
        self.assertIn("100% 12 nodes 12/s, 0:00 left", progress.describe())
        progress.restart()
        self.assertIn("  0% 0 nodes", progress.describe())
