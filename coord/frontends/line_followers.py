"""All watches and waits of one connection: their replies, their events, and their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from coord.errors import CoordError, Overloaded
from coord.frontends.line_slots import Page, Slot
from coord.frontends.line_watches import EventTexts, Follower, Waiting, Watching
from coord.limits import WATCHES_PER_CONNECTION_MAX
from coord.results import Aside, Entry, Row
from coord.wire import line_reply


class Announcing(Slot):
    """The reply to a ``WATCH`` or ``WAIT``; of a watch, a difference may be part of it."""

    def __init__(self, follower: Follower, followers: Followers) -> None:
        self._follower = follower
        self._followers = followers
        self._rows: Iterator[Row | Aside | Entry | str | None] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._followers.start(self._follower)

    def render(self, page: Page) -> bool:
        """Add the line that answers the request, then rows while there is room."""
        if page.room <= 0:
            return False
        follower = self._follower
        if self._rows is None:
            lines = follower.reply()
            if lines is None:
                return False
            page.add(b"".join([follower.tag + line for line in lines]))
            if not isinstance(follower, Watching) or follower.problem is not None:
                page.freed.append(follower.tag)
                return True
            if follower.difference is None:
                return True
            self.midway = True
            self._rows = iter(follower.difference.rows)
        assert isinstance(follower, Watching), "only a watch tells a difference"
        return self._render_difference(page, follower, self._rows)

    def _render_difference(
        self, page: Page, follower: Watching, rows: Iterator[Row | Aside | Entry | str | None]
    ) -> bool:
        texts, rev = line_reply.ROWS, follower.difference_rev
        try:
            for row in rows:
                if row is not None:
                    page.add(follower.tag + texts[type(row)](row))
                if page.room <= 0 or (row is None and page.is_late):
                    page.unfinished = True
                    return False
        except CoordError as error:  # what it needs is gone by now
            page.add(follower.tag + line_reply.error(error))
            page.freed.append(follower.tag)
            self._followers.drop(follower)
            return True
        page.add(follower.tag + line_reply.end(rev))
        follower.is_announced = True
        return True


class Followers:
    """The watches and waits of one connection.

    ``replied`` is called when the reply to one is known, ``woken`` when there may be events to
    tell, ``ended`` when a watch is over.
    """

    def __init__(
        self,
        texts: EventTexts,
        replied: Callable[[Follower], None],
        woken: Callable[[], None],
        ended: Callable[[Follower], None],
    ) -> None:
        self._texts = texts
        self._replied = replied
        self._told_to_wake = woken
        self._ended = ended
        self._all: dict[Follower, None] = {}
        self._woken: dict[Follower, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def waits(self) -> int:
        """Return how many are waits, which may never be answered."""
        return sum(isinstance(one, Waiting) for one in self._all)

    def start(self, follower: Follower) -> None:
        """Begin one, unless there are too many."""
        follower.answered = lambda: self._answered(follower)
        follower.woken = lambda: self._wake(follower)
        if len(self._all) >= WATCHES_PER_CONNECTION_MAX:
            follower.refuse(Overloaded("too many watches and waits on this connection"))
            return
        self._all[follower] = None
        follower.start()

    def end(self, written: str) -> bool:
        """End the watches on a glob, as it was written; say whether there were any."""
        found = [
            one
            for one in self._all
            if isinstance(one, Watching) and one.may_end and one.glob.written == written
        ]
        for follower in found:
            follower.close()
            self._forget(follower)
            self._ended(follower)
        return bool(found)

    def drop(self, follower: Follower) -> None:
        """Forget a watch that cannot go on."""
        follower.close()
        self._forget(follower)

    def look(self) -> None:
        """See whether what is waited for has happened."""
        for follower in [one for one in self._woken if isinstance(one, Waiting)]:
            if follower.look():
                self._told_to_wake()
            else:
                self._woken.pop(follower, None)

    def render(self, page: Page, within_rows: bool) -> None:
        """Add events while there is room; ``within_rows`` only those that carry a tag."""
        for follower in [*self._woken]:
            if page.room <= 0:
                page.unfinished = True
                return
            if not isinstance(follower, Watching) or not follower.is_announced:
                continue
            if within_rows and not follower.tag:
                continue
            del self._woken[follower]
            if follower.tell(page, self._texts):
                self._woken[follower] = None
                page.unfinished = True
            elif not follower.is_open:
                self._forget(follower)
                self._ended(follower)

    def close(self) -> None:
        """End all of them: there is nobody to tell."""
        for follower in self._all:
            follower.close()
        self._all.clear()
        self._woken.clear()

    def _answered(self, follower: Follower) -> None:
        if not isinstance(follower, Watching) or follower.problem is not None:
            self._forget(follower)
        self._replied(follower)

    def _wake(self, follower: Follower) -> None:
        self._woken[follower] = None
        self._told_to_wake()

    def _forget(self, follower: Follower) -> None:
        self._all.pop(follower, None)
        self._woken.pop(follower, None)
