"""Whatever a schedule can do to replicas, from a seed: safety first, then progress.

Messages are lost, repeated, delayed and overtake each other one by one; disks write late and
lose what they did not write; nodes crash and come back, some from an image; clocks run as far
apart as is allowed; links are cut one way and both. `tests.paxos.net` judges every step. Then
a majority is given peace, and everything asked must be done.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import CLOCK_DRIFT_MAX
from coord.paxos.timing import Timing
from tests.paxos.net import Net

STEPS = 6000
MOOD_STEPS = 400
BAG_MAX = 120
PEACE_SECONDS = 6.0


class Schedule:
    """One run from one seed."""

    def __init__(self, count: int, seed: int) -> None:
        dice = self.dice = Random(seed)
        timing = Timing(leases=dice.random() < 0.7, alpha=dice.choice((2, 4, 64)))
        self.net = Net(count, timing=timing, seed=seed)
        self.values = 0
        for member in self.net.members.values():
            rate = 1 + dice.choice((-1, 0, 1)) * CLOCK_DRIFT_MAX * 0.99
            start = dice.random() * 1000
            member.clock = lambda now, rate=rate, start=start: start + rate * now  # type: ignore[misc]
            self.net.crash(member.name)
            self.net.restart(member.name)  # with its own clock
        self.tempo_seconds = dice.choice((0.01, 0.02, 0.04))
        self.deeds: list[Callable[[], None]] = []

    def run(self) -> None:
        """Do as the dice say; what they say changes with the mood."""
        for step in range(STEPS):
            if step % MOOD_STEPS == 0:
                self.deeds = self.mood()
            self.dice.choice(self.deeds)()

    def mood(self) -> list[Callable[[], None]]:
        """Return what may happen, each as often as it is in the list."""
        choice = self.dice.choice
        calm = choice((2, 20, 100))
        return [
            *[self.deliver] * 12 * calm,
            *[self.write] * 6 * calm,
            *[self.tick] * 3 * calm,
            *[self.announce] * calm,
            *[self.propose] * calm,
            *[self.read] * calm,
            *[self.repeat] * choice((0, 1, calm)),
            *[self.lose] * choice((0, 1, calm)),
            *[self.crash] * choice((0, 1, 2)),
            *[self.restart] * 4,
            *[self.cut] * choice((0, 1, 2)),
            *[self.heal] * 2,
            *[self.image] * 2,
        ]

    def some(self) -> str | None:
        """Return a node that is up."""
        up = self.net.up()
        return self.dice.choice(up) if up else None

    def deliver(self) -> None:
        """Hand over any message; mostly an old one."""
        if self.net.bag:
            self.net.bag.rotate(-min(self.dice.choice((0, 0, 0, 1, 2, 50)), len(self.net.bag) - 1))
            self.net.deliver(self.net.bag.popleft())
        while len(self.net.bag) > BAG_MAX:
            self.net.bag.popleft()

    def repeat(self) -> None:
        """Put a message that was delivered into the bag again."""
        recent = self.net.delivered[-300:]
        if recent:
            self.net.bag.append(self.dice.choice(recent))

    def lose(self) -> None:
        """Lose the next message."""
        if self.net.bag:
            self.net.bag.popleft()

    def write(self) -> None:
        """Let a disk write some of what waits."""
        name = self.some()
        if name and self.net.members[name].disk.pending:
            waiting = len(self.net.members[name].disk.pending)
            self.net.write(name, self.dice.randint(1, waiting))

    def tick(self) -> None:
        """Let a little time pass, as one node notices."""
        self.net.wait(self.dice.random() * self.tempo_seconds)
        name = self.some()
        if name:
            self.net.tick(name)

    def announce(self) -> None:
        """End a node's turn."""
        name = self.some()
        if name:
            self.net.announce(name)

    def propose(self) -> None:
        """Have the leader, or one who thinks so, propose something new."""
        for name in self.net.leaders():
            room = self.net[name].room(self.net.clock(name))
            count = min(room, self.dice.choice((1, 1, 3)))
            if count:
                self.values += count
                self.net.propose(name, *(b"%d" % (self.values - place) for place in range(count)))

    def read(self) -> None:
        """Ask for a point to read at."""
        name = self.some()
        if name:
            self.net.read(name)

    def crash(self) -> None:
        """End a node; what it had not written is lost."""
        name = self.some()
        if name:
            self.net.crash(name)

    def restart(self) -> None:
        """Start a node that is down."""
        down = sorted(set(self.net.members) - set(self.net.up()))
        if down:
            self.net.restart(self.dice.choice(down))

    def cut(self) -> None:
        """Cut a link one way, or a node off."""
        if len(self.net.members) < 2:
            return
        one, other = self.dice.sample(sorted(self.net.members), 2)
        if self.dice.random() < 0.5:
            self.net.cut(one, other)
        else:
            self.net.isolate(one)

    def heal(self) -> None:
        """Heal the network."""
        if self.dice.random() < 0.3:
            self.net.heal()

    def image(self) -> None:
        """Let a node keep an image of what it has taken as chosen."""
        name = self.some()
        if name and not self.net.members[name].disk.pending:
            member = self.net.members[name]
            member.disk.image(max(member.log, default=member.disk.base))

    def make_peace(self) -> list[str]:
        """Heal a majority and freeze the others; return who is left."""
        net = self.net
        net.heal()
        for name in sorted(net.members):
            if name not in net.up():
                net.restart(name)
        names = sorted(net.members)
        self.dice.shuffle(names)
        for name in names[net.majority :]:
            net.crash(name)
        return names[: net.majority]


def examine(case: SynchronousTestCase, schedule: Schedule, what: str) -> Net:
    """Run a schedule, then demand progress: a leader, a value chosen, and all who are left read."""
    schedule.run()
    net, left = schedule.net, schedule.make_peace()
    net.elapse(PEACE_SECONDS)
    leaders = net.leaders()
    story = f"{what}:\n" + "\n".join(net[name].describe(net.clock(name)) for name in left)
    case.assertEqual(len(leaders), 1, story)
    net.propose(leaders[0], b"at last")
    net.settle()
    case.assertIn(b"at last", net.log(leaders[0]), story)
    for name in sorted(set(left).intersection(net[leaders[0]].configuration.nodes)):
        number = net.read(name)
        net.elapse(0.1)
        case.assertEqual(net[name].chosen, max(net.agreed), f"{name} of {story}")
        case.assertIsNotNone(net.point(name, number), f"{name} of {story}")
    return net


class Schedules(SynchronousTestCase):
    """Anything may happen; nothing wrong may come of it, and something right must."""

    def examine(self, count: int, seed: int) -> None:
        """Run one seed, then demand progress."""
        examine(self, Schedule(count, seed), f"seed {seed}")

    def test_three(self) -> None:
        """Three nodes agree under every fault, and go on when a majority is left in peace."""
        for seed in range(14):
            self.examine(3, seed)

    def test_five(self) -> None:
        """So do five."""
        for seed in range(100, 110):
            self.examine(5, seed)

    def test_one(self) -> None:
        """A node alone loses nothing that it said was chosen."""
        for seed in range(200, 203):
            self.examine(1, seed)
