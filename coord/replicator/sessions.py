"""Sessions on one node: the loop's side of keeping them, and of ending them in time.

It brings together the `coord.replicator.keeper` of this node's connections, what a leader knows in
`coord.replicator.lapses`, what every node counts in `coord.replicator.spans`, and who waits for
a lock in `coord.replicator.places`; and it carries `Renew` and `Renewed` between keepers and
the leader, which is a step within this node where it leads itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from coord.commands import Lapse, Write
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.replica import Replica
from coord.replicator.interfaces import IPeers
from coord.replicator.keeper import Keeper
from coord.replicator.lapses import Lapses
from coord.replicator.places import Places
from coord.replicator.queues import Group, Proof
from coord.replicator.spans import Spans
from coord.replicator.tracing import Traces
from coord.store.machine import Store
from coord.store.news import News, PlaceOver, SessionBegun, SessionOver
from coord.wire import peer as wire
from coord.wire.peer import Renew, Renewed

Call: TypeAlias = Callable[[], None]


class Sessions:
    """One node's part in keeping sessions alive.

    :param read: has a group answered at a point that is known to be the newest.
    :param wake: has the loop end its turn soon.
    :param serves: whether the node is in touch with a majority, as far as it knows.

    ``renews`` counts what was told the leader from here.
    """

    def __init__(
        self,
        *,
        store: Store,
        replica: Replica,
        peers: IPeers,
        traces: Traces,
        now: Callable[[], float],
        read: Callable[[Group], None],
        wake: Callable[[], None],
        serves: Callable[[], bool],
        request_seconds: float,
    ) -> None:
        self._store = store
        self._replica = replica
        self._peers = peers
        self._traces = traces
        self._now = now
        self._read = read
        self._wake = wake
        self._serves = serves
        self._request_seconds = request_seconds
        self._led_by: tuple[str | None, Ballot] = (None, NEVER)
        self._is_proving = False
        self._calls: list[Call] = []
        self.spans = Spans(store)
        self.lapses = Lapses(store, self.spans)
        self.places = Places(store)
        self.keeper = Keeper(
            now=now,
            timeouts_ms=lambda: store.timeouts_ms,
            rev=lambda: store.rev,
            wake=wake,
            request_seconds=request_seconds,
        )
        self.renews = 0

    # -- the loop's side ------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to count what was under way in the store that was just loaded."""
        self._store.news()
        self.spans.begin_anew(self._now())

    def before_image(self) -> None:
        """Take note of what happened in the store that is about to be another."""
        self._take_news()

    def after_image(self) -> None:
        """Go on with a store that came as an image: what happened meanwhile nobody has told."""
        self._store.news()
        now = self._now()
        self._look(now)
        open_now, rev = self._store.timeouts_ms, self._store.rev
        for session in dict.fromkeys(self.keeper.sessions + self.places.sessions):
            if session not in open_now:
                self._take(SessionOver(session, rev, is_expired=True), now)
        self._calls += self.places.look_again()
        self.spans.begin_anew(now)

    def stop(self) -> None:
        """Answer those who wait."""
        self.keeper.stop()
        self._calls += self.places.stop()

    def linked(self, peer: str) -> None:
        """Take note of a new link: what was told the leader before may be lost."""
        if peer == self._replica.leader:
            self.keeper.again()

    def applied(self, commands: Sequence[Write]) -> None:
        """Take note of what a leader said of its own accord, now that it is applied."""
        for command in commands:
            if isinstance(command, Lapse):
                self.lapses.applied(command)

    def tick(self, now: float) -> None:
        """Let time pass: see who leads, tell the leader who is alive, find who is in jeopardy."""
        self._look(now)
        serves = self._serves()
        if self.keeper.beat(now, serves):
            self._report()
            if self.keeper.needs_proof(serves) and not self._is_proving:
                self._is_proving = True
                self._read(Proof(self._proven, now + self._request_seconds))

    def turn(self) -> None:
        """Tell the leader at once what somebody waits for."""
        if self.keeper.is_urgent:
            self._look(self._now())
            self._report()

    def fates(self) -> list[Call]:
        """Take the calls that tell what became of places in queues.

        They come before the answers of the same turn: who has given up a lock by then must not be
        told afterwards that it was granted.
        """
        self._take_news()
        calls, self._calls = self._calls, []
        return calls

    def troubles(self) -> list[Call]:
        """Take the calls that tell what befell sessions.

        They come after the answers of the same turn: what was done under a session that is over
        was done before that.
        """
        return self.keeper.calls()

    def fired(self) -> None:
        """Take note that the calls were made."""
        self.places.fired()

    def received(self, sender: str, message: Renew | Renewed) -> None:
        """Take a message of another node's keeper, or of the leader."""
        if isinstance(message, Renew):
            self._renew(sender, message)
        else:
            self.keeper.renewed(message.number, message.lost)

    # -- within ----------------------------------------------------------------------------------
    def _look(self, now: float) -> None:
        """See who leads."""
        replica = self._replica
        led_by = (replica.leader, replica.ballot)
        if replica.is_leading:
            self.lapses.lead(replica.ballot, now)
        elif self.lapses.ballot is not None:
            self.lapses.follow(now)
        if led_by != self._led_by:
            self._led_by = led_by
            self.keeper.again()

    def _take_news(self) -> None:
        news = self._store.news()
        if news:
            now = self._now()
            for one in news:
                self._take(one, now)

    def _take(self, news: News, now: float) -> None:
        if isinstance(news, SessionBegun):
            self.lapses.opened(news.session, news.timeout_ms, now)
        elif isinstance(news, SessionOver):
            self.lapses.over(news.session)
            self.keeper.over(news)
            self._calls += self.places.session_over(news)
        elif isinstance(news, PlaceOver):
            self.spans.end_place(news.path, news.session)
            self._calls += self.places.place_over(news)
        else:
            self.spans.begin(news, now)

    def _report(self) -> None:
        """Tell the leader of the sessions heard of here, if there is a leader to be told."""
        leader = self._replica.leader
        is_here = leader == self._replica.node
        if leader is None or not (is_here or leader in self._peers.connected()):
            return
        for renew in self.keeper.report():
            self.renews += 1
            if is_here:
                self._renew(leader, renew)
            else:
                self._send(leader, renew)

    def _renew(self, sender: str, message: Renew) -> None:
        """As leader: take note of who is alive, and answer once it is certain that we led."""
        now = self._now()
        self._look(now)
        ballot = self.lapses.ballot
        if ballot is not None:
            self._take_news()
            self.lapses.heard(message.sessions, message.ages_ms, now)
            told = partial(self._led, ballot, sender, message)
            self._read(Proof(told, now + self._request_seconds))

    def _led(self, ballot: Ballot, sender: str, message: Renew, is_certain: bool) -> None:
        if not is_certain or not self._replica.is_leading or self._replica.ballot != ballot:
            return
        self._take_news()
        lost = self.lapses.lost(message.sessions)
        if sender == self._replica.node:
            self.keeper.renewed(message.number, lost)
        else:
            self._send(sender, Renewed(message.number, lost))
            self._wake()

    def _proven(self, is_certain: bool) -> None:
        self._is_proving = False
        if is_certain:
            self._take_news()
            self.keeper.in_touch()

    def _send(self, peer: str, message: Renew | Renewed) -> None:
        if self._traces.is_on:
            self._traces.sent(peer, message)
        self._peers.send(peer, wire.encode(message))
