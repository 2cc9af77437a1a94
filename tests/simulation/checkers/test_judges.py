"""The smaller judges, before good and bad evidence."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Delete, Set
from coord.errors import Unavailable
from coord.events import Event, Kind
from coord.results import Written
from coord.simulation.checkers import at_most_once, durability, watches
from coord.simulation.checkers.agreement import Agreement
from coord.simulation.checkers.digests import Digests
from coord.simulation.history import History
from tests.simulation.checkers.build import timeline, told


class AgreementTests(SynchronousTestCase):
    """One value for each slot."""

    def test_same_value_everywhere(self) -> None:
        """Nodes that apply the same values in the same order agree, also after a restart."""
        agreement = Agreement()
        for node, incarnation in (("n1", 1), ("n2", 1), ("n1", 2)):
            for slot in (1, 2):
                agreement.applied(node, incarnation, slot, b"%d" % slot)
        self.assertEqual(agreement.violations, [])

    def test_two_values(self) -> None:
        """Two values in one slot are found."""
        agreement = Agreement()
        agreement.applied("n1", 1, 7, b"a")
        agreement.applied("n2", 1, 7, b"b")
        self.assertIn("slot 7", agreement.violations[0])

    def test_gap(self) -> None:
        """A slot that was left out is found."""
        agreement = Agreement()
        agreement.applied("n1", 1, 1, b"a")
        agreement.applied("n1", 1, 3, b"c")
        self.assertIn("slot 3 after slot 1", agreement.violations[0])


class DigestTests(SynchronousTestCase):
    """Equal stores after equal slots."""

    def test_equal_and_different(self) -> None:
        """A node whose digest differs after the same slot is found."""
        digests = Digests()
        digests.taken("n1", 5, "x")
        digests.taken("n2", 5, "x")
        self.assertEqual((digests.violations, digests.compared), ([], 1))
        digests.taken("n3", 5, "y")
        self.assertEqual(len(digests.violations), 1)


class DurabilityTests(SynchronousTestCase):
    """Nothing that was answered OK is lost."""

    def test_lost_on_one_node(self) -> None:
        """A write that one node does not have is found, with the node's name."""
        history = History()
        told(history, 1, 2, Set("/a", b"1"), Written(5))
        told(history, 3, 4, Delete("/a"), Written(6))
        whole, cut = timeline((5, "/a", b"1"), (6, "/a", None)), timeline((5, "/a", b"1"))
        self.assertEqual(durability.check(history.operations, {"n1": whole}), [])
        found = durability.check(history.operations, {"n1": whole, "n2": cut})
        self.assertIn("n2 has lost", found[0])

    def test_other_value(self) -> None:
        """A write that is there with another value is lost."""
        history = History()
        told(history, 1, 2, Set("/a", b"1"), Written(5))
        self.assertTrue(durability.check(history.operations, {"n1": timeline((5, "/a", b"2"))}))


class AtMostOnceTests(SynchronousTestCase):
    """Every change was asked for and made once."""

    def test_made_twice(self) -> None:
        """A value that was set at two revisions is found."""
        history = History()
        told(history, 1, None, Set("/a", b"1"), None)
        once = timeline((2, "/ctl/x", b"?"), (5, "/a", b"1"))
        self.assertEqual(at_most_once.check(history.operations, once), [])
        twice = timeline((5, "/a", b"1"), (6, "/a", b"1"))
        self.assertTrue(at_most_once.check(history.operations, twice))

    def test_refused_and_made(self) -> None:
        """A change that its client was told would never be made is found."""
        history = History()
        told(history, 1, 2, Set("/a", b"1"), Unavailable("no quorum"))
        self.assertTrue(at_most_once.check(history.operations, timeline((5, "/a", b"1"))))

    def test_from_nowhere(self) -> None:
        """A change that nobody asked for is found."""
        self.assertTrue(at_most_once.check([], timeline((5, "/a", b"1"))))

    def test_deleted_twice(self) -> None:
        """More deletions than were asked for are found."""
        history = History()
        told(history, 1, 2, Delete("/a"), Written(6))
        told(history, 3, None, Delete("/a"), None)
        askers = [told(history, 0, None, Set("/a", b"%d" % n), None) for n in (1, 3, 5)]
        self.assertEqual(len(askers), 3)
        changes = [(5, "/a", b"1"), (6, "/a", None), (7, "/a", b"3"), (8, "/a", None)]
        self.assertEqual(at_most_once.check(history.operations, timeline(*changes)), [])
        more = timeline(*changes, (9, "/a", b"5"), (10, "/a", None))
        self.assertTrue(at_most_once.check(history.operations, more))


class WatchTests(SynchronousTestCase):
    """A watcher sees what happened, in order."""

    def setUp(self) -> None:
        """Let five things happen."""
        self.timeline = timeline(
            (1, "/x/1", b"no"),
            (2, "/w/1", b"a"),
            (3, "/x/1", b"no"),
            (4, "/w/2", b"b"),
            (5, "/w/1", None),
        )
        self.events = [
            Event(2, Kind.SET, "/w/1", b"a"),
            Event(4, Kind.SET, "/w/2", b"b"),
            Event(5, Kind.DEL, "/w/1"),
        ]

    def judge(self, events: list[Event], settled: bool = True) -> list[str]:
        """Return what the judge says of a watcher who saw ``events``."""
        return watches.check(
            watches.Watched(name="w", glob="/w/*", after_rev=0, events=events, settled=settled),
            self.timeline,
        )

    def test_all_seen(self) -> None:
        """All events in order are right; a beginning of them is, while the watcher waits."""
        self.assertEqual(self.judge(self.events), [])
        self.assertEqual(self.judge(self.events[:2], settled=False), [])

    def test_missed(self) -> None:
        """An event left out is found: first, in the middle, and last."""
        for number in range(3):
            seen = self.events[:number] + self.events[number + 1 :]
            self.assertEqual(len(self.judge(seen)), 1)

    def test_twice_or_out_of_order(self) -> None:
        """An event seen twice, or too early, is found."""
        first, second, third = self.events
        for seen in ([first, first, second, third], [second, first, third], [*self.events, third]):
            self.assertEqual(len(self.judge(seen)), 1)
