"""Links that come up only where both ends find the other fit, between nodes that come and go."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.replicator.interfaces import Card, Unfit, Why
from coord.simulation.network import Mix, Network, SimulatedPeers
from coord.simulation.world import Machine, Process, World
from tests.simulation.test_network import Ear

ADDRESSES = {name: f"{name}:8047" for name in ("a", "b", "c", "d")}


class Admission:
    """Finds those fit whom nobody has put on its list; notes what it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot = 0
        self.unfit: dict[str, Unfit] = {}
        self.seen: list[Card] = []
        self.told: list[tuple[str, Unfit]] = []

    def card(self) -> Card:
        """Return who this is."""
        return Card(node=self.name, incarnation=1, slot=self.slot)

    def judge(self, card: Card) -> Unfit | None:
        """Return what the list says."""
        self.seen.append(card)
        return self.unfit.get(card.node)

    def disowned(self, peer: str, unfit: Unfit) -> None:
        """Note it."""
        self.told.append((peer, unfit))


STRANGER = Unfit(Why.STRANGER, "who are you?", 7)


class Admissions(SynchronousTestCase):
    """Three nodes, and a fourth that may come."""

    def setUp(self) -> None:
        """Start three nodes."""
        self.world = World(1)
        self.network = Network(self.world, ("a", "b", "c"), Mix())
        self.ears: dict[str, Ear] = {}
        self.peers: dict[str, SimulatedPeers] = {}
        self.admissions: dict[str, Admission] = {}
        for name in ("a", "b", "c"):
            self.start(name)

    def start(self, name: str, *known: str) -> None:
        """Begin a life of a node that was told of some others."""
        ear, admission = Ear(), Admission(name)
        peers = self.network.join(Process(Machine(self.world, name)), known)
        peers.observe(ear)
        peers.admit_by(admission)
        self.ears[name], self.peers[name], self.admissions[name] = ear, peers, admission

    def wait(self, seconds: float = 10.0) -> None:
        """Let time go on."""
        self.world.run(self.world.now + seconds)

    def newcomer(self) -> None:
        """Have a fourth node that was told of one of the others."""
        self.network.add("d")
        self.start("d", "a")

    def test_cards(self) -> None:
        """Each end knows what the other said of itself when the link was made."""
        self.admissions["b"].slot = 65
        self.wait()
        cards = self.peers["a"].cards()
        self.assertEqual(set(cards), {"b", "c"})
        self.assertEqual((cards["b"].slot, cards["c"].slot), (65, 0))

    def test_refused_and_told(self) -> None:
        """Who is not fit gets no link, is told why, and tries again until it is."""
        self.admissions["a"].unfit["c"] = STRANGER
        self.wait()
        self.assertEqual(self.peers["a"].connected(), {"b"})
        self.assertNotIn("c", [peer for _, peer, _ in self.ears["a"].heard])
        self.assertEqual(self.peers["c"].connected(), {"b"})
        self.assertIn(("a", STRANGER), self.admissions["c"].told)
        del self.admissions["a"].unfit["c"]
        self.wait()
        self.assertEqual(self.peers["a"].connected(), {"b", "c"})
        self.assertEqual(self.peers["c"].connected(), {"a", "b"})

    def test_refusal_on_a_cut_wire(self) -> None:
        """Nobody is told of a refusal through a wire that is cut."""
        self.wait()
        self.network.cut("a", "b")
        self.peers["a"].part("b", STRANGER)
        self.wait()
        self.assertEqual(self.admissions["b"].told, [])
        self.assertEqual(self.peers["b"].connected(), {"c"})

    def test_part(self) -> None:
        """A link that is wanted no more ends at both ends, and the other is told why."""
        self.wait()
        self.peers["a"].part("b", STRANGER)
        self.wait(0.5)
        self.assertEqual(self.admissions["b"].told[0], ("a", STRANGER))
        self.assertIn(("down", "b", b""), self.ears["a"].heard)
        self.peers["a"].part("d", STRANGER)

    def test_stranger_knocks(self) -> None:
        """A node that nobody was told of gets a link with whom it was told of, if that agrees."""
        self.newcomer()
        self.wait()
        self.assertEqual(self.peers["d"].connected(), {"a"})
        self.assertIn("d", self.peers["a"].connected())
        self.assertIn("d", [card.node for card in self.admissions["a"].seen])

    def test_move(self) -> None:
        """Links are with those whom a node is moved to, and no others."""
        self.newcomer()
        self.wait()
        for name in ("b", "d"):
            self.peers[name].move(ADDRESSES)
        self.wait()
        self.assertEqual(self.peers["d"].connected(), {"a", "b", "c"})
        self.peers["a"].move({})
        for name in ("b", "c", "d"):
            self.peers[name].move({one: ADDRESSES[one] for one in ("b", "c", "d")})
        self.wait()
        self.assertEqual(self.peers["a"].connected(), set())
        self.assertEqual(self.peers["b"].connected(), {"c", "d"})

    def test_remove(self) -> None:
        """A machine that was taken away is never heard of again."""
        self.newcomer()
        self.wait()
        self.peers["d"].process.crash()
        self.network.crashed("d")
        self.network.remove("d")
        self.network.isolate("a")
        self.network.heal_all()
        self.wait()
        self.assertEqual(self.peers["a"].connected(), {"b", "c"})
