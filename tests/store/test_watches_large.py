"""Watches of revisions with very many changes: nobody is told of all of them at once."""

from __future__ import annotations

from collections import Counter

from coord.events import Event, Kind
from coord.store import watches
from coord.store.tree import Version, event_of
from tests.store.users import UsersTestCase

MANY = 3000


class LargeTests(UsersTestCase):
    """A session with many nodes ends while others watch."""

    def setUp(self) -> None:
        """Let a session own many nodes."""
        super().setUp()
        self.open("s1")
        for number in range(MANY):
            self.ephemeral("s1", f"/d/{number:05d}")
        self.set("/z")
        self.turn()

    def test_all_told(self) -> None:
        """Every watch sees each of its events once and in order, and goes on from there."""
        everything, some, one = self.watch(), self.watch(b"/d/*7"), self.watch(b"/d/00042")
        self.lapse("s1")
        self.set("/d/00042")
        self.assertEqual(set(self.turn()), {everything, some, one})
        rev = MANY + 2
        gone = [Event(rev, Kind.DEL, f"/d/{number:05d}") for number in range(MANY)]
        again = Event(rev + 1, Kind.SET, "/d/00042", b"v")
        for watch, expected in (
            (everything, [*gone, again]),
            (some, gone[7::10]),
            (one, [gone[42], again]),
        ):
            seen: list[Event] = []
            while watch.ready:
                seen += watch.take(100)
            self.assertEqual(seen, expected)
        self.set("/d/00042")
        self.assertEqual(set(self.turn()), {everything, one})

    def test_others_are_left_alone(self) -> None:
        """Who watches elsewhere is not woken."""
        for glob in (b"/z", b"/c/**", b"/d/00042x", b"/d/00042/**", b"/e*/x"):
            self.watch(glob)
        self.lapse("s1")
        ready = [watch.glob.written for watch in self.turn()]
        self.assertEqual(ready, ["/d/00042/**", "/e*/x"])

    def test_looked_at_in_turns(self) -> None:
        """The turn in which it happens looks at none of it; later ones only at what they want."""
        looks = Counter[str]()

        def counted(version: Version) -> Event | None:
            looks["events"] += 1
            return event_of(version)

        self.patch(watches, "event_of", counted)
        one = self.watch(b"/d/00042")
        self.watch(b"/d/*")
        self.lapse("s1")
        self.turn()
        self.assertEqual(looks["events"], 0)
        self.assertEqual([event.path for event in one.take(10)], ["/d/00042"])
        self.assertEqual((looks["events"], one.ready), (1, False))
