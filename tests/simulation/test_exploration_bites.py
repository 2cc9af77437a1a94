"""The search bites: a replica with one rule switched off is told on, in as few steps as it takes.

What is patched is one rule of the core; the search, its worlds and its judge are as ever.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.acceptor import Acceptor
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.candidacy import Candidacy
from coord.paxos.durable import Vote
from coord.paxos.leadership import Leadership
from coord.paxos.lease import Grant
from coord.paxos.membership import Configuration
from coord.paxos.messages import Accepted, Message, Promise
from coord.paxos.outbox import Outbox
from coord.paxos.proposer import Candidate
from coord.paxos.replica import Replica
from coord.simulation.exploration.search import Report, Search
from coord.simulation.exploration.story import go
from coord.simulation.exploration.world import Bounds, World

STATES_MAX = 300_000
RIVAL = "n2:wait n3<n2:Canvass n2<n3:Endorse n3<n2:Prepare n2<n3:Promise"
"""How n2 becomes leader beside n1, who does not hear of it."""


class Bites(SynchronousTestCase):
    """Rules switched off one by one."""

    def bite(self, rules: str, steps_max: int, bounds: Bounds, after: str = "") -> Report:
        """Assert that one of the rules is found broken, in no more steps, each time it is told."""
        report = Search(bounds, steps=after.split(), states_max=STATES_MAX).run()
        self.assertIn(report.flaw.split(":")[0], rules.split(), report.describe())
        self.assertLessEqual(len(report.steps), steps_max, report.describe())
        *whole, (_, _, _, flaw) = go(World(bounds), report.steps)
        self.assertEqual([one[-1] for one in whole], [""] * len(whole))
        self.assertEqual(flaw, report.flaw)
        return report

    def test_forgotten_promise(self) -> None:
        """An acceptor that forgets over a crash what it promised is told on by what it says."""
        whole = Acceptor.__init__

        def forget(self: Acceptor, promised: Ballot, votes: Any) -> None:
            whole(self, NEVER, votes)

        self.patch(Acceptor, "__init__", forget)
        self.bite("promise", 9, Bounds(is_ordered=False, crashes=1, is_prompt=True))

    def test_forgotten_votes(self) -> None:
        """An acceptor that forgets over a crash what it voted for lets another value be chosen."""
        whole = Acceptor.__init__

        def forget(self: Acceptor, promised: Ballot, votes: Any) -> None:
            whole(self, promised, ())

        self.patch(Acceptor, "__init__", forget)
        bounds = Bounds(is_ordered=False, crashes=1, proposals=2, is_prompt=True)
        self.bite("durability", 10, bounds, "n1:propose n2<n1:Accept n2:crash n2:wait")

    def test_answer_before_the_save(self) -> None:
        """What is said to be chosen by votes that are on no disk is not there to stay."""

        def after_save(self: Outbox, peer: str, message: Message) -> None:
            self.send((peer,), message)

        self.patch(Outbox, "after_save", after_save)
        self.bite("durability", 3, Bounds(is_ordered=False))

    def test_lower_ballot(self) -> None:
        """A candidate that takes the vote of the lowest ballot proposes what was overtaken."""

        def promised(self: Any, by: str, promise: Promise) -> int:
            if promise.chosen > self.chosen:
                self.chosen, self.source = promise.chosen, by
            for vote in promise.votes:
                known: Vote | None = self._votes.get(vote.slot)
                if known is None or vote.ballot < known.ballot:
                    self._votes[vote.slot] = vote
            self._complete.add(by)
            return 0

        self.patch(Candidate, "promised", promised)
        bounds = Bounds(is_ordered=False, proposals=2, waits=2, is_prompt=True)
        self.bite(
            "agreement",
            24,
            bounds,
            f"n1:propose {RIVAL} n2:propose n3<n2:Accept n2<n3:Accepted n3:wait n1<n3:Canvass",
        )

    def test_quorum_of_one(self) -> None:
        """A leader that is content with its own vote has values that no majority has."""
        self.patch(Configuration, "majority", property(lambda self: 1))
        self.bite("durability agreement", 3, Bounds(is_ordered=False))

    def test_older_votes(self) -> None:
        """A leader that counts the votes for an older proposal takes its own for chosen."""

        def count(self: Any, sender: str, message: Accepted) -> None:
            if self._leadership is not None:
                self._leadership.accepted(sender, message)
                self._advance()

        self.patch(Replica, "_on_accepted", count)
        bounds = Bounds(is_ordered=False, proposals=2, crashes=1)
        before = "n1:propose n2<n1:Accept n2:write n1:crash n1:wait n3<n1:Canvass n1<n3:Endorse"
        self.bite("durability", 14, bounds, before)

    def test_ballot_used_twice(self) -> None:
        """A candidate that asks for a ballot before it has saved it may lead with it twice."""

        def endorsed(self: Any, sender: str) -> bool:
            if not self.gathered.endorsed(sender):
                return False
            self._state.acceptor.promise(self.ballot)
            self._state.out.save()
            self.prepare()
            return True

        self.patch(Candidacy, "endorsed", endorsed)
        bounds = Bounds(is_ordered=False, crashes=1, is_led=False, proposals=0)
        before = "n1:wait n2<n1:Canvass n1<n2:Endorse n2<n1:Prepare n2:write n1<n2:Promise n1:crash"
        self.bite("leaders", 13, bounds, before)

    def test_voters_not_asked(self) -> None:
        """A leader that asks nothing of voters who are new to it overrules what they have chosen.

        n1 has n4 vote in the place of n2, and a value chosen with n4. n3 hears of the change from
        n2, who helps it to lead, and of the value from nobody.
        """
        self.patch(Candidate, "covers", lambda self, quorums: True)
        before = (
            "n1:change n2<n1:Accept n1<n2:Accepted n2<n1:Beat n4<n1:Accept n4<n1:Beat"
            " n1<n4:Accepted n1<n4:BeatAnswer n1:propose n4<n1:Accept n1<n4:Accepted n3:wait"
            " n2<n3:Canvass n3<n2:Endorse n2<n3:Prepare n3<n2:Promise n2<n3:Fetch n3<n2:Supply"
        )
        swap = Configuration(("n1", "n3", "n4"), ("n2",))
        bounds = Bounds(nodes=4, voters=3, proposals=2, changes=(swap,), is_prompt=True)
        self.bite("agreement", 27, bounds, before)

    def test_read_without_a_lease(self) -> None:
        """A leader that reads without a lease tells what is not so any more."""

        def can_read(self: Leadership) -> bool:
            return self.slots.is_recovered(self._state.chosen)

        self.patch(Leadership, "can_read", can_read)
        self.bite("reads", 12, Bounds(reads=1, is_prompt=True), RIVAL)

    def test_lease_not_granted(self) -> None:
        """Acceptors that help another while a lease holds have its leader read what was."""
        self.patch(Grant, "allows", lambda self, node, now: True)
        bounds = Bounds(is_ordered=False, reads=1, waits=2, is_prompt=True)
        self.bite("reads", 12, bounds, "n1:wait n3<n1:Beat n1<n3:BeatAnswer n2:wait")
