"""A world in which everything happens in an order that one seed decides.

There is one queue of events. What is due at the same instant happens in an order that the
dice decide, so that no two runs of different seeds share an accident of insertion; and two
runs of one seed are equal to the last bit, whatever the interpreter's hash seed, because
nothing here looks at a wall clock or at the order of a set.

A *machine* has a clock that runs at its own rate from its own origin. A *process* is one
life of a program on a machine: its timers, its deliveries and its disk's answers are events
that belong to it. They are dropped once it has crashed, and held back while it is paused,
when its clock goes on.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import struct
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from coord.limits import CLOCK_DRIFT_MAX

_STAMP: Final = struct.Struct(">d")
_Entry = tuple[float, float, int, "Scheduled"]


@implementer(IDelayedCall)
class Scheduled:
    """Something that will happen; what `Process.callLater` returns (an ``IDelayedCall``)."""

    __slots__ = ("_world", "arguments", "done", "due", "entry", "function", "process")

    def __init__(
        self,
        world: World,
        process: Process | None,
        function: Callable[..., object],
        arguments: tuple[Any, ...],
    ) -> None:
        self._world = world
        self.process = process
        self.function: Callable[..., object] | None = function
        self.arguments = arguments
        self.due = 0.0
        self.entry = 0
        self.done = False

    def active(self) -> bool:
        """Say whether it is still to come."""
        return self.function is not None and not self.done

    def cancel(self) -> None:
        """See to it that it never happens; raise as the reactor does where that is too late."""
        self._check()
        self.function = None
        self.arguments = ()

    def reset(self, secondsFromNow: float) -> None:
        """Make it happen so many seconds from now instead."""
        self._check()
        process = self.process
        rate = process.machine.clock.rate if process is not None else 1.0
        self._world.push(self, secondsFromNow / rate)

    def delay(self, secondsLater: float) -> None:
        """Make it happen so many seconds later than it would."""
        self._check()
        process = self.process
        rate = process.machine.clock.rate if process is not None else 1.0
        self._world.push(self, self.due - self._world.now + secondsLater / rate)

    def getTime(self) -> float:
        """Return when it will happen, as its process's clock counts."""
        process = self.process
        return self.due if process is None else process.machine.clock.at(self.due)

    def _check(self) -> None:
        if self.done:
            raise AlreadyCalled
        if self.function is None:
            raise AlreadyCancelled


class World:
    """The one queue, the one pair of dice, and the record of all that happened.

    ``now`` is the true time in seconds, which no node can see. ``trace`` digests every event:
    equal traces are equal runs.
    """

    def __init__(self, seed: int, tell: Callable[[str], object] | None = None) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.counts: dict[str, int] = {}
        self._tell = tell
        self._queue: list[_Entry] = []
        self._pushed = 0
        self.last_moment = 0
        self._trace = hashlib.blake2b(digest_size=16)

    # -- what is to come -------------------------------------------------------------
    def schedule(
        self,
        delay_seconds: float,
        process: Process | None,
        function: Callable[..., object],
        *arguments: Any,
    ) -> Scheduled:
        """Make ``function`` happen after so many true seconds, to ``process`` or to nobody."""
        scheduled = Scheduled(self, process, function, arguments)
        self.push(scheduled, delay_seconds)
        return scheduled

    def push(self, scheduled: Scheduled, delay_seconds: float) -> None:
        """Put an event in the queue, or at another place in it."""
        self._pushed += 1
        scheduled.entry = self._pushed
        scheduled.due = due = self.now + max(0.0, delay_seconds)
        heapq.heappush(self._queue, (due, self.dice.random(), self._pushed, scheduled))

    def run(self, until: float) -> None:
        """Let everything happen that is due before the time ``until``."""
        queue = self._queue
        while queue and queue[0][0] < until:
            due, _tie, entry, scheduled = heapq.heappop(queue)
            if scheduled.entry == entry and scheduled.function is not None:
                self.now = due
                self._happen(scheduled)
        self.now = until

    def _happen(self, scheduled: Scheduled) -> None:
        process = scheduled.process
        if process is not None and not process.running:
            process.withhold(scheduled)
            return
        function = scheduled.function
        assert function is not None
        scheduled.done = True
        name = process.machine.name if process is not None else ""
        self._trace.update(_STAMP.pack(self.now))
        label = getattr(function, "__name__", "call")
        self._trace.update(f"{name}.{label}".encode())
        function(*scheduled.arguments)

    # -- what was ----------------------------------------------------------------------
    def moment(self) -> int:
        """Return the number of this moment: a later one has a higher number."""
        self.last_moment += 1
        return self.last_moment

    def count(self, what: str, number: int = 1) -> None:
        """Note that something was exercised."""
        self.counts[what] = self.counts.get(what, 0) + number

    def note(self, content: bytes) -> None:
        """Make ``content`` part of the trace."""
        self._trace.update(content)

    def say(self, text: str) -> None:
        """Write a line into the run's log; it is part of the trace."""
        self._trace.update(text.encode())
        if self._tell is not None:
            self._tell(f"{self.now:9.4f} {text}")

    @property
    def trace(self) -> str:
        """The digest of all that happened so far."""
        return self._trace.hexdigest()

    def chance(self, probability: float) -> bool:
        """Throw the dice."""
        return probability > 0 and self.dice.random() < probability


class MachineClock:
    """A clock at its own rate from its own origin; ``wall_ms`` may be set to anything."""

    def __init__(self, world: World, drift: float = CLOCK_DRIFT_MAX) -> None:
        self._world = world
        self.rate = 1.0 + world.dice.uniform(-drift / 2, drift / 2)
        self._origin = world.dice.uniform(0.0, 1e6)
        self._wall_ms = 1_700_000_000_000 + world.dice.randrange(-5_000, 5_000)

    def at(self, now: float) -> float:
        """Return what this clock shows at the true time ``now``."""
        return self._origin + now * self.rate

    def seconds(self) -> float:
        """Return what this clock shows."""
        return self._origin + self._world.now * self.rate

    def wall_ms(self) -> int:
        """Return the time of day in milliseconds since 1970, as this machine believes."""
        return self._wall_ms + int(self._world.now * self.rate * 1000)

    def step_wall(self, difference_ms: int) -> None:
        """Set the time of day forward or back, as a careless operator does."""
        self._wall_ms += difference_ms

    def reboot(self) -> None:
        """Begin to count from another origin, as a machine does that was switched off."""
        self._origin = self._world.dice.uniform(0.0, 1e6)


class Machine:
    """What outlives a crash: a name and a clock (and the disk, see `coord.simulation.disk`)."""

    def __init__(self, world: World, name: str, drift: float = CLOCK_DRIFT_MAX) -> None:
        self.world = world
        self.name = name
        self.clock = MachineClock(world, drift)


@implementer(IReactorTime)
class Process:
    """One life of a program on a machine; provides the reactor's time to it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.alive = True
        self.paused = False
        self._held: list[Scheduled] = []

    @property
    def running(self) -> bool:
        """Whether anything can happen to it now."""
        return self.alive and not self.paused

    # -- IReactorTime ------------------------------------------------------------------
    def seconds(self) -> float:
        """Return what the machine's clock shows."""
        return self.machine.clock.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any
    ) -> Scheduled:
        """Call ``callable`` once this machine's clock has gone on by ``delay`` seconds."""
        assert delay >= 0, "the reactor refuses a negative delay"
        assert not kw, "the simulator passes positional arguments only"
        seconds = delay / self.machine.clock.rate
        return self.machine.world.schedule(seconds, self, callable, *args)

    def getDelayedCalls(self) -> list[Scheduled]:
        """Return nothing: no program asks."""
        return []

    # -- life ----------------------------------------------------------------------------
    def withhold(self, scheduled: Scheduled) -> None:
        """Keep an event for the time after the pause; forget it after the end."""
        if self.alive:
            self._held.append(scheduled)

    def pause(self) -> None:
        """Stand still (SIGSTOP)."""
        self.paused = True

    def resume(self) -> None:
        """Go on: all that was held back happens now, in whatever order."""
        self.paused = False
        held, self._held = self._held, []
        for scheduled in held:
            if scheduled.function is not None and not scheduled.done:
                self.machine.world.push(scheduled, 0.0)

    def crash(self) -> None:
        """End at once (SIGKILL): nothing that belongs to it ever happens."""
        self.alive = False
        self._held = []
