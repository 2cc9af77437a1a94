"""An operator who changes the cluster while it serves: machines come, go, and take others' places.

One change is under way at a time. It is asked of any node, planned first now and then, and asked
again of another one when no answer came or its fate is open. What is refused with the arithmetic
is left. A node whose disk was lost or set back gets an empty one and is admitted anew, or another
machine takes its place. A machine that was removed is taken away some time later; meanwhile it
runs, and has to keep quiet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from coord.commands import Caller, ChangeMembers, Deed, Level
from coord.errors import BadRequest, Exists, NoEntry, Unavailable, Unknown
from coord.results import Items, Result, Written
from coord.simulation.cluster import Cluster, SimulatedNode, Told
from coord.simulation.guarantee import Guarantee

OPERATOR: Final = Caller("operator", "", Level.ADMIN)
MENU: Final = (
    ("add", 7),
    ("add observer", 3),
    ("promote", 4),
    ("remove", 6),
    ("remove any", 1),
    ("replace", 6),
    ("mend", 12),
    ("take away", 6),
)
MACHINES_MAX: Final = 8
VOTERS_MAX: Final = 5
PATIENCE_SECONDS: Final = 6.0
AGAIN_SECONDS: Final = 0.3
TRIES_MAX: Final = 8


class Operator:
    """Changes who the members are, until it is told to stop."""

    def __init__(self, cluster: Cluster, guarantee: Guarantee) -> None:
        self._cluster = cluster
        self._guarantee = guarantee
        guarantee.is_changing = lambda: not self.is_idle
        self._world = cluster.world
        self._dice = cluster.world.dice
        self._stopped = False
        self._asked: ChangeMembers | None = None
        self._round = 0
        self._tries = 0
        self._then: Callable[[], None] | None = None
        self._deeds = {
            "add": self._add,
            "add observer": self._add_observer,
            "promote": self._promote,
            "remove": self._remove,
            "remove any": self._remove_any,
            "replace": self._replace,
            "mend": self.mend,
            "take away": self._take_away,
        }

    # -- when ------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin, if members are to change at all."""
        if self._cluster.options.change_seconds:
            self._later()

    def stop(self) -> None:
        """Begin nothing more; what is under way goes on."""
        self._stopped = True

    @property
    def is_idle(self) -> bool:
        """Whether no change is under way."""
        return self._asked is None

    def _later(self) -> None:
        delay = self._dice.expovariate(1 / self._cluster.options.change_seconds)
        self._world.schedule(delay, None, self._act)

    def _act(self) -> None:
        if self._stopped:
            return
        self._tend()
        if self.is_idle and not self._guarantee.has_lost_lately:
            names, weights = zip(*MENU, strict=True)
            self._deeds[self._dice.choices(names, weights)[0]]()
        self._later()

    def _tend(self) -> None:
        """Start nodes again that have stopped serving, as whoever looks after them does."""
        for node in self._cluster.members():
            if node.is_up and not node.is_paused and node.facts()["fault"] != "-":
                self._world.count("nodes with a fault started again")
                node.crash()
                node.start()

        for node in self._cluster.up():
            if node.is_out and self._world.chance(0.3):
                node.crash()
                node.start()  # in vain: its directory says that it was removed

    # -- what --------------------------------------------------------------------------------
    def _machine(self, *, is_observer: bool = False) -> SimulatedNode | None:
        """Return a new machine that was told of the members, and is started at once or soon."""
        if len(self._cluster.nodes) >= MACHINES_MAX:
            return None
        others = self._others(None)
        told = Told(others=others, is_joining=True, is_observer=is_observer)
        node = self._cluster.add_machine(told)
        self._world.schedule(self._dice.choice((0.0, 1.0)), None, _start, node)
        return node

    def _others(self, node: SimulatedNode | None) -> tuple[str, ...]:
        """Return the members that a node is told of."""
        return tuple(sorted(one.name for one in self._cluster.members() if one is not node))

    def _add(self) -> None:
        if len(self._cluster.configuration.voters) >= VOTERS_MAX:
            return
        node = self._machine()
        if node is not None:
            self._ask(ChangeMembers(Deed.ADD, node.name, node.address))

    def _add_observer(self) -> None:
        """Have one more observer, which is added by a command, or comes and knocks."""
        node = self._machine(is_observer=True)
        if node is not None and self._world.chance(0.5):
            self._ask(ChangeMembers(Deed.ADD, node.name, node.address, is_observer=True))

    def _promote(self) -> None:
        learners = self._cluster.configuration.learners
        if learners:
            self._ask(ChangeMembers(Deed.PROMOTE, self._dice.choice(learners)))

    def _remove(self) -> None:
        """Remove a node, seldom one of the last three voters."""
        configuration = self._cluster.configuration
        is_small = len(configuration.voters) <= 3 and not self._world.chance(0.2)
        names = configuration.learners if is_small else configuration.nodes
        if names:
            self._ask(ChangeMembers(Deed.REMOVE, self._dice.choice(names)))

    def _remove_any(self) -> None:
        """Remove whatever comes to mind, which had better be refused where it matters."""
        names = [*self._cluster.names, "n0"]
        self._ask(ChangeMembers(Deed.REMOVE, self._dice.choice(names)))

    def _replace(self) -> None:
        """Let a new machine take the place of a voter."""
        node = self._machine()
        if node is not None:
            self._ask_instead(self._dice.choice(self._cluster.configuration.voters), node)

    def _ask_instead(self, old: str, node: SimulatedNode) -> None:
        self._ask(ChangeMembers(Deed.REPLACE, old, node.address, successor=node.name))

    def _take_away(self) -> None:
        """Take away a machine that is no member, if nobody could miss it."""
        named = self._cluster.configuration.nodes
        others = [node for node in self._cluster.nodes.values() if node.name not in named]
        if others:
            node = self._dice.choice(others)
            if self._guarantee.may_take_away(node):
                self._world.count("machines taken away")
                self._cluster.take_away(node)
            else:
                self._world.count("machines not taken away yet")

    # -- wounded disks -------------------------------------------------------------------------
    def wounded(self) -> list[SimulatedNode]:
        """Return the members whose disks were lost or set back, and that nobody cares for yet."""
        self._guarantee.heal()
        members = self._cluster.configuration.members
        cared = {one.node for one in members if not one.disk} | {one.replaces for one in members}
        names = self._guarantee.wounded.keys() - cared
        return [one for one in self._cluster.members() if one.name in names]

    def mend(self) -> None:
        """Admit a node anew whose disk was lost, or have another machine in its place."""
        wounded = self.wounded()
        if not wounded:
            return
        node = self._dice.choice(wounded)
        successor = self._machine() if self._world.chance(0.3) else None
        if successor is not None:
            self._ask_instead(node.name, successor)
            return
        lost = self._guarantee.wounded[node.name]
        if node.is_up:
            node.crash()
        if node.disk.platter.name == lost.name:
            node.empty(Told(others=self._others(node), is_joining=True))
        node.start()
        self._ask(
            ChangeMembers(Deed.REPLACE, node.name, node.address, successor=node.name),
            partial(self._start_again, node),
        )

    def _start_again(self, node: SimulatedNode) -> None:
        """Start a node again which had been refused before it was admitted."""
        if node.is_up and node.facts()["fault"] != "-":
            node.crash()
        if not node.is_up:
            node.start()

    # -- asking ----------------------------------------------------------------------------------
    def _ask(self, change: ChangeMembers, then: Callable[[], None] | None = None) -> None:
        assert self.is_idle, "one change at a time"
        self._world.say(f"operator: {change!r}")
        self._world.count("changes asked")
        self._asked, self._then, self._tries = change, then, 0
        self._try()

    def _try(self) -> None:
        """Ask a node, a plan first now and then; give up in the end."""
        change = self._asked
        if change is None:
            return
        self._round += 1
        nodes = self._asked_of()
        self._tries += bool(nodes)
        if self._tries > TRIES_MAX:
            self._over("given up")
            return
        if nodes:
            node = self._dice.choice(nodes)
            if self._world.chance(0.2):
                change = msgspec.structs.replace(change, plan=True)
            answer = partial(self._answered, self._round)
            self._world.schedule(0.001, node.process, self._hand_over, node, change, answer)
        self._world.schedule(PATIENCE_SECONDS, None, self._wait_no_more, self._round)

    def _asked_of(self) -> list[SimulatedNode]:
        """Return whom to ask: mostly those who serve, now and then any that is up."""
        nodes = [one for one in self._cluster.members() if one.is_up and not one.is_paused]
        serving = [one for one in nodes if one.facts()["quorum"] == "yes"]
        return nodes if self._world.chance(0.2) else serving or nodes

    def _hand_over(
        self, node: SimulatedNode, change: ChangeMembers, answer: Callable[[Result], None]
    ) -> None:
        node.coordinator.change_members(change, answer, OPERATOR)

    def _wait_no_more(self, number: int) -> None:
        if number == self._round and self._asked is not None:
            self._world.count("changes without an answer")
            self._try()

    def _answered(self, number: int, result: Result) -> None:
        if number != self._round or self._asked is None:
            return
        self._round += 1
        self._world.note(repr(result).encode())
        match result:
            case Items():
                self._world.count("changes planned")
                self._try()
            case Written():
                self._over("done")
            case BadRequest():
                self._over("refused")
            case NoEntry() | Exists():
                self._over("done before" if self._tries > 1 else "out of place")
            case Unavailable() | Unknown():
                self._world.count(f"changes answered {result.code}")
                self._world.schedule(AGAIN_SECONDS, None, self._try)
            case _:
                raise AssertionError(f"no answer to a change: {result!r}")

    def _over(self, how: str) -> None:
        change, self._asked = self._asked, None
        assert change is not None
        self._round += 1
        self._world.say(f"operator: {change.deed.value} {change.node}: {how}")
        self._world.count(f"changes {how}")
        self._world.count(f"changes {how}: {change.deed.value}")
        then, self._then = self._then, None
        if then is not None:
            then()


def _start(node: SimulatedNode) -> None:
    if not node.is_up and not node.is_out:
        node.start()
