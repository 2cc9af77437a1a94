"""Pictures: what they hold, and when they let go of it."""

from __future__ import annotations

import gc

from coord.commands import List, Walk
from coord.errors import TooLate
from coord.limits import PICTURE_REVISIONS_MAX
from coord.results import Row, Rows
from coord.store.machine import Store
from tests.store.case import StoreTestCase


class HoldingTests(StoreTestCase):
    """History that is needed is kept as long as it is needed."""

    def setUp(self) -> None:
        """Keep three revisions."""
        super().setUp()
        self.store = Store(3, picture_revisions=1000)
        for number in range(40):
            self.set(f"/d/{number:02d}", b"old")
            self.store.seal()

    def rows(self) -> Rows:
        """Begin a walk."""
        rows = self.store.answer(Walk("/d/*"))
        assert isinstance(rows, Rows)
        return rows

    def overwrite(self) -> None:
        """Change everything, far beyond the history."""
        for number in range(40):
            self.set(f"/d/{number:02d}", b"new")
            self.store.seal()

    def older(self) -> int:
        """Return how many keys have older versions."""
        return len(self.store._tree.past)

    def test_held(self) -> None:
        """A walk that was begun is read to its end, however much is written meanwhile."""
        rows = self.rows()
        self.overwrite()
        self.assertEqual({row.value for row in rows.rows if isinstance(row, Row)}, {b"old"})

    def test_released_at_the_end(self) -> None:
        """At its end it lets go."""
        rows = self.rows()
        self.overwrite()
        self.assertGreater(self.older(), 30)
        list(rows.rows)
        self.store.seal()
        self.assertLess(self.older(), 5)

    def test_released_when_closed(self) -> None:
        """A walk that is given up lets go, begun or not; so does a list."""
        begun, never = self.rows(), self.rows()
        next(begun.rows)
        listing = self.store.answer(List("/d"))
        assert isinstance(listing, Rows)
        self.overwrite()
        for rows in (begun, never, listing):
            self.store.seal()
            self.assertGreater(self.older(), 30)
            rows.close()
            rows.close()
        self.store.seal()
        self.assertLess(self.older(), 5)
        self.assertEqual(list(never.rows), [])

    def test_released_when_forgotten(self) -> None:
        """A walk that nobody knows any more lets go too."""
        rows = self.rows()
        self.overwrite()
        del rows
        gc.collect()
        self.store.seal()
        self.assertLess(self.older(), 5)

    def test_released_after_limit(self) -> None:
        """A walk with a limit lets go once it has been read."""
        rows = self.store.answer(Walk("/d/*", limit=2))
        assert isinstance(rows, Rows)
        self.overwrite()
        self.assertEqual(len([row for row in rows.rows if row is not None]), 2)
        self.store.seal()
        self.assertLess(self.older(), 5)

    def test_counted(self) -> None:
        """Two pictures of one revision are two."""
        one, other = self.rows(), self.rows()
        self.assertIn("pictures 2", self.store.describe())
        one.close()
        self.overwrite()
        self.assertEqual({row.value for row in other.rows if isinstance(row, Row)}, {b"old"})
        self.assertIn("pictures 0", self.store.describe())

    def test_too_slow(self) -> None:
        """A walk that falls too far behind is given up and says so; what it held is dropped."""
        rows = self.rows()
        next(rows.rows)
        for _ in range(1002):
            self.set("/d/00")
            self.store.seal()
        self.assertGreater(len(self.store._history._entries), 1000)
        self.set("/d/00")
        self.store.seal()
        self.store.seal()
        self.store.seal()
        self.store.seal()
        self.assertLess(len(self.store._history._entries), 5)
        with self.assertRaises(TooLate):
            list(rows.rows)
        rows.close()
        self.rows().close()
        self.assertIn("pictures 0", self.store.describe())

    def test_images_are_not_given_up(self) -> None:
        """An image is never given up: the log waits for it."""
        self.store = Store(3, picture_revisions=10)
        self.set("/a", b"old")
        self.store.seal()
        picture = self.store.picture()
        pieces = iter(picture.pieces())
        next(pieces)
        for _ in range(50):
            self.set("/a", b"new")
            self.store.seal()
        self.assertIn(b"old", b"".join(pieces))
        self.assertEqual(picture.rev, 1)
        self.assertGreater(PICTURE_REVISIONS_MAX, 0)

    def test_image_released(self) -> None:
        """An image that is closed, begun or not, lets go."""
        picture, never = self.store.picture(), self.store.picture()
        next(iter(picture.pieces()))
        self.assertIn("pictures 2", self.store.describe())
        picture.close()
        picture.close()
        never.close()
        self.assertIn("pictures 0", self.store.describe())
        self.assertEqual(list(picture.pieces()), [])
