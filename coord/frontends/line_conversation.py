"""One connection's requests and replies: what runs when, and what is said in which order.

Pure of bytes on a wire: `receive` takes parsed requests, `render` gives the next page of
replies, and the protocol adapter beside it moves both.

* Untagged requests wait in a queue. Neighbours that only touch the store become one *group*,
  handed over as one. A group starts while earlier ones are still under way only if all of them
  write, which the coordinator keeps in order, or all of them read, or all of them read locally:
  so the order of effects is the order of requests. A ``local`` read never joins the others,
  since it is answered where they cannot be. Everything else goes alone, when all before it was
  written out.
* Tagged requests start at once, and share groups by kind. But all writes of a connection take
  effect in the order sent: a tagged write joins the last group of writes that still waits.
* Events are said between replies: a tagged one anywhere between lines, an untagged one never
  within the rows of an untagged walk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from coord import commands
from coord.errors import CoordError, NoEntry, Overloaded, TagInUse
from coord.frontends import line_help
from coord.frontends.line_slots import Asked, Group, Kind, Page, Ready, Slot, Stream, kind_of
from coord.frontends.line_watches import EventTexts, Follower, Waiting, Watching
from coord.limits import (
    PIPELINE_BYTES_MAX,
    PIPELINE_REQUESTS_MAX,
    STREAMS_PER_CONNECTION_MAX,
    WATCHES_PER_CONNECTION_MAX,
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
        clock: IReactorTime,
        grammar: Grammar,
        texts: EventTexts,
        progress: Callable[[], None],
        soon: Callable[[], None],
    ) -> None:
        self._coordinator = coordinator
        self._clock = clock
        self._grammar = grammar
        self._texts = texts
        self._progress = progress
        self._soon = soon
        # untagged: waiting, then under way or being written
        self._queue: deque[Slot] = deque()
        self._slots: deque[Slot] = deque()
        self._open: Group | None = None
        self._last_writes: Group | None = None
        self._unanswered = 0
        self._kind = Kind.READ
        # tagged: groups in the making, what can be written, streams that wait their turn
        self._loose: dict[Kind, Group] = {}
        self._beside: deque[Slot] = deque()
        self._held: deque[Stream] = deque()
        self._streams: set[Stream] = set()
        self._tags: set[bytes] = set()
        # watches and waits
        self._followers: dict[Follower, None] = {}
        self._woken: dict[Follower, None] = {}
        self._waits = 0
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
            f"pending {self._requests} ({self._bytes} bytes) queued {len(self._queue)} "
            f"tags {len(self._tags)} watches and waits {len(self._followers)}"
        )

    # -- what comes in ----------------------------------------------------------------------
    def receive(self, requests: Sequence[Parsed], size_bytes: int) -> None:
        """Take requests, in the order sent, that took ``size_bytes`` to write down."""
        if not requests:
            return
        share = size_bytes // len(requests) + 1
        for request in requests:
            if self._ending:
                break
            self._requests += 1
            self._bytes += share
            if type(request) is Tagged:
                self._receive_tagged(request.tag, request.request, share)
                continue
            kind = kind_of(request)  # type: ignore[arg-type]
            if kind is None:
                self._receive_single(request, share)  # type: ignore[arg-type]
                continue
            group = self._open
            if group is None or not group.takes(kind):
                group = self._open = Group(kind, self._answered)
                self._queue.append(group)
            group.add(kind, request, b"", share)  # type: ignore[arg-type]
            if kind is Kind.WRITE:
                self._last_writes = group
        self._start_all()

    def end_input(self) -> None:
        """Take note that nothing more will be asked."""
        self._ending = True

    def hang_up(self) -> None:
        """End, once everything asked so far is answered."""
        self._ending = True
        self._open = None
        self._requests += 1
        self._queue.append(Asked(b"", lambda: self._say_farewell([])))
        self._advance()

    def abandon(self) -> None:
        """Let go of everything: there is nobody to tell."""
        self._gone = True
        for slot in (*self._queue, *self._slots, *self._beside, *self._held, *self._streams):
            slot.close()
        for follower in [*self._followers]:
            follower.close()
        self._followers.clear()
        self._woken.clear()

    def _receive_single(self, request: commands.Command | CoordError, share: int) -> None:
        slot = self._slot(b"", request)
        slot.size_bytes = share
        self._ending = isinstance(request, commands.Quit)
        self._open = None
        self._queue.append(slot)

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
            self._open = None
            self._queue.append(slot)
        elif isinstance(slot, Stream):
            self._start_all()
            self._held.append(slot)
            self._start_streams()
        elif isinstance(request, commands.Watch | commands.Wait):
            self._start_all()
            slot.start()  # it comes to `_beside` once its reply is known
        else:
            self._beside.append(slot)

    def _tagged_group(self, kind: Kind) -> Group:
        """Return the group that a tagged command of ``kind`` joins."""
        if kind is Kind.WRITE and self._last_writes is not None:
            if self._last_writes.is_full:
                self._last_writes = Group(kind, self._answered)
                self._queue.append(self._last_writes)
                self._open = None
            return self._last_writes
        group = self._loose.get(kind)
        if group is not None and group.is_full:
            self._submit_loose(kind)
            group = None
        if group is None:
            group = self._loose[kind] = Group(kind, self._answered_loose)
        return group

    def _slot(self, tag: bytes, request: commands.Command | CoordError) -> Slot:
        """Return the place of the reply to a request that goes by itself."""
        match request:
            case CoordError():
                return Ready(tag + line_reply.error(request))
            case commands.List() | commands.Walk():
                return Stream(request, tag, self._coordinator.submit, self._answered_stream)
            case commands.Watch() | commands.Wait():
                return self._follow(tag, request)
            case commands.Unwatch():
                return Asked(tag, lambda: [self._unwatch(request)])
            case commands.Ping():
                return Asked(tag, lambda: [line_reply.OK], alone=False)
            case commands.Rev():
                return Asked(tag, lambda: [b"OK %d\n" % self._coordinator.rev], alone=False)
            case commands.Status():
                return Asked(tag, lambda: line_reply.table(self._coordinator.status()))
            case commands.Members():
                return Asked(tag, lambda: line_reply.table(self._coordinator.members()))
            case commands.Help():
                return Asked(tag, lambda: self._teach(request))
            case commands.Quit():
                return Asked(tag, lambda: self._say_farewell([line_reply.OK]))
        raise AssertionError(f"a verb without a reply: {request!r}")

    # -- what runs -----------------------------------------------------------------------------
    def _start_all(self) -> None:
        """Hand over what was collected: loose groups are older than what waits behind them."""
        for kind in [*self._loose]:
            self._submit_loose(kind)
        self._advance()

    def _advance(self) -> None:
        """Start what may start now."""
        queue, slots = self._queue, self._slots
        while queue:
            slot = queue[0]
            if slots and (slot.alone or slots[0].alone):
                return
            if isinstance(slot, Group):
                if self._unanswered and slot.kind is not self._kind:
                    return
                self._submit(slot)
            else:
                slots.append(queue.popleft())
                slot.start()

    def _submit(self, group: Group) -> None:
        """Hand over the group at the head of the queue."""
        self._slots.append(self._queue.popleft())
        if group is self._open:
            self._open = None
        if group is self._last_writes:
            self._last_writes = None
        self._kind = group.kind
        self._unanswered += 1
        self._coordinator.submit(group.commands, group.settle)

    def _submit_loose(self, kind: Kind) -> None:
        group = self._loose.pop(kind)
        self._coordinator.submit(group.commands, group.settle)

    def _answered(self, group: Group) -> None:
        self._unanswered -= 1
        self._go_on()

    def _answered_loose(self, group: Group) -> None:
        self._beside.append(group)
        self._go_on()

    def _go_on(self) -> None:
        if not self._gone:
            self._progress()

    # -- rows ---------------------------------------------------------------------------------
    def _start_streams(self) -> None:
        while self._held and len(self._streams) < STREAMS_PER_CONNECTION_MAX:
            stream = self._held.popleft()
            self._streams.add(stream)
            stream.start()

    def _answered_stream(self, stream: Stream) -> None:
        if stream in self._streams:
            self._beside.append(stream)
        self._go_on()

    # -- watches --------------------------------------------------------------------------------
    def _follow(self, tag: bytes, request: commands.Watch | commands.Wait) -> Slot:
        """Return the place of the reply to a watch or a wait, to be started."""
        glob = self._grammar.glob(request.glob.encode())
        follower: Watching | Waiting
        if isinstance(request, commands.Watch):
            follower = Watching(self._coordinator, request, glob, tag)
        else:
            follower = Waiting(self._coordinator, request, glob, tag, self._clock)
        stays = isinstance(follower, Watching)

        def start() -> None:
            if len(self._followers) >= WATCHES_PER_CONNECTION_MAX:
                follower.refuse(Overloaded("too many watches and waits on this connection"))
                return
            self._followers[follower] = None
            follower.start()

        def answered() -> None:
            if not stays or follower.problem is not None:
                self._followers.pop(follower, None)
                self._woken.pop(follower, None)
            if tag:
                frees_tag = not stays or follower.problem is not None
                self._beside.append(Asked(tag, follower.reply, frees_tag=frees_tag))
            self._go_on()

        follower.answered = answered
        follower.woken = lambda: self._wake(follower)
        return Asked(tag, follower.reply, start=start)

    def _wake(self, follower: Follower) -> None:
        self._woken[follower] = None
        self._soon()

    def _unwatch(self, request: commands.Unwatch) -> bytes:
        found = [
            one
            for one in self._followers
            if isinstance(one, Watching) and one.is_open and one.glob.written == request.glob
        ]
        for follower in found:
            self._forget(follower)
        if not found:
            return line_reply.error(NoEntry(f"nothing is watched as {request.glob}"))
        return b"OK %d\n" % self._coordinator.rev

    def _forget(self, follower: Follower) -> None:
        follower.close()
        self._followers.pop(follower, None)
        self._woken.pop(follower, None)
        self._tags.discard(follower.tag)

    # -- what is said -----------------------------------------------------------------------------
    def _teach(self, request: commands.Help) -> Sequence[bytes]:
        try:
            lines = line_help.lesson(request.verb)
        except CoordError as error:
            return [line_reply.error(error)]
        return [*map(line_reply.lesson, lines), line_reply.end(self._coordinator.rev)]

    def _say_farewell(self, lines: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return the last words once nothing is pending but they and waits without an end."""
        waits = sum(isinstance(one, Waiting) for one in self._followers)
        if self._requests - waits > 1:
            return None
        self._quit = True
        return lines

    def render(self) -> Page:
        """Return the next page of replies; it is empty where there is nothing to say yet."""
        page = Page(self._clock.seconds)
        self._look()
        self._render_slots(page)
        page.next_source()
        self._render_beside(page)
        if not page.unfinished:
            self._render_slots(page)  # a farewell waits for what stood beside
        page.next_source()
        self._render_events(page)
        self._tags.difference_update(page.freed)
        return page

    def _look(self) -> None:
        """See whether what someone waits for has happened."""
        for follower in [one for one in self._woken if isinstance(one, Waiting)]:
            if follower.look():
                self._soon()
            else:
                self._woken.pop(follower, None)

    def _render_slots(self, page: Page) -> None:
        self._advance()
        while self._slots:
            if page.room <= 0:
                page.unfinished = True
                return
            slot = self._slots[0]
            if not slot.render(page):
                page.unfinished = page.unfinished or page.room <= 0
                return
            self._slots.popleft()
            self._done(slot)
            if not self._slots or self._queue:
                self._advance()

    def _render_beside(self, page: Page) -> None:
        beside = self._beside
        idle = 0
        while beside and idle < len(beside):
            if page.room <= 0:
                page.unfinished = True
                return
            slot = beside.popleft()
            if slot.render(page):
                idle = 0
                self._done(slot)
                if isinstance(slot, Stream):
                    self._streams.discard(slot)
                    self._start_streams()
            else:
                idle += 1
                beside.append(slot)

    def _render_events(self, page: Page) -> None:
        within_rows = bool(self._slots) and self._slots[0].midway
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

    def _done(self, slot: Slot) -> None:
        self._requests -= slot.count
        self._bytes -= slot.size_bytes
