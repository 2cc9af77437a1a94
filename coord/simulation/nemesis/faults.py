"""What befalls processes, roads and disks: drawn from the seed, one thing after the other.

Two hands are at work at once, one on processes and disks, one on roads, so that a node may be
stopped while another is cut off. What a hand did it takes back before it does the next thing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from coord.simulation.nemesis.field import Field
from coord.simulation.nemesis.roads import BACK, OUT, Road

PAUSE_SECONDS: Final = (0.3, 2.5)
"""Between two faults of one hand; a kill wants time to be recovered from."""
DOWN_SECONDS: Final = (0.1, 3.0)
STILL_SECONDS: Final = (0.2, 4.0)
CUT_SECONDS: Final = (0.2, 4.0)
SLOW_SECONDS: Final = (1.0, 5.0)
DELAYS_SECONDS: Final = (0.005, 0.03, 0.1, 0.4)
FULL_SECONDS: Final = (1.0, 6.0)

PROCESSES: Final = {
    "kill": 30,
    "stop": 30,
    "kill_leader": 12,
    "stop_leader": 12,
    "lose_quorum": 10,
    "kill_all": 4,
    "fill_disk": 10,
}
ROADS: Final = {
    "cut": 20,
    "isolate": 10,
    "isolate_leader": 10,
    "silence": 10,
    "silence_leader": 10,
    "silence_one_way": 15,
    "slow": 20,
    "cut_all": 5,
}
"""What each hand may do, and how likely."""
NAMES: Final = (*PROCESSES, *ROADS)

Fault = Callable[[], Awaitable[None]]


class Faults:
    """Both hands; ``counts`` says what was done how often.

    :param only: the `NAMES` of what may be done; all where there is none.
    """

    def __init__(
        self,
        field: Field,
        dice: random.Random,
        counts: Counter[str],
        only: Collection[str] = (),
    ) -> None:
        self._only = only or NAMES
        self._field = field
        self._dice = dice
        self._counts = counts
        self._names = [node.name for node in field.nodes]
        self._until = 0.0

    async def work(self, hand: Mapping[str, int], seconds: float) -> None:
        """Do one thing after the other for so long."""
        until = self._field.reactor.seconds() + seconds
        mine = [name for name in hand if name in self._only and self._can(name)]
        weights = [hand[name] for name in mine]
        await self._sleep(PAUSE_SECONDS)
        while mine and self._field.reactor.seconds() < until:
            (name,) = self._dice.choices(mine, weights)
            fault: Fault = getattr(self, name)
            await fault()
            await self._sleep(PAUSE_SECONDS)

    def _can(self, name: str) -> bool:
        """Say whether this machine allows it."""
        return name != "fill_disk" or self._field.disk is not None

    async def _sleep(self, span: tuple[float, float]) -> None:
        await self._field.sleep(self._dice.uniform(*span))

    # -- processes ------------------------------------------------------------------------------
    async def kill(self) -> None:
        """Kill a node and start it again."""
        await self._kill("killed", [self._dice.choice(self._names)])

    async def kill_leader(self) -> None:
        """Kill the node that leads."""
        await self._kill("leaders killed", [await self._leader()])

    async def kill_all(self) -> None:
        """Kill all nodes, as a loss of power does."""
        await self._kill("killed all", self._names)

    async def stop(self) -> None:
        """Stop a node where it stands, and let it go on."""
        await self._stop("stopped", [self._dice.choice(self._names)])

    async def stop_leader(self) -> None:
        """Stop the node that leads: it will go on with a lease that has run out."""
        await self._stop("leaders stopped", [await self._leader()])

    async def lose_quorum(self) -> None:
        """Stop or kill a majority."""
        some = self._dice.sample(self._names, len(self._names) // 2 + 1)
        act = self._stop if self._dice.random() < 0.5 else self._kill
        await act("quorums lost", some)

    async def fill_disk(self) -> None:
        """Leave no room on the first node's disk for a while; it has to come back by itself."""
        self._counts["disks full"] += 1
        self._field.fill_disk()
        await self._sleep(FULL_SECONDS)
        self._field.free_disk()
        first = self._field.nodes[0]
        if (await self._field.status(first)).get("fault", "-") != "-":
            self._counts["disks full that stopped a node"] += 1
            await self._field.wait_until_no_fault(first)
            self._counts["disks full that a node came back from"] += 1

    async def _kill(self, what: str, names: Sequence[str]) -> None:
        self._counts[what] += 1
        for name in names:
            self._field.kill(name)
        await self._sleep(DOWN_SECONDS)
        for name in names:
            self._field.start(name)
        await self._sleep(DOWN_SECONDS)

    async def _stop(self, what: str, names: Sequence[str]) -> None:
        self._counts[what] += 1
        for name in names:
            self._field.freeze(name)
        await self._sleep(STILL_SECONDS)
        for name in names:
            self._field.thaw(name)

    async def _leader(self) -> str:
        """Return who leads as far as a node knows; anyone where none does."""
        node = self._field.node(self._dice.choice(self._names))
        leader = (await self._field.status(node)).get("leader", "")
        return leader if leader in self._names else self._dice.choice(self._names)

    # -- roads ----------------------------------------------------------------------------------
    def _pair(self) -> tuple[Road, Road]:
        return self._field.between(*self._dice.choice(self._field.pairs()))

    def _around(self, name: str = "") -> list[Road]:
        """Return all roads from and to one node."""
        name = name or self._dice.choice(self._names)
        return [road for ends, road in self._field.roads.items() if name in ends]

    async def cut(self) -> None:
        """Tear down what is between two nodes."""
        await self._cut("roads cut", self._pair())

    async def isolate(self) -> None:
        """Cut a node off from all others."""
        await self._cut("nodes cut off", self._around())

    async def isolate_leader(self) -> None:
        """Cut the node that leads off: it must not answer as if it still did."""
        await self._cut("leaders cut off", self._around(await self._leader()))

    async def cut_all(self) -> None:
        """Cut all nodes off from each other."""
        await self._cut("all roads cut", list(self._field.roads.values()))

    async def silence(self) -> None:
        """Have nothing from and to a node arrive any more, and nobody know."""
        await self._silence("nodes silenced", self._around())

    async def silence_leader(self) -> None:
        """Have nothing from and to the node that leads arrive any more, and nobody know."""
        await self._silence("leaders silenced", self._around(await self._leader()))

    async def silence_one_way(self) -> None:
        """Have nothing arrive from one node at another, but all in the other direction."""
        self._counts["roads silent one way"] += 1
        there, back = roads = self._pair()
        there.silence(OUT)
        back.silence(BACK)
        await self._mended(roads, CUT_SECONDS)

    async def slow(self) -> None:
        """Have some roads take their time."""
        self._counts["roads slowed"] += 1
        every = list(self._field.roads.values())
        roads = self._dice.choice((every, self._around(), list(self._pair())))
        for road in roads:
            road.delay_seconds = self._dice.choice(DELAYS_SECONDS)
        await self._mended(roads, SLOW_SECONDS)

    async def _cut(self, what: str, roads: Sequence[Road]) -> None:
        self._counts[what] += 1
        for road in roads:
            road.cut()
        await self._mended(roads, CUT_SECONDS)

    async def _silence(self, what: str, roads: Sequence[Road]) -> None:
        self._counts[what] += 1
        for road in roads:
            road.silence(OUT, BACK)
        await self._mended(roads, CUT_SECONDS)

    async def _mended(self, roads: Sequence[Road], after: tuple[float, float]) -> None:
        await self._sleep(after)
        for road in roads:
            road.mend()
