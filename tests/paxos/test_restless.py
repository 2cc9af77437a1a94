"""Whatever a schedule can do to replicas while those who vote change all the time.

As in `tests.paxos.test_schedules`, but the leader is told again and again of other voters and
learners: one more, one less, some for others, none of the old ones, itself not among them.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from coord.paxos.membership import Configuration
from tests.paxos.net import Net
from tests.paxos.test_schedules import Schedule, examine


class Restless(Schedule):
    """One run from one seed, in which members change."""

    def mood(self) -> list[Callable[[], None]]:
        """Return what may happen, changes of members among it."""
        return super().mood() + [self.reconfigure] * self.dice.choice((0, 20, 200))

    def reconfigure(self) -> None:
        """Have a leader change who votes and who learns."""
        leaders = [name for name in self.net.leaders() if self.may_change(name)]
        if leaders:
            name = self.dice.choice(leaders)
            self.net.reconfigure(name, self.change(self.net[name].configuration))

    def may_change(self, name: str) -> bool:
        """Say whether a leader may be asked."""
        replica = self.net[name]
        is_ready = replica.room(self.net.clock(name)) > 0
        return is_ready and not replica.is_changing and not replica.may_found

    def change(self, before: Configuration) -> Configuration:
        """Return another configuration: mostly one step away, now and then any."""
        names = sorted(self.net.members)
        voters = set(before.voters)
        if self.dice.random() < 0.2:
            voters = set(self.dice.sample(names, self.dice.randint(1, len(names))))
        elif self.dice.random() < 0.5 and len(voters) > 1:
            voters.remove(self.dice.choice(sorted(voters)))
        else:
            voters.add(self.dice.choice(names))
        learners = [name for name in names if name not in voters and self.dice.random() < 0.5]
        return Configuration(tuple(sorted(voters)), tuple(learners))

    def make_peace(self) -> list[str]:
        """Heal all, then freeze some, so that those who are left can go on; return these."""
        net = self.net
        net.heal()
        for name in sorted(net.members):
            if name not in net.up():
                net.restart(name)
        left = set(net.members)
        furthest = max(sorted(left), key=lambda name: net[name].chosen)
        needed = self.needed(net[furthest].chosen + 1)
        for name in self.dice.sample(sorted(left), len(left)):
            rest = left - {name}
            if name != furthest and all(one.is_quorum(rest) for one in needed):
                left = rest
                net.crash(name)
        return sorted(left)

    def needed(self, first: int) -> list[Configuration]:
        """Return every configuration that governs, or may come to govern, ``first`` or later."""
        net = self.net
        later = [one for slot, one in net.configured if slot + net.timing.alpha > first]
        open_ = [
            vote.value
            for member in net.members.values()
            for votes in (member.disk.votes, member.alive._acceptor.votes)
            for vote in votes.values()
            if isinstance(vote.value, Configuration) and vote.slot >= first
        ]
        return [net.governing(first), *later, *open_]


class Changing(SynchronousTestCase):
    """Nothing wrong may come of any change of members, and something right must."""

    def examine(self, count: int, seed: int) -> Net:
        """Run one seed, then demand progress."""
        return examine(self, Restless(count, seed), f"seed {seed}")

    def test_five(self) -> None:
        """Five nodes, of whom any may come to vote, agree whatever changes."""
        changes = sum(len(self.examine(5, seed).configured) for seed in range(12))
        self.assertGreater(changes, 30)

    def test_three(self) -> None:
        """So do three."""
        for seed in range(100, 108):
            self.examine(3, seed)
