"""What the bytes of a slot's value mean."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Caller, Lapse, Level, Once, OpenSession, Set, Transaction, Write
from coord.wire.values import Batch, decode, encode_batch, stamp

WRITES: tuple[Write, ...] = (
    Set("/a", b"x"),
    OpenSession("0123456789abcdef", b"hash", 10_000),
    Once("word", Transaction((Set("/b", b"y"),))),
    Lapse(("0123456789abcdef",), (("/a", 9),), (("/l", "fedcba9876543210", 3),), (("/l", 8),)),
)
CALLERS = ((1, Caller("web", "10.0.0.7:4711", Level.WRITE, "0123456789abcdef")), (2, Caller()))


class Values(SynchronousTestCase):
    """A batch and the time at which it was proposed."""

    def test_whole(self) -> None:
        """A batch comes back as it was, with its time and with who asked for what."""
        batch = Batch("n1", 3, 7, WRITES, CALLERS)
        value = stamp(encode_batch(batch), 1_700_000_000_000)
        self.assertEqual(decode(value), (1_700_000_000_000, batch))

    def test_before_there_were_callers(self) -> None:
        """A batch from a log of before there were callers has none."""
        old = msgspec.msgpack.encode(["n1", 3, 7, [[1, "/a", b"x"], [3, "/a"]]])
        batch = decode(stamp(old, 5))[1]
        self.assertEqual((batch.callers, len(batch.commands)), ((), 2))
        self.assertEqual(batch.commands[0], Set("/a", b"x"))

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(some.binary(max_size=80))
    def test_junk(self, junk: bytes) -> None:
        """Junk is a ValueError, or a batch after all, and nothing else."""
        try:
            self.assertIsInstance(decode(junk)[1], Batch)
        except ValueError:
            return
