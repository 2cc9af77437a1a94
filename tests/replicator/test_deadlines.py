"""Tests of `coord.replicator.deadlines`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from coord.replicator.deadlines import Deadlines

MANY = 1000


class DeadlinesTests(SynchronousTestCase):
    """What is due is given out, once, and not before."""

    def setUp(self) -> None:
        """Begin with nothing due."""
        self.deadlines: Deadlines[str] = Deadlines()

    def take(self, now: float) -> list[str]:
        """Take all that is due."""
        return self.deadlines.take(now, MANY)

    def test_due(self) -> None:
        """A key is given out from its deadline on, and only once."""
        self.deadlines.set("a", 5.0)
        self.assertEqual(self.take(4.999), [])
        self.assertEqual(self.take(5.0), ["a"])
        self.assertEqual(self.take(9.0), [])

    def test_order_and_limit(self) -> None:
        """What is due first comes first, no more than is wanted; the rest comes next time."""
        for name, due in zip("cab", (3.0, 1.0, 2.0), strict=True):
            self.deadlines.set(name, due)
        self.assertEqual(self.deadlines.take(9.0, 2), ["a", "b"])
        self.assertEqual(self.take(9.0), ["c"])

    def test_put_off(self) -> None:
        """A deadline that is put off again and again does not come, and takes no more room."""
        self.deadlines.set("a", 1.0)
        for second in range(1, 1000):
            self.deadlines.put_off("a", second + 1.0)
            self.assertEqual(self.take(second), [])
        self.deadlines.put_off("a", 5.0)
        self.assertEqual(len(self.deadlines._heap), 1)
        self.assertEqual(self.take(1000.0), ["a"])

    def test_put_forward(self) -> None:
        """A deadline may come nearer, too."""
        self.deadlines.set("a", 100.0)
        self.deadlines.set("a", 1.0)
        self.assertEqual(self.take(1.0), ["a"])
        self.assertEqual(self.take(100.0), [])

    def test_dropped(self) -> None:
        """What was dropped is not given out; set anew it is."""
        self.deadlines.set("a", 1.0)
        self.deadlines.drop("a")
        self.assertNotIn("a", self.deadlines)
        self.assertEqual(self.take(5.0), [])
        self.deadlines.set("a", 6.0)
        self.assertEqual(self.take(6.0), ["a"])

    def test_room(self) -> None:
        """A hundred thousand keys that came and went with years to go leave little behind."""
        for number in range(10_000):
            self.deadlines.set(f"{number}", 1e9 + number)
            self.deadlines.drop(f"{number}")
        self.assertEqual(len(self.deadlines), 0)
        self.assertLess(len(self.deadlines._heap), 100)
        self.assertLess(len(self.deadlines._places), 100)

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(
        some.lists(
            some.tuples(some.sampled_from("sdt"), some.sampled_from("abcd"), some.integers(0, 9)),
            max_size=60,
        )
    )
    def test_twin(self, deeds: list[tuple[str, str, int]]) -> None:
        """Whatever is set, dropped and taken, it is as with a plain table."""
        deadlines: Deadlines[str] = Deadlines()
        twin: dict[str, float] = {}
        now = 0.0
        for deed, key, number in deeds:
            if deed == "s":
                deadlines.set(key, now + number)
                twin[key] = now + number
            elif deed == "d":
                deadlines.drop(key)
                twin.pop(key, None)
            else:
                now += number
                due = sorted(name for name, at in twin.items() if at <= now)
                self.assertEqual(sorted(deadlines.take(now, MANY)), due)
                for name in due:
                    del twin[name]
            self.assertEqual(len(deadlines), len(twin))
