"""Small worlds, explored to the last interleaving: nothing breaks a rule, and much happens."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from random import Random
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from coord.errors import BadRequest
from coord.paxos.coverage import Coverage
from coord.paxos.durable import Durable, Save
from coord.paxos.effects import NOTHING, Effects
from coord.paxos.lease import quiet_seconds
from coord.paxos.membership import Configuration
from coord.paxos.replica import Replica
from coord.simulation.exploration.cli import main
from coord.simulation.exploration.lives import NOW, QUANTUM_SECONDS
from coord.simulation.exploration.picture import press, restore
from coord.simulation.exploration.search import Report, Search, Walks
from coord.simulation.exploration.story import broken, go, named, shortened, tell
from coord.simulation.exploration.world import FIRST, Bounds, Choice, Kind, State, World

STATES_MAX = 15_000
"""Where a search of all would take too long for a test."""
ELECTION = ("Canvass", "Endorse", "Prepare", "Promise")
LEADING = ("Accept", "Accepted", "Commit", "Beat", "BeatAnswer")


class Explorer(SynchronousTestCase):
    """Explores a world, and says what has to happen in it."""

    def explore(self, bounds: Bounds, *met: str, states_max: int = 1 << 30) -> Report:
        """Assert that no rule is broken, and that all that is asked for happened."""
        report = Search(bounds, states_max=states_max).run()
        self.assertEqual(report.flaw, "", report.describe())
        for what in met:
            self.assertGreater(report.counts[what], 0, f"{what} never happened")
        return report

    def whole(self, bounds: Bounds, *met: str) -> Report:
        """Assert the same, and that nothing was left out."""
        report = self.explore(bounds, *met)
        self.assertTrue(report.is_whole, report.describe())
        self.assertGreater(report.ends, 0)
        return report


class Exploring(Explorer):
    """What is explored in every run of the tests."""

    def test_election(self) -> None:
        """Three nodes elect one of them, and it has a value chosen, in whatever order."""
        bounds = Bounds(is_led=False, waits=0)
        report = self.whole(bounds, *arrivals(*ELECTION, *LEADING), "propose", "write")
        self.assertEqual(report.counts["most slots agreed"], 1)

    def test_two_nodes(self) -> None:
        """Two nodes, one of which crashes at any moment, agree on all there is."""
        bounds = Bounds(nodes=2, is_led=False, crashes=1)
        met = arrivals(*ELECTION, *LEADING, "Refuse")
        report = self.whole(bounds, *met, "crash", "write", "wait")
        self.assertEqual(report.counts["most slots agreed"], 1)

    def test_rival(self) -> None:
        """Who misses the leader stands against it at any moment, and both keep what is chosen."""
        bounds = Bounds(is_prompt=True)
        met = (*arrivals(*ELECTION, *LEADING, "Refuse"), "states with two leaders")
        self.explore(bounds, *met, states_max=STATES_MAX)

    def test_reads_without_leases(self) -> None:
        """Reads that trust no clock tell all that was chosen before, however clocks run."""
        bounds = Bounds(nodes=2, is_prompt=True, is_apart=True, reads=1)
        self.whole(bounds, *arrivals("Query", "Answer"), "pause", "read")

    def test_reads_with_leases(self) -> None:
        """A leader that reads by its lease tells all that was chosen, also when others stand."""
        bounds = Bounds(is_prompt=True, waits=2, reads=1)
        self.explore(bounds, "read", "states with two leaders", states_max=STATES_MAX)

    def test_everything(self) -> None:
        """As far as it goes in a moment, everything may happen at once."""
        bounds = Bounds(proposals=2, crashes=1, losses=1, repeats=1, waits=2, reads=1)
        kinds = ("crash", "lose", "repeat", "wait", "read", "write", "take", "propose")
        self.explore(bounds, *kinds, states_max=STATES_MAX // 2)

    def test_promise_known_by_a_beat(self) -> None:
        """An acceptor that knows a ballot by a beat alone saves it before it says it promised."""
        story = (
            "n1:propose n2:wait n1<n2:Canvass n2<n1:Endorse n1<n2:Prepare n2<n1:Promise"
            " n3<n2:Beat n3<n2:Prepare n3:crash n3<n1:Accept"
        )
        bounds = Bounds(crashes=1, is_prompt=True, is_ordered=False)
        self.assertEqual([flaw for *_, flaw in go(World(bounds), story.split()) if flaw], [])


class Changes(Explorer):
    """Who votes changes, while nodes crash and others stand against the leader."""

    def test_one_more(self) -> None:
        """Two nodes take in a third, and whoever leads then, all agree."""
        bounds = Bounds(voters=2, proposals=0, changes=(Configuration(("n1", "n2", "n3")),))
        bounds = attrs.evolve(bounds, is_prompt=True)
        met = (*arrivals(*ELECTION, *LEADING[:2]), "change", "wait", "states with two leaders")
        report = self.whole(bounds, *met)
        self.assertEqual(report.counts["most slots agreed"], 3)

    def test_swap(self) -> None:
        """One of two gives way to a third, and any of them may crash."""
        bounds = Bounds(voters=2, crashes=1, changes=(Configuration(("n1", "n3")),))
        bounds = attrs.evolve(bounds, is_prompt=True)
        self.explore(bounds, "change", "crash", "wait", states_max=STATES_MAX)

    def test_voters_that_a_new_leader_does_not_know(self) -> None:
        """Who leads by the former voters learns what the new ones have chosen, or gets nowhere.

        n1 has n4 vote in the place of n2, and a value chosen with n4. n3 stands, helped by n2, who
        knows that the change is chosen, or does not.
        """
        swap = Configuration(("n1", "n3", "n4"), ("n2",))
        bounds = Bounds(nodes=4, voters=3, proposals=2, changes=(swap,), is_prompt=True)
        for heard in ("", "n2<n1:Beat"):
            before = (
                f"n1:change n2<n1:Accept n1<n2:Accepted {heard} n4<n1:Accept n4<n1:Prepare"
                " n4<n1:Beat n1<n4:Accepted n1<n4:Promise n1<n4:BeatAnswer n1:propose"
                " n4<n1:Accept n1<n4:Accepted n3:wait n2<n3:Canvass n3<n2:Endorse n2<n3:Prepare"
                " n3<n2:Promise"
            )
            report = Search(bounds, steps=before.split(), states_max=STATES_MAX).run()
            self.assertEqual(report.flaw, "", report.describe())

    def test_read_before_the_new_voters_promised(self) -> None:
        """A leader reads nothing that voters who are new to it may have overtaken.

        n1 has n4 vote in the place of n2, and a value chosen with n4. n3, who knows neither, leads
        by the promises of n2, has the change chosen once more, and is asked to read just then.
        """
        swap = Configuration(("n1", "n3", "n4"), ("n2",))
        bounds = Bounds(
            nodes=4, voters=3, waits=3, crashes=1, reads=1, changes=(swap,), is_prompt=True
        )
        story = (
            "n1:change n2<n1:Accept n1<n2:Accepted n4<n1:Accept n4<n1:Prepare n4<n1:Beat"
            " n1<n4:Accepted n1<n4:Promise n1<n4:BeatAnswer n1:propose n4<n1:Accept n1<n4:Accepted"
            " n3:wait n2<n3:Canvass n3<n2:Endorse n2<n3:Prepare n3<n2:Promise n3:crash"
            " n1<n3:Canvass n1<n3:Prepare n1<n3:Beat n3:read n2<n3:Beat n1<n3:Accept n3<n1:Refuse"
            " n3<n1:Promise n2<n3:Accept n3<n1:BeatAnswer n3<n1:Accepted n3<n2:BeatAnswer n2:wait"
            " n3<n2:Accepted n3:wait n3<n2:Canvass n1<n3:Canvass n3<n1:Refuse n2<n3:Canvass"
            " n3<n2:Endorse n2<n3:Endorse n1<n3:Prepare n2<n3:Prepare n3<n2:Prepare n3<n2:Promise"
            " n1<n3:Beat n3<n1:Promise n1<n3:Accept n3<n1:BeatAnswer n3<n1:Accepted"
        )
        self.assertEqual([flaw for *_, flaw in go(World(bounds), story.split()) if flaw], [])
        self.patch(Coverage, "holds", lambda self, slot: True)
        self.assertEqual(broken(World(bounds), story.split())[0], "reads")

    def test_walks(self) -> None:
        """Long ways, by dice: a swap, crashes, losses, reads, whoever leads."""
        bounds = Bounds(voters=2, crashes=2, losses=2, waits=5, reads=2)
        bounds = attrs.evolve(bounds, changes=(Configuration(("n2", "n3")),))
        report = Walks(bounds, walks=60).run()
        self.assertEqual(report.flaw, "", report.describe())
        for what in ("change", "crash", "lose", "read", "wait", "announce", "propose"):
            self.assertGreater(report.counts[what], 0, f"{what} never happened")


def arrivals(*messages: str) -> tuple[str, ...]:
    """Return how a report calls that such messages arrived."""
    return tuple(f"take {message}" for message in messages)


class Twin:
    """The nodes of a world as replicas that live on and on, at clocks that go on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = NOW
        self.pending: dict[str, list[Save]] = {}
        self.replicas: dict[str, Replica] = {}
        header = world.lives.life(world.initial()[FIRST]).header
        for name in world.bounds.names:
            self.pending[name] = []
            self.replicas[name] = world.lives.start(name, Durable(header))
        self.now += quiet_seconds(world.bounds.timing.lease_seconds)

    def do(self, state: State, choice: Choice) -> None:
        """Do what the world does."""
        name = self.world.bounds.names[choice.node]
        replica, now = self.replicas[name], self.now
        match choice.kind:
            case Kind.TAKE:
                parcel = self.world.lives.parcel(choice.parcel)
                effects = replica.step(now, parcel.sender, parcel.message)
            case Kind.WRITE:
                effects = replica.saved(now, self.pending[name].pop(0).ticket)
            case Kind.PROPOSE:
                effects = replica.propose(now, (self.world.value(choice.kind, state),))
            case Kind.ANNOUNCE:
                effects = replica.announce(now, replica.untold())
            case _:
                effects = self.wait(replica)
        if effects.save is not None:
            self.pending[name].append(effects.save)

    def wait(self, replica: Replica) -> Effects:
        """Let time pass until a node has something to say."""
        was_leading = replica.is_leading
        effects = NOTHING
        while effects is NOTHING and replica.is_leading == was_leading:
            self.now += QUANTUM_SECONDS
            effects = replica.tick(self.now)
        return effects


class Exactness(SynchronousTestCase):
    """What is remembered in place of a replica is all of it."""

    def walk(self, seed: int) -> None:
        """Go any way, and hold each node against one that was never made a picture of."""
        dice, world = Random(seed), World(Bounds(proposals=3, waits=4, is_led=False))
        twin, state = Twin(world), world.initial()
        for _ in range(60):
            possible = sorted(named(world, state).items())
            if not possible:
                return
            _, choice = dice.choice(possible)
            twin.do(state, choice)
            state, flaw = world.perform(state, choice)
            self.assertEqual(flaw, "")
            for name, life in zip(world.bounds.names, state[FIRST:], strict=True):
                picture = world.lives.life(life).picture
                self.assertEqual(press(twin.replicas[name], twin.now), picture)

    def test_walks(self) -> None:
        """A replica made from its picture at each step goes on as one that lives on."""
        for seed in range(10):
            self.walk(seed)

    def test_round_trip(self) -> None:
        """A replica made from a picture has that picture, at whatever hour."""
        search = Search(Bounds(nodes=2, crashes=1, reads=1, is_led=False), states_max=2000)
        search.run()
        for number in range(len(search.world.lives)):
            picture = search.world.lives.life(number).picture
            self.assertEqual(press(restore(picture, 77.0), 77.0), picture)

    def test_shared(self) -> None:
        """What two parts of a replica share they share in the next one."""
        world = World(Bounds())
        replica: Any = restore(world.lives.life(world.initial()[FIRST]).picture, NOW)
        self.assertIs(replica._acceptor, replica._state.acceptor)


class Stories(SynchronousTestCase):
    """Stories can be read, gone again, and made shorter."""

    story = "n1:propose n2<n1:Accept n2:write n1<n2:Accepted n1:write"

    def test_told(self) -> None:
        """A story says what happens, and what comes of it."""
        lines = list(tell(World(Bounds()), self.story.split()))
        self.assertEqual(lines[0], "  1. n1 proposes a")
        self.assertIn("        n1 takes a as chosen in slot 1", lines)

    def test_impossible(self) -> None:
        """A step that cannot happen is told with those that can."""
        with self.assertRaisesRegex(BadRequest, "step 2, n2:propose, cannot .* n2<n1:Accept"):
            list(go(World(Bounds()), ["n1:propose", "n2:propose"]))

    def test_all_kinds(self) -> None:
        """Whatever may happen has a name of its own and is told in a sentence."""
        bounds = Bounds(
            crashes=1, losses=1, repeats=1, reads=1, waits=2, proposals=2, is_apart=True
        )
        story = (
            "n1:propose n2+n1:Accept n2<n1:Accept n3!n1:Accept n2:write n1<n2:Accepted n1:write"
            " n1:announce n2:crash n3:read n2:pause n1:wait"
        )
        told = "\n".join(tell(World(bounds), story.split()))
        for word in ("will once more", "lost on the way", "crashes", "asked to read", "longer"):
            self.assertIn(word, told)

    def test_shortened(self) -> None:
        """What a story needs not is left out."""
        world = World(Bounds(is_prompt=True))
        self.patch(World, "_is_durable", lambda *rest: False)
        story = ["n1:propose", "n3<n1:Accept", "n2<n1:Accept", "n1<n2:Accepted"]
        self.assertEqual(broken(world, story), ("durability", story))
        self.assertEqual(shortened(world, story), ["n1:propose", "n2<n1:Accept", "n1<n2:Accepted"])
        self.assertEqual(broken(world, ["n1:crash"]), ("", []))


class CommandLine(SynchronousTestCase):
    """``python -m coord.simulation.exploration``."""

    def run_main(self, *words: str) -> tuple[int, str]:
        """Return the status and what was printed."""
        out = StringIO()
        with redirect_stdout(out):
            status = main(words)
        return status, out.getvalue()

    def test_search(self) -> None:
        """A search says how much it met, and whether that is all."""
        status, out = self.run_main("--nodes", "2", "--waits", "0")
        self.assertEqual(status, 0)
        self.assertIn("states (all there are)", out)
        status, out = self.run_main("--depth", "3", "--after", "n1:propose n2<n1:Accept")
        self.assertIn("(cut short)", out)
        self.assertIn("deepest 3", out)

    def test_walks(self) -> None:
        """Walks are told of as what they are: some ways of all."""
        status, out = self.run_main("--change", "n1 n2 | n3", "--walks", "3", "--seed", "5")
        self.assertEqual(status, 0)
        self.assertIn("states (cut short)", out)
        self.assertIn("3 ends", out)

    def test_usage(self) -> None:
        """What cannot be is refused, with what could be."""
        for words in (["--change", "| n1"], ["--replay", "n1:propose n2:fly"]):
            with redirect_stderr(StringIO()), self.assertRaises(SystemExit) as raised:
                self.run_main(*words)
            self.assertEqual(raised.exception.code, 2)

    def test_violation(self) -> None:
        """What breaks a rule is told as a story, with what brings it back."""
        self.patch(World, "_is_durable", lambda *rest: False)
        status, out = self.run_main("--nodes", "2", "--prompt-disks")
        self.assertEqual(status, 1)
        self.assertIn("VIOLATED durability: slot 1", out)
        story = "n1:propose n2<n1:Accept n1<n2:Accepted"
        self.assertIn(f"--replay '{story}'", out)
        status, out = self.run_main("--nodes", "2", "--prompt-disks", "--replay", story)
        self.assertEqual(status, 1)
        self.assertIn("  => durability: slot 1", out)
