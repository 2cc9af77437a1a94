"""A change of members that is asked for: when it is done, and when it is not known."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import ChangeMembers, Deed
from coord.journal.memory import MemoryDisk
from coord.limits import FOUNDING_SECONDS
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Vote
from coord.paxos.membership import Configuration, Governs, Member
from coord.replicator.asking import is_as_wanted
from coord.results import Written
from coord.wire.peer import MembersAnswer, MembersWanted, decode
from tests.replicator.members_case import MembersCase


def known(voters: str, learners: str, *members: Member) -> Configuration:
    """Return a configuration."""
    return Configuration(tuple(voters.split()), tuple(learners.split()), members)


class Wanted(SynchronousTestCase):
    """Whether a configuration is as a change wants it."""

    before = known("n1 n2", "", Member("n1", "n1:1", "d1"), Member("n2", "n2:1", "d2"))

    def holds(self, change: ChangeMembers, configuration: Configuration, disk: str = "d2") -> bool:
        """Say whether it is so."""
        return is_as_wanted(change, configuration, disk)

    def test_add(self) -> None:
        """Added is who is a member at that address, whatever became of it since."""
        change = ChangeMembers(Deed.ADD, "n2", "n2:1")
        self.assertTrue(self.holds(change, self.before))
        self.assertFalse(self.holds(ChangeMembers(Deed.ADD, "n2", "n2:2"), self.before))
        self.assertFalse(self.holds(ChangeMembers(Deed.ADD, "n3", "n3:1"), self.before))

    def test_remove(self) -> None:
        """Removed is who is no member."""
        self.assertTrue(self.holds(ChangeMembers(Deed.REMOVE, "n3"), self.before))
        self.assertFalse(self.holds(ChangeMembers(Deed.REMOVE, "n2"), self.before))

    def test_promote(self) -> None:
        """Promoted is who votes."""
        self.assertTrue(self.holds(ChangeMembers(Deed.PROMOTE, "n2"), self.before))
        self.assertFalse(self.holds(ChangeMembers(Deed.PROMOTE, "n3"), self.before))

    def test_replace(self) -> None:
        """Replaced is who is to go for the other, or has gone."""
        change = ChangeMembers(Deed.REPLACE, "n2", "n3:1", "n3")
        self.assertFalse(self.holds(change, self.before))
        heir = Member("n3", "n3:1", "", True, "n2")
        self.assertTrue(self.holds(change, known("n1 n2", "n3", heir)))
        self.assertTrue(self.holds(change, known("n1 n3", "", Member("n3", "n3:1"))))
        self.assertFalse(self.holds(change, known("n1 n2 n3", "", Member("n3", "n3:1"))))
        self.assertFalse(self.holds(change, known("n1 n3", "", Member("n3", "n3:2"))))

    def test_replace_by_itself(self) -> None:
        """Admitted anew is who learns without a vote, or has another disk."""
        change = ChangeMembers(Deed.REPLACE, "n2", "n2:1", "n2")
        self.assertFalse(self.holds(change, self.before))
        learning = Member("n2", "n2:1", "", wants_vote=True)
        self.assertTrue(self.holds(change, known("n1", "n2", learning)))
        self.assertTrue(self.holds(change, self.before, disk="d0"))
        self.assertFalse(self.holds(change, known("n1", "")))


class Leaders(MembersCase):
    """Leaders that go while something is asked of them."""

    def setUp(self) -> None:
        """Found a cluster of three."""
        super().setUp()
        self.found(3)

    def wanted(self, name: str) -> list[MembersWanted]:
        """Return what a node has asked of others."""
        return [one for _, one in self.hub.links[name].sent if isinstance(one, MembersWanted)]

    def test_answer_is_lost(self) -> None:
        """A change that was made once is not made again where nobody was told that it was."""
        asker = self.followers()[0]
        asked = self.ask(asker, Deed.REPLACE, asker, successor=asker, address=f"{asker}:1")
        lost = 0
        for _ in range(60):
            self.clock.advance(0.005)
            for frame in list(self.hub.frames):
                if isinstance(decode(frame[2]), MembersAnswer):
                    self.hub.frames.remove(frame)
                    lost += 1
            self.hub.deliver()
        self.assertEqual((lost, asked.results), (1, []))
        self.advance(2.0)
        self.assertIsInstance(asked.result, Written, asked.result)
        self.assertEqual(self.members()[asker], "voter up")
        knowledge = self.nodes[asker].replicator._replica.knowledge
        self.advance(2.0)
        self.assertEqual(self.nodes[asker].replicator._replica.knowledge, knowledge)

    def test_each_leader_is_asked(self) -> None:
        """Whoever leads next is asked again, and told that another may have done it."""
        leader, (asker, _) = self.leader(), self.followers()
        asked = self.ask(asker, Deed.REMOVE, leader)
        self.advance(0.01)
        self.hub.isolate(leader)
        self.advance(3.0)
        self.assertIsInstance(asked.result, Written, asked.result)
        self.assertEqual([one.again for one in self.wanted(asker)][:2], [False, True])
        self.assertNotIn(leader, self.members(asker))

    def test_fate_unknown(self) -> None:
        """Where a leader was asked and nothing more is heard, nobody claims to know."""
        asker, other = self.followers()
        self.hub.isolate(other)
        self.advance(0.3)
        asked = self.ask(asker, Deed.ADD, "n4", address="n4:1")
        self.clock.advance(0.001)
        self.hub.isolate(asker)
        self.advance(4.0)
        self.assertIn("UNKNOWN", asked.text)

    def test_alone(self) -> None:
        """A node that is alone, and has nothing else to do, answers as well."""
        for name in ("n2", "n3"):
            self.crash(name)
        self.crash("n1")
        self.disks = {"n1": MemoryDisk("new-n1")}
        self.firsts = {"n1": Configuration(("n1",))}
        self.start("n1")
        self.advance(1.0 + FOUNDING_SECONDS)
        asked = self.ask("n1", Deed.ADD, "n4", address="n4:1")
        self.advance(0.5)
        self.assertIsInstance(asked.result, Written)
        down = self.ask("n1", Deed.PROMOTE, "n4")
        self.advance(0.5)
        self.assertIn("n4 is not up", down.text)

    def test_behind_in_what_it_saved(self) -> None:
        """A node whose disk does not say yet what is chosen has that saved first."""
        disk = MemoryDisk("found")
        alone = Configuration(("n1",), (), (Member("n1", "n1:1", "found"),))
        votes = {slot: Vote(slot, Ballot(1, "n1"), b"") for slot in range(1, 65)}
        disk.votes.update(votes)
        disk.header = Header(Ballot(1, "n1"), 0, (Governs(65, alone),))
        for name in tuple(self.nodes):
            self.crash(name)
        self.disks, self.firsts = {"n1": disk}, {"n1": alone}
        self.start("n1")
        self.advance(1.0)
        asked = self.ask("n1", Deed.ADD, "n4", address="n4:1")
        self.advance(0.5)
        self.assertIsInstance(asked.result, Written)

    def test_a_word_nobody_waits_for(self) -> None:
        """An answer that comes too late is passed over."""
        replicator = self.nodes["n1"].replicator
        replicator.members.received("n2", MembersAnswer(7, "EXISTS", "late"))
        self.advance(0.1)
        self.assertEqual(self.fault("n1"), "-")

    def test_too_many_at_the_leader(self) -> None:
        """A leader takes only so many changes at a time; the rest are told so."""
        leader, (other, _) = self.leader(), self.followers()
        self.ask(leader, Deed.ADD, "n4", address="n4:1")
        self.clock.advance(0.001)
        for number in range(80):
            change = ChangeMembers(Deed.ADD, f"m{number}", f"m{number}:1")
            self.nodes[leader].replicator.members.received(other, MembersWanted(number, change))
        self.advance(0.01)
        answers = [one for _, one in self.hub.links[leader].sent if isinstance(one, MembersAnswer)]
        self.assertIn("OVERLOADED", {one.code for one in answers})

    def test_older_leader_is_asked_no_more(self) -> None:
        """A node that does not lead answers nothing: who asks will ask the one that does."""
        follower, other = self.followers()
        change = ChangeMembers(Deed.REMOVE, "n9")
        self.nodes[follower].replicator.members.received(other, MembersWanted(1, change))
        self.advance(0.2)
        sent = [one for _, one in self.hub.links[follower].sent if isinstance(one, MembersAnswer)]
        self.assertEqual(sent, [])

    def test_bound_without_the_third(self) -> None:
        """A new cluster that waits in vain for one of its nodes binds those that are there."""
        for name in list(self.nodes):
            self.crash(name)
        self.disks = {name: MemoryDisk(f"new-{name}") for name in ("n1", "n2", "n3")}
        for name in ("n1", "n2"):
            self.start(name)
        self.advance(6.0)
        self.assertEqual(self.disks_bound(), {"n1": "", "n2": "", "n3": ""})
        self.advance(6.0)
        self.assertEqual(self.disks_bound(), {"n1": "new-n1", "n2": "new-n2", "n3": ""})
        self.start("n3")
        self.advance(1.0)
        self.assertEqual(self.disks_bound()["n3"], "new-n3")

    def disks_bound(self) -> dict[str, str]:
        """Return on which disk each member is, as the leader knows it."""
        configuration = self.nodes[self.leader()].replicator._replica.configuration
        return {node: configuration.disk(node) for node in configuration.nodes}
