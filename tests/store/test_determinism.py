"""The store is a function of its log."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from coord.commands import (
    CLUSTER,
    Add,
    Caller,
    Delete,
    EndSession,
    Lapse,
    Level,
    Lock,
    Once,
    OpenSession,
    Set,
    Transaction,
    Unlock,
    Walk,
    Write,
)
from coord.paths import Glob
from coord.store.image import Loading
from coord.store.machine import Store
from tests.store.strategies import a_write

LIFE = "from tests.store.test_determinism import digest; print(digest())"


def any_write(random: Random, number: int) -> tuple[Write, Caller]:
    """Return any write, and who asks for it: most of a handful of sessions."""
    life = number // 60
    session = f"s{life - random.randrange(2)}.{random.randrange(4)}"
    path, value = f"/{random.choice('abc')}", random.choice((None, b"", b"x"))
    waits, numbers = ((path, session, number - 20),), random.randrange(number + 1)
    if number % 60 == 0:
        return Lapse(tuple(f"s{life - 2}.{one}" for one in range(4))), CLUSTER
    write: Write = random.choice(
        (
            OpenSession(session, b"hash", 1000),
            OpenSession(session, b"hash", 1000),
            Set(path, b"e", None, True, random.choice((None, 0, 50))),
            Lock(path, value, random.random() < 0.6, 900, random.choice((0, 0, 70))),
            Lock(path, value, random.random() < 0.6, 900, random.choice((0, 0, 70))),
            Unlock(path),
            Transaction((Set(path, b"t"), Add("/q/", b"", True), Delete(path))),
            Once(f"w{numbers}", Lock(path, value, False, 900)),
            Once(f"w{numbers}", a_write(random)),
            random.choice((EndSession(session), Lapse((session, "nobody")))),
            Lapse((), ((path, numbers),), waits, ((path, numbers),)),
            a_write(random),
        )
    )
    return write, Caller("ann", "h:1", Level.ADMIN, session)


def digest() -> str:
    """Return the digest, and a hash of the image, that a fixed log leads to."""
    random, store = Random(11), Store(100)
    for number in range(2000):
        write, caller = any_write(random, number)
        store.apply(write, number, caller)
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

    def test_beside_the_tree(self) -> None:
        """What changes without a revision is in it too: sessions, queues, answers."""
        store, digests = Store(), list[str]()
        caller = Caller("ann", "h:1", Level.ADMIN, "s2")
        for write in (
            OpenSession("s1", b"hash", 1000),
            OpenSession("s2", b"hash", 1000),
            Once("w", Delete("/n")),
            Lapse(("s1",)),
        ):
            store.apply(write, 1, caller)
            store.seal()
            digests.append(store.digest)
        self.assertEqual((len(set(digests)), store.rev), (4, 0))

    def test_one_that_joins(self) -> None:
        """A node that starts from an image at any moment ends at the same digest and image."""
        random, one = Random(12), Store(50)
        others: list[Store] = []
        for number in range(1500):
            write, caller = any_write(random, number)
            results = {repr(store.apply(write, number, caller)) for store in (one, *others)}
            self.assertEqual(len(results), 1)
            for store in (one, *others):
                store.seal()
            if number % 250 == 249:
                loading = Loading(50)
                for piece in one.picture().pieces():
                    loading.feed(piece)
                others.append(loading.finish())
        self.assertEqual({store.digest for store in others}, {one.digest})
        images = {b"".join(store.picture().pieces()) for store in (one, *others)}
        self.assertEqual(len(images), 1)
        self.assertGreater(one.rev, 150)

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
