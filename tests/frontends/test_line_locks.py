"""LOCK and UNLOCK: at once or after waiting, and what waits for them meanwhile."""

from __future__ import annotations

from coord.commands import Lock, Set
from coord.frontends import line_conversation
from coord.limits import PIPELINE_REQUESTS_MAX, REQUEST_SECONDS
from tests.frontends.local import Client
from tests.frontends.test_line import LineCase


class LockCase(LineCase):
    """Two clients, of which one holds ``/l`` under token 1."""

    def setUp(self) -> None:
        """Take the lock."""
        super().setUp()
        self.holder = self.connect()
        self.assertEqual(self.holder.ask(b"LOCK /l me\n"), b"OK 1\n")

    def release(self) -> None:
        """Give the lock up."""
        self.assertTrue(self.holder.ask(b"UNLOCK /l\n").startswith(b"OK "))

    def waiting_here(self) -> int:
        """Return how many sessions the node waits for with a client."""
        return len(self.coordinator.places._waiting)

    def waiting(self) -> str:
        """Return how many wait for the lock."""
        words = self.holder.ask(b"STAT /l\n").decode().split()
        return dict(word.split("=") for word in words[2:])["waiting"]


class AtOnce(LockCase):
    """Who does not wait is answered at once."""

    def test_locked(self) -> None:
        """A lock that another holds is LOCKED; so is its node for writes of others."""
        for line in (b"LOCK /l", b"LOCK wait=0 /l", b"SET /l x", b"DEL /l", b"#t LOCK /l x"):
            reply = self.client.ask(line + b"\n")
            self.assertIn(b"ERR LOCKED ", reply)
        self.hold("GET /l\n  VALUE 1 me")

    def test_grouped(self) -> None:
        """It shares a group with the writes around it, tagged or not."""
        self.coordinator.groups.clear()
        self.holder.ask(b"SET /a 1\nLOCK /m\nSET /b 2\nUNLOCK /m\n#t LOCK /n\n")
        self.assertEqual([len(group) for group in self.coordinator.groups], [5])

    def test_again(self) -> None:
        """By its holder it is the same token; in another mode it is LOCKED."""
        self.assertEqual(self.holder.ask(b"LOCK /l\nLOCK wait=5 /l other\n"), b"OK 1\nOK 1\n")
        self.assertTrue(self.holder.ask(b"LOCK shared wait=5 /l\n").startswith(b"ERR LOCKED "))

    def test_unlock(self) -> None:
        """UNLOCK by its holder makes the node go; by others it is NOT_HELD, session or not."""
        self.assertTrue(self.client.ask(b"UNLOCK /l\n").startswith(b"ERR NOT_HELD "))
        self.client.ask(b"SESSION\n")
        self.assertTrue(self.client.ask(b"UNLOCK /l\n").startswith(b"ERR NOT_HELD "))
        self.release()
        self.assertTrue(self.client.ask(b"GET /l\n").startswith(b"ERR NOENT "))
        self.assertTrue(self.holder.ask(b"UNLOCK /l\n").startswith(b"ERR NOT_HELD "))

    def test_token_binds_a_write(self) -> None:
        """CHECK token= lets a transaction be done only while the lock is held under it."""
        text = b"BEGIN\nCHECK token=1 /l\nSET /a 1\nCOMMIT\n"
        self.assertEqual(self.client.ask(text).splitlines()[-1], b"OK 2")
        self.release()
        reply = self.client.ask(text).splitlines()[-1]
        self.assertTrue(reply.startswith(b"ERR ABORTED 1 NOT_HELD "), reply)


class Waiting(LockCase):
    """Who waits is answered when the lock is theirs, or the waiting over."""

    def test_granted(self) -> None:
        """The token comes when the lock does; untagged requests behind it wait, others not."""
        self.client.send(b"LOCK wait=30 /l host-7\nGET /l\n#p PING\n#s SET /a 1\n")
        self.assertEqual(self.client.read(), b"#p OK\n#s OK 2\n")
        self.assertEqual(self.waiting(), "1")
        self.release()
        self.assertEqual(self.client.read(), b"OK 3\nVALUE 3 host-7\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_tagged(self) -> None:
        """A tagged one stands beside: all else on the connection goes on."""
        self.client.send(b"#l LOCK wait=30 /l a\nSET /a 1\nGET /a\n#b SET /b 1\n")
        self.assertEqual(self.client.read(), b"OK 2\nVALUE 2 1\n#b OK 3\n")
        self.assertTrue(self.client.ask(b"#l PING\n").startswith(b"#l ERR TAG_IN_USE "))
        self.release()
        self.assertEqual(self.client.read(), b"#l OK 4\n")
        self.hold("#l PING\n  #l OK")

    def test_at_once(self) -> None:
        """Where nobody holds it, who may wait need not."""
        self.release()
        self.assertEqual(self.client.ask(b"LOCK wait=5 /l\n"), b"OK 3\n")
        self.assertEqual(self.client.ask(b"#t LOCK wait=5 /m\n"), b"#t OK 4\n")

    def test_in_order(self) -> None:
        """The lock goes to who asked first, and readers share it."""
        others = [self.connect() for _ in range(3)]
        others[0].send(b"LOCK shared wait=9 /l\n")
        others[1].send(b"#x LOCK shared wait=9 /l\n")
        others[2].send(b"LOCK wait=9 /l\n")
        self.release()
        self.assertEqual([other.read() for other in others], [b"OK 2\n", b"#x OK 3\n", b""])
        self.assertEqual(others[0].ask(b"UNLOCK /l\n"), b"OK 4\n")
        others[1].protocol.connectionLost()
        self.assertEqual(others[2].read(), b"OK 5\n")

    def test_timeout(self) -> None:
        """The waiting over, it is TIMEOUT, tagged or not, and the place is gone."""
        self.client.send(b"#t LOCK wait=1 /l\n")
        other = self.connect()
        other.send(b"LOCK wait=1 /l\nPING\n")
        self.coordinator.lose_patience()
        self.assertTrue(self.client.read().startswith(b"#t ERR TIMEOUT "))
        self.assertEqual([line.split()[0] for line in other.read().splitlines()], [b"ERR", b"OK"])
        self.assertEqual(self.waiting(), "0")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_decision(self) -> None:
        """Without a quorum nothing ends the waiting but time: its fate is UNKNOWN then."""
        self.client.send(b"#t LOCK wait=2 /l\n")
        other = self.connect()
        other.send(b"LOCK wait=2 /l\n")
        self.clock.advance(2 + REQUEST_SECONDS - 0.1)
        self.assertEqual((self.client.read(), other.read()), (b"", b""))
        self.clock.advance(0.2)
        self.assertTrue(self.client.read().startswith(b"#t ERR UNKNOWN "))
        self.assertTrue(other.read().startswith(b"ERR UNKNOWN "))
        self.release()
        self.hold("#t PING\n  #t OK")

    def test_given_up(self) -> None:
        """UNLOCK by who waits gives the place up; the waiting is told NOT_HELD."""
        self.client.send(b"#l LOCK wait=30 /l\n")
        lines = self.client.ask(b"UNLOCK /l\n").splitlines()
        self.assertEqual(lines[0], b"OK 1")
        self.assertTrue(lines[1].startswith(b"#l ERR NOT_HELD "))
        self.assertEqual(self.waiting(), "0")

    def test_twice(self) -> None:
        """Waiting twice is one place: both are answered; who does not wait is LOCKED."""
        self.client.send(b"#a LOCK wait=30 /l\n#b LOCK wait=30 /l\n")
        self.assertTrue(self.client.ask(b"LOCK /l\n").startswith(b"ERR LOCKED "))
        self.assertEqual(self.waiting(), "1")
        self.release()
        self.assertEqual(sorted(self.client.read().splitlines()), [b"#a OK 2", b"#b OK 2"])

    def test_session_over(self) -> None:
        """Who loses the session loses the place, and is told."""
        self.client.ask(b"SESSION\n")
        self.client.send(b"#l LOCK wait=30 /l\n")
        self.coordinator.expire("0000000000000002")
        came = self.client.read()
        self.assertIn(b"EVENT 1 expired 0000000000000002\n", came)
        self.assertIn(b"#l ERR SESSION_EXPIRED ", came)

    def test_connection_lost(self) -> None:
        """A connection's own session takes its places with it; an asked-for one keeps them."""
        self.client.send(b"LOCK wait=30 /l\n")
        self.client.protocol.readConnectionLost()
        self.assertEqual(self.waiting(), "0")
        other = self.connect()
        other.ask(b"SESSION\n")
        other.send(b"LOCK wait=30 /l\n")
        other.protocol.connectionLost()
        self.assertEqual((self.waiting(), self.clock.getDelayedCalls()), ("1", []))
        again = self.connect()
        again.ask(b"SESSION resume=0000000000000003:key-3\n")
        again.send(b"LOCK wait=30 /l\n")
        self.release()
        self.assertEqual(again.read(), b"OK 2\n")

    def test_session_changed_before_answer(self) -> None:
        """Who takes another session up meanwhile still hears what becomes of its place."""
        self.client.ask(b"SESSION\n")
        self.connect().ask(b"SESSION\n")
        self.coordinator.holding = True
        self.client.send(b"#l LOCK wait=30 /l\n#r SESSION resume=0000000000000003:key-3\n")
        self.coordinator.waiting.reverse()  # a leader answers what only reads at once
        self.coordinator.release()
        self.coordinator.holding = False
        self.assertEqual(self.client.read(), b"#r OK 0000000000000003:key-3 timeout=10\n")
        self.release()
        self.assertEqual(self.client.read(), b"#l OK 2\n")

    def test_lost_before_answer(self) -> None:
        """An answer that comes after the connection is lost starts no waiting."""
        self.client.ask(b"SESSION\n")
        self.coordinator.holding = True
        self.client.send(b"LOCK wait=30 /l\n#t LOCK wait=30 /l\n")
        self.client.protocol.connectionLost()
        self.coordinator.release()
        self.assertEqual((self.clock.getDelayedCalls(), self.waiting_here()), ([], 0))

    def test_quit(self) -> None:
        """QUIT does not wait for a lock that may never come."""
        self.client.send(b"#l LOCK wait=30 /l\n")
        self.assertEqual(self.client.ask(b"#q QUIT\n"), b"#q OK\n")
        self.assertTrue(self.client.is_closed)

    def test_waiting_costs_nothing(self) -> None:
        """A thousand that wait are not looked at while other requests are answered."""
        holder = self.connect()
        holder.ask(b"".join(b"LOCK /l%d\n" % number for number in range(1000)))
        self.client.send(b"".join(b"#t%d LOCK wait=60 /l%d\n" % (n, n) for n in range(1000)))
        conversation = self.client.protocol._conversation
        self.assertEqual((len(conversation._lockings), len(conversation._beside)), (1000, 0))
        self.assertTrue(conversation._in_order._slots == conversation._in_order._waiting)
        self.hold("#g GET /l\n  #g VALUE 1 me")
        holder.protocol.connectionLost()
        came = self.client.read()
        self.assertEqual((came.count(b" OK "), conversation._requests), (1000, 0))

    def test_many(self) -> None:
        """A client that waits for more locks than it may have requests pending is still read."""
        count = PIPELINE_REQUESTS_MAX + 10
        holder = self.connect()
        holder.ask(b"".join(b"LOCK /l%d\n" % number for number in range(count)))
        for n in range(count):
            self.client.send(b"#t%d LOCK wait=60 /l%d\n" % (n, n))
        self.assertEqual(self.client.transport.producerState, "producing")
        self.hold("PING\n  OK\n#p PING\n  #p OK")

    def test_same_place(self) -> None:
        """A client that asks for one place again and again is read no more at some time."""
        self.patch(line_conversation, "SESSION_LOCKS_MAX", 5)
        self.patch(line_conversation, "PIPELINE_REQUESTS_MAX", 7)
        for number in range(12):
            self.client.send(b"#t%d LOCK wait=60 /l\n" % number)
        self.assertEqual(self.client.transport.producerState, "producing")
        self.client.send(b"#more LOCK wait=60 /l\n")
        self.assertEqual(self.client.transport.producerState, "paused")

    def test_nothing_stays(self) -> None:
        """After all that, nothing is pending."""
        for wait in (b"LOCK wait=1 /l\n", b"#t LOCK wait=1 /l\n"):
            client: Client = self.connect()
            client.send(wait)
            self.coordinator.lose_patience()
            client.read()
            conversation = client.protocol._conversation
            self.assertEqual((conversation._requests, conversation._bytes), (0, 0))
            self.assertEqual((conversation._lockings, conversation._tags), ({}, set()))


class Order(LockCase):
    """All writes of one connection take effect in the order sent."""

    def test_tagged_write_behind_waiting_lock(self) -> None:
        """A tagged write sent after a LOCK that has not begun begins after it, and is answered."""
        self.coordinator.holding = True
        self.client.send(b"GET /a\nLOCK wait=30 /l x\n#t SET /b 1\n")
        self.assertEqual(len(self.coordinator.groups[1:]), 1)
        self.coordinator.release(1)
        after = [one for group in self.coordinator.groups[2:] for one in group]
        self.assertEqual(after[1:], [Lock("/l", b"x", wait_ms=30_000), Set("/b", b"1")])
        self.coordinator.release()
        lines = self.client.read().splitlines()
        self.assertEqual([line.split()[:2] for line in lines], [[b"ERR", b"NOENT"], [b"#t", b"OK"]])

    def test_untagged_behind_it(self) -> None:
        """An untagged write behind a waiting LOCK is done once that is answered."""
        self.client.send(b"LOCK wait=30 /l x\nSET /l y\n")
        self.assertEqual(self.client.read(), b"")
        self.release()
        self.assertEqual(self.client.read(), b"OK 2\nOK 3\n")
