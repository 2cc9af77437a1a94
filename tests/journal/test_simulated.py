"""The simulator's disk sits the examination of real journals."""

from __future__ import annotations

from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from coord.paxos.durable import Header
from coord.replicator.interfaces import IJournal
from coord.simulation.disk import Disk, DiskMix
from coord.simulation.world import Machine, Process, World
from tests.journal.contract import INITIAL, JournalContract


class SimulatedContractTests(JournalContract, TestCase):
    """The simulated disk does what every journal must."""

    def setUp(self) -> None:
        """Take a new disk."""
        self.world = World(1)
        self.machine = Machine(self.world, "n1")
        self.disk = Disk(self.world, DiskMix(), Header(governs=INITIAL))
        turns = LoopingCall(self.pass_time)  # so that what is awaited comes, in no real time
        turns.start(0)
        self.addCleanup(turns.stop)

    def open(self) -> IJournal:
        """Begin a life on the disk's machine."""
        return self.disk.open(Process(self.machine))

    async def crash(self, journal: IJournal) -> None:
        """End it."""
        self.disk.crash()

    async def settle(self, journal: IJournal) -> None:
        """Let time pass."""
        self.pass_time()

    def pass_time(self) -> None:
        """Let the world go on for a second of its own."""
        self.world.run(self.world.now + 1.0)

    def empty(self) -> None:
        """Take another platter."""
        self.disk.replace()

    def break_disk(self, journal: IJournal) -> None:
        """Let it fail."""
        self.disk.fail()
