"""Tests of `coord.peers.refusals`."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from coord.peers.refusals import (
    COMPLAINTS_MAX,
    REPEAT_SECONDS,
    SILENT,
    Complaints,
    Refused,
    explain,
    unreachable,
)


class ExplainTests(SynchronousTestCase):
    """What TLS and TCP say, in words for a person."""

    def words(self, *reasons: str) -> str:
        """Return what is made of OpenSSL's reasons."""
        return explain(
            Failure(SSL.Error([("SSL routines", "", one) for one in reasons])), None
        ).what

    def test_alerts_are_the_other_sides(self) -> None:
        """An alert tells what the other end found wrong with us."""
        for alert, meaning in (
            ("tlsv1 alert unknown ca", "it refused our certificate: not signed by its CA"),
            ("ssl/tls alert certificate expired", "it refused our certificate: expired"),
            ("tlsv13 alert certificate required", "it wants a certificate of ours"),
            ("sslv3 alert handshake failure", "it refused our TLS handshake"),
        ):
            self.assertEqual(self.words(alert), meaning)

    def test_verdicts_are_ours(self) -> None:
        """A verdict tells what we found wrong with the other end, whatever else is said."""
        failure = Failure(SSL.Error([("SSL routines", "", "certificate verify failed")]))
        for verdict, meaning in (
            (10, "its certificate has expired"),
            (9, "its certificate is not valid yet"),
            (20, "its certificate is not signed by our CA"),
            (999, "its certificate did not verify (code 999)"),
        ):
            self.assertEqual(explain(failure, verdict).what, meaning)

    def test_no_tls(self) -> None:
        """Who speaks something else than TLS is told from who speaks it badly."""
        self.assertEqual(self.words("wrong version number"), "it does not speak TLS")
        self.assertEqual(self.words("http request"), "it does not speak TLS but HTTP")
        self.assertEqual(self.words("odd", "odder"), "TLS failed (odd, odder)")
        self.assertEqual(explain(Failure(SSL.Error()), None).what, "TLS failed (Error)")

    def test_closed(self) -> None:
        """A connection that ended without a word sends the reader to the other log."""
        for ended in (error.ConnectionDone(), error.ConnectionLost()):
            self.assertIs(explain(Failure(ended), None), SILENT)
        self.assertIn("odd", explain(Failure(OSError("odd")), None).what)

    def test_unreachable(self) -> None:
        """Why no connection could be made is said in a few words."""
        for failure, meaning in (
            (error.ConnectionRefusedError(), "nobody listens there"),
            (error.TimeoutError(), "no answer from there"),
            (OSError("no route"), "no route"),
        ):
            self.assertIn(meaning, unreachable(Failure(failure)).what)

    def test_text_is_one_short_line(self) -> None:
        """What another node says cannot forge or flood a log."""
        text = Refused("it said\nERROR all is lost\x1b[2J" + "x" * 1000, "see there").text
        self.assertTrue(text.isprintable())
        self.assertLessEqual(len(text), 300)


class ComplaintsTests(SynchronousTestCase):
    """Lines are written, but not time and again."""

    def setUp(self) -> None:
        """Have a clock, and nothing written yet."""
        self.clock = Clock()
        self.complaints = Complaints(self.clock.seconds)

    def written(self, who: str, what: str) -> list[str]:
        """Complain; return the lines that were written."""
        with capturedLogs() as events:
            self.complaints.about(who, "host:1", Refused(what, "mend it"))
        return [formatEvent(event) for event in events]

    def test_line(self) -> None:
        """A line says who, where, what, and what to do."""
        self.assertEqual(self.written("n2", "odd"), ["no link with n2 (host:1): odd; mend it"])

    def test_repeated(self) -> None:
        """The same of the same peer is written once a minute, whatever comes between."""
        self.assertEqual(len(self.written("n2", "odd")), 1)
        self.assertEqual(len(self.written("n2", "other")), 1)
        self.assertEqual(len(self.written("n3", "odd")), 1)
        self.assertEqual(self.written("n2", "odd"), [])
        self.clock.advance(REPEAT_SECONDS)
        self.assertEqual(len(self.written("n2", "odd")), 1)

    def test_forgotten(self) -> None:
        """After a peer was well, what is wrong with it is news again; of others it is not."""
        self.written("n2", "odd")
        self.written("n3", "odd")
        self.complaints.forget("n2")
        self.assertEqual(len(self.written("n2", "odd")), 1)
        self.assertEqual(self.written("n3", "odd"), [])

    def test_bounded(self) -> None:
        """However many strangers come, only so many complaints are remembered: the newest."""
        for number in range(COMPLAINTS_MAX + 1):
            self.written(f"host{number}", "odd")
        self.assertEqual(self.written("host1", "odd"), [])
        self.assertEqual(len(self.written("host0", "odd")), 1)
