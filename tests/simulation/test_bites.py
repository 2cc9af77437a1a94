"""The judges bite: each rule that is switched off is missed, within a few seeds.

What is patched here is one rule of the core or one property of the world; all else is real.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from coord.events import Event
from coord.paxos.ballot import NEVER
from coord.paxos.durable import Durable
from coord.paxos.elections import Elections
from coord.paxos.leadership import Leadership
from coord.paxos.lease import Grant
from coord.paxos.messages import Message
from coord.paxos.outbox import Outbox
from coord.replicator.admission import Admission
from coord.replicator.applier import Applier, Origins, Outcome
from coord.replicator.applier import Run as Asked
from coord.replicator.queues import Call, Writes
from coord.simulation.cluster import Options, SimulatedNode
from coord.simulation.disk import DiskMix
from coord.simulation.faults import Faults
from coord.simulation.network import Mix
from coord.simulation.platter import Platter
from coord.simulation.run import Report, Run
from coord.store.watches import Watch
from coord.wire.values import Batch
from tests.simulation import hunting


class Bites(hunting.Hunt):
    """Rules switched off one by one."""

    def test_answer_before_the_save(self) -> None:
        """Votes told before they are saved: what was answered OK is lost in a crash."""

        def after_save(self: Outbox, peer: str, message: Message) -> None:
            self.send((peer,), message)

        self.patch(Outbox, "after_save", after_save)
        self.hunt(40, "durability")

    def test_forgotten_votes(self) -> None:
        """A node that forgets its votes over a restart: what was answered OK is lost."""
        whole = Platter.durable

        def durable(self: Platter) -> Durable:
            found = whole(self)
            votes = tuple(vote for vote in found.votes if vote.slot <= found.header.chosen)
            return Durable(found.header, votes, found.base)

        self.patch(Platter, "durable", durable)
        self.hunt(20, "durability", "agreement")

    def test_read_without_a_lease(self) -> None:
        """A leader that reads without a lease answers with what is not so any more."""

        def can_read(self: Leadership) -> bool:
            return self.slots.is_recovered(self._state.chosen)

        self.patch(Leadership, "can_read", can_read)
        self.hunt(40, "linearizability")

    def test_applied_twice(self) -> None:
        """A batch that was proposed twice and is applied twice is found in the history."""
        known, landed = Writes.runs, Writes.landed

        def admit(self: Origins, batch: Batch) -> bool:
            return True

        def runs(self: Writes, batch: Batch, value: bytes) -> Sequence[Asked] | None:
            is_next = self.flights and self.flights[0].number == batch.number
            return known(self, batch, value) if is_next else None

        def land(self: Writes, outcome: Outcome) -> list[Call] | None:
            is_next = self.flights and self.flights[0].number == outcome.number
            return landed(self, outcome) if is_next else []

        self.patch(Origins, "admit", admit)
        self.patch(Writes, "runs", runs)
        self.patch(Writes, "landed", land)
        self.hunt(10, "at most once")

    def test_apply_by_dice(self) -> None:
        """A node whose store goes another way than the others' is found by its digest."""
        apply, applied = Applier.apply, 0

        def lossy(self: Applier, slot: int, value: Any, own: Any) -> Outcome | None:
            nonlocal applied
            applied += 1
            return apply(self, slot, value if applied % 500 else b"", own)

        self.patch(Applier, "apply", lossy)
        self.hunt(10, "digests")

    def test_lost_event(self) -> None:
        """A watch that drops an event is found."""
        take, taken = Watch.take, 0

        def lossy(self: Watch, limit: int) -> list[Event]:
            nonlocal taken
            events = take(self, limit)
            taken += len(events)
            return events[1:] if taken > 200 and len(events) > 1 else events

        self.patch(Watch, "take", lossy)
        self.hunt(10, "watches")

    def test_nobody_leads(self) -> None:
        """A cluster in which nobody stands for election makes no progress, and says who is what."""
        self.patch(Elections, "_canvass", lambda self: None)
        self.hunt(3, "liveness: ")


class Rivals(Faults):
    """Two who would lead, one who hears both, and forgets the one when the other comes.

    1. n1 leads. The wire between n1 and n2 is cut; n3 hears both.
    2. n2 misses n1, stands for election, and n3 promises it a higher ballot.
    3. n3 crashes just after. If it forgets the promise, it votes for n1 once more.
    """

    def _strike(self) -> None:
        if self._stopped:
            return
        up = self._cluster.up()
        leading = [node for node in up if " leader " in node.describe()]
        if len(up) == 3 and leading:
            rival, witness = self._dice.sample([node for node in up if node is not leading[0]], 2)
            self._cluster.network.sever(leading[0].name, rival.name)
            witness.disk.promise_ambush = partial(self._blink, witness, witness.process)
        self._world.schedule(0.8, None, self._cluster.network.heal_all)
        self._world.schedule(1.3, None, self._strike)

    def _blink(self, node: SimulatedNode, process: object) -> None:
        if not self._stopped and node.process is process:
            node.crash()
            self._world.schedule(0.01, None, self._restart, node)


class Promises(SynchronousTestCase):
    """What an acceptor promised binds it over a crash.

    Leases, which seldom let two nodes stand for election at once, are switched off, so that
    promises alone keep rivals apart.
    """

    options = Options(
        nodes=3,
        leases=False,
        image_every_bytes=1 << 30,
        network=Mix(reconnect_seconds=0.3, notice_seconds=5.0),
        disk=DiskMix(),
    )

    def setUp(self) -> None:
        """Let everyone help everyone to become leader at any time."""
        self.patch(Grant, "allows", lambda self, node, now: True)

    def tell(self, seed: int) -> Report:
        """Run one seed of the story."""
        report = Run(seed, options=self.options, faults=Rivals).run()
        self.flushLoggedErrors()
        return report

    def test_kept(self) -> None:
        """As long as promises are kept, rivals do no harm."""
        for seed in range(3):
            report = self.tell(seed)
            self.assertEqual(report.violations, [])
            self.assertGreater(report.counts["crashes"], 5, "there was no story")

    def test_forgotten(self) -> None:
        """An acceptor that forgets a promise lets two leaders have their way.

        Where the others do not remember it for it, that is, and refuse it.
        """
        self.patch(Admission, "_set_back", lambda self, card: None)
        whole = Platter.durable

        def durable(self: Platter) -> Durable:
            found = whole(self)
            header = msgspec.structs.replace(found.header, promised=NEVER)
            return Durable(header, found.votes, found.base)

        self.patch(Platter, "durable", durable)
        beginnings = ("agreement", "digests", "durability", "logged: agreement")
        found = [one for seed in range(8) for one in self.tell(seed).violations]
        self.assertTrue([one for one in found if one.startswith(beginnings)])
