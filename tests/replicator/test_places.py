"""Those who wait for a lock on one node."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord.errors import (
    CoordError,
    NoSession,
    NotHeld,
    SessionExpired,
    TimedOut,
    Unavailable,
)
from coord.replicator.places import Call, Places, Told
from coord.results import Granted
from coord.store.news import PlaceOver, SessionOver
from tests.replicator.fake_store import FakeStore


class CountedPlaces(dict[str, dict[Told, None]]):
    """The places of a session, which count how often somebody goes through all of them."""

    walks = 0

    def items(self) -> Any:
        """Return them all."""
        self.walks += 1
        return super().items()

    def __iter__(self) -> Any:
        """Go through all of them."""
        self.walks += 1
        return super().__iter__()


class PlacesTests(SynchronousTestCase):
    """Each is told once what became of its place."""

    def setUp(self) -> None:
        """Begin with session ``s`` third in the queue of ``/l``."""
        self.store = FakeStore()
        self.store.timeouts["s"] = 10_000
        self.store.places["/l", "s"] = 3
        self.places = Places(self.store)
        self.told: list[Granted | CoordError] = []

    def wait(self, path: str = "/l") -> Call:
        """Wait for the place of ``s``."""
        return self.places.wait(path, "s", self.told.append)

    def call(self, calls: list[Call]) -> None:
        """Make the calls."""
        for one in calls:
            one()

    def test_granted(self) -> None:
        """Who waits hears of the lock, once."""
        self.wait()
        self.assertEqual(self.told, [])
        news = PlaceOver("/l", "s", Granted(12))
        self.call(self.places.place_over(news))
        self.call(self.places.place_over(news))
        self.assertEqual(self.told, [Granted(12)])

    def test_time_is_up(self) -> None:
        """Or that it waited for as long as it wanted to."""
        self.wait()
        self.call(self.places.place_over(PlaceOver("/l", "s", TimedOut("so long"))))
        self.assertEqual(self.told, [TimedOut("so long")])

    def test_another_place(self) -> None:
        """What becomes of other places is for others."""
        self.wait()
        self.assertEqual(self.places.place_over(PlaceOver("/l", "t", Granted(12))), [])
        self.assertEqual(self.places.place_over(PlaceOver("/m", "s", Granted(12))), [])
        self.assertEqual(self.places.session_over(SessionOver("t", 9, True)), [])

    def test_session_over(self) -> None:
        """A place ends with its session, in whatever way that went."""
        self.wait()
        self.call(self.places.session_over(SessionOver("s", 9, True)))
        self.wait()
        self.call(self.places.session_over(SessionOver("s", 9, False)))
        self.assertEqual([type(one) for one in self.told], [SessionExpired, NoSession])

    def test_waits_no_more(self) -> None:
        """Who waits no more hears nothing; the place is kept."""
        ends = self.wait()
        ends()
        ends()
        self.assertEqual(self.places.place_over(PlaceOver("/l", "s", Granted(12))), [])
        self.assertEqual(self.places._waiting, {})

    def test_two(self) -> None:
        """Two connections may wait for the same place; one may leave."""
        other: list[Granted | CoordError] = []
        ends = self.wait()
        self.places.wait("/l", "s", other.append)
        ends()
        self.call(self.places.place_over(PlaceOver("/l", "s", Granted(12))))
        self.assertEqual((self.told, other), ([], [Granted(12)]))

    def test_many(self) -> None:
        """What becomes of one place costs no look at the session's others."""
        for number in range(50):
            self.store.places[f"/l{number}", "s"] = number
            self.wait(f"/l{number}")
        paths = self.places._waiting["s"] = CountedPlaces(self.places._waiting["s"])
        for number in range(40):
            self.call(self.places.place_over(PlaceOver(f"/l{number}", "s", Granted(number))))
        self.assertEqual((len(self.told), len(paths), paths.walks), (40, 10, 0))

    def test_just_now(self) -> None:
        """Who asks in the moment in which it was settled is told at once."""
        del self.store.places["/l", "s"]
        self.places.place_over(PlaceOver("/l", "s", TimedOut("so long")))
        self.wait()
        self.assertEqual(self.told, [TimedOut("so long")])

    def test_too_late(self) -> None:
        """Who asks later is told what can be seen: that it holds the lock, or does not."""
        del self.store.places["/l", "s"]
        self.places.place_over(PlaceOver("/l", "s", Granted(12)))
        self.places.fired()
        self.store.tokens["/l", "s"] = 12
        self.store.tokens["/l", "t"] = 15
        self.wait()
        self.assertEqual(self.told, [Granted(12)])
        del self.store.tokens["/l", "s"]
        self.wait()
        del self.store.timeouts["s"]
        self.wait()()
        kinds = [type(one) for one in self.told]
        self.assertEqual(kinds, [Granted, NotHeld, SessionExpired])

    def test_stopped(self) -> None:
        """A node that stops says that it knows no more."""
        self.wait()
        self.call(self.places.stop())
        self.assertEqual([type(one) for one in self.told], [Unavailable])
        self.wait()
        self.assertEqual([type(one) for one in self.told], [Unavailable, Unavailable])
