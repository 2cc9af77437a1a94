"""Whose store differs: the stories of `coord.replicator.comparison`, and its memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import COMPARE_PATIENCE_SECONDS, DIGEST_SLOTS, DIGESTS_KEPT
from coord.replicator.comparison import Comparison

THREE = ("n1", "n2", "n3")
FIVE = ("n1", "n2", "n3", "n4", "n5")
LATE = COMPARE_PATIENCE_SECONDS + 1.0


class Verdicts(SynchronousTestCase):
    """One node at slot 10, and what the others say of theirs; the word is what a store came to."""

    def setUp(self) -> None:
        """Come to slot 10."""
        self.comparison = Comparison()
        self.comparison.note(10, b"right")

    def hear(self, **said: bytes) -> None:
        """Hear what others came to after slot 10."""
        for name, word in said.items():
            self.comparison.claim(name, 10, word)

    def stops(
        self, node: str, voters: tuple[str, ...], *, leader: str | None = None, after: float = 0.0
    ) -> list[str]:
        """Return those for whom the node stops, after it has waited for so long."""
        self.comparison.verdict(node, voters, leader, 100.0)
        return self.comparison.verdict(node, voters, leader, 100.0 + after)

    def test_all_equal(self) -> None:
        """Nobody stops where all are equal, however long it takes."""
        self.hear(n2=b"right", n3=b"right")
        self.assertEqual(self.stops("n1", THREE, after=LATE), [])
        self.assertEqual(self.comparison.compared, 2)

    def test_one_of_three(self) -> None:
        """Who differs from two others stops at once."""
        self.hear(n2=b"left", n3=b"left")
        self.assertEqual(self.stops("n1", THREE), ["n2", "n3"])

    def test_two_of_three(self) -> None:
        """Two that are equal go on, whoever led, and whichever of the others is heard first."""
        self.hear(n3=b"left")
        self.assertEqual(self.stops("n1", THREE, leader="n3"), [])
        self.hear(n2=b"right")
        self.assertEqual(self.stops("n1", THREE, leader="n3", after=LATE), [])

    def test_all_of_three(self) -> None:
        """Where all three differ each stops."""
        self.hear(n2=b"left", n3=b"below")
        self.assertEqual(self.stops("n1", THREE), ["n2", "n3"])

    def test_two_alone(self) -> None:
        """Of two that differ, while the third says nothing, the one that does not lead stops."""
        self.hear(n2=b"left")
        self.assertEqual(self.stops("n1", THREE, leader="n2", after=1.0), [])
        self.assertEqual(self.stops("n1", THREE, leader="n2", after=LATE), ["n2"])
        self.assertEqual(self.stops("n1", THREE, leader="n1", after=LATE), [])
        self.assertEqual(self.stops("n1", ("n1", "n2"), leader="n2", after=LATE), ["n2"])

    def test_nobody_leads(self) -> None:
        """Two that differ wait for a leader: nothing is served meanwhile."""
        self.hear(n2=b"left")
        self.assertEqual(self.stops("n1", THREE, leader=None, after=LATE), [])

    def test_third_comes_back(self) -> None:
        """What one said that has stopped is not forgotten when the third speaks."""
        self.hear(n2=b"left")
        self.assertEqual(self.stops("n1", THREE, leader="n1", after=LATE), [])
        self.comparison.note(11, b"right, too")
        self.comparison.claim("n3", 11, b"left, too")
        self.assertEqual(self.stops("n1", THREE, leader="n1"), ["n2", "n3"])

    def test_two_of_five(self) -> None:
        """Two of five that differ from the rest stop, alike or not; the rest goes on."""
        self.hear(n2=b"right", n3=b"left", n4=b"left")
        self.assertEqual(self.stops("n1", FIVE, after=1.0), [])
        self.hear(n5=b"left")
        self.assertEqual(self.stops("n1", FIVE), ["n3", "n4", "n5"])
        self.setUp()
        self.hear(n2=b"right", n3=b"right", n4=b"left", n5=b"below")
        self.assertEqual(self.stops("n1", FIVE, leader="n4", after=LATE), [])

    def test_three_left_of_five(self) -> None:
        """With two of five down, the one that differs from two stops after a while."""
        self.hear(n2=b"left", n3=b"left")
        self.assertEqual(self.stops("n1", FIVE, leader="n1", after=1.0), [])
        self.assertEqual(self.stops("n1", FIVE, leader="n1", after=LATE), ["n2", "n3"])

    def test_four_left_of_five(self) -> None:
        """Two against two, with the fifth down: those against the leader stop."""
        self.hear(n2=b"right", n3=b"left", n4=b"left")
        self.assertEqual(self.stops("n1", FIVE, leader="n2", after=LATE), [])
        self.assertEqual(self.stops("n1", FIVE, leader="n3", after=LATE), ["n3", "n4"])

    def test_observer(self) -> None:
        """An observer stops for any voter that differs, and no voter for an observer."""
        self.hear(n2=b"left")
        self.assertEqual(self.stops("n9", THREE, after=1.0), [])
        self.assertEqual(self.stops("n9", THREE, after=LATE), ["n2"])
        self.assertEqual(self.stops("n1", ("n1", "n3"), leader="n2", after=LATE), [])

    def test_equal_before(self) -> None:
        """That another was equal before the difference began says nothing for this node."""
        self.hear(n3=b"right")
        self.comparison.note(20, b"right")
        self.comparison.claim("n2", 20, b"left")
        self.assertEqual(self.stops("n1", THREE, leader="n2", after=LATE), ["n2"])

    def test_difference_goes_on(self) -> None:
        """Who was equal after a difference began stays with this node, though that is told anew."""
        self.hear(n2=b"left")
        self.comparison.note(20, b"right")
        self.comparison.claim("n3", 20, b"right")
        self.comparison.note(30, b"right")
        self.comparison.claim("n2", 30, b"left")
        self.assertEqual(self.stops("n1", THREE, leader="n2", after=LATE), [])
        self.assertEqual(self.comparison.findings["n2"].begun, 10)

    def test_mended(self) -> None:
        """Who came back equal is with this node again."""
        self.hear(n2=b"left")
        self.comparison.note(20, b"right")
        self.comparison.claim("n2", 20, b"right")
        self.assertEqual(self.comparison.differing(THREE), [])
        self.assertEqual(self.stops("n1", THREE, leader="n2", after=LATE), [])


class Memory(SynchronousTestCase):
    """What is compared with what."""

    def setUp(self) -> None:
        """Know nothing."""
        self.comparison = Comparison()

    def go_to(self, slot: int) -> None:
        """Apply slots up to one; a store comes to the number of its slot."""
        last = self.comparison.last
        for one in range(last[0] + 1 if last else 1, slot + 1):
            self.comparison.note(one, b"%d" % one)

    def test_ahead(self) -> None:
        """What another said of a slot is compared when this node has come to it."""
        self.comparison.claim("n2", 5, b"other")
        self.comparison.claim("n2", 7, b"7")
        self.go_to(4)
        self.assertEqual(self.comparison.compared, 0)
        self.go_to(6)
        self.assertEqual(self.comparison.differing(["n2"]), ["n2"])
        self.go_to(7)
        self.assertEqual(self.comparison.differing(["n2"]), [])

    def test_far_ahead(self) -> None:
        """A node far behind comes to what was said first, however much is said meanwhile."""
        for slot in range(100, 10_000, 100):
            self.comparison.claim("n2", slot, b"other")
        self.go_to(100)
        self.assertEqual(self.comparison.compared, 1)

    def test_behind(self) -> None:
        """What another said of an old slot is compared as long as that is remembered."""
        self.go_to(DIGEST_SLOTS * 10 + 5)
        remembered = DIGEST_SLOTS * 10 + 5 - DIGESTS_KEPT + 1
        self.comparison.claim("n2", remembered, b"other")
        self.assertEqual(self.comparison.differing(["n2"]), ["n2"])
        self.comparison.claim("n3", remembered - 1, b"other")
        self.comparison.claim("n4", DIGEST_SLOTS, b"other")
        self.assertEqual(self.comparison.differing(["n2", "n3", "n4"]), ["n2", "n4"])

    def test_old_news(self) -> None:
        """What comes late does not take the place of what was found at a later slot."""
        self.go_to(20)
        self.comparison.claim("n2", 20, b"20")
        self.comparison.claim("n2", 10, b"other")
        self.assertEqual(self.comparison.differing(["n2"]), [])

    def test_over_a_gap(self) -> None:
        """An image that took a node over some slots leaves nothing of them to compare."""
        self.comparison.claim("n2", 5, b"other")
        self.go_to(3)
        self.comparison.note(50, b"50")
        self.comparison.claim("n2", 50, b"50")
        self.assertEqual((self.comparison.compared, self.comparison.differing(["n2"])), (1, []))

    def test_told(self) -> None:
        """Told are the last slot, and the last that is a multiple."""
        self.assertEqual(self.comparison.told(), ())
        self.go_to(3)
        self.assertEqual(self.comparison.told(), ((3, b"3"),))
        self.go_to(DIGEST_SLOTS)
        mark = (DIGEST_SLOTS, b"%d" % DIGEST_SLOTS)
        self.assertEqual(self.comparison.told(), (mark,))
        self.go_to(DIGEST_SLOTS + 2)
        after = (DIGEST_SLOTS + 2, b"%d" % (DIGEST_SLOTS + 2))
        self.assertEqual(self.comparison.told(), (mark, after))

    def test_bounded(self) -> None:
        """What is remembered is bounded."""
        self.go_to(DIGESTS_KEPT * 4)
        multiples = DIGESTS_KEPT * 3 // DIGEST_SLOTS
        self.assertEqual(len(self.comparison.known()), DIGESTS_KEPT + multiples)
