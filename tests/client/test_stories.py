"""Whatever befalls the servers: no write done twice, no lock held by two, and all goes on after."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from coord import commands
from coord.client import Client, Lock
from coord.errors import BadRequest, CoordError, Unavailable, Unknown
from coord.events import SessionEvent
from coord.limits import EXPIRY_GRACE_SECONDS
from coord.replicator.interfaces import IAttachment
from tests.client.case import ClientCase
from tests.client.wires import End, Server, settle, share_sessions

FATES = ["kill", "start", "drop", "freeze", "thaw", "mute", "speak", "hold", "release"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(FATES), st.sampled_from([0, 1])),
        st.tuples(st.sampled_from(["ask", "let go", "end"]), st.sampled_from([0, 1])),
        st.tuples(st.sampled_from(["cut", "mend"]), st.sampled_from([0, 1])),
        st.tuples(st.sampled_from(["moment", "while", "while"]), st.just(0)),
    ),
    max_size=60,
)


@implementer(IStreamClientEndpoint)
class Road:
    """One client's way to a server, which may be cut for that client alone."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_cut = False
        self.wires: list[End] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Connect, unless the way is cut."""
        if self.is_cut:
            return fail(ConnectError(string="no way"))
        connected = self.server.connect(protocolFactory)
        if self.server.is_up:
            self.wires.append(self.server.wires[-1])
        return connected

    def cut(self) -> None:
        """Let nothing pass any more, without a word to either end."""
        self.is_cut = True
        for wire in self.wires:
            wire.is_frozen = wire.far.is_frozen = True

    def mend(self) -> None:
        """Let new connections be made; those that were cut are gone."""
        if self.is_cut:
            self.is_cut = False
            for wire in self.wires:
                wire.cut(ConnectionLost())
            self.wires.clear()


class Heard:
    """A hold on a session that is heard of only by a server that has a quorum."""

    def __init__(self, hold: IAttachment, server: Server, note: Callable[[], None]) -> None:
        self._hold = hold
        self._server = server
        self._note = note

    def touch(self) -> None:
        """Take note, if there is a quorum."""
        if self._server.coordinator.quorum:
            self._note()

    def keep(self, told: Callable[[CoordError | None], None]) -> None:
        """Take note, if there is a quorum."""
        self.touch()
        self._hold.keep(told)

    def detach(self) -> None:
        """Let go."""
        self._hold.detach()


class StoryCase(ClientCase):
    """Two servers whose sessions expire by the clock, as a leader would have it."""

    def begin(self) -> None:
        """Start anew."""
        ClientCase.setUp(self)
        self.servers = (self.first, self.second)
        share_sessions(*(server.coordinator for server in self.servers))
        self.heard: dict[str, float] = {}
        self.roads: list[list[Road]] = []
        for server in self.servers:
            self.listen(server)

    def client_over_roads(self, *servers: Server) -> Client:
        """Return a client that can be cut off from all."""
        roads = [Road(server) for server in servers]
        self.roads.append(roads)
        client = Client(self.clock, roads, dice=random.Random(1))
        self.clients.append(client)
        return client

    def listen(self, server: Server) -> None:
        """Have a server note when it hears of a session."""
        plain = server.coordinator.attach

        def attach(session: str, told: Callable[[SessionEvent], None], *, own: bool) -> IAttachment:
            def note() -> None:
                self.heard[session] = self.clock.seconds()

            held: Any = Heard(plain(session, told, own=own), server, note)
            held.touch()
            return held  # type: ignore[no-any-return]

        server.coordinator.attach = attach  # type: ignore[method-assign]

    def expire_overdue(self) -> None:
        """Let sessions expire of which nothing was heard for long enough."""
        now = self.clock.seconds()
        for session, timeout_ms in [*self.store.timeouts_ms.items()]:
            heard = self.heard.setdefault(session, now)
            if now > heard + timeout_ms / 1000 + EXPIRY_GRACE_SECONDS:
                self.first.coordinator.perform([commands.Lapse((session,))], lambda _: None)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, a little at a time; sessions expire, and promises are looked at."""
        settle(self.clock)
        self.look()
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            settle(self.clock)
            self.expire_overdue()
            settle(self.clock)
            self.look()

    def look(self) -> None:
        """See that nothing was promised in vain."""

    def befall(self, fate: str, number: int) -> None:
        """Have something befall a server."""
        server = self.servers[number]
        coordinator = server.coordinator
        match fate:
            case "kill" | "start" | "drop" | "freeze" | "thaw":
                getattr(server, fate)()
            case "mute" | "speak":
                coordinator.quorum = fate == "speak"
            case "hold":
                coordinator.holding = True
            case "release":
                coordinator.holding = False
                coordinator.release()
            case "cut" | "mend":
                for road in self.roads[min(number, len(self.roads) - 1)]:
                    getattr(road, fate)()
            case "moment":
                self.pass_time(0.15)
            case "while":
                self.pass_time(2)

    def heal(self) -> None:
        """Let all be well again."""
        for number in (0, 1):
            for fate in ("start", "thaw", "speak", "release", "mend"):
                self.befall(fate, number)


class Writes(StoryCase):
    """Writes of a client with a session."""

    def test_any_story(self) -> None:
        """Every write is done once, or not at all, as its answer says."""

        @settings(max_examples=40, deadline=None)
        @given(STEPS)
        def tell(story: list[tuple[str, int]]) -> None:
            self.begin()
            client = self.client_over_roads(self.first, self.second)
            client.session(timeout_seconds=6)
            asked: list[Deferred[Any]] = []
            for fate, number in story:
                if fate in ("ask", "let go", "end"):
                    for _ in range(3):
                        value = b"%d" % len(asked)
                        asked.append(client.add("/n-", value, sequential=True))
                        asked[-1].addErrback(lambda failure: failure.value)
                else:
                    self.befall(fate, number)
            self.heal()
            self.pass_time(14)
            self.judge(asked, client)
            self.farewell()

        tell()

    def judge(self, asked: list[Deferred[Any]], client: Client) -> None:
        """Compare what was answered with what is there."""
        rows = self.within(5, client.walk("/n-*")).rows
        there = Counter(row.value for row in rows)
        paths = {row.value: row.path for row in rows}
        for number, one in enumerate(asked):
            answer, value = self.successResultOf(one), b"%d" % number
            self.assertLessEqual(there[value], 1, value)
            if isinstance(answer, Unknown):
                continue
            if isinstance(answer, CoordError):
                self.assertIsInstance(answer, Unavailable)
                self.assertEqual(there[value], 0, value)
            else:
                self.assertEqual(paths[value], answer.path)


class Locks(StoryCase):
    """Two clients that want one lock."""

    def begin(self) -> None:
        """Start anew."""
        super().begin()
        self.wanting = [
            self.client_over_roads(self.first, self.second),
            self.client_over_roads(self.second, self.first),
        ]
        self.held: list[Lock | None] = [None, None]
        self.asking: list[Deferred[Any] | None] = [None, None]
        self.tokens: list[int] = []

    def look(self) -> None:
        """See that no two hold the lock, and that who holds it is whom the store says."""
        holding = [lock for lock in self.held if lock is not None and lock.is_held]
        self.assertLessEqual(len(holding), 1)
        for lock in holding:
            (row,) = self.store.locks()
            holders = [place.session for place in row.holders if not place.is_lost]
            self.assertEqual(holders, [lock.session.id])

    def ask(self, number: int) -> None:
        """Ask for the lock, unless that is done already."""
        client = self.wanting[number]
        lock = self.held[number]
        if self.asking[number] is None and (lock is None or not lock.is_held):
            try:
                client.session(timeout_seconds=3)
            except BadRequest:
                return  # the one it has is being ended
            asking = self.asking[number] = client.lock("/l", wait_seconds=None)
            asking.addBoth(self.told, number)

    def end(self, number: int) -> None:
        """End the session, if there is one that is not being ended."""
        with contextlib.suppress(BadRequest):
            self.wanting[number].session(timeout_seconds=3).end()

    def told(self, outcome: Any, number: int) -> None:
        """Hear that it is had, or not."""
        self.asking[number] = None
        if isinstance(outcome, Lock):
            self.held[number] = outcome
            self.tokens.append(outcome.token)
            self.look()

    def let_go(self, number: int) -> None:
        """Release the lock, or give the place up."""
        lock, asking = self.held[number], self.asking[number]
        if asking is not None:
            asking.cancel()
        elif lock is not None:
            lock.release().addErrback(lambda _: None)

    def test_any_story(self) -> None:
        """No two ever hold the lock, tokens grow, and in the end both can have it."""

        @settings(max_examples=40, deadline=None)
        @given(STEPS)
        def tell(story: list[tuple[str, int]]) -> None:
            self.begin()
            for fate, number in story:
                match fate:
                    case "ask":
                        self.ask(number)
                    case "let go":
                        self.let_go(number)
                    case "end":
                        self.end(number)
                    case _:
                        self.befall(fate, number)
                self.look()
            self.heal()
            for number in (0, 1):
                self.let_go(number)
            self.pass_time(15)
            for number in (0, 1):
                self.ask(number)
                self.pass_time(1)
                lock = self.held[number]
                self.assertTrue(lock is not None and lock.is_held, f"{number} can have it")
                self.let_go(number)
                self.pass_time(1)
            self.assertEqual(self.tokens, sorted(set(self.tokens)))
            self.farewell()

        tell()
