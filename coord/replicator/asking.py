"""Changes of the members that clients have asked this node for.

The leader decides, be it this node or another; but the log tells what is done. So a change is sent
to whoever leads, and again to the next leader, and again after a while; it is answered

* with the leader's refusal, or its plan, once that comes;
* as done, once this node has learnt a configuration that is as was asked and governs, and the
  leader has said that a majority of its voters has all that went before: so who was removed by
  it may be switched off at once, and its disk thrown away;
* ``UNAVAILABLE`` where no leader could be told of it in time: it never happens;
* ``UNKNOWN`` where one was told and nothing more was heard.

Found as it was asked for before anything was learnt, it is no answer: that may be from before, and
the leader says so (``EXISTS``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from coord.commands import Caller, ChangeMembers, Deed, Level
from coord.errors import CATALOGUE, CoordError, Denied, Overloaded, Unavailable, Unknown
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.membership import Configuration, Governs
from coord.paxos.replica import Replica
from coord.replicator.interfaces import IPeers
from coord.results import Items, Result, Written
from coord.store.machine import Store
from coord.wire import peer as wire
from coord.wire.peer import CARDS_SINCE, MembersAnswer, MembersWanted

Answer: TypeAlias = Callable[[Result], None]
Call: TypeAlias = Callable[[], None]

ASK_AGAIN_SECONDS: Final = 0.6
"""A leader that has not been seen to make the change for so long is asked again."""
WISHES_MAX: Final = 64
"""Changes that may wait on one node; they are made one after the other."""

_NEVER: Final = float("-inf")
_UNAVAILABLE: Final = Unavailable("not done: no leader could be asked; try again")
_OLDER: Final = "not done: {leader} leads, and runs an older release; upgrade it first"
_UNKNOWN: Final = Unknown("it was asked of a leader; see MEMBERS whether it is done")


class Wish:
    """One change that somebody waits for."""

    def __init__(
        self, number: int, change: ChangeMembers, answer: Answer, deadline: float, replica: Replica
    ) -> None:
        self.number = number
        self.change = change
        self.answer = answer
        self.deadline = deadline
        self.asked: Ballot = NEVER
        self.is_confirmed = False
        self.asked_at = _NEVER
        self._since = replica.knowledge
        member = replica.configuration.member(change.node)
        self.disk = member.disk if member is not None else ""

    @property
    def was_asked(self) -> bool:
        """Whether a leader may know of it."""
        return self.asked != NEVER

    def is_done(self, governs: Governs) -> bool:
        """Say whether it was learnt since it was asked for, and is as was wanted."""
        is_new = governs.slot > self._since and not self.change.plan
        return is_new and is_as_wanted(self.change, governs.configuration, self.disk)


def is_as_wanted(change: ChangeMembers, known: Configuration, disk: str) -> bool:
    """Say whether a configuration is as a change wants it.

    :param disk: what the node was bound to before.
    """
    node, successor = known.member(change.node), known.member(change.successor)
    match change.deed:
        case Deed.ADD:
            return node is not None and node.address == change.address
        case Deed.REMOVE:
            return change.node not in known.nodes
        case Deed.PROMOTE:
            return change.node in known.voters
        case Deed.REPLACE if change.successor == change.node:
            if node is None:
                return False
            is_learning = change.node in known.learners and (node.wants_vote or not node.disk)
            return is_learning or node.disk != disk
        case Deed.REPLACE:
            if successor is None or successor.address != change.address:
                return False
            return successor.replaces == change.node or change.node not in known.nodes


class Asking:
    """The changes that wait on this node for what becomes of them.

    :param first_number: changes are numbered from here on.
    :param lead: takes what this node asks of itself as the leader.
    :param refusal: says why this node takes nothing at all any more.
    """

    def __init__(
        self,
        replica: Replica,
        peers: IPeers,
        store: Store,
        *,
        first_number: int,
        request_seconds: float,
        now: Callable[[], float],
        refusal: Callable[[], Unavailable | None],
        lead: Callable[[str, MembersWanted], None],
        send: Callable[[str, wire.MembersMessage], None],
    ) -> None:
        self._replica = replica
        self._peers = peers
        self._store = store
        self._number = first_number
        self._request_seconds = request_seconds
        self._now = now
        self._refusal = refusal
        self._lead = lead
        self._send = send
        self._wishes: dict[int, Wish] = {}
        self._calls: list[Call] = []

    @property
    def has_calls(self) -> bool:
        """Whether somebody is to be answered."""
        return bool(self._calls)

    def change(self, change: ChangeMembers, answer: Answer, caller: Caller) -> None:
        """Begin to have the members changed; ``answer`` once, from `calls`."""
        refusal = self._refusal() or self._forbidden(caller)
        if refusal is not None:
            self._calls.append(partial(answer, refusal))
            return
        self._number += 1
        deadline = self._now() + self._request_seconds
        self._wishes[self._number] = Wish(self._number, change, answer, deadline, self._replica)

    def _forbidden(self, caller: Caller) -> CoordError | None:
        if caller.level < Level.ADMIN:
            return Denied("only an admin changes the members")
        if len(self._wishes) >= WISHES_MAX:
            return Overloaded("too many changes of the members are waiting on this node")
        return None

    def calls(self) -> list[Call]:
        """Take the calls that answer."""
        calls, self._calls = self._calls, []
        return calls

    def linked(self, peer: str) -> None:
        """Take note of a new link: what was asked of a leader before may be lost."""
        if peer == self._replica.leader:
            for wish in self._wishes.values():
                wish.asked_at = _NEVER

    def turn(self) -> None:
        """Answer what is done; ask who leads of the rest."""
        if not self._wishes:
            return
        in_force = self._replica.governs[0]
        for wish in [one for one in self._wishes.values() if one.is_confirmed]:
            if wish.is_done(in_force):
                self._settle(wish, Written(self._store.rev))
        leader = self._replica.leader
        if leader == self._replica.node or leader in self._peers.connected():
            assert leader is not None, "nobody is called None"
            is_old = self._is_old(leader)
            for wish in tuple(self._wishes.values()):
                if not is_old:
                    self._ask(wish, leader)
                elif wish.change.plan or not wish.was_asked:
                    self._settle(wish, Unavailable(_OLDER.format(leader=leader)))

    def tick(self, now: float) -> None:
        """Answer those who have waited for too long."""
        for wish in [one for one in self._wishes.values() if one.deadline <= now]:
            self._settle(wish, self._fate(wish))

    def stop(self) -> None:
        """Answer all, as far as is known."""
        latest = self._replica.governs[-1]  # chosen: a node that stops is needed for it no more
        for wish in tuple(self._wishes.values()):
            is_done = wish.is_done(latest)
            self._settle(wish, Written(self._store.rev) if is_done else self._fate(wish))

    def received(self, message: MembersAnswer) -> None:
        """Take the leader's refusal, or its plan, or its word that a change holds."""
        wish = self._wishes.get(message.number)
        if wish is None:
            return
        if message.code:
            self._settle(wish, CATALOGUE.get(message.code, Unavailable)(message.text))
        elif wish.change.plan:
            self._settle(wish, Items(self._store.rev, message.rows))
        else:
            wish.is_confirmed = True

    # -- within ----------------------------------------------------------------------------------
    def _is_old(self, leader: str) -> bool:
        """Say whether a leader could not even read what it was asked."""
        card = self._peers.cards().get(leader)
        return card is not None and card.protocol < CARDS_SINCE

    def _ask(self, wish: Wish, leader: str) -> None:
        """Ask the leader, unless it was asked lately."""
        ballot, now = self._replica.ballot, self._now()
        if ballot == wish.asked and now - wish.asked_at < ASK_AGAIN_SECONDS:
            return
        wanted = MembersWanted(wish.number, wish.change, wish.was_asked, wish.disk)
        wish.asked, wish.asked_at = ballot, now
        if leader == self._replica.node:
            self._lead(leader, wanted)
        else:
            self._send(leader, wanted)

    def _fate(self, wish: Wish) -> CoordError:
        """Return what is known of a change that nothing more will be heard of."""
        is_open = wish.was_asked and not wish.change.plan
        return _UNKNOWN if is_open else _UNAVAILABLE

    def _settle(self, wish: Wish, result: Result) -> None:
        del self._wishes[wish.number]
        self._calls.append(partial(wish.answer, result))
