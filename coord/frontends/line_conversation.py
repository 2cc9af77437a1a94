"""One connection's requests and replies, and nothing of its bytes.

`Conversation.receive` takes parsed requests, `Conversation.render` gives the next page of
replies, and the protocol adapter in `coord.frontends.line` moves both.

* Untagged requests run and are answered in order: `coord.frontends.line_order`.
* Tagged requests start at once, and those of one chunk share a group of reads, one of writes and
  one of local reads. But all writes of a connection take effect in the order sent: a tagged
  write joins the last untagged writes that still wait.
* Events are said between replies, and an untagged one never within the rows of an untagged
  walk. So is what befell the session: `coord.frontends.line_session`.
* What stands between ``BEGIN`` and ``COMMIT`` is kept aside: `coord.frontends.line_transaction`.
* A ``LOCK`` that waits is a write first and then a wait: `coord.frontends.line_locks`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.interfaces import IReactorTime

from coord import commands
from coord.errors import CoordError, NoEntry, TagInUse
from coord.frontends.gate import IGate
from coord.frontends.line_followers import Announcing, Followers
from coord.frontends.line_groups import Group, Kind, kind_of
from coord.frontends.line_locks import Locking, lock_of
from coord.frontends.line_node import NodeItself
from coord.frontends.line_order import InOrder
from coord.frontends.line_session import Standing
from coord.frontends.line_slots import Asked, Page, Ready, Slot, Stream, Told
from coord.frontends.line_transaction import Finished, Transactions
from coord.frontends.line_watches import EventTexts, Follower, Waiting, Watching
from coord.limits import (
    PIPELINE_BYTES_MAX,
    PIPELINE_REQUESTS_MAX,
    SESSION_LOCKS_MAX,
    STREAMS_PER_CONNECTION_MAX,
)
from coord.replicator.interfaces import ICoordinator
from coord.wire import line_reply
from coord.wire.line import Grammar, Parsed, Tagged


class Conversation:
    """What one client asked and is still to be told.

    ``progress`` is called when there is something new to render, ``soon`` when that may as
    well be after others had their turn.
    """

    def __init__(
        self,
        coordinator: ICoordinator,
        gate: IGate,
        clock: IReactorTime,
        grammar: Grammar,
        texts: EventTexts,
        progress: Callable[[], None],
        soon: Callable[[], None],
    ) -> None:
        self._coordinator = coordinator
        self._clock = clock
        self._grammar = grammar
        self._progress = progress
        self.standing = Standing(coordinator, gate, self._go_on)
        self._node = NodeItself(coordinator, self.standing)
        self._in_order = InOrder(self.standing.submit, self._go_on, self._written)
        self._followers = Followers(texts, self._replied, soon, self._ended)
        # tagged: groups in the making, what can be written, streams that wait their turn
        self._loose: dict[Kind, Group] = {}
        self._beside: deque[Slot] = deque()
        self._held: deque[Stream] = deque()
        self._streams: set[Stream] = set()
        self._lockings: dict[Locking, None] = {}
        self._transactions = Transactions()
        self._tags: set[bytes] = set()
        self._requests = 0
        self._bytes = 0
        self._ending = False
        self._input_ended = False
        self._quit = False
        self._gone = False

    # -- how it stands ---------------------------------------------------------------------
    @property
    def is_full(self) -> bool:
        """Whether so much is pending that no more should be read.

        As many requests that wait in the queues of locks as a session may have places there do not
        count: a client must be able to give its places up. More of them ask for the same ones.
        """
        requests = self._requests - min(len(self._lockings), SESSION_LOCKS_MAX)
        return requests > PIPELINE_REQUESTS_MAX or self._bytes > PIPELINE_BYTES_MAX

    @property
    def is_over(self) -> bool:
        """Whether nothing will be said any more."""
        return self._quit or (self._ending and not self._requests and not self._followers)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is pending, so that what can be answered at once may be."""
        return not self._requests and not self.standing.troubles and not self._ending

    def describe(self) -> str:
        """Return the conversation in one line, for the console and for logs."""
        return (
            f"{self.standing.describe()} pending {self._requests} ({self._bytes} bytes) "
            f"{self._in_order.describe()} transactions {len(self._transactions.open)} "
            f"tags {len(self._tags)} watches and waits {len(self._followers)}"
        )

    # -- what comes in ----------------------------------------------------------------------
    def receive(self, requests: Sequence[Parsed], size_bytes: int) -> None:
        """Take requests, in the order sent, that took ``size_bytes`` to write down."""
        share = size_bytes // (len(requests) or 1) + 1
        transactions = self._transactions.open
        for request in requests:
            if self._ending:
                break
            self._requests += 1
            self._bytes += share
            if type(request) is Tagged:
                self._receive_tagged(request.tag, request.request, share)
                continue
            if transactions and self._taken(b"", request, share):  # type: ignore[arg-type]
                continue
            kind = kind_of(request)  # type: ignore[arg-type]
            if kind is not None:
                self._in_order.add_command(kind, request, share)  # type: ignore[arg-type]
            else:
                self._receive_single(request, share)  # type: ignore[arg-type]
        self._start_all()

    def end_input(self) -> None:
        """Take note that nothing more will be asked."""
        self._ending = self._input_ended = True

    def hang_up(self) -> None:
        """End, once everything asked so far is answered."""
        self._ending = True
        self._requests += 1
        self._in_order.add(Asked(b"", lambda: self._say_farewell([])))

    def abandon(self, *, left: bool) -> None:
        """Let go of everything: there is nobody to tell. ``left``: the client meant to go."""
        self._gone = True
        self._in_order.close()
        for slot in (*self._beside, *self._held, *self._streams, *self._lockings):
            slot.close()
        self._followers.close()
        self.standing.close(left=left)

    def _receive_single(self, request: commands.Command | CoordError, share: int) -> None:
        if self._taken(b"", request, share):
            return
        slot = self._slot(b"", request)
        slot.size_bytes = share
        self._ending = isinstance(request, commands.Quit)
        self._in_order.add(slot)

    def _receive_tagged(
        self, tag: bytes, request: commands.Command | CoordError, share: int
    ) -> None:
        kind = kind_of(request)  # type: ignore[arg-type]
        if (kind is None or self._transactions.open) and self._taken_tagged(tag, request, share):
            return
        if tag in self._tags:
            text = tag.decode().strip()
            request, kind = TagInUse(f"a request with the tag {text} is still being answered"), None
        elif not isinstance(request, CoordError):
            self._tags.add(tag)
        if kind is not None:
            group = self._tagged_group(kind)
            group.add(kind, request, tag, share)  # type: ignore[arg-type]
        elif lock_of(request) is not None:
            locking = self._locking(tag, request)  # type: ignore[arg-type]
            group = self._tagged_group(Kind.WRITE)
            group.add_awaited(request, tag, share, locking)  # type: ignore[arg-type]
        else:
            self._receive_tagged_single(tag, request, share)

    def _receive_tagged_single(
        self, tag: bytes, request: commands.Command | CoordError, share: int
    ) -> None:
        slot = self._slot(tag, request)
        slot.size_bytes = share
        if isinstance(request, commands.Quit):
            self._ending = True
            self._in_order.add(slot)
        elif isinstance(slot, Stream):
            self._start_all()
            self._held.append(slot)
            self._start_streams()
        elif isinstance(slot, Announcing):
            self._bytes -= share  # its reply, which may be long in coming, holds none of it
            slot.size_bytes = 0
            self._start_all()
            slot.start()  # another slot stands beside once the reply is known
        elif isinstance(slot, Told):
            self._start_all()
            slot.start()
        else:
            self._beside.append(slot)

    def _taken(self, tag: bytes, request: commands.Command | CoordError, share: int) -> bool:
        """Say whether a transaction took a request; then it is answered, or handed on as one."""
        taken = self._transactions.take(tag, request)
        if taken is None:
            return False
        if isinstance(taken, bytes):
            slot = Ready(tag + taken)
            slot.size_bytes = share
            if tag:
                self._beside.append(slot)
            else:
                self._in_order.add(slot)
        else:
            self._finish(tag, taken, share)
        return True

    def _taken_tagged(self, tag: bytes, request: commands.Command | CoordError, share: int) -> bool:
        """Do the same for a tagged request: its tag may be in use by what stands beside."""
        if tag in self._tags and (
            tag not in self._transactions.open or self._transactions.ends(tag, request)
        ):
            return False
        return self._taken(tag, request, share)

    def _finish(self, tag: bytes, finished: Finished, share: int) -> None:
        """Put a transaction among the writes."""
        self._bytes += finished.weight_bytes
        share += finished.weight_bytes
        if tag:
            self._tags.add(tag)
            self._tagged_group(Kind.WRITE).add(Kind.WRITE, finished.write, tag, share)
        else:
            self._in_order.add_command(Kind.WRITE, finished.write, share)

    def _tagged_group(self, kind: Kind) -> Group:
        """Return the group that a tagged command of ``kind`` joins."""
        group = self._in_order.waiting_writes() if kind is Kind.WRITE else None
        if group is not None:
            return group
        group = self._loose.get(kind)
        if group is not None and group.is_full:
            self._submit_loose(kind)
            group = None
        if group is None:
            group = self._loose[kind] = Group(kind, self._stand_beside)
        return group

    def _slot(self, tag: bytes, request: commands.Command | CoordError) -> Slot:
        """Return the place of the reply to a request that goes by itself."""
        match request:
            case CoordError():
                return Ready(tag + line_reply.error(request))
            case commands.List() | commands.Walk() | commands.Log() | commands.Blame():
                return Stream(request, tag, self.standing.submit, self._answered_stream)
            case commands.Watch() | commands.Wait():
                return Announcing(self._follower(tag, request), self._followers)
            case commands.Lock() | commands.Once():
                return self._locking(tag, request)
            case commands.Session():
                return Told(tag, partial(self.standing.perform, request), self._answered)
            case commands.Auth():
                return Told(tag, partial(self.standing.show, request.secret), self._answered)
            case commands.ChangeMembers():
                return Told(tag, partial(self._node.change_members, request), self._answered)
            case commands.Unwatch():
                return Asked(tag, lambda: [self._unwatch(request)])
            case commands.Quit():
                return Asked(tag, lambda: self._say_farewell([line_reply.OK]))
        return self._node.slot(tag, request)

    # -- what starts ---------------------------------------------------------------------------
    def _start_all(self) -> None:
        """Hand over what was collected: loose groups are older than what waits behind them."""
        for kind in [*self._loose]:
            self._submit_loose(kind)
        self._in_order.advance()

    def _submit_loose(self, kind: Kind) -> None:
        group = self._loose.pop(kind)
        self.standing.submit(group.commands, group.settle)

    def _start_streams(self) -> None:
        while self._held and len(self._streams) < STREAMS_PER_CONNECTION_MAX:
            stream = self._held.popleft()
            self._streams.add(stream)
            stream.start()

    def _follower(self, tag: bytes, request: commands.Watch | commands.Wait) -> Follower:
        glob = self._grammar.glob(request.glob.encode())
        if isinstance(request, commands.Watch):
            return Watching(self.standing, request, glob, tag)
        return Waiting(self.standing, request, glob, tag, self._clock)

    def _locking(self, tag: bytes, request: commands.Lock | commands.Once) -> Locking:
        locking = Locking(
            self.standing, self._clock, request, tag, self._began_waiting, self._locked
        )
        if not tag:
            locking.trailing = Group(Kind.WRITE, self._stand_beside)
        return locking

    # -- what was answered -----------------------------------------------------------------------
    def _stand_beside(self, slot: Slot) -> None:
        """Let a tagged reply be written as soon as there is room."""
        self._beside.append(slot)
        self._go_on()

    def _answered_stream(self, stream: Stream) -> None:
        if stream in self._streams:
            self._stand_beside(stream)
        else:
            self._go_on()

    def _replied(self, follower: Follower) -> None:
        if follower.tag:
            self._stand_beside(Announcing(follower, self._followers))
        else:
            self._go_on()

    def _answered(self, slot: Told) -> None:
        if slot.tag:
            self._stand_beside(slot)
        else:
            self._go_on()

    def _began_waiting(self, locking: Locking) -> None:
        if self._gone:
            locking.close()
            return
        self._lockings[locking] = None
        if locking.tag:  # the group that it joined is answered; this is not
            self._requests += 1

    def _locked(self, locking: Locking) -> None:
        self._lockings.pop(locking, None)
        if locking.tag:
            self._stand_beside(locking)
        else:
            self._go_on()

    def _ended(self, follower: Follower) -> None:
        self._tags.discard(follower.tag)

    def _go_on(self) -> None:
        if not self._gone:
            self._progress()

    # -- what is said ------------------------------------------------------------------------------
    def _unwatch(self, request: commands.Unwatch) -> bytes:
        if self._followers.end(request.glob):
            return b"OK %d\n" % self._coordinator.rev
        return line_reply.error(NoEntry(f"nothing is watched as {request.glob}"))

    def _say_farewell(self, lines: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return the last words once nothing is pending but they and waits without an end."""
        if self._pending() > 1:
            return None
        self._quit = True
        for locking in self._lockings:  # nothing is said after the last words
            locking.close()
        self.standing.end_own()
        return lines

    def _pending(self) -> int:
        """Return how many requests are not answered, but for those that may never be."""
        return self._requests - self._followers.waits() - len(self._lockings)

    def render(self) -> Page:
        """Return the next page of replies; it is empty where there is nothing to say yet."""
        page = Page(self._clock.seconds)
        self._followers.look()
        self._in_order.render(page)
        page.next_source()
        self._render_beside(page)
        if not page.unfinished:
            self._in_order.render(page)  # a farewell waits for what stood beside
        page.next_source()
        is_midway = self._in_order.is_midway
        if self.standing.troubles and not is_midway:
            self._tell_troubles(page)
        self._followers.render(page, is_midway)
        self._tags.difference_update(page.freed)
        if self._input_ended and self._pending() <= 0:
            self.standing.end_own()
        return page

    def _tell_troubles(self, page: Page) -> None:
        troubles = self.standing.troubles
        while troubles:
            page.add(troubles.popleft())

    def _render_beside(self, page: Page) -> None:
        beside = self._beside
        idle = 0
        while beside and idle < len(beside):
            if page.room <= 0:
                page.unfinished = True
                return
            slot = beside.popleft()
            if not slot.render(page):
                idle += 1
                beside.append(slot)
                continue
            idle = 0
            self._written(slot)
            if isinstance(slot, Stream):
                self._streams.discard(slot)
                self._start_streams()

    def _written(self, slot: Slot) -> None:
        self._requests -= slot.count
        self._bytes -= slot.size_bytes
