"""One seed decides everything; processes crash, stand still and count time on their own."""

from __future__ import annotations

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.trial.unittest import SynchronousTestCase

from coord.simulation.world import Machine, Process, World


def order_of(seed: int) -> list[int]:
    """Return in which order a seed lets ten things happen that are due at one instant."""
    world, happened = World(seed), list[int]()
    for number in range(10):
        world.schedule(1.0, None, happened.append, number)
    world.run(2.0)
    return happened


class Order(SynchronousTestCase):
    """What is due at the same instant happens in an order of the seed's."""

    def test_seed_decides(self) -> None:
        """The same seed gives the same order, another seed another."""
        self.assertEqual(order_of(1), order_of(1))
        self.assertNotEqual(order_of(1), order_of(2))
        self.assertEqual(sorted(order_of(1)), list(range(10)))

    def test_time_first(self) -> None:
        """What is due earlier happens earlier, whatever the seed."""
        world, happened = World(3), list[float]()
        for due in (0.3, 0.1, 0.2):
            world.schedule(due, None, lambda: happened.append(world.now))
        world.run(0.25)
        self.assertEqual(happened, [0.1, 0.2])
        self.assertEqual(world.now, 0.25)

    def test_trace(self) -> None:
        """Worlds in which different things happened have different traces."""
        one, other = World(1), World(1)
        one.schedule(0.1, None, list)
        self.assertEqual(one.trace, other.trace)
        one.run(1.0)
        self.assertNotEqual(one.trace, other.trace)


class Timers(SynchronousTestCase):
    """A process has the part of the reactor's time that the core needs."""

    def setUp(self) -> None:
        """Start one process that notes when it was called, on its own clock."""
        self.world = World(1)
        self.machine = Machine(self.world, "n1", drift=0.02)
        self.process = Process(self.machine)
        self.calls: list[float] = []

    def call(self) -> None:
        """Note the time."""
        self.calls.append(self.process.seconds())

    def test_own_clock(self) -> None:
        """A delay is counted on the machine's clock, which runs at its own rate."""
        began = self.process.seconds()
        self.process.callLater(10.0, self.call)
        self.world.run(20.0)
        self.assertAlmostEqual(self.calls[0] - began, 10.0, places=6)
        self.assertNotAlmostEqual(self.machine.clock.rate, 1.0, places=6)

    def test_cancel(self) -> None:
        """What was cancelled never happens, and cannot be cancelled twice or too late."""
        cancelled = self.process.callLater(1.0, self.call)
        kept = self.process.callLater(1.0, self.call)
        cancelled.cancel()
        self.assertEqual((cancelled.active(), kept.active()), (False, True))
        self.assertRaises(AlreadyCancelled, cancelled.cancel)
        self.world.run(2.0)
        self.assertEqual(len(self.calls), 1)
        self.assertRaises(AlreadyCalled, kept.cancel)

    def test_reset(self) -> None:
        """What was put off happens once, at the new time."""
        began = self.process.seconds()
        call = self.process.callLater(1.0, self.call)
        call.reset(3.0)
        call.delay(1.0)
        self.assertAlmostEqual(call.getTime() - began, 4.0, places=6)
        self.world.run(10.0)
        self.assertEqual([round(at - began, 6) for at in self.calls], [4.0])


class Lives(SynchronousTestCase):
    """Processes crash and stand still."""

    def setUp(self) -> None:
        """Start one process with a timer every tenth of a second."""
        self.world = World(1)
        self.process = Process(Machine(self.world, "n1", drift=0.0))
        self.calls: list[float] = []
        for number in range(1, 10):
            self.process.callLater(number / 10, lambda: self.calls.append(self.world.now))

    def test_crash(self) -> None:
        """Nothing happens to a process that has crashed."""
        self.world.run(0.35)
        self.process.crash()
        self.world.run(2.0)
        self.assertEqual(len(self.calls), 3)

    def test_pause(self) -> None:
        """What falls due during a pause happens when it ends; the clock goes on meanwhile."""
        began = self.process.seconds()
        self.world.run(0.35)
        self.process.pause()
        self.world.run(0.65)
        self.assertEqual(len(self.calls), 3)
        self.assertAlmostEqual(self.process.seconds() - began, 0.65)
        self.process.resume()
        self.world.run(0.66)
        self.assertEqual(self.calls[3:], [0.65] * 3)
        self.world.run(2.0)
        self.assertEqual(len(self.calls), 9)
