"""SESSION in all its forms, the session that a connection gets by itself, and how they end."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from coord.commands import Add, EndSession, OpenSession, Set
from coord.events import Trouble
from tests.frontends.local import Client
from tests.frontends.test_line import LineCase

FIRST = "0000000000000001"
SECOND = "0000000000000002"


class SessionCase(LineCase):
    """A node alone, and what its store has."""

    def lose(self, client: Client) -> None:
        """Lose a connection as one that vanished."""
        client.protocol.connectionLost(Failure(ConnectionLost()))

    def owners(self) -> set[str]:
        """Return the sessions that are open."""
        return set(self.coordinator.store.timeouts_ms)


class Asked(SessionCase):
    """Sessions that a client asks for."""

    def test_open(self) -> None:
        """SESSION tells id, key and timeout; again it tells the same."""
        self.hold(f"SESSION\n  OK {FIRST}:key-1 timeout=10")
        self.hold(f"SESSION\n  OK {FIRST}:key-1 timeout=10")
        self.hold(f"#s session\n  #s OK {FIRST}:key-1 timeout=10")
        self.assertEqual(self.coordinator.rev, 0)

    def test_timeout(self) -> None:
        """A timeout may be asked for; it is told as it was granted."""
        for asked, granted in (("2.5", "2.5"), ("0", "0.5"), ("0.1", "0.5"), ("1000000", "86400")):
            told = self.connect().ask(f"SESSION timeout={asked}\n".encode()).decode()
            self.assertTrue(told.endswith(f" timeout={granted}\n"), told)

    def test_one_at_a_time(self) -> None:
        """Another timeout, or more than one option, is BAD_REQUEST; nothing changes by it."""
        self.client.ask(b"SESSION timeout=3\n")
        for line in (b"SESSION timeout=5", b"SESSION keep end", b"SESSION timeout=5 end"):
            self.assertTrue(self.client.ask(line + b"\n").startswith(b"ERR BAD_REQUEST "), line)
        self.hold(f"SESSION\n  OK {FIRST}:key-1 timeout=3")

    def test_resume(self) -> None:
        """Another connection takes a session up by id and key, and owns what it owned."""
        self.client.ask(b"SESSION timeout=7\nSET ephemeral /a 1\n")
        other = self.connect()
        told = other.ask(f"SESSION resume={FIRST}:key-1\n".encode())
        self.assertEqual(told.decode(), f"OK {FIRST}:key-1 timeout=7\n")
        self.assertEqual(other.ask(b"SESSION end\nGET /a\n").splitlines()[0], b"OK 2")
        self.assertEqual(self.client.read().decode(), f"EVENT 2 expired {FIRST}\n")

    def test_resume_refused(self) -> None:
        """A wrong key is DENIED, no such session NO_SESSION, one that expired SESSION_EXPIRED."""
        self.client.ask(b"SESSION\n")
        self.connect().ask(b"SESSION\n")
        self.coordinator.expire(SECOND)
        other = self.connect()
        for session, code in (
            (f"{FIRST}:key-2", "DENIED"),
            ("00000000000000ff:key-1", "NO_SESSION"),
            (f"{SECOND}:key-2", "SESSION_EXPIRED"),
        ):
            told = other.ask(f"SESSION resume={session}\n".encode()).decode()
            self.assertTrue(told.startswith(f"ERR {code} "), told)
        self.assertTrue(other.ask(b"SESSION end\n").startswith(b"ERR NO_SESSION "))

    def test_resume_leaves_own(self) -> None:
        """Who takes a session up ends the one that the connection had by itself."""
        self.client.ask(b"SESSION\n")
        other = self.connect()
        other.ask(b"SET ephemeral /a 1\n")
        other.ask(f"SESSION resume={FIRST}:key-1\n".encode())
        self.assertEqual(self.owners(), {FIRST})
        self.assertTrue(other.ask(b"GET /a\n").startswith(b"ERR NOENT "))

    def test_resumed_expires(self) -> None:
        """Who left its own session for another one is told of the other's end."""
        self.client.ask(b"SESSION\n")
        other = self.connect()
        other.ask(b"SET ephemeral /a 1\n")
        other.ask(f"SESSION resume={FIRST}:key-1\n".encode())
        self.coordinator.expire(FIRST)
        self.assertEqual(other.read().decode(), f"EVENT 2 expired {FIRST}\n")

    def test_resume_while_one_is_ended(self) -> None:
        """The end of a session takes away no other that was taken up meanwhile."""
        self.client.ask(b"SESSION\n")
        other = self.connect()
        other.ask(b"SESSION\n")
        self.coordinator.holding = True
        other.send(f"#e SESSION end\n#r SESSION resume={FIRST}:key-1\n".encode())
        self.coordinator.waiting.reverse()  # a leader answers what only reads at once
        self.coordinator.release()
        self.coordinator.holding = False
        other.read()
        told = other.ask(b"SESSION\n").decode()
        self.assertEqual(told, f"OK {FIRST}:key-1 timeout=10\n")

    def test_resume_while_one_is_opened(self) -> None:
        """Who takes a session up while another is being opened has the one asked for."""
        self.client.ask(b"SESSION\n")
        other = self.connect()
        self.coordinator.holding = True
        other.send(f"#r SESSION resume={FIRST}:key-1\n#e SET ephemeral /a 1\n".encode())
        other.send(b"#s SESSION\n")
        while self.coordinator.waiting:
            self.coordinator.release(1)
        told = f"OK {FIRST}:key-1 timeout=10"
        self.assertEqual(
            sorted(other.read().decode().splitlines()),
            ["#e OK 1", f"#r {told}", f"#s {told}"],
        )
        self.assertEqual(self.owners(), {FIRST})

    def test_end(self) -> None:
        """SESSION end ends it, and what it owns, in one revision; a next one is another."""
        self.hold(f"SESSION\n  OK {FIRST}:key-1 timeout=10\nSET ephemeral /a 1\n  OK 1")
        self.hold("ADD ephemeral /b 1\n  OK 2 /b\nSESSION end\n  OK 3\nLIST /\n  END 3")
        self.assertTrue(self.client.ask(b"SESSION end\n").startswith(b"ERR NO_SESSION "))
        self.hold(f"SESSION\n  OK {SECOND}:key-2 timeout=10")

    def test_end_without_quorum(self) -> None:
        """An end that was not done leaves the session as it was."""
        self.client.ask(b"SESSION\n")
        self.coordinator.quorum = False
        self.assertTrue(self.client.ask(b"SESSION end\n").startswith(b"ERR UNAVAILABLE "))
        self.coordinator.quorum = True
        self.hold(f"SESSION\n  OK {FIRST}:key-1 timeout=10\nSESSION end\n  OK 0")

    def test_keep(self) -> None:
        """SESSION keep is answered once it holds for its timeout, with id and timeout."""
        self.assertTrue(self.client.ask(b"SESSION keep\n").startswith(b"ERR NO_SESSION "))
        self.client.ask(b"SESSION timeout=4\n")
        self.hold(f"#k SESSION keep\n  #k OK {FIRST} timeout=4")
        self.coordinator.quorum = False
        self.assertTrue(self.client.ask(b"SESSION keep\n").startswith(b"ERR UNAVAILABLE "))

    def test_without_quorum(self) -> None:
        """A session that cannot be opened is not there; the next one is asked for anew."""
        self.coordinator.quorum = False
        self.assertTrue(self.client.ask(b"SESSION\n").startswith(b"ERR UNAVAILABLE "))
        self.assertTrue(self.client.ask(b"LOCK /l\n").startswith(b"ERR UNAVAILABLE "))
        self.coordinator.quorum = True
        self.hold("SESSION\n  OK 0000000000000003:key-3 timeout=10")

    def test_outlives_connection(self) -> None:
        """A session that was asked for is not ended by any end of its connection."""
        self.client.ask(b"SESSION\nSET ephemeral /a 1\nQUIT\n")
        self.client.protocol.connectionLost()
        self.assertEqual(self.owners(), {FIRST})
        self.assertEqual(self.coordinator.holds, {})

    def test_any_traffic(self) -> None:
        """Whatever comes keeps it: a request, a part of one, a lone PING."""
        self.client.ask(b"SESSION\n")
        (hold,) = self.coordinator.holds
        for text in (b"PING\n", b"PI", b"NG\n", b"#t PING\n", b"\n", b"GET /a\n"):
            before = hold.touched
            self.client.send(text)
            self.assertEqual(hold.touched, before + 1, text)


class Own(SessionCase):
    """The session that a connection gets when it first needs one."""

    def test_in_one_go(self) -> None:
        """It is opened in front of the first that needs it, in the same group; once."""
        self.client.ask(b"SET /a 1\nSET ephemeral /b 2\nADD ephemeral /c 3\n")
        (group,) = self.coordinator.groups
        opening = group[1]
        assert isinstance(opening, OpenSession)
        self.assertEqual(opening.timeout_ms, 10_000)
        self.assertEqual(
            [group[0], *group[2:]],
            [
                Set("/a", b"1"),
                Set("/b", b"2", ephemeral=True),
                Add("/c", b"3", ephemeral=True),
            ],
        )
        self.assertEqual(self.coordinator.callers[0].session, FIRST)
        self.client.ask(b"SET ephemeral /d 4\n")
        self.assertEqual(len(self.coordinator.groups[1]), 1)

    def test_who_needs_one(self) -> None:
        """What needs a session gets one; what does not leaves the connection without."""
        for line, needs in (
            (b"SET /a 1", False),
            (b"SET ttl=3 /a 1", False),
            (b"GET /a", False),
            (b"UNLOCK /a", False),
            (b"OUTCOME w", False),
            (b"SET ephemeral /a 1", True),
            (b"ADD seq ephemeral /a 1", True),
            (b"LOCK /l", True),
            (b"#t LOCK wait=1 /l", True),
            (b"LOCK wait=1 /l", True),
            (b"DEL id=w /none", True),
            (b"BEGIN\nSET /a 1\nCOMMIT", False),
            (b"BEGIN\nADD ephemeral /e 1\nCOMMIT", True),
            (b"BEGIN\nCOMMIT id=w", True),
        ):
            before = len(self.coordinator.store.timeouts_ms)
            client = self.connect()
            client.ask(line + b"\n")
            self.assertEqual(len(self.coordinator.store.timeouts_ms) - before, needs, line)

    def test_pipelined(self) -> None:
        """What follows while it is being opened is asked in its name already."""
        self.coordinator.holding = True
        self.client.send(b"SET ephemeral /a 1\n")
        self.client.send(b"SET ephemeral /b 1\n")
        self.client.send(b"#s SESSION\n")
        self.assertEqual(len(self.coordinator.waiting), 2)
        self.coordinator.release()
        self.assertEqual(
            self.client.read().decode(), f"#s OK {FIRST}:key-1 timeout=10\nOK 1\nOK 2\n"
        )

    def test_refused(self) -> None:
        """Where it cannot be opened, that is why what needed it was not done."""
        self.coordinator.quorum = False
        self.assertTrue(self.client.ask(b"SET ephemeral /a 1\n").startswith(b"ERR UNAVAILABLE "))
        self.coordinator.quorum = True
        self.hold("SET ephemeral /a 1\n  OK 1")

    def test_left(self) -> None:
        """It ends at once when the client closes, or says QUIT, or has ended its input."""
        for leave in ("close", "quit", "half"):
            client = self.connect()
            client.ask(b"SET ephemeral /a 1\n#w WATCH /none\n")
            self.assertEqual(len(self.owners()), 1)
            if leave == "close":
                client.protocol.connectionLost()
            elif leave == "quit":
                client.ask(b"QUIT\n")
            else:
                client.protocol.readConnectionLost()
            self.assertEqual(self.owners(), set(), leave)
            self.assertTrue(self.connect().ask(b"GET /a\n").startswith(b"ERR NOENT "))

    def test_vanished(self) -> None:
        """It is left to expire when the connection was lost otherwise, or closed by the node."""
        self.client.ask(b"SET ephemeral /a 1\n")
        self.lose(self.client)
        other = self.connect()
        other.ask(b"SET ephemeral /b 1\n")
        self.factory.close_all()
        other.protocol.connectionLost()
        self.assertEqual(self.owners(), {FIRST, SECOND})
        self.assertEqual(self.coordinator.holds, {})

    def test_last_words_first(self) -> None:
        """What was asked before the input ended is answered before the session ends."""
        self.coordinator.holding = True
        self.client.send(b"SET ephemeral /a 1\nGET /a\n")
        self.client.protocol.readConnectionLost()
        self.assertEqual(len(self.coordinator.groups), 1)
        self.coordinator.release()
        self.assertEqual(self.client.read(), b"OK 1\nVALUE 1 1\n")
        self.coordinator.release()
        self.assertEqual(self.owners(), set())

    def test_lost_while_opening(self) -> None:
        """A connection closed while its session is being opened ends it all the same."""
        self.coordinator.holding = True
        self.client.send(b"SET ephemeral /a 1\n")
        self.client.protocol.connectionLost()
        self.assertEqual(self.coordinator.groups[-1], [EndSession(FIRST)])
        self.coordinator.release()
        self.assertEqual((self.owners(), self.coordinator.holds), (set(), {}))

    def test_asked_for_later(self) -> None:
        """Told by SESSION it becomes the client's: it outlives the connection."""
        self.client.ask(b"SET ephemeral /a 1\n")
        (hold,) = self.coordinator.holds
        self.assertTrue(hold.is_own)
        self.hold(f"SESSION\n  OK {FIRST}:key-1 timeout=10")
        (hold,) = self.coordinator.holds
        self.assertFalse(hold.is_own)
        self.client.protocol.connectionLost()
        self.assertEqual(self.owners(), {FIRST})


class Troubles(SessionCase):
    """What befalls a session is told to its connection."""

    def test_events(self) -> None:
        """Danger, safety and the end are told untagged, between replies."""
        self.client.ask(b"SET ephemeral /a 1\n")
        self.coordinator.trouble(Trouble.JEOPARDY)
        self.assertEqual(self.client.read().decode(), f"EVENT 1 jeopardy {FIRST}\n")
        self.coordinator.trouble(Trouble.SAFE)
        self.assertEqual(self.client.read().decode(), f"EVENT 1 safe {FIRST}\n")
        self.coordinator.expire(FIRST)
        self.assertEqual(self.client.read().decode(), f"EVENT 2 expired {FIRST}\n")
        self.assertEqual(self.coordinator.holds, {})

    def test_only_tagged(self) -> None:
        """A connection that tags all its requests is told without a tag, too."""
        self.client.ask(b"#s SESSION\n#w WATCH /a\n")
        self.coordinator.trouble(Trouble.JEOPARDY)
        self.assertEqual(self.client.read().decode(), f"EVENT 0 jeopardy {FIRST}\n")

    def test_never_within_rows(self) -> None:
        """An event waits until untagged rows have ended."""
        self.client.ask(b"SESSION\nSET /d/a {70000}\n%b\nSET /d/b 1\n" % (b"x" * 70_000))
        self.client.send(b"WALK /d/**\n")
        self.coordinator.trouble(Trouble.JEOPARDY)
        lines = self.client.read().splitlines()
        self.assertEqual([line.split()[0] for line in lines if line[:1] != b"x"][-2:],
                         [b"END", b"EVENT"])  # fmt: skip

    def test_expired(self) -> None:
        """After the end what needs a session says so, until SESSION opens another."""
        self.client.ask(b"SET ephemeral /a 1\n")
        self.coordinator.expire(FIRST)
        self.client.read()
        for line in (b"SET ephemeral /a 1", b"LOCK /l", b"SET id=w /a 1", b"SESSION end"):
            told = self.client.ask(line + b"\n")
            self.assertTrue(told.startswith(b"ERR SESSION_EXPIRED "), told)
        self.hold(f"SET /b 1\n  OK 3\nSESSION\n  OK {SECOND}:key-2 timeout=10")
        self.hold("SET ephemeral /a 1\n  OK 4")

    def test_ended_elsewhere(self) -> None:
        """Who was told that the session is over hears SESSION_EXPIRED, also where it was ended."""
        self.client.ask(b"SESSION\nSET ephemeral /a 1\n")
        self.connect().ask(f"SESSION resume={FIRST}:key-1\nSESSION end\n".encode())
        self.assertEqual(self.client.read().decode(), f"EVENT 2 expired {FIRST}\n")
        for line in (b"SET ephemeral /a 1", b"LOCK /l", b"SET id=w /a 1", b"OUTCOME w"):
            told = self.client.ask(line + b"\n")
            self.assertTrue(told.startswith(b"ERR SESSION_EXPIRED "), told)
        told = self.client.ask(b"BEGIN\nSET /b 1\nSET ephemeral /a 1\nCOMMIT\n").splitlines()[-1]
        self.assertTrue(told.startswith(b"ERR ABORTED 2 SESSION_EXPIRED "), told)
        told = self.client.ask(b"BEGIN\nADD /a/b 1\nDEL /c\nCOMMIT\n").splitlines()[-1]
        self.assertTrue(told.startswith(b"ERR ABORTED 2 NOENT "), told)
        self.hold("SET /a 1\n  OK 3")

    def test_own_end_is_no_trouble(self) -> None:
        """Who ends a session is answered, and not told that it is over."""
        self.hold(f"SESSION\n  OK {FIRST}:key-1 timeout=10\nSESSION end\n  OK 0\nPING\n  OK")

    def test_slow_client(self) -> None:
        """A client that does not read is kept the newest troubles, and no more."""
        self.client.ask(b"SESSION\n")
        self.client.protocol.pauseProducing()
        for _ in range(1000):
            self.coordinator.trouble(Trouble.JEOPARDY)
        self.coordinator.trouble(Trouble.SAFE)
        self.client.protocol.resumeProducing()
        lines = self.client.read().splitlines()
        self.assertLess(len(lines), 100)
        self.assertEqual(lines[-1].decode(), f"EVENT 0 safe {FIRST}")


class Pings(SessionCase):
    """A lone PING has a short way, on which nothing passes anything."""

    def test_waits_its_turn(self) -> None:
        """It is answered after what was asked before it."""
        self.coordinator.holding = True
        self.client.send(b"SET /a 1\n")
        self.client.send(b"PING\n")
        self.assertEqual(self.client.read(), b"")
        self.coordinator.release()
        self.assertEqual(self.client.read(), b"OK 1\nOK\n")

    def test_within_a_literal(self) -> None:
        """Bytes that look like it, amid a literal or a line, are what they are."""
        self.client.send(b"SET /a {9}\n")
        for piece in (b"PING\n", b"PING\n"):
            self.client.send(piece)
        self.assertEqual(self.client.ask(b"GET /a\n"), b"OK 1\nVALUE 1 {9}\nPING\nPING\n")
        self.client.send(b"HELP ")
        self.assertIn(b"HELP PING\n", self.client.ask(b"PING\n"))

    def test_one_write(self) -> None:
        """It costs one write, and starts nothing."""
        self.client.ask(b"SESSION\n")
        before = self.client.transport.writes
        self.assertEqual(self.client.ask(b"PING\r\n"), b"OK\n")
        self.assertEqual(self.client.transport.writes, before + 1)
        self.assertEqual(len(self.coordinator.groups), 1)

    def test_silence_costs_nothing(self) -> None:
        """A connection with a session, its own or asked for, sets no timer and asks for nothing."""
        self.client.ask(b"SESSION\n")
        self.connect().ask(b"SET ephemeral /a 1\n")
        before = len(self.coordinator.groups)
        self.clock.advance(1000)
        self.assertEqual((self.clock.getDelayedCalls(), len(self.coordinator.groups)), ([], before))

    def test_slow_client(self) -> None:
        """A client that sends it without end and reads nothing is not answered without end."""
        for _ in range(200_000):
            if self.client.transport.producerState != "producing":
                break
            self.client.protocol.dataReceived(b"PING\n")
        self.assertLess(self.client.transport.unsent_max, 70_000)
