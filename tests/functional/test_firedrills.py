"""The fire drills of ``doc/firedrill.rst``, gone through as an operator does."""

from __future__ import annotations

import shutil
import time
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.cluster import PATIENCE_SECONDS, eventually
from tests.functional.drills import PAGE, Shell, Step, Writing, Yard, read_page, shared

DRILLS = read_page(PAGE.read_text(encoding="utf-8"))
LOOK_SECONDS = 0.3


class Drill(SynchronousTestCase):
    """Somebody goes through a drill of the page, line by line."""

    def go_through(self, number: int, yard: Yard) -> None:
        """Type what the page has, and find what it shows."""
        (title,) = (one for one in DRILLS if one.startswith(f"{number}. "))
        shell = Shell(yard.folder)
        self.addCleanup(shell.close)
        for step in DRILLS[""] + DRILLS[title]:
            if number == 1 or step not in DRILLS[""] or not step.looks:
                self.take(step, shell, yard)

    def take(self, step: Step, shell: Shell, yard: Yard) -> None:
        """Type one line; look again, if it only looks, until it shows what the page has."""
        until = time.monotonic() + PATIENCE_SECONDS
        lines = shell.type(yard.local(step.typed))
        while not step.is_shown(lines):
            if not step.looks or time.monotonic() > until:
                self.fail("\n".join(["", f"$ {step.typed}", *lines, "wanted:", *step.shown]))
            time.sleep(LOOK_SECONDS)
            lines = shell.type(yard.local(step.typed))


class Page(SynchronousTestCase):
    """The page itself."""

    def test_ten(self) -> None:
        """There are ten drills, and each says when it is over and what to do if it is not."""
        numbers = [title.partition(".")[0] for title in DRILLS if title]
        self.assertEqual(numbers, list(map(str, range(1, 11))))
        text = PAGE.read_text(encoding="utf-8")
        for label in ("**In life**", "**Shows**", "**Over**", "**If not**"):
            self.assertEqual(text.count(label), 10, label)

    def test_what_may_differ(self) -> None:
        """What comes back may differ in numbers, in widths, and where the page leaves it out."""
        step = Step("coord members", ("n1  10.0.0.1:8076  up", "...", "rev 7 of c-..."))
        self.assertTrue(step.is_shown(["n2\t10.0.0.2:80\tup", "", "x", "y", "rev 12 of c-1a"]))
        self.assertTrue(step.is_shown(["n2 10.0.0.2:80 up", "rev 12 of c-"]))
        self.assertFalse(step.is_shown(["n2 10.0.0.2:80 down", "rev 12 of c-1a"]))
        self.assertFalse(step.is_shown(["n2 10.0.0.2:80 up"]))
        self.assertFalse(Step("kill 1").is_shown(["kill: (1): operation not permitted"]))


class WithThree(Drill):
    """Drills after which all three nodes are there as they were before."""

    def setUp(self) -> None:
        """Take up the demonstration that they share."""
        self.yard = shared()

    def tearDown(self) -> None:
        """Find all three nodes to have the same."""
        eventually(lambda: self.yard.are_same("n1", "n2", "n3"), "all nodes have the same")

    def test_leader_killed(self) -> None:
        """Another node leads within a second, and the one that was killed is started again."""
        self.go_through(1, self.yard)

    def test_node_hangs(self) -> None:
        """The others go on without a node that hangs, and it is up to date when it goes on."""
        self.go_through(2, self.yard)

    def test_two_gone(self) -> None:
        """One of three decides nothing, and two of three everything."""
        self.go_through(3, self.yard)

    def test_version(self) -> None:
        """All nodes are stopped and started, one after the other, and no write is lost."""
        with Writing(self.yard) as writing:
            self.go_through(4, self.yard)
        self.assertEqual(writing.lost(self.yard.base), set())

    def test_deleted(self) -> None:
        """What somebody has deleted comes back from the record, as it was just before."""
        self.go_through(10, self.yard)

    def test_disk_full(self) -> None:
        """A node that cannot write takes no part, and comes back by itself once it can."""
        if shutil.which("prlimit") is None:
            raise SkipTest("there is no prlimit here")
        self.go_through(5, self.yard)

    def test_disk_lost(self) -> None:
        """A node on an empty disk is recognised, admitted anew, and has all that is there."""
        self.go_through(6, self.yard)

    def test_disk_set_back(self) -> None:
        """A node on an old copy of its disk is recognised, and comes back on an empty one."""
        self.go_through(7, self.yard)


class WithOthers(Drill):
    """Drills after which other nodes are there."""

    def setUp(self) -> None:
        """Start a demonstration of its own."""
        self.yard = Yard()
        self.addCleanup(self.yard.close)

    def test_members(self) -> None:
        """Three nodes become five and three others while clients write, and no write is lost."""
        with Writing(self.yard) as writing:
            self.go_through(8, self.yard)
        eventually(lambda: self.yard.are_same("n4", "n5", "n6"), "the new ones have the same")
        self.assertEqual(writing.lost(self.yard.base + 3), set())
        self.yard.stop()
        self.yard.start()  # Those who were removed stay out.
        eventually(lambda: self.yard.are_same("n4", "n5", "n6"), "the new ones serve again")

    def test_one_disk_left(self) -> None:
        """The one disk that is left becomes a new cluster, which others join."""
        self.go_through(9, self.yard)
        eventually(lambda: self.yard.are_same("n1", "n2", "n3"), "all nodes have the same")
