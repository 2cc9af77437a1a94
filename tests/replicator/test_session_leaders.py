"""Sessions while leaders change: kept, in jeopardy, and expired at one revision everywhere."""

from __future__ import annotations

from coord.commands import Lapse
from coord.errors import SessionExpired, Unavailable
from coord.events import Trouble
from coord.paxos.messages import Accept
from coord.wire import peer as wire
from coord.wire import values
from coord.wire.peer import Renew, Renewed
from tests.replicator.session_case import SessionCase


class Leaders(SessionCase):
    """When leaders change."""

    def setUp(self) -> None:
        """Begin with three nodes."""
        super().setUp()
        self.found(3)

    def test_full_timeout(self) -> None:
        """A new leader gives every session its full timeout from when it begins."""
        leader, (name, _) = self.leader(), self.followers()
        client = self.open(name, 2.0)
        client.attachment.detach()
        self.advance(1.8)
        self.crash(leader)
        self.elect()
        self.assert_ends(client.session, 2.0)

    def test_kept_over(self) -> None:
        """A keep that was confirmed by the one holds with the other; nobody notices an election."""
        leader, (name, _) = self.leader(), self.followers()
        client, own = self.open(name, 4.0), self.open(name, 4.0, own=True)
        client.keep()
        self.advance(0.1)
        self.assertEqual(client.kept, [None])
        self.crash(leader)
        self.advance(3.8)
        self.assertTrue(self.is_open(client.session))
        self.advance(20.0)
        self.assertFalse(self.is_open(client.session))
        self.assertTrue(self.is_open(own.session))
        self.assertEqual(own.events, [])

    def test_keep_meanwhile(self) -> None:
        """A keep asked for while nobody leads is confirmed by the next leader."""
        leader, (name, _) = self.leader(), self.followers()
        client = self.open(name, 2.0)
        self.crash(leader)
        client.keep()
        self.advance(0.2)
        self.assertEqual(client.kept, [])
        self.advance(1.5)
        self.assertEqual(client.kept, [None])

    def test_cut_off_leader(self) -> None:
        """A leader that was cut off confirms nothing and expires nothing; its clients are told."""
        leader = self.leader()
        client, own = self.open(leader, 4.0), self.open(leader, 4.0, own=True)
        self.advance(0.3)
        self.hub.isolate(leader)
        self.advance(0.7)
        client.keep()
        self.advance(1.2)
        self.assertEqual((client.troubles, own.troubles), ([Trouble.JEOPARDY], [Trouble.JEOPARDY]))
        self.advance(2.0)
        self.assertEqual([type(one) for one in client.kept], [Unavailable])
        self.advance(20.0)
        self.assertTrue(self.is_open(client.session, leader))
        self.assertFalse(self.is_open(client.session, self.leader()))
        self.hub.heal(leader)
        self.advance(1.0)
        self.assertEqual(client.troubles, [Trouble.JEOPARDY, Trouble.EXPIRED])
        self.assertEqual(own.troubles, [Trouble.JEOPARDY, Trouble.EXPIRED])

    def test_safe_again(self) -> None:
        """Those whose node is back in time are told that they are safe, idle or not."""
        name = self.followers()[0]
        idle, own = self.open(name, 6.0), self.open(name, 6.0, own=True)
        self.advance(0.3)
        self.hub.isolate(name)
        self.advance(3.0)
        self.assertEqual((idle.troubles, own.troubles), ([Trouble.JEOPARDY], [Trouble.JEOPARDY]))
        self.hub.heal(name)
        self.advance(1.0)
        both = [Trouble.JEOPARDY, Trouble.SAFE]
        self.assertEqual((idle.troubles, own.troubles), (both, both))
        self.advance(10.0)
        self.assertEqual(idle.troubles, [*both, Trouble.EXPIRED])
        self.assertTrue(self.is_open(own.session))

    def test_no_quorum(self) -> None:
        """Without a quorum no session expires, however long that takes."""
        sessions = [self.open(name, 1.0).session for name in self.nodes]
        for name in self.nodes:
            self.hub.isolate(name)
        self.advance(30.0)
        self.assertTrue(all(self.is_open(sessions[0], name) for name in self.nodes))
        for name in self.nodes:
            self.hub.heal(name)
        self.elect()
        self.advance(0.8)
        self.assertTrue(all(map(self.is_open, sessions)))
        self.advance(1.0)
        self.assertFalse(any(map(self.is_open, sessions)))

    def test_link_lost(self) -> None:
        """What was told on a link that broke is told again on the next one."""
        name = self.followers()[0]
        client = self.open(name, 2.0)
        self.advance(0.5)
        client.keep()
        self.clock.advance(0)
        self.assertGreater(self.sent(name, Renew), 0)
        self.hub.isolate(name)
        self.hub.heal(name)
        self.advance(0.3)
        self.assertEqual(client.kept, [None])

    def test_follows_another(self) -> None:
        """A leader that hears of nobody but a keeper confirms no keep once its lease is over."""
        old, (name, other) = self.leader(), self.followers()
        client = self.open(name, 2.0)
        self.advance(0.5)
        self.hub.isolate(other)
        for step in range(100):
            self.clock.advance(0.005)
            self.keep_only(Renew, Renewed)
            client.keep()
            self.hub.deliver()
            if step == 80:
                client.kept.clear()
        self.assertEqual(client.kept, [])
        self.assertGreater(self.sent(old, Renewed), 20)

    def keep_only(self, *kinds: type) -> None:
        """Lose the frames of all other kinds that are on their way."""
        for frame in list(self.hub.frames):
            if not isinstance(wire.decode(frame[2]), kinds):
                self.hub.frames.remove(frame)


class Doomed(SessionCase):
    """Between the proposal of an end and its being applied."""

    def setUp(self) -> None:
        """Begin with three nodes, and a session that its leader is about to let expire."""
        super().setUp()
        self.found(3)
        self.old, (self.one, self.other) = self.leader(), self.followers()
        self.client = self.open(self.one, 2.0)

    def until_proposed(self) -> None:
        """Wait until the leader has proposed the end; its messages are on their way."""
        for _ in range(1000):
            self.clock.advance(0.005)
            for _, _, frame in self.hub.frames:
                message = wire.decode(frame)
                if isinstance(message, Accept) and any(map(self.ends, message.values)):
                    return
            self.hub.deliver()
        self.fail("it does not expire")

    def ends(self, value: object) -> bool:
        """Say whether the value of a slot ends the session."""
        if not isinstance(value, bytes) or not value:
            return False
        commands = values.decode(value)[1].commands
        return any(
            isinstance(one, Lapse) and self.client.session in one.sessions for one in commands
        )

    def test_not_confirmed(self) -> None:
        """A keep that comes after the proposal is answered by the end, not confirmed."""
        self.until_proposed()
        self.client.keep()
        self.advance(0.3)
        self.assertEqual([type(one) for one in self.client.kept], [SessionExpired])
        self.assertEqual(self.client.troubles, [Trouble.EXPIRED])

    def test_found_by_the_next(self) -> None:
        """A proposal that one node voted for is found by the next leader, which confirms nothing
        before it is applied.
        """
        self.until_proposed()
        self.lose_to(self.other)
        self.hub.deliver()
        self.clock.advance(0.001)
        self.crash(self.old)
        self.client.keep()
        self.advance(2.5)
        self.assertEqual([type(one) for one in self.client.kept], [SessionExpired])
        self.assertFalse(self.is_open(self.client.session))

    def lose_to(self, name: str) -> None:
        """Lose what is on its way to a node."""
        for frame in [one for one in self.hub.frames if one[1] == name]:
            self.hub.frames.remove(frame)

    def test_lost_proposal(self) -> None:
        """A proposal that nobody voted for is nothing: the next leader gives the full timeout."""
        self.until_proposed()
        self.hub.frames.clear()
        self.crash(self.old)
        self.client.keep()
        self.elect()
        self.start(self.old)
        self.assert_ends(self.client.session, 2.0)
        self.assertEqual(self.client.kept, [None])

    def test_gives_up(self) -> None:
        """A leader that lost its quorum over a proposal gives up; whatever becomes of that, a keep
        is confirmed only of a session that lives on.
        """
        self.until_proposed()
        self.hub.frames.clear()
        for name in (self.one, self.other):
            self.hub.isolate(name)
        self.advance(2.0)
        self.assertEqual(self.fact(self.old, "quorum"), "no")
        for name in (self.one, self.other):
            self.hub.heal(name)
        self.client.keep()
        self.advance(1.5)
        is_kept = self.client.kept == [None]
        self.assertEqual(len(self.client.kept), 1)
        self.assertEqual(self.is_open(self.client.session), is_kept)
