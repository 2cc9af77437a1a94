"""Members come, vote, and go, while the cluster serves."""

from __future__ import annotations

import msgspec

from coord.commands import Caller, Deed, Level, Set
from coord.errors import NoEntry
from coord.limits import REQUEST_SECONDS
from coord.paxos.membership import Configuration
from coord.results import Value, Written
from tests.replicator.members_case import MembersCase


class Adding(MembersCase):
    """A node comes."""

    def setUp(self) -> None:
        """Found a cluster of three."""
        super().setUp()
        self.found(3)

    def test_bound_at_first(self) -> None:
        """A new cluster soon knows on which disks its nodes are; its tree is as it was founded."""
        configuration = self.nodes["n1"].replicator._replica.configuration
        self.assertEqual(
            [one.disk for one in configuration.members], ["disk-n1", "disk-n2", "disk-n3"]
        )
        self.assertEqual(self.base, 4)
        self.assertEqual(self.rev("n2"), self.base)

    def test_add(self) -> None:
        """A node that is added learns, and gets its vote by itself once it is close."""
        self.join("n4")
        self.advance(0.5)
        self.assertIn("MEMBER add n4 n4:1", self.fault("n4"))
        asked = self.ask("n1", Deed.ADD, "n4", address="n4:1")
        self.advance(0.3)
        self.assertIsInstance(asked.result, Written)
        self.advance(1.0)
        self.assertEqual(self.voters(), ["n1", "n2", "n3", "n4"])
        self.assertEqual(self.fault("n4"), "-")
        self.assertEqual(self.value("n4", "/ctl/members/n4"), self.value("n1", "/ctl/members/n4"))
        asked_there = self.set("n4", "/a")
        self.advance(0.2)
        self.assertIsInstance(asked_there.results[0], Written)

    def test_learns_first(self) -> None:
        """A node that is not there yet is added all the same, and has no vote until it is close."""
        self.do(Deed.ADD, "n4", address="n4:1")
        self.advance(2.0)
        self.assertEqual(self.members()["n4"], "observer down")
        self.join("n4")
        self.advance(3.0)
        self.assertEqual(self.members()["n4"], "voter up")

    def test_any_node(self) -> None:
        """A change may be asked of any node; all of them see it."""
        self.join("n4")
        asked = self.ask(self.followers()[0], Deed.ADD, "n4", address="n4:1")
        self.advance(1.0)
        self.assertIsInstance(asked.result, Written)
        for name in ("n1", "n2", "n3", "n4"):
            self.assertEqual(self.voters(name), ["n1", "n2", "n3", "n4"])

    def test_in_the_tree(self) -> None:
        """Who is a member can be watched in the tree."""
        self.do(Deed.ADD, "n4", address="n4:1")
        found = self.value("n1", "/ctl/members/n4")
        assert isinstance(found, Value)
        self.assertEqual(found.value, b"n4:1 observer")
        self.join("n4")
        self.advance(3.0)
        found = self.value("n1", "/ctl/members/n4")
        assert isinstance(found, Value)
        self.assertEqual(found.value, b"n4:1")

    def test_twice(self) -> None:
        """What is a member already is not added again, and an address is taken once."""
        self.assertIn("EXISTS n3 is a member already", self.refused(Deed.ADD, "n3", address="x:1"))
        self.assertIn("EXISTS n2:1 is", self.refused(Deed.ADD, "n5", address="n2:1"))

    def test_admins_only(self) -> None:
        """Who may not do all may not change the members."""
        caller = Caller("ann", "10.0.0.7:1", Level.WRITE)
        asked = self.ask("n1", Deed.REMOVE, "n3", caller)
        self.advance(0.1)
        self.assertIn("DENIED", asked.text)

    def test_observer(self) -> None:
        """An observer learns, serves and takes writes, and never votes."""
        self.add("n4", is_observer=True)
        self.advance(2.0)
        self.assertEqual(self.members()["n4"], "observer up")
        asked = self.submit("n4", Set("/a", b"x"))
        self.advance(0.2)
        self.assertIsInstance(asked.results[0], Written)
        self.assertEqual(self.fact("n4", "role"), "observer")
        self.assertEqual(self.fact("n4", "quorum"), "yes")

    def test_knocks(self) -> None:
        """An observer that is told of the cluster becomes a member by itself."""
        self.join("n4", is_observer=True)
        self.advance(2.0)
        self.assertEqual(self.members()["n4"], "observer up")
        self.assertEqual(self.rev("n4"), self.rev("n1"))

    def test_five_and_back(self) -> None:
        """From three to five and back to three others, with every original node replaced."""
        self.add("n4")
        self.add("n5")
        self.assertEqual(self.voters(), ["n1", "n2", "n3", "n4", "n5"])
        for name in ("n1", "n2"):
            self.do(Deed.REMOVE, name)
            self.advance(2.0)
        self.join("n6")
        self.do(Deed.REPLACE, "n3", successor="n6", address="n6:1")
        self.advance(3.0)
        gone = {name: self.nodes.pop(name) for name in ("n1", "n2", "n3")}
        self.assertEqual(self.voters("n4"), ["n4", "n5", "n6"])
        self.assertIn("removed", gone["n3"].replicator.faults.reason or "")
        asked = self.set("n6", "/a")
        self.advance(0.3)
        self.assertIsInstance(asked.results[0], Written)

    def refused(self, deed: Deed, node: str, **more: object) -> str:
        """Return why a change is not made."""
        asked = self.ask("n1", deed, node, **more)  # type: ignore[arg-type]
        self.advance(0.3)
        return asked.text


class Going(MembersCase):
    """A node goes."""

    def setUp(self) -> None:
        """Found a cluster of three."""
        super().setUp()
        self.found(3)

    def test_remove(self) -> None:
        """A removed node votes no more, says so, and stays stopped."""
        gone = self.followers()[0]
        self.do(Deed.REMOVE, gone)
        self.advance(0.5)
        self.assertIn("removed", self.fault(gone))
        self.assertIn("MEMBER add", self.reports[gone]["removed.txt"])
        self.assertEqual(self.hub.reachable(gone), frozenset())
        self.assertNotIn(gone, self.members())

    def test_remove_while_down(self) -> None:
        """A node that was away when it was removed is told when it comes back."""
        gone = self.followers()[0]
        self.hub.isolate(gone)
        self.do(Deed.REMOVE, gone)
        self.hub.heal(gone)
        self.advance(1.0)
        self.assertIn(f"{gone} was removed", self.fault(gone))
        self.assertIn("removed.txt", self.reports[gone])

    def test_remove_the_leader(self) -> None:
        """The leader can be removed, by itself too; another one leads on."""
        leader, others = self.leader(), self.followers()
        asked = self.ask(leader, Deed.REMOVE, leader)
        self.advance(3.0)
        self.assertIsInstance(asked.result, Written)
        self.assertIn("removed", self.fault(leader))
        self.nodes.pop(leader)
        self.assertEqual(self.voters(), sorted(others))
        written = self.set(others[0], "/a")
        self.advance(0.3)
        self.assertIsInstance(written.results[0], Written)

    def test_up_and_stopped(self) -> None:
        """A voter that is linked but has stopped, over its disk, say, is not counted on."""
        stopped, up = self.followers()
        self.nodes[stopped].replicator.faults.withdraw("rust")
        self.advance(3.0)
        asked = self.ask(self.leader(), Deed.REMOVE, up)
        self.advance(0.5)
        self.assertIn("BAD_REQUEST that would lose the quorum", asked.text)
        self.do(Deed.REMOVE, stopped)

    def test_quorum(self) -> None:
        """What would leave too few voters is refused, with the arithmetic, unless forced."""
        down, up = self.followers()
        self.hub.isolate(down)
        self.advance(0.5)
        asked = self.ask(self.leader(), Deed.REMOVE, up)
        self.advance(0.5)
        self.assertIn("BAD_REQUEST that would lose the quorum", asked.text)
        self.assertIn("2 of 2 needed", asked.text)
        self.assertEqual(len(self.voters()), 3)

    def test_plan(self) -> None:
        """A plan tells before and after, and does nothing."""
        gone = self.followers()[0]
        rows = self.plan(Deed.REMOVE, gone)
        self.assertIn("2 of 3 needed", rows[0])
        self.assertIn("2 of 2 needed", rows[1])
        self.advance(0.5)
        self.assertEqual(len(self.voters()), 3)

    def test_plan_of_a_follower(self) -> None:
        """A plan can be asked of any node, and so can what is not to be."""
        follower = self.followers()[0]
        asked = self.ask(follower, Deed.ADD, "n4", address="n4:1", plan=True)
        nobody = self.ask(follower, Deed.REMOVE, "n9")
        self.advance(0.2)
        self.assertIn("then n4 learns", str(asked.result))
        self.assertIn("NOENT n9 is no member", nobody.text)

    def test_no_quorum(self) -> None:
        """Without a leader a change is not made, and its client is told so."""
        lonely = self.followers()[0]
        self.hub.isolate(lonely)
        self.advance(1.0)
        asked = self.ask(lonely, Deed.REMOVE, "n1")
        self.advance(4.0)
        self.assertIn("UNAVAILABLE", asked.text)

    def test_last_voter(self) -> None:
        """The last voter is not removed, whatever is forced."""
        for name in self.followers():
            self.do(Deed.REMOVE, name)
        last = self.ask(self.leader(), Deed.REMOVE, self.leader(), force=True)
        self.advance(0.5)
        self.assertIn("last voter", last.text)


class Again(MembersCase):
    """Disks that were lost, and nodes that take the place of others."""

    def setUp(self) -> None:
        """Found a cluster of three."""
        super().setUp()
        self.found(3)

    def test_emptied(self) -> None:
        """A node on an emptied disk has no vote until it was admitted anew; then it has again."""
        name = self.followers()[0]
        self.set(name, "/a", b"of a former life")
        self.advance(0.2)
        self.crash(name)
        self.wipe(name)
        self.start(name)
        self.advance(4.0)
        self.assertIn(f"MEMBER replace {name} {name} {name}:1 admits it anew", self.fault(name))
        self.assertEqual(self.fact(name, "rev"), "0")
        self.do(Deed.REPLACE, name, successor=name, address=f"{name}:1")
        self.advance(3.0)
        self.assertEqual(self.fault(name), "-")
        self.assertEqual(self.members()[name], "voter up")
        written = self.set(name, "/a", b"of this life")
        self.advance(0.3)
        self.assertIsInstance(written.results[0], Written)

    def test_emptied_and_alone(self) -> None:
        """It does not help to elect a leader, so nothing is forgotten."""
        name, other = self.followers()
        self.crash(name)
        self.wipe(name)
        self.crash(self.leader())
        self.start(name)
        self.advance(5.0)
        self.assertEqual(self.fact(other, "quorum"), "no")
        self.assertEqual(self.fact(name, "quorum"), "no")

    def test_two_emptied(self) -> None:
        """Two of three do not begin anew beside the one that knows better; they say what is up."""
        knowing, *emptied = self.leader(), *self.followers()
        for name in emptied:
            self.crash(name)
            self.wipe(name)
        for name in emptied:
            self.start(name)
        self.advance(10.0)
        for name in emptied:
            self.assertEqual(self.fact(name, "rev"), "0")
            self.assertIn("not on the disk that was admitted", self.fault(name))
        self.crash(knowing)
        self.wipe(knowing)
        self.start(knowing)
        self.advance(3.0)
        self.assertEqual(len({self.fact(name, "digest") for name in self.nodes}), 1)
        self.assertGreater(self.rev(knowing), 0)
        self.assertEqual([self.fault(name) for name in self.nodes], ["-"] * 3)

    def test_two_emptied_for_long(self) -> None:
        """Two that did begin anew, as the third was away, stop once that one says what they are."""
        knowing, *emptied = self.leader(), *self.followers()
        self.set(knowing, "/kept")
        for name in (knowing, *emptied):
            self.crash(name)
        for name in emptied:
            self.wipe(name)
            self.start(name)
        self.advance(20.0)
        for number in range(4):  # so that theirs is the longer history
            self.ask(emptied[0], Deed.ADD, f"o{number}", address=f"o:{number}", is_observer=True)
            self.set(emptied[0], "/lost")
            self.advance(2.0)
        self.assertIn("o3", self.members(emptied[0]))
        self.start(knowing)
        self.advance(5.0)
        for name in emptied:
            self.assertIn("founded anew", self.fault(name))
        self.assertEqual(self.fact(knowing, "quorum"), "no")
        self.assertIsInstance(self.value(knowing, "/lost"), NoEntry)

    def test_emptied_and_told_of_nobody(self) -> None:
        """A cluster's first node, which was told of no others, does not begin anew beside them."""
        name = self.followers()[0]
        self.crash(name)
        self.wipe(name)
        self.firsts[name] = Configuration((name,))
        self.start(name)
        self.advance(10.0)
        self.assertEqual(self.fact(name, "rev"), "0")
        self.assertIn("not on the disk that was admitted", self.fault(name))
        asked = self.ask(self.leader(), Deed.REPLACE, name, successor=name, address=f"{name}:1")
        self.advance(10.0)
        self.assertIsInstance(asked.result, Written)
        self.assertIn(name, self.voters())
        self.assertEqual(self.fault(name), "-")

    def test_replace(self) -> None:
        """A node takes the place of another in one step, once it is close."""
        old = self.followers()[0]
        asked = self.ask(self.leader(), Deed.REPLACE, old, successor="n4", address="n4:1")
        self.advance(1.0)
        self.assertIsInstance(asked.result, Written)
        self.assertEqual(len(self.voters()), 3)
        self.assertIn(old, self.voters())
        self.join("n4")
        self.advance(3.0)
        self.assertIn("removed", self.fault(old))
        self.assertIn("n4", self.voters())
        self.assertEqual(len(self.voters()), 3)

    def test_across_leaders(self) -> None:
        """A change that is under way when the leader goes is made by the next one."""
        leader, (asker, _) = self.leader(), self.followers()
        asked = self.ask(asker, Deed.ADD, "n4", address="n4:1")
        self.advance(0.01)
        self.hub.isolate(leader)
        self.advance(2.5)
        self.assertIsInstance(asked.result, Written, asked.result)
        self.assertIn("n4", self.members(asker))

    def test_promote(self) -> None:
        """An observer is given its vote when that is asked, if it is close."""
        self.do(Deed.ADD, "n4", address="n4:1", is_observer=True)
        asked = self.ask(self.leader(), Deed.PROMOTE, "n4")
        self.advance(0.5)
        self.assertIn("BAD_REQUEST n4 is not up", asked.text)
        self.join("n4")
        self.advance(1.0)
        self.do(Deed.PROMOTE, "n4")
        self.assertEqual(self.members()["n4"], "voter up")

    def test_older_release(self) -> None:
        """While a voter of the release before is linked nothing is changed, and it is named."""
        old = self.followers()[0]
        self.crash(old)
        self.advance(0.5)
        self.start(old)
        links = self.hub.links[old]
        self.hub.isolate(old)
        links.protocol = 4
        self.hub.heal(old)
        self.advance(0.5)
        asked = self.ask(self.leader(), Deed.ADD, "n4", address="n4:1")
        self.advance(0.5)
        self.assertIn(f"UNAVAILABLE not done: {old} runs an older release", asked.text)
        self.crash(old)
        self.advance(0.5)
        asked = self.ask(self.leader(), Deed.ADD, "n4", address="n4:1")
        self.advance(0.5)
        self.assertIn(f"UNAVAILABLE not done: {old} is down, and ran an older", asked.text)
        self.do(Deed.ADD, "n4", address="n4:1", force=True)

    def test_older_leader(self) -> None:
        """A leader of the release before is not sent what it cannot read; the answer names it."""
        leader, asked_of = self.leader(), self.followers()[0]
        card = self.hub.cards[asked_of, leader]
        self.hub.cards[asked_of, leader] = msgspec.structs.replace(card, protocol=4)
        links = self.hub.links[asked_of]
        links.log.clear()
        for plan in (False, True):
            asked = self.ask(asked_of, Deed.ADD, "n4", address="n4:1", plan=plan)
            self.advance(0.1)
            self.assertIn(f"UNAVAILABLE not done: {leader} leads, and runs an older", asked.text)
        self.assertNotIn("MembersWanted", links.log)


class Alone(MembersCase):
    """A cluster of one, in which nothing goes on by itself."""

    def test_no_answer(self) -> None:
        """Who asks for what cannot be proposed is answered in time, though nothing else happens."""
        self.found(1)
        self.advance(1.0)
        reconfiguring = self.nodes["n1"].replicator.members._reconfiguring
        self.patch(reconfiguring, "_may_propose", lambda: False)
        asked = self.ask("n1", Deed.ADD, "n2", address="n2:1")
        self.advance(REQUEST_SECONDS + 0.5)
        self.assertIn("UNKNOWN", asked.text)
