"""Nodes that come when the log is long gone: they begin with an image."""

from __future__ import annotations

from copy import deepcopy

from coord.commands import ChangeMembers, Deed
from coord.limits import WITNESS_SECONDS
from coord.paxos.membership import Configuration
from coord.paxos.witness import Witnessed
from coord.replicator.interfaces import Why
from coord.results import Result, Written
from tests.replicator.case import STEP_SECONDS
from tests.replicator.far_case import FarBehind
from tests.replicator.members_case import MembersCase


class Coming(FarBehind, MembersCase):
    """A node comes to a cluster that keeps next to no log."""

    def test_add(self) -> None:
        """It gets an image, then the log from there, then its vote; and it knows all members."""
        self.fill()
        self.add("n4")
        self.advance(3.0)
        self.assertEqual(self.figure("n4", "images_adopted"), 1)
        self.assertEqual(self.members("n4")["n4"], "voter up")
        self.assertEqual(self.members("n4"), self.members("n1"))
        self.same()
        self.assertEqual(self.value("n4", "/ctl/members/n4"), self.value("n1", "/ctl/members/n4"))

    def test_serves_on(self) -> None:
        """While it is far behind, writes go on as if it were not there."""
        self.hub.frames.clear()
        self.fill()
        self.do(Deed.ADD, "n4", address="n4:1")
        for number in range(20):
            asked = self.set(self.leader(), f"/b/{number}")
            self.advance(0.02)
            self.assertIsInstance(asked.results[0], Written)
        self.assertEqual(self.members()["n4"], "observer down")

    def test_changed_while_away(self) -> None:
        """Who was away for longer than the log is kept learns of changes by the image."""
        self.miss()
        self.add("n4")
        self.come_back(4.0)
        self.assertEqual(self.figure(self.away, "images_adopted"), 1)
        self.assertEqual(self.members(self.away), self.members(self.leader()))
        self.assertIn("n4", self.hub.reachable(self.away))
        self.same()

    def test_removed_while_away(self) -> None:
        """Who was removed meanwhile gets no image, but is told so."""
        self.miss()
        self.do(Deed.REMOVE, self.away)
        self.fill(10)
        self.come_back()
        self.assertIn("removed", self.fault(self.away))
        self.assertEqual(self.figure(self.away, "images_adopted"), 0)

    def test_emptied(self) -> None:
        """An emptied node that is admitted anew begins with an image, and is a voter again."""
        self.crash(self.away)
        self.fill()
        self.wipe(self.away)
        self.start(self.away)
        name = self.away
        self.do(Deed.REPLACE, name, successor=name, address=f"{name}:1")
        self.advance(4.0)
        self.assertEqual(self.members()[name], "voter up")
        self.crash(name)
        self.start(name)
        self.advance(1.0)
        written = self.set(name, "/back")
        self.advance(0.5)
        self.assertIsInstance(written.results[0], Written)
        self.same()

    def test_former_disk_forgotten(self) -> None:
        """What an emptied node once said it forgets with an image, also if it crashes right then.

        Else it would hold that against the new disk, and have a healthy node stop.
        """
        self.add("n4")
        self.add("n5")
        self.set(self.leader(), "/a")
        self.advance(2.0)
        self.hub.isolate(self.away)
        self.crash(self.other)
        self.fill()
        self.wipe(self.other)
        self.do(Deed.REPLACE, self.other, successor=self.other, address=f"{self.other}:1")
        receiving = self.nodes[self.away].replicator.images.receiving
        receiving._adopt = lambda adopted: None
        self.come_back()
        header = self.disks[self.away].header
        assert header is not None
        self.assertLess(header.chosen, self.disks[self.away].image_slot)
        self.assertIn(self.other, [one.node for one in header.witnessed if one.reach])
        self.crash(self.away)
        self.start(self.away)
        replica = self.nodes[self.away].replicator._replica
        self.assertEqual(replica.witness(self.other), Witnessed(self.other))
        self.assertGreater(replica.witness("n4").reach, 0)
        self.start(self.other)
        self.advance(4.0)
        self.assertEqual((self.fault(self.other), self.members()[self.other]), ("-", "voter up"))

    def test_told_of_nobody_who_is_left(self) -> None:
        """A node that was told only of nodes that are gone asks for its image whoever links it."""
        name = self.away
        self.crash(name)
        self.fill()
        self.wipe(name)
        self.firsts[name] = Configuration(("gone",), (name,))
        self.start(name)
        self.do(Deed.REPLACE, name, successor=name, address=f"{name}:1")
        self.advance(4.0)
        self.assertEqual(self.members()[name], "voter up")
        self.assertEqual(self.figure(name, "images_adopted"), 1)


class SetBack(MembersCase):
    """A disk that is restored from an old copy."""

    def setUp(self) -> None:
        """Found a cluster of three, and make a copy of a node's disk."""
        super().setUp()
        self.found(3)
        self.name = self.followers()[0]
        self.crash(self.name)
        self.copy = deepcopy(self.disks[self.name])
        self.start(self.name)
        self.advance(0.5)

    def restore(self) -> None:
        """Put the old copy in the place of the disk."""
        self.crash(self.name)
        self.disks[self.name] = self.copy
        self.start(self.name)
        self.advance(1.0)

    def test_votes(self) -> None:
        """A node that has voted for what it does not know of gets no link, and stops."""
        self.set(self.leader(), "/a")
        self.advance(2 * WITNESS_SECONDS)
        self.restore()
        self.assertIn("set back", self.fault(self.name))
        self.assertEqual(self.hub.reachable(self.name), frozenset())

    def test_promises(self) -> None:
        """So does one that has promised what it does not know of."""
        self.nodes[self.leader()].replicator.step_down()
        self.advance(3.0)
        self.restore()
        self.assertIn("set back", self.fault(self.name))

    def test_others_restarted(self) -> None:
        """The others remember it over a restart of their own."""
        self.set(self.leader(), "/a")
        self.advance(3.0)
        self.set(self.leader(), "/b")
        self.advance(0.5)
        for other in [one for one in self.nodes if one != self.name]:
            self.crash(other)
            self.start(other)
            self.advance(1.0)
        self.restore()
        self.assertIn("set back", self.fault(self.name))

    def test_nothing_happened(self) -> None:
        """A copy of what is there still is as good as the disk itself."""
        self.crash(self.name)
        self.disks[self.name] = deepcopy(self.disks[self.name])
        self.start(self.name)
        self.advance(1.0)
        self.assertEqual(self.fault(self.name), "-")

    def test_a_card_that_was_long_on_its_way(self) -> None:
        """Refused for a card that is older than what it said since, a node goes on."""
        judge, judged = self.leader(), self.name
        card = self.hub.links[judged].card()
        self.set(judge, "/a")
        self.advance(0.5)
        unfit = self.hub.links[judge].judge(card)
        assert unfit is not None
        self.assertIs(unfit.why, Why.SET_BACK)
        self.hub.disown(judge, judged, unfit)
        self.assertEqual(self.fault(judged), "-")

    def test_admitted_anew(self) -> None:
        """Once its directory was emptied it can be admitted anew."""
        self.set(self.leader(), "/a")
        self.advance(0.5)
        self.restore()
        self.crash(self.name)
        self.wipe(self.name)
        self.start(self.name)
        self.advance(1.0)
        self.do(Deed.REPLACE, self.name, successor=self.name, address=f"{self.name}:1")
        self.advance(2.0)
        self.assertEqual(self.members()[self.name], "voter up")


class Anew(MembersCase):
    """A node is admitted anew before its disk is gone."""

    def setUp(self) -> None:
        """Found a cluster that is led by n1."""
        super().setUp()
        self.found(3)
        self.lead("n1")

    def begin_anew(self) -> None:
        """Let n3 come back on an empty disk, and get its vote."""
        self.crash("n3")
        self.advance(0.5)
        self.wipe("n3")
        self.start("n3")
        self.advance(2.0)
        self.assertEqual((self.members()["n3"], self.fault("n3")), ("voter up", "-"))

    def test_last_votes(self) -> None:
        """What its former disk says when that is told already is not held against the new one."""
        replica = self.nodes["n1"].replicator._replica
        self.ask("n1", Deed.REPLACE, "n3", successor="n3", address="n3:1")
        for _ in range(20):
            self.advance(STEP_SECONDS)
            if "n3" in replica.configuration.learners and replica.witness("n3").reach:
                break
        self.assertEqual(replica.configuration.disk("n3"), "")
        self.begin_anew()

    def test_linked_still(self) -> None:
        """It is not bound again to a disk that has failed, though there is a link still."""
        self.nodes["n3"].replicator.faults.withdraw("rust")
        self.do(Deed.REPLACE, "n3", successor="n3", address="n3:1")
        self.begin_anew()

    def test_moved(self) -> None:
        """Whose disk is whole, and knows that it was admitted anew, has its vote back at once."""
        self.do(Deed.REPLACE, "n3", successor="n3", address="n3:2")
        self.advance(1.0)
        self.assertEqual(self.members()["n3"], "voter up")
        configuration = self.nodes["n1"].replicator._replica.configuration
        self.assertEqual(configuration.disk("n3"), "disk-n3")


class Addresses(MembersCase):
    """Where nodes look for each other."""

    def test_own_roads(self) -> None:
        """Who was told another address of a first member keeps to it, until that one moves."""
        self.found(3)
        links, name = self.hub.links["n1"], "n2"
        replicator = self.nodes["n1"].replicator
        replicator._identity.addresses[name] = "road:1"
        self.do(Deed.ADD, "n4", address="n4:1")
        self.assertEqual(
            links.addresses, {"n1": "n1:1", "n2": "road:1", "n3": "n3:1", "n4": "n4:1"}
        )
        self.do(Deed.REPLACE, name, successor=name, address="n2:2")
        self.advance(2.0)
        self.assertEqual((links.addresses or {})[name], "n2:2")
        self.assertEqual(self.hub.links["n3"].addresses, links.addresses)

    def test_not_a_member(self) -> None:
        """A node has no links with those who are no members any more."""
        self.found(3)
        gone = self.followers()[0]
        self.do(Deed.REMOVE, gone)
        for name in set(self.nodes) - {gone}:
            self.assertNotIn(gone, self.hub.links[name].addresses or {})


class Alone(MembersCase):
    """Whom the others left behind long ago."""

    def test_most_are_gone(self) -> None:
        """It says that it is no member, though most of those whom it knew are gone like itself.

        One of them has a link with it still. It does not leave for good: too few say so.
        """
        self.found(3)
        former, name = self.followers()
        self.crash(name)
        for new in ("n4", "n5"):
            self.add(new)
        self.lead("n5")
        self.do(Deed.REMOVE, former)
        self.do(Deed.REMOVE, name)
        self.assertIn("removed", self.fault(former))
        self.start(name)
        self.advance(3.0)
        self.assertIn(former, self.hub.reachable(name))
        self.assertIn(f"not admitted: {name} is not a member", self.fault(name))
        self.assertEqual(self.reports[name], {})


class Many(MembersCase):
    """Changes that are asked for at once."""

    def test_one_after_the_other(self) -> None:
        """They are made one after the other, by whichever node they were asked of."""
        self.found(3)
        found: list[Result] = []
        for number, name in enumerate(("n1", "n2", "n3"), 4):
            change = ChangeMembers(Deed.ADD, f"n{number}", f"n{number}:1")
            self.nodes[name].coordinator.change_members(change, found.append)
        self.advance(2.0)
        self.assertEqual([type(one) for one in found], [Written] * 3)
        self.assertEqual(len(self.members()), 6)

    def test_stopped(self) -> None:
        """A node that is stopped answers what waits there."""
        self.found(3)
        self.hub.isolate("n1")
        asked = self.ask("n1", Deed.ADD, "n4", address="n4:1")
        self.advance(0.05)
        self.nodes["n1"].replicator.stop()
        self.assertIn(asked.text.split()[0], ("UNAVAILABLE", "UNKNOWN"))
        self.assertIn("UNAVAILABLE", self.later("n1"))

    def test_too_many(self) -> None:
        """More than may wait are refused."""
        self.found(3)
        self.hub.isolate("n1")
        self.advance(1.0)
        asked = [self.ask("n1", Deed.ADD, f"m{one}", address=f"m{one}:1") for one in range(70)]
        self.advance(0.1)
        refused = [one for one in asked if one.results]
        self.assertEqual(len(refused), 6)
        self.assertIn("OVERLOADED", refused[0].text)

    def later(self, name: str) -> str:
        """Return what is answered after the end."""
        asked = self.ask(name, Deed.REMOVE, "n3")
        self.nodes[name].replicator._fire()
        return asked.text


class LastOnes(MembersCase):
    """What only those know who were removed."""

    def cut_at_the_swap(self) -> None:
        """Let n1 give its vote to n2, which hears nothing of it."""
        replica = self.nodes["n1"].replicator._replica
        for _ in range(400):
            self.clock.advance(0.005)
            member = replica.configuration.member("n2")
            if member is not None and member.disk and replica.is_changing:
                break
            if replica.configuration.voters == ("n2",):
                break
            self.hub.deliver()
        self.hub.isolate("n2")

    def test_stays_until_it_is_known(self) -> None:
        """A removed node stays to be asked until those who go on have all that it has."""
        self.found(1)
        self.join("n2")
        self.advance(0.5)
        asked = self.ask("n1", Deed.REPLACE, "n1", successor="n2", address="n2:1")
        self.cut_at_the_swap()
        self.advance(2.0)
        self.assertIn("removed: it stays", self.fault("n1"))
        self.assertEqual(self.fact("n1", "role"), "observer")
        slot = int(self.fact("n1", "slot"))
        self.assertLess(int(self.fact("n2", "slot")), slot)
        self.hub.heal("n2")
        self.advance(3.0)
        self.assertIsInstance(asked.result, Written)
        self.assertEqual(self.leader(), "n2")
        self.assertGreaterEqual(int(self.fact("n2", "slot")), slot)
        self.assertIn("n1 was removed (according to n2)", self.fault("n1"))

    def test_restarted(self) -> None:
        """So it does over a restart of its own."""
        self.found(1)
        self.join("n2")
        self.advance(0.5)
        self.ask("n1", Deed.REPLACE, "n1", successor="n2", address="n2:1")
        self.cut_at_the_swap()
        self.advance(1.0)
        rev = self.rev("n1")
        self.crash("n1")
        self.start("n1")
        self.advance(1.0)
        self.hub.heal("n2")
        self.advance(3.0)
        self.assertEqual(self.leader(), "n2")
        self.assertEqual(self.rev("n2"), rev)
        self.assertIn("n1 was removed (according to n2)", self.fault("n1"))
