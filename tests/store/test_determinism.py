"""The store is a function of its log."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import Set, Walk
from coord.paths import Glob
from coord.store.machine import Store
from tests.store.strategies import a_write

LIFE = "from tests.store.test_determinism import digest; print(digest())"


def digest() -> str:
    """Return the digest, and a hash of the image, that a fixed log leads to."""
    random, store = Random(11), Store(100)
    for number in range(400):
        store.apply(a_write(random), number)
        if number % 3 == 0:
            store.seal()
    store.seal()
    image = b"".join(store.picture().pieces())
    return f"{store.describe()} {store.digest} {image[-32:].hex()}"


class DigestTests(SynchronousTestCase):
    """Equal logs, equal digests; other logs, other digests."""

    def test_hash_seeds(self) -> None:
        """Two runs of one log under two hash seeds give one digest and one image."""
        answers = {
            subprocess.run(
                [sys.executable, "-c", LIFE],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                check=True,
                text=True,
            ).stdout.strip()
            for seed in ("1", "2")
        }
        self.assertEqual(answers, {digest()})

    def test_nobody_has_a_say(self) -> None:
        """Neither readers nor watchers nor the length of history have a say in it."""
        random, again = Random(5), Random(5)
        alone, busy = Store(3), Store(1000)
        for number in range(200):
            one = alone.apply(a_write(random), number)
            other = busy.apply(a_write(again), number)
            self.assertEqual(one, other)
            alone.seal()
            busy.seal()
            busy.answer(Walk("/**"))
            busy.watch(Glob.parse(b"/**"), None, lambda: None)
            busy.publish()
        self.assertEqual(alone.digest, busy.digest)

    def test_differs(self) -> None:
        """A different value, time, order or path is a different digest."""
        digests = set()
        for path, value, time_ms in (
            ("/a", b"1", 1),
            ("/a", b"2", 1),
            ("/a", b"1", 2),
            ("/b", b"1", 1),
        ):
            store = Store()
            store.apply(Set(path, value), time_ms)
            store.seal()
            digests.add(store.digest)
        self.assertEqual(len(digests), 4)

    def test_nothing_changed(self) -> None:
        """A batch that changed nothing leaves the digest as it was."""
        store = Store()
        before = store.digest
        store.seal()
        self.assertEqual(store.digest, before)

    def test_described(self) -> None:
        """A store is told in one line."""
        self.assertEqual(
            Store().describe(), "rev 0 from 0 nodes 1 watches 0 pictures 0 digest 00000000"
        )
