"""Which nodes get a link, and what those do that get none."""

from __future__ import annotations

from coord.commands import Deed
from coord.paxos.ballot import Ballot
from coord.replicator.admission import Admission
from coord.replicator.interfaces import Card, Unfit, Why
from tests.replicator.members_case import MembersCase

FAR = 1_000_000


class AdmissionCase(MembersCase):
    """Three nodes, bound to their disks."""

    def setUp(self) -> None:
        """Found a cluster."""
        super().setUp()
        self.found(3)

    def admission(self, name: str = "n1") -> Admission:
        """Return a node's judge."""
        return self.nodes[name].replicator.members.admission

    def card(self, node: str, disk: str = "", **more: object) -> Card:
        """Return a card, of one that has forgotten nothing."""
        plain = {"promised": Ballot(99, "n1"), "reach": FAR, "protocol": 5, "incarnation": 1}
        return Card(node=node, disk=disk or f"disk-{node}", **{**plain, **more})  # type: ignore[arg-type]


class Judging(AdmissionCase):
    """What is said to a card."""

    def verdict(self, card: Card) -> Why | None:
        """Return why a node gets no link."""
        unfit = self.admission().judge(card)
        return unfit.why if unfit is not None else None

    def test_member(self) -> None:
        """A member on its own disk, who knows all that it ever said, gets one."""
        self.assertIsNone(self.verdict(self.card("n2")))

    def test_stranger(self) -> None:
        """Nobody else gets one, and is told how to become a member."""
        unfit = self.admission().judge(self.card("n9", address="10.0.0.9:1"))
        assert unfit is not None
        self.assertIs(unfit.why, Why.STRANGER)
        self.assertIn("MEMBER add n9 10.0.0.9:1", unfit.text)

    def test_other_disk(self) -> None:
        """A member on another disk gets none."""
        self.assertIs(self.verdict(self.card("n2", "another")), Why.OTHER_DISK)

    def test_knows_more(self) -> None:
        """One that knows a later configuration may be what it says: it gets one."""
        self.assertIsNone(self.verdict(self.card("n9", slot=FAR)))
        self.assertIsNone(self.verdict(self.card("n2", "another", slot=FAR, reach=0)))

    def test_set_back(self) -> None:
        """One that has promised less than it said before gets none, whatever it knows."""
        self.set("n1", "/a")
        self.advance(1.0)
        for forgotten in ({"reach": 3}, {"promised": Ballot(0, "")}):
            for slot in (0, FAR):
                card = self.card(self.followers()[0], slot=slot, **forgotten)
                admission = self.admission(self.leader())
                unfit = admission.judge(card)
                assert unfit is not None
                self.assertIs(unfit.why, Why.SET_BACK)

    def test_other_history(self) -> None:
        """One whose cluster was founded apart gets none, whoever of the two knows more."""
        for slot in (0, FAR):
            emptied = self.card("n2", disk="another", slot=slot, founding="another")
            self.assertIs(self.verdict(emptied), Why.FOUNDED_ANEW)
            for node in ("n2", "n9"):
                other = self.card(node, slot=slot, founding="another")
                self.assertIs(self.verdict(other), Why.OTHER_HISTORY)

    def test_older_release(self) -> None:
        """One of the release before has no name for its disk, and tells nothing: it gets one."""
        old = Card(node="n2", incarnation=1, protocol=4)
        self.assertIsNone(self.verdict(old))

    def test_observer_knocks_once(self) -> None:
        """An observer's knocking is heard, but not one that was a member before."""
        card = self.card("n9", address="n9:1", is_observer=True)
        self.assertIs(self.verdict(card), Why.STRANGER)
        self.advance(1.0)
        self.assertNotIn("n9", self.members())
        for _ in range(3):
            fresh = self.card(
                "n9", address="n9:1", is_observer=True, reach=0, promised=Ballot(0, "")
            )
            self.verdict(fresh)
        self.advance(1.0)
        self.assertEqual(self.members()["n9"], "observer down")


class Disowned(AdmissionCase):
    """What a node does that is refused."""

    def tell(self, why: Why, slot: int, name: str = "n3", by: tuple[str, ...] = ("n1",)) -> str:
        """Tell a node that it is refused; return what it says is the matter."""
        self.hub.isolate(name)
        for peer in by:
            self.admission(name).disowned(peer, Unfit(why, "no", slot))
        self.advance(0.1)
        return self.fault(name)

    def test_other_history(self) -> None:
        """Told that its cluster is another one it goes on: that is true of both."""
        self.assertEqual(
            self.tell(Why.OTHER_HISTORY, FAR, by=("n1", "n2")).partition(":")[0], "not admitted"
        )

    def test_founded_anew(self) -> None:
        """Told that it was emptied, and founded a cluster anew, it stops."""
        self.assertEqual(self.tell(Why.FOUNDED_ANEW, FAR), "no (n1 says so)")

    def test_removed(self) -> None:
        """One that was a member believes a majority of those who know no less than itself."""
        self.assertIn("not admitted", self.tell(Why.STRANGER, FAR))
        told = self.tell(Why.STRANGER, FAR, by=("n2",))
        self.assertIn("n3 was removed (according to n1, n2)", told)
        self.assertIn("n3 was removed", self.reports["n3"]["removed.txt"])
        self.assertEqual(self.hub.links["n3"].addresses, {})

    def test_by_one_who_is_behind(self) -> None:
        """It does not believe those who know less, and tries again."""
        self.assertEqual(self.tell(Why.STRANGER, 3), "not admitted: no (n1 says so)")
        self.hub.heal("n3")
        self.advance(0.5)
        self.assertEqual(self.fault("n3"), "-")
        self.assertEqual(self.reports["n3"], {})

    def test_set_back(self) -> None:
        """One whose disk was set back stops, whoever says so."""
        self.assertEqual(self.tell(Why.SET_BACK, 0), "no (n1 says so)")
        self.hub.heal("n3")
        self.advance(1.0)
        self.assertEqual(self.fact("n3", "role"), "candidate")
        self.assertEqual(self.fault("n3"), "no (n1 says so)")

    def test_former_disk(self) -> None:
        """A disk that comes back after another was admitted in its place stays out, for good."""
        name = self.followers()[0]
        self.crash(name)
        former = self.disks[name]
        self.wipe(name)
        self.start(name)
        self.do(Deed.REPLACE, name, successor=name, address=f"{name}:1")
        self.advance(2.0)
        self.assertEqual(self.members()[name], "voter up")
        self.crash(name)
        self.disks[name] = former
        self.start(name)
        self.advance(1.0)
        self.assertIn("replaced by itself on another disk", self.fault(name))
        self.assertIn("removed.txt", self.reports[name])

    def test_after_the_end(self) -> None:
        """One that has stopped for another reason goes by that."""
        self.nodes["n3"].replicator.faults.withdraw("rust")
        self.assertEqual(self.tell(Why.STRANGER, FAR), "rust")
        self.assertEqual(self.reports["n3"], {})

    def test_again(self) -> None:
        """A removed node that begins anew on an empty disk can be added again."""
        name = self.followers()[0]
        self.do(Deed.REMOVE, name)
        self.crash(name)
        self.wipe(name)
        self.start(name)
        self.advance(1.0)
        self.assertIn("is not a member", self.fault(name))
        self.do(Deed.ADD, name, address=f"{name}:1")
        self.advance(2.0)
        self.assertEqual(self.members()[name], "voter up")
        self.assertEqual(self.fault(name), "-")
