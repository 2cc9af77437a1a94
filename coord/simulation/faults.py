"""What goes wrong in the safety phase: one thing after another, all at once.

Every fault ends by itself after a while, most of them; some are only mended by a later
`heal`, or at the end of the phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from coord.limits import LOG_BYTES_KEPT
from coord.simulation.cluster import Cluster, SimulatedNode
from coord.simulation.guarantee import Guarantee
from coord.simulation.platter import Platter

MENU: Final = (
    ("crash one", 7),
    ("crash in a save", 6),
    ("crash after a promise", 3),
    ("crash all", 2),
    ("pause", 8),
    ("cut", 8),
    ("sever", 5),
    ("isolate", 6),
    ("divide", 4),
    ("heal", 12),
    ("slow disk", 5),
    ("fail disk", 2),
    ("step wall clock", 3),
)
IMAGE_MENU: Final = (
    ("crash in an image", 10),
    ("crash others in an image", 8),
    ("keep away", 10),
)
"""What goes wrong besides where logs are short, and who was away needs an image."""
CHANGE_MENU: Final = (
    ("empty disk", 5),
    ("set back disk", 10),
)
"""What goes wrong besides where members change, so that somebody can admit a node anew."""
PAUSE_SECONDS_MAX: Final = 2.5
DOWN_SECONDS_MAX: Final = 2.0
AWAY_SECONDS_MAX: Final = 4.0
BETWEEN_SECONDS: Final = 0.6
COPY_SECONDS: Final = 2.0
WALL_STEP_MS_MAX: Final = 12 * 3_600_000


class Faults:
    """Lets things go wrong until it is told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.guarantee = Guarantee(cluster)
        self._world = cluster.world
        self._dice = cluster.world.dice
        self._stopped = False
        is_short = cluster.options.log_bytes_kept < LOG_BYTES_KEPT
        self._menu = [*MENU, *(IMAGE_MENU if is_short else ())]
        if cluster.options.change_seconds:
            self._menu += CHANGE_MENU
        self._deeds = {
            "crash one": self._crash_one,
            "crash in a save": self._crash_in_a_save,
            "crash after a promise": self._crash_after_a_promise,
            "crash all": self._crash_all,
            "crash in an image": self._crash_in_an_image,
            "crash others in an image": self._crash_others_in_an_image,
            "keep away": self._keep_away,
            "pause": self._pause,
            "cut": self._cut,
            "sever": self._sever,
            "isolate": self._isolate,
            "divide": self._divide,
            "heal": self._heal,
            "slow disk": self._slow_disk,
            "fail disk": self._fail_disk,
            "step wall clock": self._step_wall_clock,
            "empty disk": self._empty_disk,
            "set back disk": self._set_back_disk,
        }

    def start(self) -> None:
        """Begin."""
        if self._cluster.options.change_seconds:
            self._copy_disks()
        self._later()

    def _later(self) -> None:
        delay = self._dice.expovariate(1 / BETWEEN_SECONDS)
        self._world.schedule(delay, None, self._strike)

    def stop(self) -> None:
        """Let nothing more go wrong; what has, stays so."""
        self._stopped = True

    def _strike(self) -> None:
        if self._stopped:
            return
        names, weights = zip(*self._menu, strict=True)
        name = self._dice.choices(names, weights)[0]
        self._deeds[name]()
        self._world.count(f"faults: {name}")
        self._later()

    @property
    def _nodes(self) -> list[SimulatedNode]:
        """All machines that there are at the moment."""
        return list(self._cluster.nodes.values())

    # -- nodes -----------------------------------------------------------------------------
    def _any_node(self) -> SimulatedNode | None:
        """Return a node that is up, often the one that leads."""
        up = self._cluster.up()
        if not up:
            return None
        leading = [node for node in up if " leader " in node.describe()]
        if leading and self._world.chance(0.4):
            return self._dice.choice(leading)
        return self._dice.choice(up)

    def _crash(self, node: SimulatedNode) -> None:
        node.crash()
        if self._world.chance(0.3):
            node.reboot()
        delay = self._dice.random() ** 2 * DOWN_SECONDS_MAX
        self._world.schedule(delay, None, self._restart, node)

    def _restart(self, node: SimulatedNode) -> None:
        is_there = self._cluster.nodes.get(node.name) is node
        if not self._stopped and is_there and not node.is_up:
            node.start()

    def _crash_one(self) -> None:
        node = self._any_node()
        if node is not None:
            self._crash(node)

    def _crash_in_a_save(self) -> None:
        """Crash a node when a save of it is under way, the moment that matters most."""
        node = self._any_node()
        if node is not None:
            process = node.process
            node.disk.ambush = partial(self._crash_life, node, process)

    def _crash_after_a_promise(self) -> None:
        """Crash a node soon after it has told a candidate what it promised."""
        node = self._dice.choice(self._cluster.up() or [None])
        if node is not None:
            node.disk.promise_ambush = partial(self._crash_life, node, node.process)

    def _crash_life(self, node: SimulatedNode, process: object) -> None:
        if not self._stopped and node.process is process:
            self._crash(node)

    def _crash_in_an_image(self) -> None:
        """Crash a node while it writes an image: its own, or one that it gets of another node."""
        node = self._dice.choice(self._nodes)
        node.disk.image_ambush = partial(self._crash_if_up, node)

    def _crash_others_in_an_image(self) -> None:
        """Crash another node while one gets an image: often it is the one that sends it."""
        node = self._dice.choice(self._nodes)
        others = [one for one in self._nodes if one is not node]
        if others:
            node.disk.image_ambush = partial(self._crash_if_up, self._dice.choice(others))

    def _crash_if_up(self, node: SimulatedNode) -> None:
        if not self._stopped and node.is_up:
            self._crash(node)

    def _keep_away(self) -> None:
        """Crash a node, and let it be missed for so long that the others' logs are cut."""
        node = self._any_node()
        if node is not None:
            node.crash()
            away_seconds = (0.5 + self._dice.random() / 2) * AWAY_SECONDS_MAX
            self._world.schedule(away_seconds, None, self._restart, node)

    def _crash_all(self) -> None:
        for node in self._cluster.up():
            self._crash(node)

    def _pause(self) -> None:
        node = self._any_node()
        if node is not None and not node.is_paused:
            node.pause()
            delay = self._dice.random() ** 2 * PAUSE_SECONDS_MAX
            self._world.schedule(delay, None, self._resume, node, node.process)

    def _resume(self, node: SimulatedNode, process: object) -> None:
        if not self._stopped and node.process is process and node.is_paused:
            node.resume()

    # -- wires -----------------------------------------------------------------------------
    def _pair(self) -> tuple[str, str] | None:
        names = self._cluster.names
        if len(names) < 2:
            return None
        one, other = self._dice.sample(names, 2)
        return one, other

    def _cut(self) -> None:
        pair = self._pair()
        if pair is not None:
            self._world.say(f"cut {pair[0]} -> {pair[1]}")
            self._cluster.network.cut(*pair)

    def _sever(self) -> None:
        pair = self._pair()
        if pair is not None:
            self._world.say(f"sever {pair[0]} {pair[1]}")
            self._cluster.network.sever(*pair)

    def _isolate(self) -> None:
        node = self._any_node()
        if node is not None:
            self._world.say(f"isolate {node.name}")
            self._cluster.network.isolate(node.name)

    def _divide(self) -> None:
        """Part the cluster in two halves that hear nothing of each other."""
        names = list(self._cluster.names)
        self._dice.shuffle(names)
        here, there = names[: len(names) // 2], names[len(names) // 2 :]
        self._world.say(f"divide {' '.join(here)} | {' '.join(there)}")
        for one in here:
            for other in there:
                self._cluster.network.sever(one, other)

    def _heal(self) -> None:
        self._world.say("heal all")
        self._cluster.network.heal_all()

    # -- machines --------------------------------------------------------------------------
    def _slow_disk(self) -> None:
        node = self._dice.choice(self._nodes)
        self._world.say(f"slow disk {node.name}")
        node.disk.slow_down(self._dice.random() * 2)

    def _fail_disk(self) -> None:
        """Let the disk fail; an operator starts the node again some time later."""
        node = self._any_node()
        if node is not None:
            self._world.say(f"fail disk {node.name}")
            node.disk.fail()
            process = node.process
            self._world.schedule(0.5 + self._dice.random(), None, self._replace, node, process)

    def _replace(self, node: SimulatedNode, process: object) -> None:
        if not self._stopped and node.process is process:
            node.crash()
            node.start()

    def _step_wall_clock(self) -> None:
        node = self._dice.choice(self._nodes)
        node.machine.clock.step_wall(self._dice.randrange(-WALL_STEP_MS_MAX, WALL_STEP_MS_MAX))

    # -- disks that are lost -----------------------------------------------------------------
    def _copy_disks(self) -> None:
        """Keep copies of all disks now and then, for the day on which somebody restores one."""
        if self._stopped:
            return
        for node in self._nodes:
            if self._world.chance(0.7):
                node.disk.keep_copy()
        self._world.schedule(COPY_SECONDS, None, self._copy_disks)

    def _empty_disk(self) -> None:
        self._lose_disk([(node, None) for node in self._cluster.members()])

    def _set_back_disk(self) -> None:
        self._lose_disk(
            [
                (node, node.disk.copy)
                for node in self._nodes
                if node.disk.copy is not None and node.disk.copy.is_behind(node.disk.platter)
            ]
        )

    def _lose_disk(self, choice: Sequence[tuple[SimulatedNode, Platter | None]]) -> None:
        """Crash a node and take its disk from it, where the promise of the cluster bears that."""
        allowed = [
            (one, instead) for one, instead in choice if self.guarantee.may_lose(one, instead)
        ]
        self._world.count("disks spared", len(choice) - len(allowed))
        if not allowed:
            return
        node, instead = self._dice.choice(allowed)
        if node.is_up:
            node.crash()
        what = "emptied" if instead is None else "set back"
        if node.is_out:
            what = "set back to before its node was removed"
        self._world.say(f"the disk of {node.name} is {what}")
        self._world.count(f"disks {what}")
        self.guarantee.lose(node, instead)
        delay = self._dice.random() ** 2 * DOWN_SECONDS_MAX
        self._world.schedule(delay, None, self._restart, node)
