"""MEMBER on a connection: who may, what it answers, and when."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from coord.commands import ChangeMembers, Deed
from coord.errors import Unavailable
from coord.results import Written
from tests.frontends.test_line import LineCase
from tests.frontends.test_line_callers import GateCase


class Answers(LineCase):
    """What a change of members is answered."""

    def test_done(self) -> None:
        """A change is asked of the cluster as it was written, and answers a revision."""
        self.hold("MEMBER add n4 10.0.0.4:8076\n  OK 0\n#t member force remove n1\n  #t OK 0")
        self.hold("MEMBERS\n  ITEM n4 10.0.0.4:8076 voter up\n  END 0")
        changes = [change for change, _ in self.coordinator.changes]
        self.assertEqual(changes[0], ChangeMembers(Deed.ADD, "n4", "10.0.0.4:8076"))
        self.assertEqual(changes[1], ChangeMembers(Deed.REMOVE, "n1", force=True))

    def test_plan(self) -> None:
        """A plan is rows, each under its tag, that close with the revision."""
        self.hold(
            """
        MEMBER plan add n4 h:1
          ITEM before voters n1: 1 of 1 needed, up n1: none more may fail
          ITEM after voters n1: 1 of 1 needed, up n1: none more may fail
          ITEM then n4 learns, and votes once it is close
          ITEM in the end voters n1 n4: 2 of 2 needed, up n1 n4: none more may fail
          END 0
        #p MEMBER plan add n4 h:1
          #p ITEM before voters n1: 1 of 1 needed, up n1: none more may fail
          #p ITEM after voters n1: 1 of 1 needed, up n1: none more may fail
          #p ITEM then n4 learns, and votes once it is close
          #p ITEM in the end voters n1 n4: 2 of 2 needed, up n1 n4: none more may fail
          #p END 0
        """
        )

    def test_refused(self) -> None:
        """What is no change is told, and nothing is asked of the cluster."""
        self.assertIn(b"ERR BAD_REQUEST", self.client.ask(b"MEMBER add n4\n"))
        self.assertEqual(self.coordinator.changes, [])

    def test_in_a_transaction(self) -> None:
        """A change is no part of a transaction, which is not done then."""
        came = self.client.ask(b"BEGIN\nSET /a 1\nMEMBER remove n1\nCOMMIT\n").splitlines()
        self.assertTrue(came[2].startswith(b"ERR BAD_REQUEST"), came)
        self.assertTrue(came[3].startswith(b"ERR ABORTED 2 BAD_REQUEST"), came)
        self.assertEqual(self.coordinator.changes, [])


class Order(LineCase):
    """A change takes its time."""

    def setUp(self) -> None:
        """Have changes be answered when the test says so."""
        super().setUp()
        self.coordinator.holding = True

    def answer(self) -> None:
        """Answer the oldest change."""
        self.coordinator.unanswered.pop(0)(Written(self.coordinator.rev))

    def test_untagged(self) -> None:
        """What is asked without a tag behind a change is answered behind it."""
        self.assertEqual(self.client.ask(b"MEMBER remove n1\nREV\n"), b"")
        self.answer()
        self.assertEqual(self.client.read(), b"OK 0\nOK 0\n")

    def test_tagged(self) -> None:
        """Under a tag a change holds nobody up, and its tag is in use until it is answered."""
        self.assertEqual(self.client.ask(b"#m MEMBER remove n1\nREV\n"), b"OK 0\n")
        self.assertIn(b"#m ERR TAG_IN_USE", self.client.ask(b"#m PING\n"))
        self.answer()
        self.assertEqual(self.client.read(), b"#m OK 0\n")
        self.assertEqual(self.client.ask(b"#m PING\n"), b"#m OK\n")

    def test_no_quorum(self) -> None:
        """A change that cannot be made says why in its place."""
        self.client.ask(b"MEMBER remove n1\nREV\n")
        self.coordinator.unanswered.pop()(Unavailable("no quorum"))
        self.assertEqual(self.client.read(), b"ERR UNAVAILABLE no quorum\nOK 0\n")

    def test_gone(self) -> None:
        """Whoever hung up before the answer is told nothing, and nothing breaks."""
        for request in (b"MEMBER remove n1\n", b"#m MEMBER remove n1\n"):
            client = self.connect()
            client.ask(request)
            client.protocol.connectionLost(Failure(ConnectionDone()))
            self.answer()
            self.assertEqual(client.read(), b"")

    def test_quit(self) -> None:
        """Who quits behind a change is told what became of it first."""
        self.client.ask(b"#m MEMBER remove n1\nQUIT\n")
        self.assertFalse(self.client.is_closed)
        self.answer()
        self.assertEqual(self.client.read(), b"#m OK 0\nOK\n")
        self.assertTrue(self.client.is_closed)


class Rights(GateCase):
    """Who may change members."""

    def test_admin(self) -> None:
        """Only admins change members, or have a change planned; the cluster hears who asks."""
        for secret in (b"r", b"w"):
            came = self.client.ask(b"AUTH %b\nMEMBER plan remove n1\n" % secret)
            self.assertIn(b"ERR DENIED", came)
        self.assertIn(b"\nOK 0", self.client.ask(b"AUTH a\nMEMBER add n4 h:1\n"))
        self.assertEqual(self.coordinator.changes[-1][1].who, "the-admin")
