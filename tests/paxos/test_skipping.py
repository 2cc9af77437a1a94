"""A replica goes on after a slot whose outcome came as an image: nothing is taken back."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.ballot import Ballot
from coord.paxos.durable import Durable, Header, Vote
from coord.paxos.effects import Effects
from coord.paxos.membership import Configuration, Governs
from coord.paxos.messages import Accept, Commit, Fetch, Message, Prepare, Promise, Supply
from coord.paxos.replica import Replica
from coord.paxos.timing import Timing

NODES = Configuration(("n1", "n2", "n3"))
GOVERNS = (Governs(0, NODES),)
LATER = (Governs(0, NODES), Governs(120, Configuration(("n1", "n2"))))
LEADER = Ballot(7, "n2")


class Skipping(SynchronousTestCase):
    """n1 is far behind n2, which leads at ballot 7."""

    def setUp(self) -> None:
        """Let n1 have voted for slots far beyond what it knows to be chosen."""
        votes = (Vote(4, Ballot(1, "n3"), b"old"), Vote(98, Ballot(5, "n3"), b"98"))
        durable = Durable(Header(Ballot(6, "n2"), 0, GOVERNS), votes)
        self.replica = Replica("n1", durable, Timing(), Random(1), 0.0)
        self.replica.start(0.0)
        self.replica.connected(0.0, "n2")
        self.replica.connected(0.0, "n3")
        self.step("n2", Accept(LEADER, 99, (b"99", b"100"), 3))

    def step(self, sender: str, message: Message) -> Effects:
        """Let n1 take a message, and its disk be quick."""
        effects = self.replica.step(1.0, sender, message)
        if effects.save is None:
            return effects
        return self.replica.saved(1.0, effects.save.ticket)

    def skip_to(self, slot: int = 97) -> Effects:
        """Go on after a slot."""
        return self.replica.skip(1.0, slot, LATER, "n3")

    def test_what_is_saved(self) -> None:
        """What is saved says how far the log is chosen now, the configurations, and the promise."""
        effects = self.skip_to()
        assert effects.save is not None
        self.assertEqual(effects.save.header, Header(LEADER, 97, LATER))
        self.assertEqual(effects.save.votes, ())
        self.assertEqual(effects.chosen, ())
        self.assertEqual(self.replica.chosen, 97)

    def test_votes_stay(self) -> None:
        """Votes after the slot are told to a later candidate still, those before it are gone."""
        self.skip_to()
        effects = self.step("n3", Prepare(Ballot(8, "n3"), 1))
        (envelope,) = effects.send
        assert isinstance(envelope.message, Promise)
        self.assertEqual(envelope.message.chosen, 97)
        told = [(vote.slot, vote.value) for vote in envelope.message.votes]
        self.assertEqual(told, [(98, b"98"), (99, b"99"), (100, b"100")])

    def test_votes_are_chosen(self) -> None:
        """What it voted for after the slot, and is known to be chosen, it has at once."""
        self.step("n2", Commit(LEADER, 100))
        effects = self.skip_to(98)
        self.assertEqual(
            [(one.slot, one.value) for one in effects.chosen], [(99, b"99"), (100, b"100")]
        )
        self.assertEqual(self.replica.chosen, 100)

    def test_known_before_it(self) -> None:
        """Values that were known without those before them are of no use, and gone."""
        self.step("n2", Commit(LEADER, 100))
        self.skip_to(99)
        self.assertEqual(self.replica.chosen, 100)

    def test_source_first(self) -> None:
        """The log after it is asked of who sent the image, before the leader."""
        self.step("n2", Commit(LEADER, 100))
        (envelope,) = self.skip_to().send
        self.assertEqual((envelope.to, envelope.message), (("n3",), Fetch(98, 101)))

    def test_source_has_none(self) -> None:
        """Where that one has not got it, the leader is asked."""
        self.step("n2", Commit(LEADER, 100))
        self.skip_to()
        self.step("n3", Supply(98, (), 100))
        (envelope,) = self.replica.tick(1.2).send
        self.assertEqual((envelope.to, envelope.message), (("n2",), Fetch(98, 101)))

    def test_source_is_silent(self) -> None:
        """Where that one does not answer, the leader is asked."""
        self.step("n2", Commit(LEADER, 100))
        self.skip_to()
        asked = [one.to for at in (1.2, 1.4) for one in self.replica.tick(at).send]
        self.assertIn(("n2",), asked)

    def test_source_is_gone(self) -> None:
        """Where there is no link to that one any more, the leader is asked."""
        self.step("n2", Commit(LEADER, 100))
        self.skip_to()
        self.replica.disconnected(1.0, "n3")
        (envelope,) = self.replica.tick(1.01).send
        self.assertEqual(envelope.to, ("n2",))

    def test_older_log(self) -> None:
        """Values before the slot, that come late, change nothing."""
        self.skip_to()
        effects = self.step("n2", Supply(1, (b"1", b"2"), 0))
        self.assertEqual((effects.chosen, self.replica.chosen), ((), 97))

    def test_log_is_not_here(self) -> None:
        """Who asks for what was before the slot is sent to the journal, which has it not."""
        self.skip_to()
        effects = self.replica.step(1.0, "n3", Fetch(5, 9))
        self.assertEqual([one.slot for one in effects.recall], [5])


class Leading(SynchronousTestCase):
    """A node that leads, and is told of more than it knows, was deposed and has not heard of it."""

    def test_leads_no_more(self) -> None:
        """It goes on as a follower."""
        alone = (Governs(0, Configuration(("n1",))),)
        replica = Replica("n1", Durable(Header(governs=alone)), Timing(), Random(1), 0.0)
        replica.start(0.0)
        now, effects = 0.0, replica.tick(0.0)
        while not replica.is_leading:
            now += 0.1
            if effects.save is not None:
                replica.saved(now, effects.save.ticket)
            effects = replica.tick(now)
        replica.skip(now, 50, GOVERNS, "n2")
        self.assertFalse(replica.is_leading)
        self.assertEqual(replica.chosen, 50)
