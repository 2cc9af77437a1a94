"""Ids of writes: nothing is sent so far ahead that a server could forget what is still open."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from coord import commands
from coord.client.ids import Ids, Number
from coord.limits import OUTCOME_BYTES_MAX, OUTCOMES_PER_SESSION_MAX, PATH_BYTES_MAX

SMALL = commands.Set("/a", b"x" * 9000)
LONG = commands.Add("/" + "x" * (PATH_BYTES_MAX - 20), b"", sequential=True)
LOOKS = commands.Transaction((commands.Look("/a"), SMALL))
LOCK = commands.Lock("/l", wait_ms=10**9)
STEPS = st.lists(st.sampled_from(["small", "long", "looks", "first", "last"]), max_size=200)


class Window(SynchronousTestCase):
    """What may be under way."""

    def setUp(self) -> None:
        """Begin."""
        self.ids = Ids("p")

    def taken(self, command: commands.Command) -> Number:
        """Return a number that is to be had."""
        number = self.ids.take(command, None)
        assert number is not None
        return number

    def fill(self, command: commands.Command) -> list[Number]:
        """Take numbers until there is none."""
        numbers = []
        while (number := self.ids.take(command, None)) is not None:
            numbers.append(number)
        return numbers

    def test_words(self) -> None:
        """Every write has a word of its own, its user's where that has one."""
        words = {self.taken(SMALL).word for _ in range(100)}
        self.assertEqual(len(words), 100)
        number = self.ids.take(SMALL, "mine")
        self.assertEqual(number and number.word, "mine")

    def test_half(self) -> None:
        """Half of what a server remembers may be open, and the oldest one counts."""
        numbers = self.fill(SMALL)
        self.assertTrue(100 < len(numbers) <= OUTCOMES_PER_SESSION_MAX // 2, len(numbers))
        for number in numbers[1:]:
            self.ids.close(number)
        self.assertIsNone(self.ids.take(SMALL, None))
        self.ids.close(numbers[0])
        self.assertEqual(len(self.fill(SMALL)), len(numbers))

    def test_large(self) -> None:
        """Answers that may be long, or of any length, leave room for fewer."""
        longest = len(self.fill(LONG))
        self.assertLessEqual(longest * PATH_BYTES_MAX, OUTCOME_BYTES_MAX // 2)
        self.setUp()
        self.taken(LOOKS)
        self.assertIsNone(self.ids.take(SMALL, None))

    def test_locks(self) -> None:
        """Who waits for a lock holds nobody up."""
        lock = self.taken(LOCK)
        numbers = self.fill(SMALL)
        for number in numbers:
            self.ids.close(number)
        self.assertEqual(len(self.fill(SMALL)), len(numbers))
        self.ids.close(lock)

    @given(STEPS)
    def test_never_forgotten(self, steps: list[str]) -> None:
        """Whatever is asked and answered in whatever order, what is open is remembered."""
        ids, opened = Ids("p"), list[Number]()
        memory: deque[Number] = deque(maxlen=OUTCOMES_PER_SESSION_MAX)
        for step in steps * 8:
            if step in ("first", "last") and opened:
                ids.close(opened.pop(0 if step == "first" else -1))
                continue
            command = LONG if step == "long" else LOOKS if step == "looks" else SMALL
            number = ids.take(command, None)
            if number is not None:
                opened.append(number)
                memory.append(number)
            self.assertTrue(all(one in memory for one in opened[:1]))
