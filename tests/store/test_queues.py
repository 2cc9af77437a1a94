"""Queues of locks: who is next, who may share, and how long nobody has a lock that was lost."""

from __future__ import annotations

from coord.commands import Delete, Set
from coord.errors import (
    Locked,
    NoSession,
    NotHeld,
    Overloaded,
    SessionExpired,
    TimedOut,
    TooLarge,
)
from coord.events import Event, Kind
from coord.results import Granted, LockPlace, LockRow, Queued, Value, Written
from coord.store import granting
from coord.store.news import Delay, Patience, PlaceOver, SessionOver
from tests.store.users import UsersTestCase


class QueueTests(UsersTestCase):
    """The lock is given in the order of arrival."""

    def setUp(self) -> None:
        """Open some sessions."""
        super().setUp()
        self.open("s1", "s2", "s3", "s4", "s5")

    def test_order(self) -> None:
        """Who came first is next, whoever else asks meanwhile."""
        self.token("s1", "/l")
        for session in ("s2", "s3", "s4"):
            self.place(session, "/l")
        seen = []
        for _ in range(4):
            (holder,) = self.holders("/l")
            seen.append(holder)
            self.unlock(holder, "/l")
        self.assertEqual(seen, ["s1", "s2", "s3", "s4"])

    def test_handed_over(self) -> None:
        """It is handed over in one revision: the node is never away, and tells the new holder."""
        self.token("s1", "/l", b"1")
        number = self.place("s2", "/l", b"2")
        self.assertEqual(self.store.place("/l", "s2"), number)
        self.assertEqual(self.unlock("s1", "/l"), Written(2))
        self.assertEqual(self.events(1), [Event(2, Kind.SET, "/l", b"2")])
        self.assertEqual(self.news(PlaceOver), [PlaceOver("/l", "s2", Granted(2))])
        self.assertIsNone(self.store.place("/l", "s2"))
        self.assertEqual(self.facts("/l").owner, "s2")

    def test_numbers(self) -> None:
        """Places have numbers that only grow, over all locks; asking again tells the same one."""
        self.token("s1", "/l")
        self.token("s1", "/m")
        numbers = [self.place("s2", "/l"), self.place("s2", "/m"), self.place("s3", "/l")]
        self.assertEqual(numbers, [1, 2, 3])
        self.assertEqual(self.lock("s2", "/m", wait_ms=5), Queued(2))
        self.refused(self.lock("s2", "/m", shared=True, wait_ms=5), Locked)
        patience = [(one.path, one.number) for one in self.news(Patience)]  # type: ignore[union-attr]
        self.assertEqual(patience, [("/l", 1), ("/m", 2), ("/l", 3)])

    def test_given_up(self) -> None:
        """A place may be given up; who stands behind moves up, and nothing is changed."""
        self.token("s1", "/l")
        self.place("s2", "/l")
        self.place("s3", "/l")
        self.store.news()
        self.assertEqual(self.unlock("s2", "/l"), Written(1))
        (over,) = self.news(PlaceOver)
        assert isinstance(over, PlaceOver)
        self.assertEqual((over.session, type(over.result)), ("s2", NotHeld))
        self.unlock("s1", "/l")
        self.assertEqual(self.holders("/l"), ("s3",))

    def test_waited_long_enough(self) -> None:
        """Who has waited as long as it wanted to is told so, and is passed over."""
        self.token("s1", "/l")
        number = self.place("s2", "/l")
        self.place("s3", "/l")
        self.store.news()
        self.lapse(waits=(("/l", "s2", number), ("/l", "s3", 99), ("/m", "s3", 2)))
        (over,) = self.news(PlaceOver)
        assert isinstance(over, PlaceOver)
        self.assertEqual((over.session, type(over.result)), ("s2", TimedOut))
        self.assertEqual(self.facts("/l").waiting, 1)

    def test_too_late_to_wait(self) -> None:
        """Who was granted the lock in the last moment keeps it."""
        self.token("s1", "/l")
        number = self.place("s2", "/l")
        self.unlock("s1", "/l")
        self.lapse(waits=(("/l", "s2", number),))
        self.assertEqual(self.holders("/l"), ("s2",))

    def test_session_of_a_waiter(self) -> None:
        """A place is lost with its session, and that alone makes no revision."""
        self.token("s1", "/l")
        self.place("s2", "/l")
        self.place("s3", "/l")
        self.store.news()
        self.assertEqual(self.end("s2"), Written(1))
        self.lapse("s3")
        kinds = [type(one.result) for one in self.news(PlaceOver)]  # type: ignore[union-attr]
        self.assertEqual(kinds, [NoSession, SessionExpired])
        self.assertEqual(self.facts("/l").waiting, 0)

    def test_session_of_the_holder(self) -> None:
        """When the holder's session ends, the next in line has the lock in that very revision."""
        self.ephemeral("s1", "/e")
        self.token("s1", "/l", b"1")
        self.place("s2", "/l", b"2")
        self.assertEqual(self.lapse("s1"), Written(3))
        self.assertEqual(self.events(2), [Event(3, Kind.DEL, "/e"), Event(3, Kind.SET, "/l", b"2")])
        self.assertEqual(self.facts("/l").token, 3)

    def test_order_of_the_news(self) -> None:
        """Its node hears of the end before what follows from it at later revisions."""
        self.token("s1", "/l", shared=True)
        self.place("s2", "/l")
        self.place("s3", "/l", shared=True)
        self.store.news()
        self.lapse("s2")
        kinds = [type(one) for one in self.store.news()]
        self.assertEqual(kinds, [PlaceOver, SessionOver, PlaceOver])
        self.assertEqual(self.holders("/l"), ("s1", "s3"))

    def test_deleted_by_holder(self) -> None:
        """A holder that deletes the node hands the lock over, too."""
        self.token("s1", "/l")
        self.place("s2", "/l", b"2")
        self.assertEqual(self.do("s1", Delete("/l")), Written(2))
        self.assertEqual(self.events(1), [Event(2, Kind.SET, "/l", b"2")])

    def test_before_is_kept(self) -> None:
        """What the node was before comes back only after the last one."""
        self.set("/l", b"before")
        self.token("s1", "/l", b"1")
        self.place("s2", "/l", b"2")
        self.unlock("s1", "/l")
        self.assertEqual(self.get("/l"), Value(3, b"2"))
        self.unlock("s2", "/l")
        self.assertEqual(self.get("/l"), Value(4, b"before"))

    def test_too_many(self) -> None:
        """A queue has a bound, and so has what one session holds and waits for."""
        self.patch(granting, "LOCK_WAITERS_MAX", 1)
        self.token("s1", "/l")
        self.place("s2", "/l")
        self.refused(self.lock("s3", "/l", wait_ms=9), Overloaded)
        self.patch(granting, "SESSION_LOCKS_MAX", 2)
        self.token("s2", "/m")
        self.refused(self.lock("s2", "/n"), TooLarge)
        self.assertEqual(self.lock("s2", "/m"), Granted(2))

    def test_shown(self) -> None:
        """People are shown holders and queue, with who and since when."""
        self.token("s1", "/l")
        self.place("s2", "/l")
        expected = LockRow(
            "/l",
            (
                LockPlace(
                    session="s1", author="anonymous@h:1", since_ms=1006, shared=False, token=1
                ),
            ),
            (LockPlace(session="s2", author="anonymous@h:1", since_ms=1007, shared=False),),
        )
        self.assertEqual(self.store.locks(), [expected])


class SharedTests(UsersTestCase):
    """Readers share a lock, but do not overtake a writer that waits."""

    def setUp(self) -> None:
        """Open some sessions."""
        super().setUp()
        self.open("s1", "s2", "s3", "s4", "s5", "s6")

    def test_shared(self) -> None:
        """Several may hold it, each under a token of its own."""
        tokens = [self.token(one, "/l", shared=True) for one in ("s1", "s2", "s3")]
        self.assertEqual(tokens, [1, 2, 3])
        facts = self.facts("/l")
        self.assertEqual((facts.holders, facts.shared), (("s1", "s2", "s3"), True))

    def test_writer_waits(self) -> None:
        """A writer has it once all readers have left."""
        self.token("s1", "/l", shared=True)
        self.token("s2", "/l", shared=True)
        self.place("s3", "/l")
        self.unlock("s1", "/l")
        self.assertEqual(self.holders("/l"), ("s2",))
        self.unlock("s2", "/l")
        self.assertEqual(self.holders("/l"), ("s3",))

    def test_behind_a_writer(self) -> None:
        """Readers that came after a waiting writer wait for it; then they share."""
        self.token("s1", "/l", shared=True)
        self.place("s2", "/l")
        self.refused(self.lock("s3", "/l", shared=True), Locked)
        for reader in ("s3", "s4"):
            self.place(reader, "/l", shared=True)
        self.place("s5", "/l")
        self.place("s6", "/l", shared=True)
        self.unlock("s1", "/l")
        self.assertEqual(self.holders("/l"), ("s2",))
        rev = self.made(self.unlock("s2", "/l"))
        self.assertEqual(self.holders("/l"), ("s3", "s4"))
        self.assertEqual([event.rev for event in self.events(rev - 1)], [rev, rev + 1])
        self.assertEqual(self.facts("/l").waiting, 2)

    def test_writer_leaves(self) -> None:
        """When the writer in front gives up, those readers behind it come in at once."""
        self.token("s1", "/l", shared=True)
        self.place("s2", "/l")
        self.place("s3", "/l", shared=True)
        self.place("s4", "/l", shared=True)
        self.place("s5", "/l")
        self.assertEqual(self.unlock("s2", "/l"), Written(1))
        self.assertEqual(self.holders("/l"), ("s1", "s3", "s4"))
        self.assertEqual(self.store.rev, 3)

    def test_value_of_the_newest(self) -> None:
        """When one leaves, the node has the value of the newest of those who stay."""
        for session in ("s1", "s2", "s3"):
            self.token(session, "/l", session.encode(), shared=True)
        self.assertEqual(self.unlock("s2", "/l"), Written(4))
        self.assertEqual(self.get("/l"), Value(4, b"s3"))
        self.unlock("s3", "/l")
        self.assertEqual(self.get("/l"), Value(5, b"s1"))
        self.assertEqual(self.facts("/l").owner, "s1")

    def test_value_set_meanwhile(self) -> None:
        """What a holder has set since is its value."""
        self.token("s1", "/l", b"1", shared=True)
        self.do("s1", Set("/l", b"one"))
        self.token("s2", "/l", b"2", shared=True)
        self.end("s2")
        self.assertEqual(self.get("/l"), Value(4, b"one"))


class DelayTests(UsersTestCase):
    """``delay=S``: after a holder was lost, nobody has the lock for a while."""

    def setUp(self) -> None:
        """Let s1 hold a lock with a lock-delay, and lose it."""
        super().setUp()
        self.open("s1", "s2", "s3")
        self.lock("s1", "/l", b"1", delay_ms=2000)
        self.store.news()

    def test_nobody(self) -> None:
        """The node stays as it is, nobody holds the lock, nobody gets it."""
        self.assertEqual(self.lapse("s1"), Written(1))
        facts = self.facts("/l")
        self.assertEqual((facts.holders, facts.token), ((), 1))
        self.refused(self.lock("s2", "/l"), Locked)
        for session in ("s1", "s2", ""):
            self.refused(self.do(session, Set("/l", b"x")), Locked)
            self.refused(self.do(session, Delete("/l")), Locked)
        self.assertEqual(self.store.locks()[0].holders[0].is_lost, True)

    def test_counted_from_here(self) -> None:
        """From then on the time is counted, also by a node that starts from an image."""
        self.end("s1")
        self.assertEqual(self.news(Delay), [Delay("/l", 1, 2000)])
        self.assertEqual(list(self.store.spans()), [Delay("/l", 1, 2000)])
        self.reload()
        self.assertEqual(list(self.store.spans()), [Delay("/l", 1, 2000)])

    def test_over(self) -> None:
        """When it is over the next in line has the lock, or the node goes."""
        self.place("s2", "/l", b"2")
        self.lapse("s1")
        self.lapse(delays=(("/l", 9), ("/m", 1)))
        self.assertEqual(self.store.rev, 1)
        self.assertEqual(self.lapse(delays=(("/l", 1),)), Written(2))
        self.assertEqual(self.get("/l"), Value(2, b"2"))
        self.lapse(delays=(("/l", 1),))
        self.assertEqual(self.holders("/l"), ("s2",))
        self.unlock("s2", "/l")
        self.assertEqual(self.walk("/**"), [])

    def test_not_when_given_up(self) -> None:
        """Who gives the lock up makes nobody wait."""
        self.place("s2", "/l")
        self.unlock("s1", "/l")
        self.assertEqual(self.holders("/l"), ("s2",))
        self.assertEqual(self.news(Delay), [])
        self.lapse(delays=(("/l", 1),))
        self.assertEqual(self.holders("/l"), ("s2",))

    def test_shared(self) -> None:
        """A reader that was lost keeps writers out and not other readers."""
        self.lock("s1", "/m", b"1", shared=True, delay_ms=2000)
        self.lapse("s1")
        token = self.token("s2", "/m", b"2", shared=True)
        self.place("s3", "/m")
        self.unlock("s2", "/m")
        self.assertEqual((self.holders("/m"), self.facts("/m").waiting), ((), 1))
        self.assertEqual(token, 3)
        self.lapse(delays=(("/m", 2),))
        self.assertEqual(self.holders("/m"), ("s3",))

    def test_the_rest_at_once(self) -> None:
        """What else the session had goes at once."""
        self.lock("s1", "/n", b"1")
        self.ephemeral("s1", "/e")
        self.assertEqual(self.lapse("s1"), Written(4))
        self.assertEqual(self.walk("/**"), ["/l"])
