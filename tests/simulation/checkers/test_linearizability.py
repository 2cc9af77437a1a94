"""Both judges of linearizability, before histories that are good and histories that are bad."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Add, Delete, Get, Set, Sync, Walk
from coord.errors import Exists, NoEntry, RevisionMismatch, Unavailable, Unknown
from coord.results import Point, Row, Value, Written
from coord.simulation.checkers import linearizability, revisions
from coord.simulation.history import History, Picture
from tests.simulation.checkers.build import timeline, told

NOTHING = timeline()


class BothJudges(SynchronousTestCase):
    """What the search and the sweep must agree on."""

    def setUp(self) -> None:
        """Begin an empty history."""
        self.history = History()

    def judge(self, *changes: tuple[int, str, bytes | None]) -> None:
        """Assert that both judges find the history good."""
        self.assertEqual(revisions.check(self.history, timeline(*changes)), [])
        self.assertEqual(linearizability.check(self.history).violations, [])

    def condemn(self, *changes: tuple[int, str, bytes | None]) -> None:
        """Assert that both judges find the history bad."""
        self.assertNotEqual(revisions.check(self.history, timeline(*changes)), [])
        self.assertNotEqual(linearizability.check(self.history).violations, [])

    def test_read_of_what_was_written(self) -> None:
        """A read after a write sees what was written."""
        told(self.history, 1, 2, Set("/k", b"a"), Written(5))
        told(self.history, 3, 4, Get("/k"), Value(5, b"a"))
        self.judge((5, "/k", b"a"))

    def test_stale_read(self) -> None:
        """A read that shows what was overwritten before it was asked is condemned."""
        told(self.history, 1, 2, Set("/k", b"a"), Written(5))
        told(self.history, 3, 4, Set("/k", b"b"), Written(6))
        told(self.history, 5, 6, Get("/k"), Value(5, b"a"))
        self.condemn((5, "/k", b"a"), (6, "/k", b"b"))

    def test_old_value_beside_a_write(self) -> None:
        """A read that runs beside a write may see either value."""
        told(self.history, 1, 2, Set("/k", b"a"), Written(5))
        told(self.history, 3, 8, Set("/k", b"b"), Written(6))
        told(self.history, 4, 7, Get("/k"), Value(5, b"a"))
        told(self.history, 5, 6, Get("/k"), Value(5, b"a"), "d")
        self.judge((5, "/k", b"a"), (6, "/k", b"b"))

    def test_back_in_time(self) -> None:
        """Once one client saw the new value, no later read shows the old one."""
        told(self.history, 1, 2, Set("/k", b"a"), Written(5))
        told(self.history, 3, 20, Set("/k", b"b"), Written(6))
        told(self.history, 4, 5, Get("/k"), Value(6, b"b"))
        told(self.history, 6, 7, Get("/k"), Value(5, b"a"), "d")
        self.condemn((5, "/k", b"a"), (6, "/k", b"b"))

    def test_lost_write(self) -> None:
        """A write that was answered OK and is gone is condemned."""
        told(self.history, 1, 2, Set("/k", b"a"), Written(5))
        told(self.history, 3, 4, Get("/k"), NoEntry("/k"))
        self.condemn()

    def test_open_write_done_late(self) -> None:
        """A write of unknown fate may take effect long after."""
        told(self.history, 1, 2, Set("/k", b"a"), Unknown("no quorum"))
        told(self.history, 3, 4, Get("/k"), NoEntry("/k"))
        told(self.history, 5, 6, Get("/k"), Value(9, b"a"))
        self.judge((9, "/k", b"a"))

    def test_open_write_seen_then_not(self) -> None:
        """A write of unknown fate, once seen, stays."""
        told(self.history, 1, None, Set("/k", b"a"), None)
        told(self.history, 3, 4, Get("/k"), Value(9, b"a"))
        told(self.history, 5, 6, Get("/k"), NoEntry("/k"))
        self.condemn((9, "/k", b"a"))

    def test_refused_write_was_done(self) -> None:
        """A write that was answered UNAVAILABLE is never seen."""
        told(self.history, 1, 2, Set("/k", b"a"), Unavailable("no quorum"))
        told(self.history, 3, 4, Get("/k"), Value(9, b"a"))
        self.assertNotEqual(linearizability.check(self.history).violations, [])

    def test_compare_and_set(self) -> None:
        """Of two writes that expect one revision, one is done and one refused."""
        told(self.history, 1, 2, Set("/k", b"a"), Written(5))
        told(self.history, 3, 8, Set("/k", b"b", 5), Written(6))
        told(self.history, 4, 7, Set("/k", b"c", 5), RevisionMismatch("changed"), "d")
        self.judge((5, "/k", b"a"), (6, "/k", b"b"))

    def test_compare_and_set_twice(self) -> None:
        """Two writes that expect one revision are not both done."""
        told(self.history, 1, 2, Set("/k", b"a"), Written(5))
        told(self.history, 3, 8, Set("/k", b"b", 5), Written(6))
        told(self.history, 4, 7, Set("/k", b"c", 5), Written(7), "d")
        self.condemn((5, "/k", b"a"), (6, "/k", b"b"), (7, "/k", b"c"))

    def test_make_and_delete(self) -> None:
        """A node is made, cannot be made again, is deleted, and can then."""
        told(self.history, 1, 2, Add("/k", b"a"), Written(5, "/k"))
        told(self.history, 3, 4, Add("/k", b"b"), Exists("/k"))
        told(self.history, 5, 6, Delete("/k"), Written(6))
        told(self.history, 7, 8, Delete("/k"), NoEntry("/k"))
        told(self.history, 9, 10, Set("/k", b"c", 0), Written(7))
        told(self.history, 11, 12, Set("/k", b"d", 0), RevisionMismatch("is there"))
        self.judge((5, "/k", b"a"), (6, "/k", None), (7, "/k", b"c"))

    def test_refusal_without_reason(self) -> None:
        """A refusal that no state explains is condemned."""
        told(self.history, 1, 2, Add("/k", b"a"), Exists("/k"))
        self.condemn()


class Sweep(SynchronousTestCase):
    """What only revisions can tell."""

    def test_picture_of_many(self) -> None:
        """A walk shows one revision of all that it shows."""
        changes = timeline((5, "/k/a", b"1"), (6, "/k/b", b"2"), (7, "/k/a", b"3"))
        good, torn = History(), History()
        told(good, 1, 2, Walk("/k/*"), Picture(6, (Row("/k/a", 5, b"1"), Row("/k/b", 6, b"2"))))
        told(torn, 1, 2, Walk("/k/*"), Picture(7, (Row("/k/a", 5, b"1"), Row("/k/b", 6, b"2"))))
        self.assertEqual(revisions.check(good, changes), [])
        self.assertNotEqual(revisions.check(torn, changes), [])

    def test_across_paths(self) -> None:
        """What was seen on one path holds for reads of all others."""
        history = History()
        told(history, 1, 2, Get("/b"), Value(6, b"2"))
        told(history, 3, 4, Get("/a"), NoEntry("/a"))
        self.assertNotEqual(
            revisions.check(history, timeline((5, "/a", b"1"), (6, "/b", b"2"))), []
        )

    def test_sync_behind(self) -> None:
        """SYNC does not answer with less than was seen before it was asked."""
        history = History()
        told(history, 1, 2, Set("/a", b"1"), Written(5))
        told(history, 3, 4, Sync(), Point(4))
        self.assertNotEqual(revisions.check(history, timeline((5, "/a", b"1"))), [])

    def test_stale_local_read(self) -> None:
        """A local read may be old, but not invented."""
        changes = timeline((5, "/a", b"1"), (6, "/a", b"2"))
        old, invented = History(), History()
        told(old, 1, 2, Set("/a", b"2"), Written(6))
        told(old, 3, 4, Get("/a", local=True), Value(5, b"1"))
        told(invented, 3, 4, Get("/a", local=True), Value(5, b"2"))
        self.assertEqual(revisions.check(old, changes), [])
        self.assertNotEqual(revisions.check(invented, changes), [])

    def test_read_of_the_past(self) -> None:
        """A read of a revision shows what was so then, whatever has happened since."""
        changes = timeline((5, "/a", b"1"), (6, "/a", b"2"))
        right, wrong = History(), History()
        told(right, 1, 2, Get("/a", rev=5), Value(5, b"1"))
        told(right, 3, 4, Get("/a", rev=4), NoEntry("/a"))
        told(wrong, 1, 2, Get("/a", rev=5), Value(6, b"2"))
        self.assertEqual(revisions.check(right, changes), [])
        self.assertNotEqual(revisions.check(wrong, changes), [])

    def test_effect_before_cause(self) -> None:
        """A write of unknown fate is not done before it was asked for."""
        history = History()
        told(history, 1, 2, Sync(), Point(5))
        told(history, 3, None, Set("/a", b"1"), None)
        self.assertNotEqual(revisions.check(history, timeline((5, "/a", b"1"))), [])

    def test_order_of_one_connection(self) -> None:
        """Writes of one connection take effect in the order sent, even where they overlap."""
        history = History()
        told(history, 1, 8, Set("/a", b"1"), Written(6))
        told(history, 2, 7, Set("/a", b"2"), Written(5))
        self.assertNotEqual(revisions.check_order(history), [])


class Search(SynchronousTestCase):
    """What the search does where it cannot decide."""

    def test_undecided(self) -> None:
        """Where the steps run out, nothing is claimed."""
        history = History()
        for number in range(12):
            told(history, number, None, Set("/k", b"%d" % number), None, f"c{number}")
        told(history, 50, 51, Get("/k"), Value(9, b"nobody wrote this"))
        verdict = linearizability.check(history, steps_max=200)
        self.assertEqual((verdict.violations, verdict.undecided), ([], 1))
