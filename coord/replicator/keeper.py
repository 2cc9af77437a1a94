"""The sessions of this node's connections, and how the leader hears of them.

Keeping a session alive needs no slot and no disk. A node marks each session that it hears of; a
few times a second it tells the leader all that are marked, in one `Renew`, and the leader
answers `Renewed` once it is certain that it led when it got it.

* A session of which a *client* is the keeper is marked when something comes from its client.
  It is never marked on the node's own account: who was stopped must lose what it holds.
* A connection's *own* session is marked by the node, a few times per timeout, as long as the
  connection is there.
* What was told and is not confirmed is told again, under a new number: after a while, when another
  leads, when the link is new. The old number still counts: however late the answer comes,
  the leader did hear of these sessions, and no earlier than they were told.
* What could not be told for a while is told with its age. A client that said its last word eight
  seconds before the links healed has two of its ten left, not ten more.

A session is in *jeopardy* for those who are attached here when this node cannot tell whether it is
kept: what it told is not confirmed for a quarter of the timeout, or it has known of no quorum
for so long. It is *safe* when the last that was told of it is confirmed, or, where there is
nothing to be confirmed, when this node has caught up with what was committed and the session
is still there. On a node that has stopped serving every session is in jeopardy, for good. It is
*expired* when its end is applied here, and not before: a leader that calls a session lost may
be deposed before the end is chosen.

Nothing here knows of links: time comes in, what is to be sent and who is to be called goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from coord.errors import CoordError, NoSession, SessionExpired, Unavailable
from coord.events import SessionEvent, Trouble
from coord.limits import RENEW_SECONDS, RENEW_SESSIONS_MAX, TICK_SECONDS
from coord.replicator.deadlines import Deadlines
from coord.store.news import SessionOver
from coord.wire.peer import Renew

Call = Callable[[], None]
Told = Callable[[SessionEvent], None]
Confirmed = Callable[[CoordError | None], None]

MARKS_PER_TIMEOUT: Final = 3
"""How often a connection's own session is marked within its timeout."""
JEOPARDY_PER_TIMEOUT: Final = 4
"""What part of its timeout a session may be in doubt until those attached are told."""
RENEW_AGAIN_SECONDS: Final = 0.5
"""What was told and is not confirmed for so long is told again."""
REPORT_SECONDS: Final = 10.0
"""How long an answer may take and still be understood."""
NOT_KEPT: Final = Unavailable("no leader has confirmed that the session is kept; try again")


class Kept:
    """One session that connections here are attached to, or that was heard of just now."""

    __slots__ = (
        "attached",
        "doubted_at",
        "in_jeopardy",
        "is_marked",
        "keeps",
        "marked_at",
        "over",
        "own",
        "session",
        "timeout_seconds",
    )  # fmt: skip

    def __init__(self, session: str, timeout_seconds: float) -> None:
        self.session = session
        self.timeout_seconds = timeout_seconds
        self.attached: dict[Attachment, None] = {}
        self.own = 0
        self.is_marked = False
        self.marked_at = 0.0
        self.doubted_at: float | None = None
        self.in_jeopardy = False
        self.keeps: list[tuple[float, Confirmed]] = []
        self.over: CoordError | None = None

    def is_due(self, seconds: float) -> bool:
        """Say whether so long a doubt is one to be told of."""
        return not self.in_jeopardy and seconds > self.timeout_seconds / JEOPARDY_PER_TIMEOUT


class Attachment:
    """A connection's hold on its session; provides `coord.replicator.interfaces.IAttachment`."""

    __slots__ = ("_keeper", "is_own", "kept", "told")

    def __init__(self, keeper: Keeper, kept: Kept, told: Told, is_own: bool) -> None:
        self._keeper = keeper
        self.kept = kept
        self.told: Told | None = told
        self.is_own = is_own

    def touch(self) -> None:
        """Take note that the client was heard of."""
        if not self.is_own and self.told is not None:
            self._keeper.mark(self.kept)

    def keep(self, told: Confirmed) -> None:
        """Make sure that the session holds for its whole timeout from now on."""
        self._keeper.keep(self.kept, told)

    def detach(self) -> None:
        """Have nothing to do with the session any more; safe to call twice."""
        if self.told is not None:
            self.told = None
            self._keeper.detached(self)

    def tell(self, event: SessionEvent) -> None:
        """Tell of trouble, unless it was detached meanwhile."""
        if self.told is not None:
            self.told(event)


class Report:
    """What was told the leader under one number."""

    __slots__ = ("is_repeated", "kept", "sent_at")

    def __init__(self, kept: list[Kept], sent_at: float) -> None:
        self.kept = kept
        self.sent_at = sent_at
        self.is_repeated = False


class Keeper:
    """All sessions that this node keeps alive.

    :param now: the replicator's clock.
    :param timeouts_ms: the open sessions and their timeouts, as this node has them.
    :param rev: this node's revision.
    :param wake: called when there are ``calls`` to be made or something urgent to send.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        timeouts_ms: Callable[[], Mapping[str, int]],
        rev: Callable[[], int],
        wake: Callable[[], None],
        request_seconds: float,
    ) -> None:
        self._now = now
        self._timeouts_ms = timeouts_ms
        self._rev = rev
        self._wake = wake
        self._request_seconds = request_seconds
        self._kept: dict[str, Kept] = {}
        self._marked: dict[Kept, None] = {}
        self._doubted: dict[Kept, None] = {}
        self._keeping: dict[Kept, None] = {}
        self._marks: Deadlines[Kept] = Deadlines()
        self._reports: dict[int, Report] = {}
        self._number = 0
        self._beat_at = 0.0
        self._silent_since: float | None = None
        self._calls: list[Call] = []
        self._is_stopped = False
        self.is_urgent = False

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def sessions(self) -> list[str]:
        """The sessions that are kept alive here."""
        return list(self._kept)

    def is_attached(self, session: str) -> bool:
        """Say whether a connection to this node has this session."""
        kept = self._kept.get(session)
        return kept is not None and bool(kept.attached)

    # -- what connections say ---------------------------------------------------------------
    def attach(self, session: str, told: Told, *, own: bool) -> Attachment:
        """Bind a connection to a session; one that is not there is told to be expired."""
        kept = self._kept.get(session)
        if kept is None:
            kept = self._take_up(session)
        attachment = Attachment(self, kept, told, own)
        if kept.over is not None:
            event = SessionEvent(self._rev(), Trouble.EXPIRED, session)
            self._call(partial(attachment.tell, event))
            return attachment
        kept.attached[attachment] = None
        if kept.in_jeopardy:
            event = SessionEvent(self._rev(), Trouble.JEOPARDY, session)
            self._call(partial(attachment.tell, event))
        if own:
            kept.own += 1
            self._marks.set(kept, self._now() + kept.timeout_seconds / MARKS_PER_TIMEOUT)
        else:
            self.mark(kept)
        return attachment

    def _take_up(self, session: str) -> Kept:
        timeout_ms = self._timeouts_ms().get(session)
        kept = Kept(session, (timeout_ms or 0) / 1000)
        kept.in_jeopardy = self._is_stopped
        if timeout_ms is None:
            kept.over = SessionExpired("this session is over")
        else:
            self._kept[session] = kept
        return kept

    def mark(self, kept: Kept) -> None:
        """Take note that a session was heard of: the leader is to know."""
        kept.marked_at = self._now()
        if kept.is_marked or kept.over is not None:
            return
        kept.is_marked = True
        self._marked[kept] = None
        if kept.doubted_at is None:
            kept.doubted_at = kept.marked_at
            self._doubted[kept] = None

    def keep(self, kept: Kept, told: Confirmed) -> None:
        """Mark a session and answer once that is confirmed."""
        if kept.over is not None:
            self._call(partial(told, kept.over))
            return
        if self._is_stopped:
            self._call(partial(told, NOT_KEPT))
            return
        self.mark(kept)
        kept.keeps.append((kept.marked_at, told))
        self._keeping[kept] = None
        self.is_urgent = True
        self._wake()

    def detached(self, attachment: Attachment) -> None:
        """Forget an attachment, and the session with the last one, once all is confirmed."""
        kept = attachment.kept
        if attachment not in kept.attached:
            return
        del kept.attached[attachment]
        kept.own -= attachment.is_own
        if not kept.own:
            self._marks.drop(kept)
        self._forget(kept)

    def _forget(self, kept: Kept) -> None:
        if (
            not kept.attached
            and kept.doubted_at is None
            and not kept.keeps
            and self._is_known(kept)
        ):
            del self._kept[kept.session]

    def _is_known(self, kept: Kept) -> bool:
        """Say whether a session was not forgotten; one that came back is another `Kept`."""
        return self._kept.get(kept.session) is kept

    # -- what the leader and the log say -------------------------------------------------------
    def renewed(self, number: int, lost: Sequence[str]) -> None:
        """Take note of what the leader has heard; what it calls lost is in doubt still."""
        report = self._reports.pop(number, None)
        if report is None:
            return
        gone = frozenset(lost)
        for kept in report.kept:
            if not self._is_known(kept):
                continue
            if kept.session in gone:
                self._mark_again(kept)
            else:
                self._confirm(kept, report.sent_at)

    def _confirm(self, kept: Kept, sent_at: float) -> None:
        if kept.doubted_at is not None:
            if kept.marked_at <= sent_at and not kept.is_marked:
                kept.doubted_at = None
                del self._doubted[kept]
            else:
                kept.doubted_at = max(kept.doubted_at, sent_at)
        if kept.in_jeopardy and self._silent_since is None:
            self._tell(kept, Trouble.SAFE)
        if kept.keeps:
            self._answer(kept, sent_at, None)
        self._forget(kept)

    def _answer(self, kept: Kept, until: float, answer: CoordError | None) -> None:
        """Answer the keeps that were asked for up to some time."""
        for _, told in (one for one in kept.keeps if one[0] <= until):
            self._call(partial(told, answer))
        kept.keeps = [one for one in kept.keeps if one[0] > until]
        if not kept.keeps:
            self._keeping.pop(kept, None)

    def over(self, news: SessionOver) -> None:
        """Take note that a session ended."""
        kept = self._kept.pop(news.session, None)
        if kept is None:
            return
        expired, ended = SessionExpired("this session is over"), NoSession("this session has ended")
        kept.over = expired if news.is_expired else ended
        for group in (self._marked, self._doubted, self._keeping):
            group.pop(kept, None)
        self._marks.drop(kept)
        self._tell(kept, Trouble.EXPIRED, news.rev)
        for _, told in kept.keeps:
            self._call(partial(told, kept.over))
        kept.attached.clear()
        kept.keeps.clear()

    def in_touch(self) -> None:
        """Take note that this node has caught up: a session that is there is there."""
        self._silent_since = None
        for kept in self._kept.values():
            if kept.in_jeopardy and kept.doubted_at is None:
                self._tell(kept, Trouble.SAFE)

    # -- what goes out -------------------------------------------------------------------------
    def again(self) -> None:
        """Let all that is not confirmed be told again: another leads, or the link is new."""
        for report in self._reports.values():
            self._repeat(report)

    def beat(self, now: float, serves: bool) -> bool:
        """Let time pass; says whether it is time to `report`.

        :param serves: whether this node is in touch with a majority, as far as it knows.
        """
        if now < self._beat_at:
            return False
        self._beat_at = now + RENEW_SECONDS
        for kept in self._marks.take(now, len(self._marks)):
            self._marks.set(kept, now + kept.timeout_seconds / MARKS_PER_TIMEOUT)
            self.mark(kept)
        for number, report in list(self._reports.items()):
            if now - report.sent_at > REPORT_SECONDS:
                del self._reports[number]
            if now - report.sent_at > RENEW_AGAIN_SECONDS:
                self._repeat(report)
        self._despair(now, serves)
        return True

    def needs_proof(self, serves: bool) -> bool:
        """Say whether this node was out of touch, is in touch again, and somebody has to know."""
        if not serves or self._silent_since is None:
            return False
        if any(kept.in_jeopardy for kept in self._kept.values()):
            return True
        self._silent_since = None
        return False

    def report(self) -> list[Renew]:
        """Return what to tell the leader now: by the clock as it is, after every mark."""
        now = self._now()
        self.is_urgent = False
        if not self._marked:
            return []
        marked, self._marked = list(self._marked), {}
        renews = []
        for first in range(0, len(marked), RENEW_SESSIONS_MAX):
            piece = marked[first : first + RENEW_SESSIONS_MAX]
            for kept in piece:
                kept.is_marked = False
            self._number += 1
            self._reports[self._number] = Report(piece, now)
            sessions = tuple([kept.session for kept in piece])
            renews.append(Renew(self._number, sessions, _ages_ms(piece, now)))
        return renews

    def calls(self) -> list[Call]:
        """Take the calls to be made once nothing is changing."""
        calls, self._calls = self._calls, []
        return calls

    def stop(self) -> None:
        """Answer those who wait, and warn the others: this node keeps nothing any more."""
        self._is_stopped = True
        for kept in self._kept.values():
            if not kept.in_jeopardy:
                self._tell(kept, Trouble.JEOPARDY)
        for kept in self._keeping:
            for _, told in kept.keeps:
                self._call(partial(told, NOT_KEPT))
            kept.keeps.clear()
        self._keeping.clear()

    # -- within ----------------------------------------------------------------------------------
    def _repeat(self, report: Report) -> None:
        if report.is_repeated:
            return
        report.is_repeated = True
        for kept in report.kept:
            if kept.over is None and kept.doubted_at is not None:
                self._mark_again(kept)

    def _mark_again(self, kept: Kept) -> None:
        """Let a session be told again, as of when it was heard of."""
        if kept.own:
            kept.marked_at = self._now()
        kept.is_marked = True
        self._marked[kept] = None

    def _despair(self, now: float, serves: bool) -> None:
        """Find what has been in doubt for too long."""
        asked_before = now - self._request_seconds
        for kept in [one for one in self._keeping if one.keeps[0][0] < asked_before]:
            self._answer(kept, asked_before, NOT_KEPT)
        for kept in self._doubted:
            if kept.doubted_at is not None and kept.is_due(now - kept.doubted_at):
                self._tell(kept, Trouble.JEOPARDY)
        if not serves:
            if self._silent_since is None:
                self._silent_since = now
            silence = now - self._silent_since
            for kept in self._kept.values():
                if kept.is_due(silence):
                    self._tell(kept, Trouble.JEOPARDY)

    def _tell(self, kept: Kept, trouble: Trouble, rev: int | None = None) -> None:
        kept.in_jeopardy = trouble is Trouble.JEOPARDY
        event = SessionEvent(self._rev() if rev is None else rev, trouble, kept.session)
        for attachment in kept.attached:
            self._call(partial(attachment.tell, event))

    def _call(self, call: Call) -> None:
        self._calls.append(call)
        self._wake()


def _ages_ms(piece: list[Kept], now: float) -> tuple[int, ...]:
    """Return how long ago each was heard of; nothing where that is hardly worth a word."""
    if now - min(kept.marked_at for kept in piece) <= TICK_SECONDS:
        return ()
    return tuple([int((now - kept.marked_at) * 1000) for kept in piece])
