"""One connection's requests and replies, without the connection: bytes in, outcomes out.

Three sorts of exchange:

* What must keep its order goes without a tag and is answered in order: writes, and reads
  that see them.
* What may take long, or must not wait behind others, has a tag: rows, watches, waits, and
  whatever a server can answer at once by itself (``local``, ``REV``, ``PING``).
* A watch goes on: it is told its first revision, or how things differ from what was, then
  events, until an error ends it.

Beside the answers a server says unasked what befalls the connection's session.

``UNWATCH`` ends *all* watches of a connection on a glob, and says nothing of one that is only
just being opened. So for one glob these take turns: no ``UNWATCH`` while a ``WATCH`` is not
answered yet, no ``WATCH`` while an ``UNWATCH`` is not. Watches that were ended along with
another are told `Lagged`: they begin again where they are.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec.structs import replace

from coord import commands, paths
from coord.client.errors import Junk
from coord.client.exchange import Exchange
from coord.client.replies import Differs, End, Item, Reply, ReplyParser
from coord.client.rows import Difference, Seen
from coord.errors import CoordError, Lagged
from coord.events import Event, SessionEvent
from coord.results import Point, Row, Written


class _OneGlob:
    """The watches of one connection on one glob; see the top of this file."""

    __slots__ = ("ending", "held", "opening", "unwanted", "watches")

    def __init__(self) -> None:
        self.watches: dict[Exchange, None] = {}
        self.opening = 0
        self.unwanted: set[Exchange] = set()
        self.ending = False
        self.held: dict[Exchange, None] = {}

    @property
    def is_closing(self) -> bool:
        return self.ending or bool(self.unwanted)


class _Ending(Exchange):
    """An ``UNWATCH``, whose answer nobody but the conversation wants."""

    __slots__ = ()

    def told(self, outcome: Any) -> None:
        """Pass over it."""


class Conversation:
    """What one connection asked and is still to be told.

    :param troubled: who is told of what befalls the session of the connection.
    """

    def __init__(self, troubled: Exchange | None = None) -> None:
        self._troubled = troubled
        self._parser = ReplyParser()
        self._outbox: list[bytes] = []
        self._in_order: deque[Exchange] = deque()
        self._tagged: dict[bytes, Exchange] = {}
        self._globs: dict[str, _OneGlob] = {}
        self._watching = 0
        self._tags = 0
        self._asked = 0
        self._lifetimes: dict[Exchange, int] = {}

    @property
    def outstanding(self) -> int:
        """How many requests are not answered yet; watches that are open are none."""
        return len(self._in_order) + len(self._tagged) - self._watching

    def describe(self) -> str:
        """Return the conversation in one line."""
        return f"{self.outstanding} outstanding {self._watching} watches"

    def unanswered(self) -> list[Exchange]:
        """Return every exchange that may still be told something, watches among them.

        In the order in which they were asked, with a tag or without.
        """
        held = [one for group in self._globs.values() for one in group.held]
        asked = sorted((*self._in_order, *self._tagged.values()), key=lambda one: one.order)
        return [*asked, *held]

    # -- asking -------------------------------------------------------------------------------
    def ask(self, exchange: Exchange) -> None:
        """Send a request with the next `take_outbox`; one that was sent before begins anew."""
        exchange.begin()
        self._asked += 1
        exchange.order = self._asked
        if not exchange.tagged:
            self._in_order.append(exchange)
            self._outbox += exchange.lines
            return
        self._tags += 1
        exchange.tag = b"#%d" % self._tags
        self._tagged[exchange.tag] = exchange
        self._outbox += [b"%b %b" % (exchange.tag, line) for line in exchange.lines]

    def watch(self, exchange: Exchange) -> None:
        """Open a watch, at once or when its glob is free for it."""
        glob = self._glob(exchange)
        if glob.is_closing:
            glob.held[exchange] = None
        else:
            self._open(glob, exchange)

    def leave(self, exchange: Exchange) -> None:
        """End a watch: it is told nothing more."""
        glob = self._glob(exchange)
        glob.held.pop(exchange, None)
        if exchange in glob.watches:
            glob.unwanted.add(exchange)
            self._settle(glob, exchange.command.glob)  # type: ignore[union-attr]

    def take_outbox(self) -> bytes:
        """Return what is to be sent now."""
        if not self._outbox:
            return b""
        content = b"".join(self._outbox)
        self._outbox.clear()
        return content

    def _glob(self, exchange: Exchange) -> _OneGlob:
        written: str = exchange.command.glob  # type: ignore[union-attr]
        return self._globs.setdefault(written, _OneGlob())

    def _open(self, glob: _OneGlob, exchange: Exchange) -> None:
        glob.watches[exchange] = None
        glob.opening += 1
        self.ask(exchange)

    def _settle(self, glob: _OneGlob, written: str) -> None:
        """Do what a glob's watches allow now: end them, open those that had to wait."""
        if glob.ending or glob.opening:
            return
        if glob.unwanted:
            glob.ending = True
            self.ask(_Ending(commands.Unwatch(written)))
            return
        held, glob.held = glob.held, {}
        for exchange in held:
            self._open(glob, exchange)
        if not glob.watches:
            self._globs.pop(written, None)

    # -- being told ---------------------------------------------------------------------------
    def receive(self, chunk: bytes) -> list[tuple[Exchange, Any]]:
        """Return who is to be told what; raise `Junk` where a reply fits no request.

        To tell them is the caller's, after this has returned.
        """
        done: list[tuple[Exchange, Any]] = []
        in_order = self._in_order
        for tag, reply in self._parser.feed(chunk):
            if type(reply) is SessionEvent:
                if self._troubled is not None:
                    done.append((self._troubled, reply))
                continue
            waiting = in_order[0] if in_order else None
            exchange = self._tagged.get(tag) if tag else waiting
            if exchange is None:
                raise Junk(f"{type(reply).__name__} answers nothing that was asked")
            if exchange.kind is commands.Watch:
                self._watched(exchange, reply, done)
                continue
            outcome = exchange.outcome(reply)
            if outcome is None:
                continue
            if tag:
                del self._tagged[tag]
            else:
                in_order.popleft()
            if type(exchange) is _Ending:
                self._ended(exchange.command, done)  # type: ignore[arg-type]
            else:
                done.append((exchange, outcome))
        return done

    def _watched(self, exchange: Exchange, reply: Reply, done: list[tuple[Exchange, Any]]) -> None:
        """Take a reply to a watch: it was opened, something happened, or it is over."""
        glob = self._glob(exchange)
        outcome: Any = reply
        is_new = exchange.rows is None
        if isinstance(reply, CoordError):
            del self._tagged[exchange.tag]
            del glob.watches[exchange]
            self._watching -= not is_new
        elif is_new:
            outcome = _opened(exchange, reply)
            self._watching += 1
        elif exchange.rows:
            outcome = _difference(exchange, reply)
        elif type(reply) is Item and exchange.command.lasting:  # type: ignore[union-attr]
            outcome = self._aside(exchange, reply)
        elif type(reply) is not Event:
            raise Junk(f"{type(reply).__name__} is no answer to a watch")
        elif exchange in self._lifetimes:
            outcome = replace(reply, ttl_ms=self._lifetimes.pop(exchange))
        if exchange not in glob.unwanted and outcome is not None:
            done.append((exchange, outcome))
        if isinstance(reply, CoordError):
            glob.unwanted.discard(exchange)
        if is_new:
            glob.opening -= 1
        if is_new or isinstance(reply, CoordError):
            self._settle(glob, exchange.command.glob)  # type: ignore[union-attr]

    def _aside(self, watch: Exchange, item: Item) -> Seen | None:
        """Take what a lasting watch is told beside events: how far it saw, or a lifetime."""
        try:
            name, _, number = item.text.partition(b" ")[0].partition(b"=")
            if name == b"upto":
                return Seen(int(number))
            self._lifetimes[watch] = round(1000 * float(number))
        except ValueError:
            raise Junk(f"nothing to tell beside events: {item.text[:40]!r}") from None
        return None

    def _ended(self, request: commands.Unwatch, done: list[tuple[Exchange, Any]]) -> None:
        """Take the answer to an ``UNWATCH``: no watch on that glob is left."""
        glob = self._globs[request.glob]
        for exchange in glob.watches:
            del self._tagged[exchange.tag]
            self._watching -= 1
            if exchange not in glob.unwanted:
                done.append((exchange, Lagged("ended along with another watch on its glob")))
        glob.watches.clear()
        glob.unwanted.clear()
        glob.ending = False
        self._settle(glob, request.glob)


def _opened(watch: Exchange, reply: Reply) -> Point | None:
    """Return where a watch begins; ``None`` where it is told first how things differ."""
    watch.rows = []
    if type(reply) is Written and reply.path is None:
        return Point(reply.rev)
    if type(reply) is Differs and watch.command.diff:  # type: ignore[union-attr]
        watch.rows.append(reply)
        return None
    raise Junk(f"{type(reply).__name__} is no answer to a watch")


def _difference(watch: Exchange, reply: Reply) -> Difference | None:
    """Take a row of how things differ; return all of them once they are whole."""
    rows = watch.rows
    assert rows, "it begins with the revision that it is of"
    if type(reply) is Row:
        rows.append(reply)
        return None
    if type(reply) is Item:
        rows.append(_path(reply))
        return None
    if type(reply) is not End:
        raise Junk(f"{type(reply).__name__} is no row of a difference")
    watch.rows = []
    return Difference(
        rev=reply.rev,
        after_rev=watch.command.after_rev or 0,  # type: ignore[union-attr]
        changed=tuple(row for row in rows if isinstance(row, Row)),
        unchanged=tuple(row for row in rows if isinstance(row, str)),
    )


def _path(item: Item) -> str:
    try:
        return paths.decode(item.text)
    except CoordError as error:
        raise Junk(error.text) from None
