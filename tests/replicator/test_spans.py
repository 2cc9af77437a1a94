"""Lifetimes, waits and lock-delays: never over early, counted no longer than they are there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Lapse
from coord.replicator.spans import Spans, lapse_of
from coord.store.news import Delay, Lifetime, Patience
from tests.replicator.fake_store import FakeStore, facts

MANY = 1000


class SpansTests(SynchronousTestCase):
    """What one node counts."""

    def setUp(self) -> None:
        """Begin with nothing under way."""
        self.store = FakeStore()
        self.spans = Spans(self.store)

    def test_each_kind(self) -> None:
        """Each is over after its span by any clock, from when it was applied here, in one lapse."""
        life, wait = Lifetime("/a", 9, 5000), Patience("/l", "s", 3, 2000)
        delay = Delay("/l", 8, 1000)
        for span in (life, wait, delay):
            self.spans.begin(span, 100.0)
        self.assertEqual(self.spans.take(101.0, MANY), [])
        self.assertEqual(self.spans.take(101.02, MANY), [delay])
        over = self.spans.take(105.1, MANY)
        self.assertEqual(over, [wait, life])
        self.assertEqual(
            lapse_of(["t"], [delay, *over]),
            Lapse(("t",), (("/a", 9),), (("/l", "s", 3),), (("/l", 8),)),
        )

    def test_set_again(self) -> None:
        """A node that was set again lives its whole time from then."""
        self.spans.begin(Lifetime("/a", 9, 5000), 100.0)
        self.spans.begin(Lifetime("/a", 12, 5000), 104.0)
        self.assertEqual(self.spans.take(109.0, MANY), [])
        self.assertEqual(self.spans.take(109.1, MANY), [Lifetime("/a", 12, 5000)])

    def test_place_over(self) -> None:
        """A place that was granted or given up is counted no more."""
        self.spans.begin(Patience("/l", "s", 3, 2000), 100.0)
        self.spans.end_place("/l", "s")
        self.assertEqual((self.spans.take(200.0, MANY), len(self.spans)), ([], 0))

    def test_lapsed(self) -> None:
        """What ended by a leader's word is counted no more, on any node; what began anew is."""
        self.spans.begin(Lifetime("/a", 12, 5000), 100.0)
        self.spans.begin(Lifetime("/b", 9, 5000), 100.0)
        self.spans.begin(Patience("/l", "s", 3, 5000), 100.0)
        self.spans.begin(Patience("/m", "s", 5, 5000), 100.0)
        self.spans.begin(Delay("/l", 8, 5000), 100.0)
        self.spans.lapsed(
            Lapse(
                nodes=(("/a", 9), ("/b", 9), ("/c", 9)),
                waits=(("/l", "s", 2), ("/m", "s", 5), ("/n", "s", 1)),
                delays=(("/l", 8),),
            )
        )
        over = self.spans.take(105.1, MANY)
        self.assertEqual(over, [Lifetime("/a", 12, 5000), Patience("/l", "s", 3, 5000)])

    def test_given_back(self) -> None:
        """What was proposed by a leader that leads no more is taken again, unless it changed."""
        self.spans.begin(Lifetime("/a", 9, 5000), 100.0)
        self.spans.begin(Lifetime("/b", 9, 5000), 100.0)
        taken = self.spans.take(105.1, MANY)
        self.assertEqual(len(taken), 2)
        self.spans.begin(Lifetime("/b", 12, 5000), 105.0)
        self.spans.give_back(taken, 106.0)
        self.assertEqual(self.spans.take(106.0, MANY), [Lifetime("/a", 9, 5000)])

    def test_deleted(self) -> None:
        """Nodes that were deleted long before their time are forgotten as others come."""
        for number in range(10_000):
            self.spans.begin(Lifetime(f"/{number}", number, 10**12), 0.0)
        self.assertLess(len(self.spans), 100)
        self.assertLessEqual(self.store.looks, 20_000)

    def test_alive(self) -> None:
        """Nodes that are there are counted, however many come."""
        for number in range(1000):
            path = f"/{number}"
            self.store.facts[path] = facts(path, number, ttl_seconds=5.0)
            self.spans.begin(Lifetime(path, number, 5000), 0.0)
        self.assertEqual(len(self.spans.take(5.1, 10**6)), 1000)
