"""What a node tells the leader of its sessions, and its connections of theirs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from coord.errors import CoordError, NoSession, SessionExpired, Unavailable
from coord.events import SessionEvent, Trouble
from coord.replicator.keeper import Attachment, Keeper
from coord.store.news import SessionOver
from coord.wire.peer import Renew

STEP_SECONDS = 0.02


class Client:
    """A connection: what it was told."""

    def __init__(self, keeper: Keeper, session: str, *, own: bool = False) -> None:
        self.events: list[SessionEvent] = []
        self.kept: list[CoordError | None] = []
        self.attachment: Attachment = keeper.attach(session, self.events.append, own=own)

    @property
    def troubles(self) -> list[Trouble]:
        """What befell its session, without the numbers."""
        return [event.kind for event in self.events]

    def keep(self) -> None:
        """Ask that the session be kept."""
        self.attachment.keep(self.kept.append)


class Case(SynchronousTestCase):
    """A keeper with a clock, and a leader that answers or does not."""

    def setUp(self) -> None:
        """Begin with two sessions of ten seconds that the store knows."""
        self.now = 100.0
        self.drift = 0.0
        self.serves = True
        self.answers = True
        self.timeouts = {"s": 10_000, "t": 10_000}
        self.sent: list[Renew] = []
        self.keeper = Keeper(
            now=self.look,
            timeouts_ms=lambda: self.timeouts,
            rev=lambda: 7,
            wake=lambda: None,
            request_seconds=3.0,
        )

    def look(self) -> float:
        """Return the time, which goes on a little with every look, as it does in the world."""
        self.now += self.drift
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass; the leader answers at once where it does."""
        for _ in range(round(seconds / STEP_SECONDS)):
            self.now += STEP_SECONDS
            if self.keeper.beat(self.now, self.serves) and self.serves:
                self.report()
                if self.keeper.needs_proof(self.serves):
                    self.keeper.in_touch()
            self.fire()

    def report(self) -> None:
        """Tell the leader, which answers where it does."""
        renews = self.keeper.report()
        self.sent += renews
        if self.answers:
            for renew in renews:
                self.keeper.renewed(renew.number, ())

    def fire(self) -> None:
        """Make the calls."""
        for call in self.keeper.calls():
            call()

    def reported(self) -> list[str]:
        """Take the sessions that the leader was told, in order."""
        sessions = [session for renew in self.sent for session in renew.sessions]
        self.sent.clear()
        return sessions


class Marking(Case):
    """When the leader is told of a session."""

    def test_traffic(self) -> None:
        """A session is told once for any number of words of its client within a beat."""
        client = Client(self.keeper, "s")
        self.advance(1.0)
        self.assertEqual(self.reported(), ["s"])
        for _ in range(1000):
            client.attachment.touch()
        self.advance(1.0)
        self.assertEqual(self.reported(), ["s"])
        self.advance(60.0)
        self.assertEqual(self.reported(), [])

    def test_own(self) -> None:
        """A connection's own session is told a few times per timeout, whatever its client does."""
        client = Client(self.keeper, "s", own=True)
        self.advance(60.0)
        count = len(self.reported())
        self.assertGreaterEqual(count, 17)
        self.assertLessEqual(count, 19)
        client.attachment.detach()
        client.attachment.detach()
        self.advance(60.0)
        self.assertEqual(self.reported(), [])
        self.assertEqual(len(self.keeper), 0)

    def test_quiet_and_well(self) -> None:
        """A connection that says nothing hears nothing, on a clock that stands at no time still."""
        self.drift = 1e-6
        client = Client(self.keeper, "s", own=True)
        self.advance(60.0)
        self.assertEqual(client.troubles, [])

    def test_last_word(self) -> None:
        """What a client said before it left is told still, and then its session is forgotten."""
        client = Client(self.keeper, "s")
        self.answers = False
        client.attachment.touch()
        client.attachment.detach()
        self.advance(0.2)
        self.assertEqual(self.reported(), ["s"])
        self.answers = True
        self.advance(1.0)
        self.assertEqual(self.reported(), ["s"])
        self.assertEqual(len(self.keeper), 0)

    def test_two_connections(self) -> None:
        """A session that two connections share is told once, and kept by whoever is left."""
        first, second = Client(self.keeper, "s"), Client(self.keeper, "s", own=True)
        first.attachment.detach()
        self.advance(10.0)
        self.assertGreaterEqual(len(self.reported()), 3)
        second.attachment.detach()
        second.attachment.touch()
        self.advance(10.0)
        self.assertEqual(self.reported(), [])

    def test_many(self) -> None:
        """Ten thousand idle sessions for a minute are ten messages a second, of a few hundred."""
        for number in range(10_000):
            self.timeouts[f"{number}"] = 10_000
            Client(self.keeper, f"{number}", own=True)
            self.now += 0.001
        self.advance(60.0)
        self.assertLessEqual(len(self.sent), 620)
        told = self.reported()
        self.assertGreaterEqual(len(told), 170_000)
        self.assertLessEqual(len(told), 200_000)

    def test_pieces(self) -> None:
        """More sessions than fit are told in several messages."""
        for number in range(2500):
            self.timeouts[f"{number}"] = 10_000
            Client(self.keeper, f"{number}")
        self.keeper.beat(self.now, self.serves)
        self.report()
        self.assertEqual([len(renew.sessions) for renew in self.sent], [1000, 1000, 500])


class Repeating(Case):
    """What is not confirmed."""

    def test_again(self) -> None:
        """It is told again after a while, under a new number, until it is confirmed."""
        self.answers = False
        Client(self.keeper, "s")
        self.advance(2.0)
        self.assertGreaterEqual(len(self.sent), 3)
        numbers = [renew.number for renew in self.sent]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.answers = True
        self.advance(1.0)
        self.reported()
        self.advance(10.0)
        self.assertEqual(self.reported(), [])

    def test_late_answer(self) -> None:
        """A late answer to an early number counts: a slow line is a line."""
        self.answers = False
        client = Client(self.keeper, "s")
        client.keep()
        self.advance(0.8)
        first = self.sent[0]
        self.keeper.renewed(first.number, ())
        self.fire()
        self.assertEqual(client.kept, [None])
        self.sent.clear()
        self.advance(0.2)
        self.keeper.renewed(first.number, ())
        self.fire()
        self.assertEqual(client.kept, [None])

    def test_forgotten_meanwhile(self) -> None:
        """An answer that comes after its client left says nothing to those who came since."""
        self.answers = False
        former = Client(self.keeper, "s")
        self.advance(0.9)
        first, second = self.sent
        former.attachment.detach()
        self.keeper.renewed(second.number, ())
        self.assertEqual(len(self.keeper), 0)
        client = Client(self.keeper, "s")
        self.keeper.renewed(first.number, ())
        del self.timeouts["s"]
        self.keeper.over(SessionOver("s", 9, is_expired=True))
        self.fire()
        self.assertEqual(client.troubles, [Trouble.EXPIRED])

    def test_lost_when_forgotten(self) -> None:
        """A session that nobody here has any more is not told of for ever."""
        self.answers = False
        former = Client(self.keeper, "s")
        self.advance(0.9)
        first, second = self.sent
        former.attachment.detach()
        self.keeper.renewed(second.number, ())
        self.keeper.renewed(first.number, ("s",))
        self.sent.clear()
        self.advance(5.0)
        self.assertEqual(self.reported(), [])

    def test_new_leader(self) -> None:
        """Another leader is told at once what the one before did not confirm, and nothing else."""
        self.answers = False
        Client(self.keeper, "s")
        self.advance(0.2)
        self.answers = True
        Client(self.keeper, "t")
        self.advance(0.2)
        self.assertEqual(self.reported(), ["s", "t"])
        self.keeper.again()
        self.advance(0.2)
        self.assertEqual(self.reported(), ["s"])

    def test_age(self) -> None:
        """Told late, a session is told with its age: its client is not kept beyond its due."""
        client = Client(self.keeper, "s")
        own = Client(self.keeper, "t", own=True)
        self.advance(1.0)
        self.serves = False
        client.attachment.touch()
        self.advance(5.0)
        self.sent.clear()
        self.serves = True
        self.advance(0.2)
        renew = self.sent[0]
        ages = dict(zip(renew.sessions, renew.ages_ms, strict=True))
        self.assertLess(abs(ages["s"] - 5000), 150)
        self.assertLess(ages["t"], 3500)
        self.assertTrue(own.events)

    def test_last_heard(self) -> None:
        """Its age is that of the last word, not of the first that could not be told."""
        client = Client(self.keeper, "s")
        self.advance(1.0)
        self.serves = False
        for _ in range(5):
            client.attachment.touch()
            self.advance(1.0)
        self.sent.clear()
        self.serves = True
        self.advance(0.2)
        self.assertLess(abs(self.sent[0].ages_ms[0] - 1000), 150)

    def test_lost(self) -> None:
        """A session that the leader calls lost is in doubt, no more: it is told again."""
        self.answers = False
        client = Client(self.keeper, "s")
        client.keep()
        self.advance(0.2)
        self.keeper.renewed(self.sent[0].number, ("s",))
        self.fire()
        self.assertEqual((client.kept, client.events), ([], []))
        self.sent.clear()
        self.answers = True
        self.advance(0.2)
        self.assertEqual(client.kept, [None])


class Keeping(Case):
    """A client that wants to be sure."""

    def test_confirmed(self) -> None:
        """It is answered once the leader has heard of it after it asked."""
        client = Client(self.keeper, "s")
        self.advance(1.0)
        client.keep()
        self.fire()
        self.assertTrue(self.keeper.is_urgent)
        self.assertEqual(client.kept, [])
        self.report()
        self.fire()
        self.assertEqual(client.kept, [None])
        self.assertFalse(self.keeper.is_urgent)

    def test_asked_after(self) -> None:
        """What the leader heard before it asked does not count."""
        self.answers = False
        client = Client(self.keeper, "s")
        self.advance(0.2)
        client.keep()
        self.keeper.renewed(self.sent[0].number, ())
        self.fire()
        self.assertEqual(client.kept, [])

    def test_no_leader(self) -> None:
        """Where nobody confirms it, it is UNAVAILABLE after the time that requests have."""
        self.answers = False
        client = Client(self.keeper, "s")
        client.keep()
        self.advance(2.9)
        self.assertEqual(client.kept, [])
        self.advance(0.3)
        self.assertEqual([type(one) for one in client.kept], [Unavailable])
        self.answers = True
        self.advance(1.0)
        self.assertEqual(len(client.kept), 1)

    def test_each_its_time(self) -> None:
        """Each has its own time to be answered in."""
        self.answers = False
        client = Client(self.keeper, "s")
        client.keep()
        self.advance(2.0)
        client.keep()
        self.advance(1.5)
        self.assertEqual(len(client.kept), 1)
        self.answers = True
        self.advance(1.0)
        self.assertEqual([type(one) for one in client.kept], [Unavailable, type(None)])

    def test_stopped(self) -> None:
        """A node that stops answers those who wait."""
        client = Client(self.keeper, "s")
        client.keep()
        self.keeper.stop()
        self.fire()
        self.assertEqual([type(one) for one in client.kept], [Unavailable])
        client.keep()
        self.fire()
        self.assertEqual([type(one) for one in client.kept], [Unavailable, Unavailable])

    def test_stopped_and_warned(self) -> None:
        """Whose node has stopped serving is told, and so is who comes afterwards."""
        early = Client(self.keeper, "s")
        self.keeper.stop()
        late = Client(self.keeper, "s")
        self.fire()
        for client in (early, late):
            self.assertEqual(client.troubles, [Trouble.JEOPARDY])


class Troubles(Case):
    """Jeopardy, safe and expired."""

    def test_unconfirmed(self) -> None:
        """A quarter of the timeout without an answer is jeopardy, told once; then it is safe."""
        client = Client(self.keeper, "s")
        self.advance(1.0)
        self.answers = False
        client.attachment.touch()
        self.advance(2.3)
        self.assertEqual(client.troubles, [])
        self.advance(0.4)
        self.assertEqual(client.troubles, [Trouble.JEOPARDY])
        self.advance(5.0)
        self.answers = True
        self.advance(1.0)
        self.assertEqual(client.troubles, [Trouble.JEOPARDY, Trouble.SAFE])
        self.assertEqual(client.events[0], SessionEvent(7, Trouble.JEOPARDY, "s"))

    def test_no_quorum(self) -> None:
        """So is a quarter of the timeout on a node that knows of no quorum, for the idle, too."""
        client = Client(self.keeper, "s")
        self.advance(1.0)
        self.serves = False
        self.advance(2.3)
        self.assertEqual(client.troubles, [])
        self.advance(0.4)
        self.assertEqual(client.troubles, [Trouble.JEOPARDY])
        self.serves = True
        self.advance(0.2)
        self.assertEqual(client.troubles, [Trouble.JEOPARDY, Trouble.SAFE])

    def test_short_silence(self) -> None:
        """An election that is over soon is nobody's trouble."""
        client = Client(self.keeper, "s", own=True)
        for _ in range(5):
            self.serves = False
            self.advance(1.5)
            self.serves = True
            self.advance(1.0)
        self.assertEqual(client.troubles, [])

    def test_short_timeout(self) -> None:
        """Who has less time is told sooner."""
        self.timeouts["t"] = 1000
        long, short = Client(self.keeper, "s"), Client(self.keeper, "t")
        self.advance(1.0)
        self.serves = False
        self.advance(0.5)
        self.assertEqual((long.troubles, short.troubles), ([], [Trouble.JEOPARDY]))

    def test_newcomer(self) -> None:
        """Who attaches to a session in jeopardy is told of it, and of its being safe again."""
        first = Client(self.keeper, "s")
        self.advance(1.0)
        self.serves = False
        self.advance(5.0)
        second = Client(self.keeper, "s")
        self.advance(0.2)
        self.assertEqual(second.troubles, [Trouble.JEOPARDY])
        self.serves = True
        self.advance(1.0)
        both = [Trouble.JEOPARDY, Trouble.SAFE]
        self.assertEqual((first.troubles, second.troubles), (both, both))

    def test_expired(self) -> None:
        """The end is told last, to all who are attached, and answers those who ask."""
        client, other = Client(self.keeper, "s"), Client(self.keeper, "s")
        gone = Client(self.keeper, "s")
        gone.attachment.detach()
        client.keep()
        self.keeper.over(SessionOver("s", 9, True))
        self.fire()
        self.assertEqual(client.events, [SessionEvent(9, Trouble.EXPIRED, "s")])
        self.assertEqual((other.troubles, gone.troubles), ([Trouble.EXPIRED], []))
        self.assertEqual([type(one) for one in client.kept], [SessionExpired])
        client.attachment.touch()
        client.keep()
        self.advance(20.0)
        self.assertEqual([type(one) for one in client.kept], [SessionExpired, SessionExpired])
        self.assertEqual((client.troubles, self.reported()), ([Trouble.EXPIRED], []))
        client.attachment.detach()

    def test_ended(self) -> None:
        """A session that somebody ended is no more; who ended it and left is not told."""
        client, ender = Client(self.keeper, "s"), Client(self.keeper, "s")
        client.keep()
        self.keeper.over(SessionOver("s", 9, False))
        ender.attachment.detach()
        self.fire()
        self.assertEqual([type(one) for one in client.kept], [NoSession])
        self.assertEqual((client.troubles, ender.troubles), ([Trouble.EXPIRED], []))

    def test_over_before(self) -> None:
        """Who attaches to a session that is over is told so."""
        client = Client(self.keeper, "gone")
        client.keep()
        self.assertEqual(client.events, [])
        self.fire()
        self.assertEqual(client.events, [SessionEvent(7, Trouble.EXPIRED, "gone")])
        self.assertEqual([type(one) for one in client.kept], [SessionExpired])
        self.assertEqual(len(self.keeper), 0)

    def test_not_ours(self) -> None:
        """The end of a session that nobody here has is nothing to tell."""
        self.keeper.over(SessionOver("t", 9, True))
        self.assertEqual(self.keeper.calls(), [])
