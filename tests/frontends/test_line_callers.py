"""Who asks: AUTH, what those may who showed nothing, and whose name is on what."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import ITransport

from coord.commands import Caller, Get, Level
from coord.errors import Denied, Overloaded
from coord.frontends.line import LineFactory
from tests.frontends.local import Client
from tests.frontends.test_line import LineCase


class Doorkeeper:
    """A gate that knows three secrets, and takes its time for ``slow``."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Caller]] = []

    def caller(self, transport: ITransport) -> Caller:
        """Return someone who may do nothing yet."""
        return Caller("anonymous", "10.0.0.7:4711", Level.NONE)

    def auth(self, caller: Caller, secret: bytes) -> Deferred[Caller]:
        """Look at a secret."""
        level = {b"r": Level.READ, b"w": Level.WRITE, b"a": Level.ADMIN}.get(secret)
        if secret == b"slow":
            slow: Deferred[Caller] = Deferred()
            self.asked.append(slow)
            return slow
        if level is None:
            return fail(Denied("that is no secret here"))
        return succeed(Caller(f"the-{level.name.lower()}", caller.address, level))


class GateCase(LineCase):
    """A node with secrets."""

    def setUp(self) -> None:
        """Set a gate."""
        super().setUp()
        self.gate = Doorkeeper()
        self.factory = LineFactory(self.clock, self.coordinator, gate=self.gate)
        self.client = Client(self.factory, self.clock)


class Secrets(GateCase):
    """AUTH."""

    def test_levels(self) -> None:
        """A secret's level is told, and what is asked after it is asked in its name."""
        for secret, level in (("r", "read"), ("w", "write"), ("a", "admin")):
            self.hold(f"AUTH {secret}\n  OK {level}\n#t auth {secret}\n  #t OK {level}")
            self.client.ask(b"GET /a\n")
            caller = self.coordinator.callers[-1]
            self.assertEqual((caller.who, caller.address), (f"the-{level}", "10.0.0.7:4711"))

    def test_refused(self) -> None:
        """What is no secret is DENIED and changes nothing; the secret is not told again."""
        self.client.ask(b"AUTH w\n")
        reply = self.client.ask(b"AUTH s3cret\n")
        self.assertTrue(reply.startswith(b"ERR DENIED "))
        self.assertNotIn(b"s3cret", reply)
        self.hold("SET /a 1\n  OK 1")

    def test_in_order(self) -> None:
        """Untagged requests behind AUTH wait for it, and are asked as who it made of the client."""
        self.client.send(b"AUTH slow\nGET /a\n#p PING\n#r GET /a\n")
        self.assertEqual([one.level for one in self.coordinator.callers], [Level.NONE])
        self.gate.asked[0].callback(Caller("late", "x", Level.WRITE))
        self.assertEqual([one.who for one in self.coordinator.callers], ["anonymous", "late"])

    def test_one_at_a_time(self) -> None:
        """While one secret is looked at, another is OVERLOADED."""
        self.client.send(b"#a AUTH slow\n")
        self.assertTrue(self.client.ask(b"#b AUTH w\n").startswith(b"#b ERR OVERLOADED "))
        self.gate.asked[0].errback(Overloaded("too many"))
        self.assertTrue(self.client.read().startswith(b"#a ERR OVERLOADED "))
        self.hold("#b AUTH w\n  #b OK write")

    def test_lost(self) -> None:
        """A connection that goes takes back what it showed."""
        self.client.send(b"AUTH slow\n")
        self.client.protocol.connectionLost()
        self.assertTrue(self.gate.asked[0].called)
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_bug(self) -> None:
        """A bug in the gate is logged, and lets nobody in."""
        self.client.send(b"AUTH slow\n")
        self.gate.asked[0].errback(RuntimeError("a bug"))
        self.assertTrue(self.client.read().startswith(b"ERR UNAVAILABLE "))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(self.client.ask(b"SET /a 1\n").startswith(b"ERR DENIED "))

    def test_keeps_session(self) -> None:
        """A session stays through AUTH."""
        self.client.ask(b"AUTH w\nSET ephemeral /a 1\nAUTH a\n")
        self.client.ask(b"GET /a\n")
        self.assertEqual(self.coordinator.callers[-1].session, "0000000000000001")


class Nobody(GateCase):
    """What a client may that showed nothing, where something has to be shown."""

    def test_always(self) -> None:
        """PING, QUIT, HELP and AUTH always work."""
        self.hold("PING\n  OK")
        self.assertTrue(self.client.ask(b"HELP AUTH\n").startswith(b"HELP AUTH "))
        self.hold("AUTH r\n  OK read\nQUIT\n  OK")

    def test_denied(self) -> None:
        """Nothing of the tree or of the node is told."""
        for line in (
            *(b"GET /a", b"GET local /a", b"STAT /a", b"SET /a 1", b"DEL /a", b"WATCH /**"),
            *(b"WAIT /**", b"REV", b"#t REV", b"STATUS", b"MEMBERS", b"SESSION", b"SESSION end"),
        ):
            reply = self.client.ask(line + b"\n")
            self.assertIn(b"ERR DENIED ", reply, repr(line))
        self.assertEqual(self.coordinator.rev, 0)


class Names(LineCase):
    """Whose name is on a change."""

    def test_log(self) -> None:
        """LOG tells rev, path, verb, author and time, newest first; END the revision."""
        self.client.ask(b"SET /a 1\nADD /b%20c x\nSET /other 1\nDEL /a\n")
        who, time = "anonymous@192.168.1.1:54321", "2023-11-14T22:13:20.000Z"
        self.hold(
            "LOG /*\n"
            f"  ITEM 4 /a DEL {who} {time}\n"
            f"  ITEM 3 /other SET {who} {time}\n"
            f"  ITEM 2 /b%20c ADD {who} {time}\n"
            f"  ITEM 1 /a SET {who} {time}\n"
            "  END 4"
        )
        self.hold(f"#l LOG limit=1 local /?\n  #l ITEM 4 /a DEL {who} {time}\n  #l END 4")
        self.assertEqual(self.coordinator.callers[0].who, "anonymous")

    def test_blame(self) -> None:
        """BLAME tells the same of the present value, with the revision that it is told at."""
        self.client.ask(b"SET /a 1\nSET /a 2\nSET /b 1\n")
        who, time = "anonymous@192.168.1.1:54321", "2023-11-14T22:13:20.000Z"
        self.hold(f"BLAME /a\n  ITEM 2 /a SET {who} {time}\n  END 3")
        self.hold(f"#b BLAME local /a\n  #b ITEM 2 /a SET {who} {time}\n  #b END 3")
        self.assertTrue(self.client.ask(b"BLAME /none\n").startswith(b"ERR NOENT "))

    def test_revert(self) -> None:
        """REVERT sets back what a node held at a revision, checked like any write."""
        self.client.ask(b"SET /a 1\nSET /a 2\n")
        self.hold("REVERT rev=1 /a\n  OK 3\nGET /a\n  VALUE 3 1")
        self.assertTrue(self.client.ask(b"REVERT rev=2 if=2 /a\n").startswith(b"ERR REV_MISMATCH "))
        self.assertTrue(self.client.ask(b"REVERT rev=1 /none\n").startswith(b"ERR NOENT "))
        self.assertIn(b" REVERT ", self.client.ask(b"BLAME /a\n"))

    def test_reads_ask_as_who_they_are(self) -> None:
        """Every read goes to the store in the client's name."""
        self.client.ask(b"GET /a\n#t GET /a\nLIST /\nGET local /a\n")
        self.assertEqual({one.who for one in self.coordinator.callers}, {"anonymous"})
        self.assertEqual(self.coordinator.groups[-1], [Get("/a", local=True)])


class Ids(LineCase):
    """Writes with a name, and what became of them."""

    def test_once(self) -> None:
        """A write sent again is not done again, and is answered as it was."""
        self.hold("SESSION\n  OK 0000000000000001:key-1 timeout=10")
        self.hold("ADD seq id=w1 /j- x\n  OK 1 /j-0000000001")
        self.hold("ADD seq id=w1 /j- x\n  OK 1 /j-0000000001\nOUTCOME w1\n  OK 1 /j-0000000001")
        other = self.connect()
        other.ask(b"SESSION resume=0000000000000001:key-1\n")
        self.assertEqual(other.ask(b"#o OUTCOME w1\n"), b"#o OK 1 /j-0000000001\n")
        self.assertTrue(other.ask(b"OUTCOME w2\n").startswith(b"ERR NOENT "))

    def test_refusals(self) -> None:
        """So is one that was refused, though it could be done by now."""
        self.assertTrue(self.client.ask(b"DEL id=d /a\n").startswith(b"ERR NOENT "))
        self.client.ask(b"SET /a 1\n")
        self.assertTrue(self.client.ask(b"DEL id=d /a\n").startswith(b"ERR NOENT "))
        self.assertTrue(self.client.ask(b"OUTCOME d\n").startswith(b"ERR NOENT "))

    def test_commit(self) -> None:
        """A transaction's id goes to COMMIT."""
        text = b"BEGIN\nSET /a 1\nCOMMIT id=t\n"
        self.assertEqual(self.client.ask(text + text).splitlines()[-1], b"OK 1")
        self.assertEqual(self.coordinator.rev, 1)
        self.hold("OUTCOME t\n  OK 1")

    def test_lock(self) -> None:
        """A LOCK that waits is answered as it ends, and then the same again."""
        holder = self.connect()
        holder.ask(b"LOCK /l\n")
        self.client.send(b"#a LOCK wait=9 id=k /l\n#b LOCK wait=9 id=k /l\n")
        self.assertTrue(self.client.ask(b"OUTCOME k\n").startswith(b"ERR LOCKED "))
        holder.ask(b"UNLOCK /l\n")
        self.assertEqual(sorted(self.client.read().splitlines()), [b"#a OK 2", b"#b OK 2"])
        self.hold("OUTCOME k\n  OK 2\nLOCK wait=9 id=k /l\n  OK 2")

    def test_no_session(self) -> None:
        """OUTCOME on a connection without a session is NOENT, says why, and opens none."""
        reply = self.client.ask(b"OUTCOME w\nSET /a 1\n#o OUTCOME w\n")
        self.assertEqual(reply.count(b"ERR NOENT this connection has no session"), 2)
        self.assertEqual(self.coordinator.store.timeouts_ms, {})
