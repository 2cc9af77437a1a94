"""One connection's requests and replies, and nothing of its bytes.

`Conversation.receive` takes parsed requests, `Conversation.render` gives the next page of
replies, and the protocol adapter in `coord.frontends.line` moves both.

* Untagged requests run and are answered in order: `coord.frontends.line_order`.
* Tagged requests start at once, and those of one chunk share a group of reads, one of writes and
  one of local reads. But all writes of a connection take effect in the order sent: a tagged
  write joins the last untagged writes that still wait.
* Events are said between replies, and an untagged one never within the rows of an untagged
  walk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from coord import commands
from coord.errors import CoordError, NoEntry, TagInUse, UnknownVerb
from coord.frontends import line_help
from coord.frontends.line_order import InOrder
from coord.frontends.line_slots import Asked, Group, Kind, Page, Ready, Slot, Stream, kind_of
from coord.frontends.line_watches import EventTexts, Follower, Followers, Waiting, Watching
from coord.limits import PIPELINE_BYTES_MAX, PIPELINE_REQUESTS_MAX, STREAMS_PER_CONNECTION_MAX
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
        self._in_order = InOrder(coordinator, self._go_on, self._written)
        self._followers = Followers(texts, self._replied, soon, self._ended)
        # tagged: groups in the making, what can be written, streams that wait their turn
        self._loose: dict[Kind, Group] = {}
        self._beside: deque[Slot] = deque()
        self._held: deque[Stream] = deque()
        self._streams: set[Stream] = set()
        self._tags: set[bytes] = set()
        self._requests = 0
        self._bytes = 0
        self._ending = False
        self._quit = False
        self._gone = False

    # -- how it stands ---------------------------------------------------------------------
    @property
    def is_full(self) -> bool:
        """Whether so much is pending that no more should be read."""
        return self._requests > PIPELINE_REQUESTS_MAX or self._bytes > PIPELINE_BYTES_MAX

    @property
    def is_over(self) -> bool:
        """Whether nothing will be said any more."""
        return self._quit or (self._ending and not self._requests and not self._followers)

    def describe(self) -> str:
        """Return the conversation in one line, for the console and for logs."""
        return (
            f"pending {self._requests} ({self._bytes} bytes) {self._in_order.describe()} "
            f"tags {len(self._tags)} watches and waits {len(self._followers)}"
        )

    # -- what comes in ----------------------------------------------------------------------
    def receive(self, requests: Sequence[Parsed], size_bytes: int) -> None:
        """Take requests, in the order sent, that took ``size_bytes`` to write down."""
        share = size_bytes // (len(requests) or 1) + 1
        for request in requests:
            if self._ending:
                break
            self._requests += 1
            self._bytes += share
            if type(request) is Tagged:
                self._receive_tagged(request.tag, request.request, share)
                continue
            kind = kind_of(request)  # type: ignore[arg-type]
            if kind is not None:
                self._in_order.add_command(kind, request, share)  # type: ignore[arg-type]
            else:
                self._receive_single(request, share)  # type: ignore[arg-type]
        self._start_all()

    def end_input(self) -> None:
        """Take note that nothing more will be asked."""
        self._ending = True

    def hang_up(self) -> None:
        """End, once everything asked so far is answered."""
        self._ending = True
        self._requests += 1
        self._in_order.add(Asked(b"", lambda: self._say_farewell([])))

    def abandon(self) -> None:
        """Let go of everything: there is nobody to tell."""
        self._gone = True
        self._in_order.close()
        for slot in (*self._beside, *self._held, *self._streams):
            slot.close()
        self._followers.close()

    def _receive_single(self, request: commands.Command | CoordError, share: int) -> None:
        slot = self._slot(b"", request)
        slot.size_bytes = share
        self._ending = isinstance(request, commands.Quit)
        self._in_order.add(slot)

    def _receive_tagged(
        self, tag: bytes, request: commands.Command | CoordError, share: int
    ) -> None:
        if tag in self._tags:
            text = tag.decode().strip()
            request = TagInUse(f"a request with the tag {text} is still being answered")
        elif not isinstance(request, CoordError):
            self._tags.add(tag)
        kind = kind_of(request)  # type: ignore[arg-type]
        if kind is not None:
            group = self._tagged_group(kind)
            group.add(kind, request, tag, share)  # type: ignore[arg-type]
            return
        slot = self._slot(tag, request)
        slot.size_bytes = share
        if isinstance(request, commands.Quit):
            self._ending = True
            self._in_order.add(slot)
        elif isinstance(slot, Stream):
            self._start_all()
            self._held.append(slot)
            self._start_streams()
        elif isinstance(request, commands.Watch | commands.Wait):
            self._bytes -= share  # its reply, which may be long in coming, holds none of it
            self._start_all()
            slot.start()  # another slot stands beside once the reply is known
        else:
            self._beside.append(slot)

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
            case commands.List() | commands.Walk():
                return Stream(request, tag, self._coordinator.submit, self._answered_stream)
            case commands.Watch() | commands.Wait():
                follower = self._follower(tag, request)
                return Asked(tag, follower.reply, start=lambda: self._followers.start(follower))
            case commands.Unwatch():
                return Asked(tag, lambda: [self._unwatch(request)])
            case commands.Ping():
                return Asked(tag, lambda: [line_reply.OK], alone=False)
            case commands.Rev():
                return Asked(tag, lambda: [self._rev()], alone=False)
            case commands.Status():
                return Asked(tag, lambda: line_reply.table(self._coordinator.status()))
            case commands.Members():
                return Asked(tag, lambda: line_reply.table(self._coordinator.members()))
            case commands.Help():
                return Asked(tag, lambda: self._teach(request))
            case commands.Quit():
                return Asked(tag, lambda: self._say_farewell([line_reply.OK]))
        return Ready(tag + line_reply.error(UnknownVerb("not in this version yet")))

    # -- what starts ---------------------------------------------------------------------------
    def _start_all(self) -> None:
        """Hand over what was collected: loose groups are older than what waits behind them."""
        for kind in [*self._loose]:
            self._submit_loose(kind)
        self._in_order.advance()

    def _submit_loose(self, kind: Kind) -> None:
        group = self._loose.pop(kind)
        self._coordinator.submit(group.commands, group.settle)

    def _start_streams(self) -> None:
        while self._held and len(self._streams) < STREAMS_PER_CONNECTION_MAX:
            stream = self._held.popleft()
            self._streams.add(stream)
            stream.start()

    def _follower(self, tag: bytes, request: commands.Watch | commands.Wait) -> Follower:
        glob = self._grammar.glob(request.glob.encode())
        if isinstance(request, commands.Watch):
            return Watching(self._coordinator, request, glob, tag)
        return Waiting(self._coordinator, request, glob, tag, self._clock)

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

    def _replied(self, follower: Follower, is_last: bool) -> None:
        if follower.tag:
            self._stand_beside(Asked(follower.tag, follower.reply, frees_tag=is_last))
        else:
            self._go_on()

    def _ended(self, follower: Follower) -> None:
        self._tags.discard(follower.tag)

    def _go_on(self) -> None:
        if not self._gone:
            self._progress()

    # -- what is said ------------------------------------------------------------------------------
    def _rev(self) -> bytes:
        return b"OK %d\n" % self._coordinator.rev

    def _unwatch(self, request: commands.Unwatch) -> bytes:
        if self._followers.end(request.glob):
            return self._rev()
        return line_reply.error(NoEntry(f"nothing is watched as {request.glob}"))

    def _teach(self, request: commands.Help) -> Sequence[bytes]:
        try:
            lines = line_help.lesson(request.verb)
        except CoordError as error:
            return [line_reply.error(error)]
        return [*map(line_reply.lesson, lines), line_reply.end(self._coordinator.rev)]

    def _say_farewell(self, lines: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return the last words once nothing is pending but they and waits without an end."""
        if self._requests - self._followers.waits() > 1:
            return None
        self._quit = True
        return lines

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
        self._followers.render(page, self._in_order.is_midway)
        self._tags.difference_update(page.freed)
        return page

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
