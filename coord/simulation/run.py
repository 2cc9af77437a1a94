"""One run: a cluster, clients, everything going wrong; then everything must come right.

The *safety* phase lets all faults loose on a cluster under load. The *liveness* phase heals a
majority and freezes the rest, and demands that a write and a read succeed on every node of the
majority within `PROGRESS_SECONDS`. Then the rest returns, all must come to hold the
same, and once more after a crash of all at once. Last, the judges speak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from coord.commands import Get, Set, Sync
from coord.limits import EXPIRY_GRACE_SECONDS, FOUNDING_SECONDS, LOG_BYTES_KEPT
from coord.results import Point, Result, Value, Written
from coord.simulation import judgement
from coord.simulation.cluster import Cluster, Options, SimulatedNode
from coord.simulation.deeds import Ledger
from coord.simulation.disk import DiskFull
from coord.simulation.faults import Faults
from coord.simulation.history import History, Operation
from coord.simulation.network import Mix
from coord.simulation.operator import Operator
from coord.simulation.owners import TIMEOUTS_SECONDS, Owner
from coord.simulation.workload import Client, Watcher
from coord.simulation.world import World

SAFETY_SECONDS: Final = 12.0
PROGRESS_SECONDS: Final = 3.0
"""A grant of a lost leader, an election that is disturbed once or twice, and the probes."""
IMAGE_SECONDS: Final = 3.0
"""So much more where logs are short: one of the majority may need an image, and first ask one for
it that stands still."""
CATCH_UP_SECONDS: Final = 10.0
MEND_SECONDS: Final = 20.0
"""What an operator may take to admit all nodes anew whose disks were lost."""
WATCH_SECONDS: Final = 1.0
"""All the time that watchers get to see the last of it."""
SILENCE_SECONDS: Final = 2 * max(TIMEOUTS_SECONDS) + EXPIRY_GRACE_SECONDS + 1.0
"""How long a session may last that nobody keeps: its timeout, once more from when another began
to lead, the grace, and an election."""
CLIENTS: Final = 4
OWNERS: Final = 3
WATCHED: Final = ("/k/*", "/**", "/k/a", "/q/**", "/l/*", "/e/**")
STEP_SECONDS: Final = 0.05


class Report(msgspec.Struct, kw_only=True):
    """What a run found and exercised."""

    seed: int
    options: Options
    violations: list[str]
    counts: dict[str, int]
    trace: str
    undecided: int

    def describe(self) -> str:
        """Return the report in lines: what was found first, then what was exercised."""
        verdict = "FAILED" if self.violations else "passed"
        lines = [f"seed {self.seed} {verdict}, trace {self.trace}, {self.options}"]
        lines += [f"  {violation}" for violation in self.violations]
        lines += [f"    {number:>7} {what}" for what, number in sorted(self.counts.items())]
        return "\n".join(lines)


@implementer(ILogObserver)
class _FailureListener:
    """Takes what a node logs as a failure of its own for one."""

    def __init__(self, violations: list[str]) -> None:
        self._violations = violations

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None and not failure.check(DiskFull):
            self._violations.append(f"logged: {failure.getErrorMessage()}: {_where(failure.value)}")


class Run:
    """One seed's world, and its way through the phases."""

    def __init__(
        self,
        seed: int,
        tell: Callable[[str], object] | None = None,
        options: Options | None = None,
        safety_seconds: float = SAFETY_SECONDS,
        faults: Callable[[Cluster], Faults] = Faults,
    ) -> None:
        self.seed = seed
        self.world = World(seed, tell)
        drawn = Options.draw(self.world.dice)
        self.options = options or drawn
        self.violations: list[str] = []
        self.history = History()
        self._safety_seconds = safety_seconds
        self._cluster = Cluster(self.world, self.options)
        self._faults = faults(self._cluster)
        self._guarantee = self._faults.guarantee
        self._operator = Operator(self._cluster, self._guarantee)
        self.ledger = Ledger()
        self._clients = [
            Client(f"c{n}", self._cluster, self.history, is_guest=n == 0) for n in range(CLIENTS)
        ]
        self._owners = [Owner(f"s{n}", self._cluster, self.ledger) for n in range(OWNERS)]
        self._watchers = [
            Watcher(f"w{number}", glob, self._cluster) for number, glob in enumerate(WATCHED)
        ]
        self._spy = Watcher(self._clients[0].name, "/**", self._cluster, is_guest=True)
        self._undecided = 0
        self._probes = 0

    def run(self) -> Report:
        """Go through all phases and return what the judges say."""
        listener = _FailureListener(self.violations)
        globalLogPublisher.addObserver(listener)
        try:
            self._live()
        except Exception as error:
            self.violations.append(f"crashed: {error!r}: {_where(error)}")
        finally:
            globalLogPublisher.removeObserver(listener)
        cluster = self._cluster
        for judge in (cluster.agreement, cluster.digests, cluster.votes):
            self.violations += judge.violations
        return Report(
            seed=self.seed,
            options=self.options,
            violations=self.violations,
            counts=self.world.counts,
            trace=self.world.trace,
            undecided=self._undecided,
        )

    def _live(self) -> None:
        self._safety()
        self._cluster.network.mix = Mix()
        if self._recover():
            self._judge()

    # -- phases ------------------------------------------------------------------------------
    def _safety(self) -> None:
        self._cluster.start()
        for client in self._clients:
            client.start()
        for owner in self._owners:
            owner.start()
        for watcher in (*self._watchers, self._spy):
            watcher.start()
        self.world.run(until=1.0)
        self._faults.start()
        self._operator.start()
        self.world.run(until=self.world.now + self._safety_seconds)
        self._faults.stop()
        self._operator.stop()

    def _recover(self) -> bool:
        """Demand progress of a majority, then of all; say whether all came to rest."""
        majority, rest = self._halves()
        if not self._go_on_without(rest, majority):
            return False
        for client in self._clients:
            client.stop()
        for owner in self._owners:
            owner.stop()
        for watcher in (*self._watchers, self._spy):
            watcher.hurry()
        self._revive(rest)
        if not self._mend() or not self._settle():
            return False
        self._crash_all()
        if not self._settle():
            return False
        if not self._until(SILENCE_SECONDS, self._is_silent):
            self.violations += judgement.left_over(self._cluster)
        self.world.run(until=self.world.now + WATCH_SECONDS)
        return True

    def _go_on_without(
        self, rest: Sequence[SimulatedNode], majority: Sequence[SimulatedNode]
    ) -> bool:
        """Let the rest stand still; say whether the majority makes progress."""
        names = " ".join(node.name for node in majority)
        self.world.say(f"liveness: {names} must make progress")
        for node in rest:
            if node.is_up and not node.is_paused:
                node.pause()
        self._revive(majority)
        return self._progress(majority)

    def _crash_all(self) -> None:
        """Crash all nodes at one time, and start those that are needed."""
        self.world.say("crash of all at once")
        for node in self._cluster.up():
            node.crash()
        for node in self._guarantee.needed():
            node.start()

    def _halves(self) -> tuple[list[SimulatedNode], list[SimulatedNode]]:
        """Return who has to make progress alone, and the others."""
        nodes = list(self._cluster.nodes.values())
        self.world.dice.shuffle(nodes)
        majority = self._guarantee.quorum(nodes, all_of_them=not self._operator.is_idle)
        return majority, [node for node in nodes if node not in majority]

    def _mend(self) -> bool:
        """Have every member admitted anew whose disk was lost; say whether that came to be."""
        operator, cluster = self._operator, self._cluster

        def is_done() -> bool:
            if operator.is_idle:
                operator.mend()
            is_whole = all(one.is_up for one in cluster.members())
            return is_whole and operator.is_idle and not self._guarantee.wounded_members()

        if self._until(MEND_SECONDS, is_done):
            return True
        return self._stuck("a change of members was not done")

    def _is_silent(self) -> bool:
        """Say whether nothing is left of those who have stopped, on any node."""
        return not judgement.left_over(self._cluster)

    def _revive(self, nodes: Sequence[SimulatedNode]) -> None:
        """Mend everything about some nodes; one whose disk failed is started again."""
        self._cluster.network.heal_all()
        for node in nodes:
            node.disk.slow_until = 0.0
            if node.is_up and node.disk.failing:
                node.crash()
            if not node.is_up:
                node.start()
            elif node.is_paused:
                node.resume()

    def _until(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Let time go on until something is so; say whether it came to be in time."""
        deadline = self.world.now + seconds
        while not done():
            if self.world.now >= deadline:
                return False
            self.world.run(until=self.world.now + STEP_SECONDS)
        return True

    # -- progress ------------------------------------------------------------------------------
    def _progress(self, nodes: Sequence[SimulatedNode]) -> bool:
        """Demand a write and a read of every node, in time."""
        seconds = self._patience_seconds()
        began = self.world.now
        wanted: dict[str, Set | Get | Sync] = {node.name: Set("/probe", b"") for node in nodes}
        for node in nodes:
            self._probe(node, wanted)
        if self._until(seconds, lambda: not self._of_members(wanted)):
            self.world.count("ms until progress", int(1000 * (self.world.now - began)))
            return True
        missing = ", ".join(f"{name} could not do {what!r}" for name, what in wanted.items())
        return self._stuck(f"after {seconds} s {missing}")

    def _patience_seconds(self) -> float:
        """Return how long progress may take: longer where the cluster is not founded yet."""
        is_short = self.options.log_bytes_kept < LOG_BYTES_KEPT
        is_founded = any(one.disk.platter.reach for one in self._cluster.nodes.values())
        seconds = PROGRESS_SECONDS + is_short * IMAGE_SECONDS
        return seconds if is_founded else seconds + FOUNDING_SECONDS

    def _stuck(self, what: str) -> bool:
        """Take note that something did not come to be in time, and of how the cluster is."""
        state = self._cluster.describe().replace("\n", "; ")
        self.violations.append(f"liveness: {what}: {state}")
        return False

    def _of_members(self, wanted: dict[str, Set | Get | Sync]) -> list[str]:
        """Return who of those of whom something is wanted is a member still."""
        return [name for name in self._cluster.configuration.nodes if name in wanted]

    def _probe(self, node: SimulatedNode, wanted: dict[str, Set | Get | Sync]) -> None:
        """Ask a node for what is still wanted of it, again and again."""
        command = wanted.get(node.name)
        if command is None or not node.is_up:
            return
        self._probes += 1
        if isinstance(command, Set):
            command = Set(command.path, f"probe.{self._probes}".encode())
        operation = Operation(
            client=f"probe-{self._probes}",
            connection=0,
            group=(1 << 60) + self._probes,
            index=0,
            node=node.name,
            command=command,
            invoked=self.world.moment(),
        )
        self.history.operations.append(operation)

        def answered(results: Sequence[Result]) -> None:
            operation.returned = self.world.moment()
            operation.outcome = results[0]  # type: ignore[assignment]
            if isinstance(results[0], Written):
                wanted[node.name] = Get("/probe")
            elif isinstance(results[0], Value | Point):
                del wanted[node.name]
            self.world.schedule(0.01, node.process, self._probe, node, wanted)

        node.coordinator.submit([command], answered)

    def _settle(self) -> bool:
        """Wait until every node has caught up, and no client waits any more."""
        nodes = self._cluster.members()
        wanted: dict[str, Set | Get | Sync] = {node.name: Sync() for node in nodes}
        for node in nodes:
            self._probe(node, wanted)
        if self._until(
            CATCH_UP_SECONDS, lambda: not self._of_members(wanted) and self._is_settled()
        ):
            return True
        missing = ", ".join(f"{name} could not do {what!r}" for name, what in wanted.items())
        return self._stuck(f"not all came to rest; {missing}")

    def _is_settled(self) -> bool:
        facts = [node.facts() for node in self._cluster.members() if node.is_up]
        idle = all(client.is_idle for client in self._clients)
        is_open = any(one.wants_vote for one in self._cluster.configuration.members)
        return idle and not is_open and len({fact["slot"] for fact in facts}) == 1

    # -- judgement -------------------------------------------------------------------------------
    def _judge(self) -> None:
        watched = [one for watcher in self._watchers for one in watcher.settled()]
        spied = self._spy.settled()
        verdict = judgement.judge(self._cluster, self.history, self.ledger, watched, spied)
        self._undecided = verdict.undecided
        self.violations += verdict.violations


def _where(error: BaseException) -> str:
    """Return the innermost place of an error's traceback."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f"{place.tb_frame.f_code.co_qualname}:{place.tb_lineno}" if place else "nowhere"
