"""What every provider of ``IPeers`` has to do: TLS links and the simulator's network alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.replicator.interfaces import Card, IPeers, Unfit, Why
from coord.wire.peer import PROTOCOL

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Examination
else:
    Examination = object

NODES = ("n1", "n2", "n3")
LONG_SECONDS = 30.0
"""Time for every break to be noticed and every link to be made again."""
JUNK = b"junk"
"""What `Ear` takes for no message."""


class Ear:
    """Hears what the links of one node have to say."""

    def __init__(self) -> None:
        self.story: list[tuple[str, str]] = []
        """``("up", peer)``, ``("down", peer)``, ``("frame", sender)``, in order."""
        self.frames: list[tuple[str, bytes]] = []

    def received(self, sender: str, frame: bytes) -> None:
        """Note a frame; refuse junk."""
        if frame == JUNK:
            raise ValueError("junk")
        self.story.append(("frame", sender))
        self.frames.append((sender, frame))

    def connected(self, peer: str) -> None:
        """Note a link."""
        self.story.append(("up", peer))

    def disconnected(self, peer: str) -> None:
        """Note the end of a link."""
        self.story.append(("down", peer))

    def links(self, peer: str) -> list[str]:
        """Return what befell the links with one peer."""
        return [what for what, who in self.story if who == peer and what != "frame"]


class Judge:
    """Decides on the links of one node."""

    def __init__(self, name: str) -> None:
        self.own = Card(node=name, incarnation=1, disk=f"disk of {name}", address=f"{name}:7")
        self.verdicts: dict[str, Unfit] = {}
        """Why nodes are not wanted, by their names."""
        self.seen: list[Card] = []
        self.refusals: list[tuple[str, Unfit]] = []
        """Who does not want this node, and why."""

    def card(self) -> Card:
        """Return what the node says of itself."""
        return self.own

    def judge(self, card: Card) -> Unfit | None:
        """Return the verdict that the test has put there."""
        self.seen.append(card)
        return self.verdicts.get(card.node)

    def disowned(self, peer: str, unfit: Unfit) -> None:
        """Note it."""
        self.refusals.append((peer, unfit))


SET_BACK = Unfit(Why.SET_BACK, "its disk was set back", 42)


class PeersContract(Examination):
    """The examination; a provider's test case mixes it in and says how its world goes on."""

    def node(self, name: str) -> tuple[IPeers, Ear]:
        """Return one of `NODES`, which has been started, and who hears of its links."""
        raise NotImplementedError

    def judge(self, name: str) -> Judge:
        """Return who decides on the links of a node."""
        raise NotImplementedError

    def where(self, *names: str) -> dict[str, str]:
        """Return where these nodes are."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with all that happens meanwhile."""
        raise NotImplementedError

    def sever(self, one: str, other: str) -> None:
        """Break the network between two nodes."""
        raise NotImplementedError

    def heal(self, one: str, other: str) -> None:
        """Mend the network between two nodes."""
        raise NotImplementedError

    def test_all_find_each_other(self) -> None:
        """Soon after the start every node has a link to every other one."""
        self.pass_time(LONG_SECONDS)
        for name in NODES:
            peers, ear = self.node(name)
            others = set(NODES) - {name}
            self.assertEqual(peers.connected(), others)
            self.assertEqual(sorted(ear.story), sorted(("up", other) for other in others))

    def test_frames_arrive_whole_and_in_order(self) -> None:
        """Frames of any size arrive as they were sent, in order, with their sender's name."""
        self.pass_time(LONG_SECONDS)
        frames = [bytes((turn,)) * size for turn, size in enumerate((1, 150, 70_000, 1, 40_000))]
        for frame in frames:
            self.node("n1")[0].send("n2", frame)
            self.node("n2")[0].send("n1", frame)
        self.pass_time(1.0)
        self.assertEqual(self.node("n2")[1].frames, [("n1", frame) for frame in frames])
        self.assertEqual(self.node("n1")[1].frames, [("n2", frame) for frame in frames])
        self.assertEqual(self.node("n3")[1].frames, [])

    def test_nothing_happens_inside_send(self) -> None:
        """A frame never reaches anyone while it is being sent."""
        self.pass_time(LONG_SECONDS)
        self.node("n1")[0].send("n2", b"frame")
        self.assertEqual(self.node("n2")[1].frames, [])

    def test_strangers_get_nothing(self) -> None:
        """A frame for a node that there is no link to is dropped without a word."""
        self.node("n1")[0].send("n2", b"too early")
        self.pass_time(LONG_SECONDS)
        self.assertEqual(self.node("n2")[1].frames, [])

    def test_a_break_is_told_to_both(self) -> None:
        """When the network breaks, both nodes hear of it, and of no other link."""
        self.pass_time(LONG_SECONDS)
        self.sever("n1", "n2")
        self.pass_time(LONG_SECONDS)
        for name, other in (("n1", "n2"), ("n2", "n1")):
            peers, ear = self.node(name)
            self.assertEqual(ear.links(other), ["up", "down"])
            self.assertEqual(ear.links("n3"), ["up"])
            self.assertEqual(peers.connected(), {"n3"})

    def test_frames_do_not_outlive_their_link(self) -> None:
        """What was sent while the network was broken does not arrive when it is mended."""
        self.pass_time(LONG_SECONDS)
        self.sever("n1", "n2")
        self.pass_time(LONG_SECONDS)
        self.node("n1")[0].send("n2", b"lost")
        self.heal("n1", "n2")
        self.pass_time(LONG_SECONDS)
        self.node("n1")[0].send("n2", b"found")
        self.pass_time(1.0)
        self.assertEqual(self.node("n2")[1].frames, [("n1", b"found")])
        self.assertEqual(self.node("n2")[1].links("n1"), ["up", "down", "up"])

    def test_up_comes_first(self) -> None:
        """A node hears of a link before it hears anything on it."""
        self.pass_time(LONG_SECONDS)
        self.node("n3")[0].send("n1", b"frame")
        self.pass_time(1.0)
        story = [(what, who) for what, who in self.node("n1")[1].story if who == "n3"]
        self.assertEqual(story, [("up", "n3"), ("frame", "n3")])

    def test_junk_closes_the_link(self) -> None:
        """A frame that is no message closes its link; another link takes its place."""
        self.pass_time(LONG_SECONDS)
        self.node("n1")[0].send("n2", b"good")
        self.node("n1")[0].send("n2", JUNK)
        self.pass_time(LONG_SECONDS)
        self.assertEqual(self.node("n2")[1].frames, [("n1", b"good")])
        for name, other in (("n1", "n2"), ("n2", "n1")):
            self.assertEqual(self.node(name)[1].links(other), ["up", "down", "up"])

    def test_cards(self) -> None:
        """Whoever there is a link with has said of itself what its judge says, and nobody else."""
        self.assertEqual(self.node("n1")[0].cards(), {})
        self.pass_time(LONG_SECONDS)
        for name in NODES:
            cards = self.node(name)[0].cards()
            others = set(NODES) - {name}
            self.assertEqual(set(cards), others)
            for other in others:
                said = cards[other]
                self.assertEqual((said.node, said.disk), (other, f"disk of {other}"))
                self.assertEqual(said.protocol, PROTOCOL)
                self.assertIn(said, self.judge(name).seen)
        self.sever("n1", "n2")
        self.pass_time(LONG_SECONDS)
        self.assertEqual(set(self.node("n1")[0].cards()), {"n3"})

    def test_unfit(self) -> None:
        """A node that is judged unfit gets no link and hears why, whichever of the two it is."""
        for judging, judged in (("n1", "n2"), ("n3", "n1")):
            self.judge(judging).verdicts[judged] = SET_BACK
        self.pass_time(LONG_SECONDS)
        for judging, judged in (("n1", "n2"), ("n3", "n1")):
            self.assertNotIn(judged, self.node(judging)[0].connected())
            self.assertNotIn(judging, self.node(judged)[0].connected())
            self.assertEqual(self.node(judging)[1].links(judged), [])
            self.assertEqual(set(self.judge(judged).refusals), {(judging, SET_BACK)})
        self.assertEqual(self.node("n2")[0].connected(), {"n3"})

    def test_fit_again(self) -> None:
        """A node that was unfit gets its link once it is fit."""
        self.judge("n2").verdicts["n1"] = SET_BACK
        self.pass_time(LONG_SECONDS)
        self.judge("n2").verdicts.clear()
        self.pass_time(LONG_SECONDS)
        self.assertIn("n2", self.node("n1")[0].connected())
        self.assertIn("n1", self.node("n2")[0].connected())

    def test_part(self) -> None:
        """A link is closed where its owner says so, the other end is told why, later."""
        self.pass_time(LONG_SECONDS)
        peers, ear = self.node("n2")
        self.judge("n2").verdicts["n1"] = SET_BACK
        peers.part("n1", SET_BACK)
        self.assertEqual(ear.links("n1"), ["up"])
        self.pass_time(LONG_SECONDS)
        self.assertEqual(ear.links("n1"), ["up", "down"])
        self.assertEqual(self.node("n1")[1].links("n2")[:2], ["up", "down"])
        self.assertNotIn("n2", self.node("n1")[0].connected())
        self.assertIn(("n2", SET_BACK), self.judge("n1").refusals)
        peers.part("n1", SET_BACK)
        self.assertEqual(self.node("n3")[1].links("n2"), ["up"])

    def test_part_from_the_fit(self) -> None:
        """A link that was closed is made anew where nothing speaks against it any more."""
        self.pass_time(LONG_SECONDS)
        self.node("n1")[0].part("n2", SET_BACK)
        self.pass_time(LONG_SECONDS)
        for name, other in (("n1", "n2"), ("n2", "n1")):
            self.assertEqual(self.node(name)[1].links(other), ["up", "down", "up"])

    def test_move_away(self) -> None:
        """Who is no member any more gets what was queued for it, and no link after that."""
        self.pass_time(LONG_SECONDS)
        self.judge("n1").verdicts["n2"] = SET_BACK
        peers, ear = self.node("n1")
        peers.send("n2", b"you are out")
        peers.move(self.where("n1", "n3"))
        self.pass_time(LONG_SECONDS)
        self.assertEqual(self.node("n2")[1].frames, [("n1", b"you are out")])
        self.assertEqual(ear.links("n2"), ["up", "down"])
        self.assertEqual(ear.links("n3"), ["up"])
        self.assertEqual(peers.connected(), {"n3"})
        self.assertNotIn("n1", self.node("n2")[0].connected())

    def test_move_back(self) -> None:
        """Who is a member again has a link again."""
        self.pass_time(LONG_SECONDS)
        for name in ("n1", "n2"):
            self.node(name)[0].move(self.where("n3"))
        self.judge("n1").verdicts["n2"] = self.judge("n2").verdicts["n1"] = SET_BACK
        self.pass_time(LONG_SECONDS)
        self.assertEqual(self.node("n2")[0].connected(), {"n3"})
        self.judge("n1").verdicts.clear()
        self.judge("n2").verdicts.clear()
        for name in ("n1", "n2"):
            self.node(name)[0].move(self.where(*NODES))
        self.pass_time(LONG_SECONDS)
        for name, other in (("n1", "n2"), ("n2", "n1")):
            self.assertEqual(self.node(name)[1].links(other), ["up", "down", "up"])

    def test_a_stranger_knocks(self) -> None:
        """A node that nobody named gets a link where it dials and is found fit."""
        for name in ("n1", "n2"):
            self.node(name)[0].move(self.where(*NODES[:2]))
        self.pass_time(LONG_SECONDS)
        for name in ("n1", "n2"):
            self.assertIn("n3", self.node(name)[0].connected())
            self.assertIn("n3", self.node(name)[0].cards())
            self.node(name)[0].send("n3", b"welcome")
        self.pass_time(1.0)
        self.assertEqual(len(self.node("n3")[1].frames), 2)
