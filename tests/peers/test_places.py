"""Which of two links stays, who dials, and where: TLS links over wires in memory."""

from __future__ import annotations

from typing import cast

import msgspec
from twisted.logger import capturedLogs

from coord import limits
from coord.paxos.ballot import Ballot
from coord.peers.admission import Versions
from coord.peers.link import Link
from coord.peers.transport import Transport
from coord.replicator.interfaces import Unfit, Why
from coord.wire.peer import PROTOCOL, PROTOCOL_OLDEST
from tests.peers.nodes import ADDRESSES, NodesTestCase, warnings

NOWHERE = "nowhere:0"
LATE = limits.LATE_DIAL_SECONDS
SOON = limits.REDIAL_SECONDS_MAX + 0.1


class DirectionTests(NodesTestCase):
    """The first-named dials; the other one does where that does not help."""

    def dialler(self, one: str = "n1", other: str = "n2") -> str:
        """Return who dialled the one link that there is."""
        near, _ = self.wires.live(one, other)
        return near.node

    def story(self, one: str, other: str) -> list[str]:
        """Return what befell the links of two nodes, as one of them saw it."""
        return self.ears[one].links(other)

    def test_later_named(self) -> None:
        """A node that is not dialled dials by itself after a while, and the link lasts."""
        first = self.make("n1", peers={"n2": NOWHERE})
        second = self.make("n2", peers=ADDRESSES)
        self.start(first, second)
        self.wires.pass_time(LATE - 0.1)
        self.assertEqual(first.connected(), frozenset())
        self.wires.pass_time(0.2)
        self.assertEqual((first.connected(), second.connected()), ({"n2"}, {"n1"}))
        self.wires.pass_time(60.0, 0.1)
        self.assertEqual(self.story("n1", "n2"), ["up"])
        self.assertEqual(self.dialler(), "n2")

    def test_first_named_in_time(self) -> None:
        """Where the first-named dials in time the other one never does."""
        self.start_pair()
        self.wires.pass_time(30.0, 0.1)
        self.assertEqual(self.dialler(), "n1")
        self.assertEqual(len(self.wires.ends), 2)

    def test_broken_and_dialled_late_again(self) -> None:
        """A link that only the later-named can make is made again after a break."""
        first = self.make("n1", peers={"n2": NOWHERE})
        self.start(first, self.make("n2", peers=ADDRESSES))
        self.wires.pass_time(LATE + 0.1)
        self.wires.sever("n1", "n2")
        self.wires.heal("n1", "n2")
        self.wires.pass_time(LATE + 0.1)
        self.assertEqual(self.story("n1", "n2"), ["up", "down", "up"])

    def cross(self, *, late_first: bool) -> tuple[Transport, Transport]:
        """Let two nodes dial each other at one time; either connection is ahead of the other."""
        peers = {"n1": ADDRESSES["n1"], "n2": ADDRESSES["n2"]}
        first, second = self.make("n1", peers=peers), self.make("n2", peers=peers)
        self.successResultOf(second.start())
        self.wires.pass_time(LATE - 0.05)  # about to dial
        if late_first:
            self.wires.listen("n1", ADDRESSES["n1"], first._tls(None))
            self.clock.advance(0.1)
            for _ in range(3):
                for end in self.wires.ends:
                    end.deliver()
            self.successResultOf(first.start())
        else:
            self.successResultOf(first.start())
            self.clock.advance(0.1)
        return first, second

    def test_both_dial(self) -> None:
        """Of two links of one pair that of the first-named stays, at both ends, without a word."""
        for late_first in (False, True):
            self.setUp()
            with capturedLogs() as events:
                first, second = self.cross(late_first=late_first)
                self.assertGreater(len(self.wires.ends), 2)
                self.wires.pass_time(10.0)
            self.assertEqual((first.connected(), second.connected()), ({"n2"}, {"n1"}))
            self.assertEqual(self.dialler(), "n1")
            self.assertEqual(self.story("n1", "n2")[-1], "up")
            self.assertEqual(warnings(events), [])

    def test_new_life_dials_late(self) -> None:
        """A node that restarted is linked by its own dialling though an old link seems to be up."""
        first, _ = self.start_pair()
        for end in self.wires.ends:
            end.over = end.node == "n2"  # that machine is gone, and nobody was told
        self.wires.ends.clear()
        self.start(self.make("n2", incarnation=2, peers={"n1": ADDRESSES["n1"]}))
        self.wires.pass_time(LATE + 0.1)
        self.assertIn("up i=2", first.describe()[0])
        self.assertEqual(self.story("n1", "n2"), ["up", "down", "up"])

    def test_moved(self) -> None:
        """A node whose address is another one now is dialled there from the next time on."""
        first = self.make("n1", peers={"n2": "elsewhere:9"})
        second = self.make("n2", peers={"n1": NOWHERE})
        self.start(first, second)
        self.wires.pass_time(5.0)
        self.assertEqual(first.connected(), frozenset())
        first.move(ADDRESSES)
        self.wires.pass_time(0.1)
        self.assertEqual(first.connected(), {"n2"})
        first.move({**ADDRESSES, "n2": "elsewhere:9"})
        self.wires.pass_time(5.0)
        self.assertEqual(self.story("n1", "n2"), ["up"])
        self.wires.sever("n1", "n2")
        self.wires.heal("n1", "n2")
        self.wires.pass_time(5.0)
        self.assertEqual(self.story("n1", "n2"), ["up", "down"])

    def test_moved_before_the_start(self) -> None:
        """Who is named before the start is dialled at the start and not sooner."""
        first = self.make("n1", peers={})
        first.move(ADDRESSES)
        self.wires.pass_time(5.0)
        self.assertEqual(self.wires.ends, [])
        self.start(first, self.make("n2", peers={"n1": NOWHERE}))
        self.assertEqual(first.connected(), {"n2"})

    def test_new_and_gone_before_it_is_up(self) -> None:
        """A node that ceases to be a member while it says Hello gets no link."""
        first, second = self.make("n1"), self.make("n2")
        self.start(second)
        admit = second.admit

        def forgetful(link: object, hello: object) -> object:
            welcome = admit(link, hello)  # type: ignore[arg-type]
            second.move({})
            return welcome

        self.patch(second, "admit", forgetful)
        self.start(first)
        self.wires.pass_time(2.0)
        self.assertEqual(self.ears["n2"].story, [])
        self.assertEqual(second.connected(), frozenset())

    def test_stop_while_it_waits(self) -> None:
        """A node that stops before it would dial late never dials, and leaves no call behind."""
        node = self.make("n2", peers={"n1": ADDRESSES["n1"]})
        self.start(node)
        self.successResultOf(node.stop())
        self.wires.pass_time(10.0, 0.1)
        self.assertEqual(self.wires.ends, [])
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.active()], [])


class VersionTests(NodesTestCase):
    """Nodes of two releases speak what both know, or part with one clear line each."""

    PAIR = {"n1": NOWHERE, "n2": ADDRESSES["n2"]}

    def meet(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[Transport, Transport]:
        """Start two nodes that speak these versions."""
        first = self.make("n1", peers=self.PAIR, versions=Versions(*one), judged=True)
        second = self.make("n2", peers=self.PAIR, versions=Versions(*other), judged=True)
        self.start(first, second)
        self.wires.pass_time(5.0)
        return first, second

    def test_versions_that_meet(self) -> None:
        """Each pair of releases next to each other speaks the newest version that both know."""
        for one, other, spoken in (
            ((4, 4), (4, 5), 4),
            ((4, 5), (4, 4), 4),
            ((5, 5), (4, 5), 5),
            ((4, 5), (5, 6), 5),
            ((PROTOCOL_OLDEST, PROTOCOL), (PROTOCOL_OLDEST, PROTOCOL), PROTOCOL),
        ):
            self.setUp()
            first, second = self.meet(one, other)
            self.assertEqual(first.cards()["n2"].protocol, spoken)
            self.assertEqual(second.cards()["n1"].protocol, spoken)
            first.send("n2", b"frame")
            self.wires.pump()
            self.assertEqual(self.ears["n2"].frames, [("n1", b"frame")])

    def test_versions_that_do_not_meet(self) -> None:
        """Releases that have no version in common get no link, and both logs say so, once."""
        for one, other in (((6, 6), (4, 5)), ((4, 5), (6, 7))):
            self.setUp()
            with capturedLogs() as events:
                first, second = self.meet(one, other)
            self.assertEqual(first.connected() | second.connected(), frozenset())
            lines = warnings(events)
            self.assertEqual(len(lines), 2, lines)
            for line in lines:
                self.assertIn("of the peers' protocol", line)
                self.assertIn("versions 4 to 5", line)
                self.assertIn("leave none out", line)

    def test_no_late_dial_to_an_old_release(self) -> None:
        """A node of a release that knows one direction only is not dialled against it."""
        old, new = (
            self.make(name, versions=Versions(4, 4 + turn))
            for turn, name in enumerate(("n1", "n2"))
        )
        self.start(old, new)
        self.assertEqual(new.connected(), {"n1"})
        self.wires.close(ADDRESSES["n2"])
        self.wires.sever("n1", "n2")
        self.wires.heal("n1", "n2")
        self.wires.pass_time(5.0)
        self.assertEqual(self.ears["n2"].links("n1"), ["up", "down"])


class CardTests(NodesTestCase):
    """What nodes say of themselves, and of each other."""

    PAIR = {"n1": NOWHERE, "n2": ADDRESSES["n2"]}

    def pair(self) -> tuple[Transport, Transport]:
        """Return two nodes with judges, not started."""
        first, second = (self.make(name, peers=self.PAIR, judged=True) for name in ("n1", "n2"))
        return first, second

    def test_all_of_it(self) -> None:
        """Everything that a card says reaches the other node, as it is when the link is made."""
        first, second = self.pair()
        self.judges["n1"].own = said = msgspec.structs.replace(
            self.judges["n1"].own, promised=Ballot(7, "n1"), reach=41, slot=64, is_observer=True
        )
        self.start(first, second)
        self.assertEqual(second.cards()["n1"], msgspec.structs.replace(said, protocol=PROTOCOL))

    def test_guest(self) -> None:
        """A guest is shown as such, with the address that it told, and forgotten when it goes."""
        first = self.make("n1", peers={"n2": ADDRESSES["n2"]}, judged=True)
        second = self.make("n2", peers={}, judged=True)
        self.start(first, second)
        self.assertIn("n1 guest n1:7 up", second.describe()[0])
        self.wires.sever("n1", "n2")
        self.assertEqual(second.describe(), [])

    def test_both_logs(self) -> None:
        """Both logs say, in the judge's words and once, why a node gets no link."""
        first, second = self.pair()
        self.judges["n2"].verdicts["n1"] = Unfit(Why.STRANGER, "n1 is no member", 9)
        with capturedLogs() as events:
            self.start(first, second)
            self.wires.pass_time(30.0)
        lines = warnings(events)
        self.assertEqual(len(lines), 2, lines)
        for line in lines:
            self.assertIn("n1 is no member", line)

    def test_refusal_of_nobody(self) -> None:
        """Who did not prove who it is cannot disown a node."""
        first, second = self.pair()
        self.start(first, second)
        link = cast(Link, second.make_link(None, None))
        link._close = lambda why: None  # type: ignore[method-assign]
        link._refused(b"\x94\xa7refused\xa2no\xa8set back\x07")
        self.assertEqual(self.judges["n2"].refusals, [])
