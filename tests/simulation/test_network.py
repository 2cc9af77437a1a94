"""Links that can be cut, and what becomes of the frames on them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.simulation.network import Mix, Network, SimulatedPeers
from coord.simulation.world import Machine, Process, World

CALM = Mix()
WILD = Mix(ordered=False, loss_rate=0.3, repeat_rate=0.3, spread_seconds=0.01)


class Ear:
    """Hears what links have to say."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, bytes]] = []

    def received(self, sender: str, frame: bytes) -> None:
        """Note a frame; refuse one that says so."""
        if frame == b"junk":
            raise ValueError("junk")
        self.heard.append(("frame", sender, frame))

    def connected(self, peer: str) -> None:
        """Note a link."""
        self.heard.append(("up", peer, b""))

    def disconnected(self, peer: str) -> None:
        """Note the end of a link."""
        self.heard.append(("down", peer, b""))

    def frames(self) -> list[bytes]:
        """Return the frames alone."""
        return [frame for kind, _peer, frame in self.heard if kind == "frame"]


class Links(SynchronousTestCase):
    """Three nodes on a network."""

    def build(self, mix: Mix, seed: int = 1) -> None:
        """Start three nodes and wait until they have found each other."""
        self.world = World(seed)
        self.network = Network(self.world, ("a", "b", "c"), mix)
        self.machines = {name: Machine(self.world, name) for name in ("a", "b", "c")}
        self.ears: dict[str, Ear] = {}
        self.peers: dict[str, SimulatedPeers] = {}
        for name in self.machines:
            self.start(name)
        self.world.run(1.0)

    def start(self, name: str) -> None:
        """Begin a life of one node."""
        self.ears[name] = Ear()
        self.peers[name] = self.network.join(Process(self.machines[name]))
        self.peers[name].observe(self.ears[name])

    def crash(self, name: str) -> None:
        """End it."""
        self.peers[name].process.crash()
        self.network.crashed(name)

    def wait(self, seconds: float = 10.0) -> None:
        """Let time go on."""
        self.world.run(self.world.now + seconds)

    def test_everyone_finds_everyone(self) -> None:
        """Links come up by themselves, and both ends hear of it once."""
        self.build(CALM)
        self.assertEqual(sorted(self.ears["a"].heard), [("up", "b", b""), ("up", "c", b"")])
        self.assertEqual(self.peers["b"].connected(), {"a", "c"})

    def test_in_order(self) -> None:
        """On a good network all frames arrive, in order."""
        self.build(CALM)
        sent = [b"%d" % number for number in range(100)]
        for frame in sent:
            self.peers["a"].send("b", frame)
        self.wait()
        self.assertEqual(self.ears["b"].frames(), sent)

    def test_wild(self) -> None:
        """On a bad one frames are lost, repeated and overtaken, and none is invented."""
        self.build(WILD)
        sent = [b"%d" % number for number in range(300)]
        for frame in sent:
            self.peers["a"].send("b", frame)
        self.wait()
        arrived = self.ears["b"].frames()
        self.assertLess(len(set(arrived)), 300)
        self.assertGreater(len(arrived), len(set(arrived)))
        self.assertNotEqual(arrived, sorted(arrived, key=int))
        self.assertTrue(set(arrived) <= set(sent))

    def test_cut_one_way(self) -> None:
        """A wire cut one way lets the other way through, until the link is given up."""
        self.build(CALM)
        self.network.cut("a", "b")
        self.peers["a"].send("b", b"lost")
        self.peers["b"].send("a", b"through")
        self.wait(0.01)
        self.assertEqual(self.ears["b"].frames(), [])
        self.assertEqual(self.ears["a"].frames(), [b"through"])
        self.wait()
        self.assertEqual(self.peers["a"].connected(), {"c"})
        self.assertIn(("down", "a", b""), self.ears["b"].heard)
        self.network.heal("a", "b")
        self.wait()
        self.assertEqual(self.ears["b"].heard[-1], ("up", "a", b""))
        self.assertEqual(self.ears["b"].frames(), [])

    def test_short_cut(self) -> None:
        """A link that nobody gave up goes on after a short cut, with all that was held back."""
        self.build(CALM)
        self.network.sever("a", "b")
        self.peers["a"].send("b", b"1")
        self.peers["a"].send("b", b"2")
        self.wait(0.01)
        self.network.heal_all()
        self.wait()
        self.assertEqual(self.ears["b"].frames(), [b"1", b"2"])
        self.assertNotIn(("down", "a", b""), self.ears["b"].heard)

    def test_isolate(self) -> None:
        """An isolated node loses all its links, the others keep theirs."""
        self.build(CALM)
        self.network.isolate("a")
        self.wait()
        self.assertEqual(self.peers["a"].connected(), set())
        self.assertEqual(self.peers["b"].connected(), {"c"})

    def test_crash_and_return(self) -> None:
        """A node that crashed is missed, and found again once it is back."""
        self.build(CALM)
        self.crash("a")
        self.wait()
        self.assertEqual(self.peers["b"].connected(), {"c"})
        self.start("a")
        self.wait()
        self.assertEqual(self.peers["b"].connected(), {"a", "c"})
        self.assertEqual(self.peers["a"].connected(), {"b", "c"})

    def test_no_frame_for_a_later_life(self) -> None:
        """What was sent to one life of a node never reaches the next, on any network."""
        for seed in range(20):
            self.build(WILD if seed % 2 else CALM, seed)
            for _ in range(10):
                self.peers["b"].send("a", b"for the first life")
            self.crash("a")
            self.start("a")
            self.wait()
            self.assertEqual(self.ears["a"].frames(), [])
            self.assertEqual(self.peers["b"].connected(), {"a", "c"})

    def test_junk(self) -> None:
        """A link whose frame is refused ends, and another comes up."""
        self.build(CALM)
        self.peers["a"].send("b", b"junk")
        self.wait()
        self.assertEqual(
            [kind for kind, peer, _ in self.ears["b"].heard if peer == "a"], ["up", "down", "up"]
        )
