"""What a change makes of a configuration, and the arithmetic of quorums."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.errors import BadRequest, Exists, NoEntry
from coord.paxos.membership import Configuration, Member
from coord.paxos.plans import (
    Outlook,
    added,
    bound,
    described,
    plan,
    promoted,
    reached,
    refuse_unless_it_stands,
    removed,
    replaced,
    waiting,
)

ADDRESSES = {f"n{number}": f"10.0.0.{number}:7001" for number in range(1, 8)}
DISKS = {node: f"{node}disk" for node in ADDRESSES}
THREE = bound(Configuration(("n1", "n2", "n3")), DISKS, ADDRESSES)


class Saying(SynchronousTestCase):
    """What is said of each node beside its part."""

    def test_described(self) -> None:
        """A first configuration, of names only, gets the addresses that its nodes were told."""
        whole = described(Configuration(("n1", "n2"), ("n3",)), ADDRESSES)
        self.assertEqual([one.address for one in whole.members],
                         ["10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3:7001"])  # fmt: skip
        self.assertEqual(described(whole, {}), whole)

    def test_bound_once(self) -> None:
        """A node is bound to the first disk it is heard of with, and to no other later."""
        some = bound(Configuration(("n1", "n2")), {"n1": "aa"}, ADDRESSES)
        self.assertEqual([one.disk for one in some.members], ["aa", ""])
        more = bound(some, {"n1": "zz", "n2": "bb"}, {})
        self.assertEqual([one.disk for one in more.members], ["aa", "bb"])

    def test_reached(self) -> None:
        """Where one node is reached is said anew, and nothing else."""
        moved = reached(THREE, "n2", "h:9")
        self.assertEqual([one.address for one in moved.members],
                         ["10.0.0.1:7001", "h:9", "10.0.0.3:7001"])  # fmt: skip
        self.assertEqual(reached(moved, "n2", ADDRESSES["n2"]), THREE)


class Changing(SynchronousTestCase):
    """Adding, removing, promoting, replacing."""

    def test_added(self) -> None:
        """A node that is added learns first; nothing is taken from those that vote."""
        four = added(THREE, "n4", ADDRESSES["n4"])
        self.assertEqual((four.voters, four.learners), (THREE.voters, ("n4",)))
        self.assertEqual(waiting(four), (Member("n4", ADDRESSES["n4"], "", True),))

    def test_observer(self) -> None:
        """An observer wants no vote, but may be promoted by hand."""
        four = added(THREE, "n4", ADDRESSES["n4"], is_observer=True)
        self.assertEqual(waiting(four), ())
        self.assertEqual(promoted(four, "n4").voters, ("n1", "n2", "n3", "n4"))

    def test_added_twice(self) -> None:
        """Neither a name nor an address is given twice."""
        self.assertRaises(Exists, added, THREE, "n3", "10.0.0.9:7001")
        error = self.assertRaises(Exists, added, THREE, "n4", ADDRESSES["n2"])
        self.assertEqual(error.text, "10.0.0.2:7001 is the address of n2")

    def test_promoted(self) -> None:
        """A learner that is promoted votes and wants nothing more."""
        four = promoted(added(THREE, "n4", ADDRESSES["n4"]), "n4")
        self.assertEqual((four.voters, four.learners), (("n1", "n2", "n3", "n4"), ()))
        self.assertEqual(waiting(four), ())
        self.assertRaises(Exists, promoted, four, "n4")
        self.assertRaises(NoEntry, promoted, four, "n5")

    def test_removed(self) -> None:
        """Who is removed is gone, and nobody is to replace it any more."""
        two = removed(replaced(THREE, "n3", "n4", ADDRESSES["n4"]), "n3")
        self.assertEqual((two.voters, two.learners), (("n1", "n2"), ("n4",)))
        self.assertEqual(waiting(two)[0].replaces, "")
        self.assertIsNone(two.member("n3"))
        error = self.assertRaises(NoEntry, removed, two, "n3")
        self.assertEqual(error.text, "n3 is no member; members: n1 n2 n4")

    def test_last_voter(self) -> None:
        """The last voter is never removed, nor put on an empty disk."""
        one = added(Configuration(("n1",)), "n2", ADDRESSES["n2"])
        self.assertRaises(BadRequest, removed, one, "n1")
        self.assertRaises(BadRequest, replaced, one, "n1", "n1", ADDRESSES["n1"])

    def test_replaced(self) -> None:
        """A successor learns first; then the vote goes from the one to the other in one step."""
        before = replaced(THREE, "n3", "n4", ADDRESSES["n4"])
        self.assertEqual((before.voters, before.learners), (THREE.voters, ("n4",)))
        after = promoted(before, "n4")
        self.assertEqual(after.nodes, ("n1", "n2", "n4"))
        self.assertIsNone(after.member("n3"))

    def test_replaced_by_itself(self) -> None:
        """A node on an empty disk loses its vote at once, and its disk, and gets a vote again."""
        before = replaced(THREE, "n3", "n3", "10.0.0.30:7001")
        self.assertEqual((before.voters, before.learners), (("n1", "n2"), ("n3",)))
        self.assertEqual(before.member("n3"), Member("n3", "10.0.0.30:7001", "", True))
        self.assertEqual(promoted(before, "n3").voters, THREE.voters)

    def test_learner_replaced(self) -> None:
        """Who has no vote is replaced at once, by one that wants what it wanted."""
        four = replaced(THREE, "n3", "n4", ADDRESSES["n4"])
        five = replaced(four, "n4", "n5", ADDRESSES["n5"])
        self.assertEqual(five.learners, ("n5",))
        self.assertEqual(waiting(five), (Member("n5", ADDRESSES["n5"], "", True, "n3"),))
        self.assertEqual(replaced(five, "n5", "n5", ADDRESSES["n5"]), five)

    def test_replaced_in_vain(self) -> None:
        """One successor for one node, and only for a member, by one that is none."""
        self.assertRaises(NoEntry, replaced, THREE, "n9", "n4", ADDRESSES["n4"])
        self.assertRaises(Exists, replaced, THREE, "n3", "n2", ADDRESSES["n4"])
        self.assertRaises(Exists, replaced, THREE, "n3", "n4", ADDRESSES["n1"])
        before = replaced(THREE, "n3", "n4", ADDRESSES["n4"])
        error = self.assertRaises(Exists, replaced, before, "n3", "n5", ADDRESSES["n5"])
        self.assertEqual(error.text, "n4 is to replace n3 already; remove n4 first")


class Arithmetic(SynchronousTestCase):
    """What is said to an operator at three in the morning."""

    def text(self, *up: str) -> str:
        """Return how three voters stand with some of them up."""
        return Outlook(THREE, frozenset(up)).text

    def test_outlook(self) -> None:
        """It says who votes, how many are needed, who is up, and what that leaves."""
        begin = "voters n1 n2 n3: 2 of 3 needed, up"
        text = self.text("n1", "n2", "n3", "n9")
        self.assertEqual(text, f"{begin} n1 n2 n3: 1 more may fail")
        self.assertEqual(self.text("n1", "n2"), f"{begin} n1 n2: none more may fail")
        self.assertEqual(self.text(), f"{begin} none: 2 too few, nothing can be written")

    def test_refused(self) -> None:
        """What would lose the quorum is refused, with the arithmetic and what to do."""
        error = self.assertRaises(
            BadRequest, refuse_unless_it_stands, removed(THREE, "n2"), ("n1", "n2")
        )
        self.assertEqual(
            error.text,
            "that would lose the quorum: voters n1 n3: 2 of 2 needed, up n1: 1 too few, nothing"
            " can be written; start n3 first, or say force: then nothing can be written or undone"
            " until enough of them are up",
        )
        refuse_unless_it_stands(removed(THREE, "n3"), ("n1", "n2"))

    def test_plan(self) -> None:
        """A plan tells before, after, and what it comes to in the end."""
        after = added(replaced(THREE, "n3", "n4", ADDRESSES["n4"]), "n5", ADDRESSES["n5"],
                      is_observer=True)  # fmt: skip
        self.assertEqual(plan(THREE, after, ("n1", "n2")), (
            "before voters n1 n2 n3: 2 of 3 needed, up n1 n2: none more may fail",
            "after voters n1 n2 n3: 2 of 3 needed, up n1 n2: none more may fail",
            "then n4 learns, and votes once it is close, in place of n3",
            "in the end voters n1 n2 n4: 2 of 3 needed, up n1 n2 n4: 1 more may fail",
            "observers n5: they never count",
        ))  # fmt: skip
        self.assertEqual(len(plan(THREE, removed(THREE, "n3"), ("n1", "n2"))), 2)
