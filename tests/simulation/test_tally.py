"""What is counted of changes of the members."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.membership import Configuration, Governs, Member
from coord.simulation.tally import changes


def named(*names: str, disk: str = "", wants_vote: str = "") -> tuple[Member, ...]:
    """Return members that are on a disk, one of whom may want a vote."""
    return tuple(Member(one, f"{one}:1", disk, wants_vote=one == wants_vote) for one in names)


def counted(*configurations: Configuration) -> dict[str, int]:
    """Return what happened from one to the next."""
    return dict(changes([Governs(64 * at, one) for at, one in enumerate(configurations)]))


class Changes(SynchronousTestCase):
    """From one configuration to the next."""

    def test_nothing_but_disks(self) -> None:
        """A configuration that only says where nodes are changes no member."""
        before = Configuration(("a", "b"))
        after = Configuration(("a", "b"), members=named("a", "b", disk="d"))
        self.assertEqual(
            counted(before, after), {"configurations": 1, "configurations that only bind disks": 1}
        )

    def test_added_and_promoted(self) -> None:
        """A node joins, then it has a vote."""
        one = Configuration(("a",), members=named("a"))
        two = Configuration(("a",), ("b",), named("a", "b", wants_vote="b"))
        three = Configuration(("a", "b"), members=named("a", "b"))
        found = counted(one, two, three)
        self.assertEqual(found["configurations"], 2)
        self.assertEqual((found["members: joined"], found["members: promoted"]), (1, 1))
        self.assertNotIn("members: observers joined", found)

    def test_observer(self) -> None:
        """One that wants no vote is an observer."""
        one = Configuration(("a",), members=named("a"))
        two = Configuration(("a",), ("b",), named("a", "b"))
        self.assertEqual(counted(one, two)["members: observers joined"], 1)

    def test_swapped(self) -> None:
        """One takes another's place in one step."""
        one = Configuration(("a", "b"), ("c",), named("a", "b", "c", wants_vote="c"))
        two = Configuration(("a", "c"), members=named("a", "c"))
        found = counted(one, two)
        self.assertEqual((found["members: swapped"], found["members: gone"]), (1, 1))

    def test_admitted_anew(self) -> None:
        """One is to be admitted on another disk."""
        one = Configuration(("a", "b"), members=named("a", "b", disk="d"))
        two = Configuration(("a",), ("b",), (Member("a", "a:1", "d"), Member("b", "b:1", "")))
        found = counted(one, two)
        self.assertEqual(found["members: to be admitted on another disk"], 1)
        self.assertEqual(found["members: voters that lost their vote"], 1)
