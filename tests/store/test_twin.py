"""The store beside its naive twin, through random lives."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord import paths
from coord.commands import Caller, Genesis, Level
from coord.store import answers, picture, sessions, watches
from tests.store import twin
from tests.store.life import Life
from tests.store.strategies import CALM, GLOBS, a_step, a_write, dice
from tests.store.strategies_of_sessions import a_whole_step

WRITER = Caller("ann", "h:1", Level.WRITE)


class TwinTests(SynchronousTestCase):
    """Nothing that the store says differs from what its twin says."""

    def setUp(self) -> None:
        """Make everything small, so that everything is met."""
        self.patch(watches, "WATCH_PENDING_EVENTS_MAX", 3)
        self.patch(watches, "_SCAN_CHANGES_MAX", 4)
        self.patch(watches, "_CHANGES_TOLD_MAX", 5)
        self.patch(picture, "_PIECE_BYTES_SOFT", 200)
        self.patch(answers, "OUTCOMES_PER_SESSION_MAX", twin.OUTCOMES_MAX)
        self.patch(sessions, "SESSIONS_EXPIRED_KEPT", twin.EXPIRED_MAX)

    @CALM
    @given(st.sampled_from([1, 2, 5, 1000]), dice)
    def test_lives_of_trees(self, history: int, random: Random) -> None:
        """Writes, reads of the past, walks and watches under way, images: all at random."""
        life = Life(self, history, random)
        for _ in range(80):
            life.step(a_step(random), WRITER)
        life.finish()

    @settings(CALM, max_examples=60)
    @given(st.sampled_from([1, 2, 5, 1000]), dice)
    def test_whole_lives(self, history: int, random: Random) -> None:
        """Sessions, locks, transactions, ids, lifetimes and rules of access: all at random."""
        life = Life(self, history, random)
        life.write(Genesis("twins", (("n1", "h:1"),)))
        life.open()
        for _ in range(150):
            life.step(a_whole_step(random, life.known))
        life.finish()

    @CALM
    @given(dice)
    def test_watched_from_everywhere(self, random: Random) -> None:
        """Watches that began at every revision there is all see the same rest."""
        life = Life(self, 1000, random)
        for _ in range(20):
            life.write(a_write(random), WRITER)
            life.watch(random.choice(GLOBS), None)
            life.watch(random.choice(GLOBS), life.twin.rev // 2)
            life.turn()
            for which in range(3):
                life.take(which, 2)
        life.finish()


class OrderTests(SynchronousTestCase):
    """What the store and its twin take for granted."""

    def test_names_are_tricky(self) -> None:
        """The names that lives are made of sort differently with and without their slash."""
        tricky = ["/a", "/a/b", "/a\x01", "/a!"]
        self.assertEqual(sorted(tricky, key=paths.order_key), tricky)
        self.assertNotEqual(sorted(tricky), tricky)
