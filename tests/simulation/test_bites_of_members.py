"""The judges bite where members change: what is switched off is found within a few seeds."""

from __future__ import annotations

from coord.paxos.membership import Configuration
from coord.replicator.admission import Admission
from coord.replicator.applier import Applier
from coord.replicator.interfaces import Card, Unfit
from coord.simulation.cluster import Options
from coord.simulation.disk import DiskMix
from coord.simulation.network import Mix
from tests.simulation import hunting

RESTLESS = Options(
    nodes=3,
    leases=True,
    image_every_bytes=20_000,
    change_seconds=0.5,
    network=Mix(),
    disk=DiskMix(),
)


class Bites(hunting.Hunt):
    """Rules about members switched off one by one."""

    def test_everybody_is_fit(self) -> None:
        """Where nobody looks at disks, votes count that come from an emptied one, or set back."""

        def judge(self: Admission, card: Card) -> Unfit | None:
            return None

        self.patch(Admission, "judge", judge)
        self.patch(Admission, "_misplaced", judge)
        self.hunt(20, "votes", options=RESTLESS)

    def test_nobody_remembers(self) -> None:
        """Where nobody remembers what was said, a disk that was set back votes again."""

        def forgotten(self: Admission, card: Card) -> Unfit | None:
            return None

        self.patch(Admission, "_set_back", forgotten)
        self.hunt(30, "votes", options=RESTLESS)

    def test_untold(self) -> None:
        """Where configurations are not told in the tree, that is found."""

        def enrol(self: Applier, configuration: Configuration) -> None:
            """Tell nobody."""

        self.patch(Applier, "_enrol", enrol)
        self.hunt(5, "members", options=RESTLESS)
