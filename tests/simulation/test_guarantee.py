"""Disks are lost only where the design promises that the cluster bears it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.limits import ALPHA
from coord.paxos.ballot import Ballot
from coord.paxos.durable import Header, Save
from coord.paxos.membership import Configuration, Governs
from coord.paxos.witness import Witnessed
from coord.replicator.admission import REMOVED
from coord.simulation.cluster import Cluster, Options, SimulatedNode, Told
from coord.simulation.disk import DiskMix
from coord.simulation.guarantee import Guarantee
from coord.simulation.network import Mix
from coord.simulation.platter import Written
from coord.simulation.world import World

FIRST = ("n1", "n2", "n3")
LATER = ("n2", "n3", "n6")
CHANGED = 100
"""The slot in which the later configuration was chosen."""


class Losses(SynchronousTestCase):
    """Three nodes founded a cluster; n6 has taken the place of n1, which knows that it is out."""

    def setUp(self) -> None:
        """Copy all disks before the change, and make it."""
        options = Options(
            nodes=3, leases=True, image_every_bytes=1000, network=Mix(), disk=DiskMix()
        )
        self.cluster = Cluster(World(1), options)
        self.guarantee = Guarantee(self.cluster)
        self.machine("n6", LATER[:2])
        for name in (*FIRST, "n6"):
            self.save(name, CHANGED - 50, Governs(0, Configuration(FIRST)))
            self.node(name).disk.keep_copy()
        self.change(CHANGED, *LATER)
        self.node("n1").reports[REMOVED] = "out"

    def node(self, name: str) -> SimulatedNode:
        """Return one of the machines."""
        return self.cluster.nodes[name]

    def machine(self, name: str, others: tuple[str, ...]) -> None:
        """Have one more machine, of this name."""
        made = self.cluster.add_machine(Told(others=others, is_joining=True))
        self.assertEqual(made.name, name)

    def save(self, name: str, chosen: int, governs: Governs) -> None:
        """Let a node have on its disk what a cluster in good order has there."""
        promised = Ballot(chosen, "n2")
        said = tuple(Witnessed(one, promised, chosen) for one in sorted(self.cluster.names))
        header = Header(promised, chosen, (governs,), said)
        self.node(name).disk.platter.write(Written.of(Save(1, header)))

    def change(self, slot: int, *voters: str) -> None:
        """Let the members be others from now on, and all know it that could hear of it."""
        configuration = Configuration(voters)
        self.cluster.agreement.configurations[slot] = configuration
        for name in self.cluster.names:
            if not (self.node(name).is_out or name in self.guarantee.wounded):
                self.save(name, slot + 2 * ALPHA, Governs(slot + ALPHA, configuration))

    def may_set_back(self, name: str) -> bool:
        """Say whether a disk may be set back to what it was before the change."""
        return self.guarantee.may_lose(self.node(name), self.node(name).disk.copy)

    def set_back(self, name: str) -> None:
        """Set a disk back, which may be done."""
        self.assertTrue(self.may_set_back(name))
        self.guarantee.lose(self.node(name), self.node(name).disk.copy)

    # -- who goes on alone -------------------------------------------------------------------
    def test_a_member_then_one_that_was_removed(self) -> None:
        """A removed node does not come back where a member has forgotten its removal, too."""
        self.set_back("n3")
        self.assertFalse(self.may_set_back("n1"))

    def test_one_that_was_removed_then_a_member(self) -> None:
        """Nor does a member forget the removal of a node that is back."""
        self.set_back("n1")
        self.assertFalse(self.may_set_back("n3"))
        self.assertFalse(self.guarantee.may_lose(self.node("n3"), None))

    def test_a_member_that_was_replaced_meanwhile(self) -> None:
        """A disk that was set back is not whole because its node is no member any more."""
        self.set_back("n3")
        self.machine("n7", LATER)
        self.change(CHANGED + 3 * ALPHA, "n2", "n6", "n7")
        self.assertFalse(self.may_set_back("n1"))

    def test_one_that_knows_again(self) -> None:
        """Where the one that is back has learnt that it is out, a member may forget."""
        self.set_back("n1")
        self.node("n1").reports[REMOVED] = "out"
        self.set_back("n3")

    def test_the_last_of_the_first(self) -> None:
        """Who founded a cluster alone does not forget that it has grown."""
        header = Header(governs=(Governs(0, Configuration(("n3",))),))
        self.node("n3").disk.copy.write(Written.of(Save(1, header)))  # type: ignore[union-attr]
        self.assertFalse(self.may_set_back("n3"))

    # -- what was lost -----------------------------------------------------------------------
    def test_twice(self) -> None:
        """A disk that is set back a second time lacks what it lacked after the first."""
        self.set_back("n3")
        lost = self.guarantee.wounded["n3"]
        self.set_back("n3")
        self.assertIs(self.guarantee.wounded["n3"], lost)

    def test_a_machine_that_never_was_a_member(self) -> None:
        """Whose votes never counted has lost nothing."""
        self.machine("n7", LATER)
        self.node("n7").disk.keep_copy()
        self.save("n7", CHANGED, Governs(0, Configuration(LATER, ("n7",))))
        self.set_back("n7")
        self.assertNotIn("n7", self.guarantee.wounded)
