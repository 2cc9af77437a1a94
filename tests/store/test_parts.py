"""The parts that the store is made of, each beside something simple."""

from __future__ import annotations

from random import Random

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from coord.limits import SEQUENCE_PARENTS_MAX
from coord.store import order
from coord.store import sequences as sequences_module
from coord.store.order import Order
from coord.store.sequences import Sequences
from coord.store.tree import Shelf
from tests.store.strategies import CALM, dice


class OrderTests(SynchronousTestCase):
    """A sorted list in blocks is a sorted list."""

    def setUp(self) -> None:
        """Make blocks small, so that they are cut and used up."""
        self.patch(order, "_BLOCK_KEYS_MAX", 4)

    @CALM
    @given(dice)
    def test_twin(self, random: Random) -> None:
        """Whatever is added and removed, each stretch holds what a sorted list holds."""
        blocks, plain = Order(), list[str]()
        for _ in range(150):
            key = f"{random.randrange(60):02d}"
            if key in plain and random.random() < 0.7:
                blocks.remove(key)
                plain.remove(key)
            elif key not in plain:
                blocks.add(key)
                plain = sorted([*plain, key])
            start, until = f"{random.randrange(60):02d}", f"{random.randrange(70):02d}"
            count = random.randrange(1, 30)
            expected = [key for key in plain if start <= key < until][:count]
            self.assertEqual(blocks.span(start, until, count), expected)
            self.assertEqual(len(blocks), len(plain))

    @CALM
    @given(dice)
    def test_living(self, random: Random) -> None:
        """Those that live are found among the others, whatever comes, goes and comes back."""
        blocks, plain, live = Order(), list[str](), set[str]()
        for _ in range(300):
            key = f"{random.randrange(60):02d}"
            if key not in plain:
                blocks.add(key)
                plain = sorted([*plain, key])
                live.add(key)
            elif key in live:
                live.remove(key)
            elif random.random() < 0.3:
                blocks.revive(key)
                live.add(key)
            else:
                blocks.remove(key)
                plain.remove(key)
            start, until = f"{random.randrange(60):02d}", f"{random.randrange(70):02d}"
            expected = [key for key in plain if start <= key < until and key in live]
            self.assertEqual(blocks.living(start, until, live), expected)

    def test_appended(self) -> None:
        """Keys added in their order leave full blocks behind."""
        keys = Order()
        for number in range(40):
            keys.add(f"{number:02d}")
        self.assertEqual({len(block) for block in keys._blocks}, {4})


class ShelfTests(SynchronousTestCase):
    """A list that is shortened from the front."""

    @CALM
    @given(dice)
    def test_twin(self, random: Random) -> None:
        """It holds what a list holds."""
        shelf, plain = Shelf[int]([]), list[int]()
        for number in range(100):
            if plain and random.random() < 0.5:
                self.assertEqual(shelf.pop(), plain.pop(0))
            else:
                shelf.items.append(number)
                plain.append(number)
            self.assertEqual(shelf.items[shelf.start :], plain)
            self.assertEqual(len(shelf), len(plain))

    def test_lets_go(self) -> None:
        """What was taken away is held no more, and its place is given back in the end."""
        shelf = Shelf([object() for _ in range(100)])
        first = shelf.pop()
        self.assertNotIn(first, shelf.items)
        while len(shelf) > 1:
            shelf.pop()
        self.assertLess(len(shelf.items), 5)


class SequencesTests(SynchronousTestCase):
    """Numbers are never given twice, and not everything is remembered for ever."""

    def test_remembered(self) -> None:
        """A parent made anew goes on where it was."""
        sequences = Sequences()
        sequences.remember("a", 5)
        self.assertEqual(sequences.last("a"), 5)
        self.assertEqual(sequences.take("a"), 5)
        self.assertEqual(sequences.take("b"), 0)

    def test_bounded(self) -> None:
        """Of too many parents the first gone are forgotten; none can begin below them again."""
        sequences = Sequences()
        sequences.remember("first", 7)
        for number in range(SEQUENCE_PARENTS_MAX):
            sequences.remember(f"{number}", 3)
        self.assertEqual(len(sequences.gone()), SEQUENCE_PARENTS_MAX)
        self.assertEqual(sequences.floor, 7)
        self.assertEqual(sequences.take("first"), 7)
        self.assertEqual(sequences.take("new"), 7)

    def test_nothing_to_remember(self) -> None:
        """A parent that gave no number above the floor takes no place."""
        sequences = Sequences(floor=9)
        sequences.remember("a", 9)
        self.assertEqual(sequences.gone(), ())

    @CALM
    @given(dice)
    def test_never_twice(self, random: Random) -> None:
        """Whatever comes and goes, no parent's name is given the same number twice."""
        self.patch(sequences_module, "SEQUENCE_PARENTS_MAX", 2)
        sequences, given_before, live = Sequences(), set[tuple[str, int]](), dict[str, int]()
        for _ in range(100):
            key = random.choice("abcdef")
            if key in live and random.random() < 0.4:
                sequences.remember(key, live.pop(key))
                continue
            live[key] = (live[key] if key in live else sequences.take(key)) + 1
            self.assertNotIn((key, live[key]), given_before)
            given_before.add((key, live[key]))
