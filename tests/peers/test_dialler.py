"""Tests of `coord.peers.dialler`."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from coord.peers.dialler import Dialling, make_dialler
from coord.peers.link import Bounds

BOUNDS = Bounds(redial_seconds_min=0.1, redial_seconds_max=1.0)


class DiallerTests(SynchronousTestCase):
    """When a peer is dialled."""

    def setUp(self) -> None:
        """Make a dialler that rests."""
        self.clock = Clock()
        self.attempts: list[Deferred[IProtocol]] = []
        self.failures: list[Failure] = []
        self.dialler = make_dialler(
            Dialling(
                clock=self.clock,
                dice=random.Random(1),
                bounds=BOUNDS,
                connect=self.connect,
                unreachable=self.failures.append,
            )
        )

    def connect(self) -> Deferred[IProtocol]:
        """Begin an attempt, whose end the test decides."""
        self.attempts.append(Deferred())
        return self.attempts[-1]

    def fail_attempt(self) -> None:
        """Let the latest attempt fail."""
        self.attempts[-1].errback(Failure(OSError("no route")))

    def wait(self) -> float:
        """Return how long the dialler waits for its next attempt, and go there."""
        (call,) = self.clock.getDelayedCalls()
        seconds = call.getTime() - self.clock.seconds()
        count = len(self.attempts)
        self.clock.advance(seconds)
        self.assertEqual(len(self.attempts), count + 1)
        return float(seconds)

    def test_start(self) -> None:
        """A peer is dialled at once, and once only."""
        self.assertEqual(self.attempts, [])
        self.dialler.start()
        self.clock.advance(10.0)
        self.assertEqual(len(self.attempts), 1)

    def test_waits_double(self) -> None:
        """Each failure doubles the wait, up to a bound; a part of it is left to the dice."""
        self.dialler.start()
        spans = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
        waits = []
        for span in spans:
            self.fail_attempt()
            waits.append(self.wait() / span)
        self.assertTrue(all(0.5 <= wait <= 1.0 for wait in waits), waits)
        self.assertEqual(len(set(waits)), len(waits))
        self.assertEqual(len(self.failures), len(spans))

    def test_immediate_failure(self) -> None:
        """An attempt that fails at once is followed by a wait, like any other."""
        self.dialler.start()
        self.fail_attempt()
        for attempt in range(5):
            self.wait()
            self.fail_attempt()
            self.assertEqual(len(self.failures), attempt + 2)

    def test_lost_before_the_link(self) -> None:
        """A connection that never became a link counts as a failure."""
        self.dialler.start()
        self.dialler.lost()
        self.wait()
        self.dialler.lost()
        self.assertGreaterEqual(self.wait(), 0.1)

    def test_lost_after_a_while(self) -> None:
        """A link that lived for some time is dialled again at once, or nearly so."""
        self.dialler.start()
        for _ in range(4):
            self.fail_attempt()
            self.wait()
        self.dialler.up()
        self.clock.advance(1.0)
        self.dialler.lost()
        self.assertLessEqual(self.wait(), 0.1)

    def test_lost_at_once(self) -> None:
        """A link that ends as soon as it is up is dialled ever more slowly."""
        self.dialler.start()
        for _ in range(5):
            self.dialler.up()
            self.dialler.lost()
            wait = self.wait()
        self.assertGreaterEqual(wait, 0.5)

    def test_stop_while_dialling(self) -> None:
        """Stopped while it dials, it gives the attempt up and makes no other."""
        self.dialler.start()
        self.dialler.stop()
        self.assertTrue(self.attempts[0].called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_waiting(self) -> None:
        """Stopped while it waits, it makes no other attempt."""
        self.dialler.start()
        self.fail_attempt()
        self.dialler.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_linked(self) -> None:
        """Stopped while there is a link, it does not dial again when that ends."""
        self.dialler.start()
        self.dialler.up()
        self.dialler.stop()
        self.dialler.lost()
        self.dialler.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.attempts), 1)

    def test_stop_before_start(self) -> None:
        """Stopped before it began, it never dials."""
        self.dialler.stop()
        self.assertEqual(self.attempts, [])
