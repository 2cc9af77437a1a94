"""Who leads, as far as one node knows: itself, another, or nobody; and how that changes.

A follower that has heard of no leader for a lease and a random while *canvasses*: would you
promise me? Acceptors that granted a lease to someone else, or know much more of the log, say no,
and nothing durable happens. With a quorum of yes it saves its own promise of the ballot, then asks
for the others' (were it to ask first, crash, and forget, it might use the ballot twice). Then it
leads until it hears of a higher ballot.

Two kinds of node stand back. Who has no vote in any configuration that governs an unchosen slot
never stands. And a node that remembers nothing at all may be one of a new cluster, or one whose
disk was lost: it waits until it is linked with all whom it was told of, so that two emptied nodes
do not found a second cluster beside the third, which knows better; but for some seconds only (as
long as one waits that was told of nobody, but can be reached). Where that one refuses the links,
and so says that there is a cluster, they wait until they are admitted.

Where nobody leads for longer, those who may vote now may not know it yet, and those who know it may
have no vote any more. So each asks the others in turn for what was chosen after what it knows.
"""

from __future__ import annotations

from collections.abc import Callable

from coord.limits import MESSAGE_BYTES_SOFT, PULLED_SLOTS_MAX
from coord.paxos.ballot import NEVER, Ballot
from coord.paxos.candidacy import Candidacy
from coord.paxos.leadership import Leadership
from coord.paxos.messages import Canvass, Endorse, Fetch, Prepare, Promise, Refuse
from coord.paxos.patience import Patience
from coord.paxos.state import State
from coord.paxos.timing import Dice


class Elections:
    """One node's view of who leads, and its own attempts to.

    At most one of ``leadership`` and ``candidacy`` is there. ``followed`` is the ballot of the
    leader that was last heard. ``led`` is called whenever another node leads, or this one does.
    """

    def __init__(self, state: State, dice: Dice, led: Callable[[], None]) -> None:
        self.leadership: Leadership | None = None
        self.candidacy: Candidacy | None = None
        self.followed = NEVER
        self.count = 0
        self.patience = Patience(state, dice)
        self._state = state
        self._led = led
        self._highest = state.acceptor.promised
        self._began_at = state.now
        self._attempts = 0

    @property
    def leader(self) -> str | None:
        """Whom this node takes for the leader, None where it knows of none."""
        if self.leadership is not None:
            return self._state.node
        is_known = self.followed != NEVER and self.patience.is_fresh
        return self.followed.node if is_known else None

    @property
    def ballot(self) -> Ballot:
        """The ballot of the leader that this node follows or is; NEVER where it knows none."""
        return self.followed if self.leadership is None else self.leadership.ballot

    # -- following -----------------------------------------------------------------------
    def obeys(self, sender: str, ballot: Ballot) -> bool:
        """Follow the leader of ``ballot``, unless a higher one is promised."""
        acceptor = self._state.acceptor
        if ballot.node != sender or not acceptor.promise(ballot):
            if ballot.node == sender:
                self._state.out.send((sender,), Refuse(ballot, acceptor.promised))
            return False
        if ballot.node != self._state.node:
            self._follow(ballot)
        return True

    def _follow(self, ballot: Ballot) -> None:
        self.patience.heard()
        self._attempts = 0
        if ballot != self.followed or self.leadership is not None or self.candidacy is not None:
            self.lead_no_more(ballot)
            self._led()

    def lead_no_more(self, followed: Ballot = NEVER) -> None:
        """Be a follower: of the leader of ``followed``, or of nobody known."""
        self.leadership = self.candidacy = None
        self.followed = followed
        self._highest = max(self._highest, followed)

    def lost(self, peer: str) -> None:
        """Take note that there is no link to ``peer``: if it led, look for another soon."""
        if self.leadership is None and self.followed.node == peer:
            self.patience.lost()

    def outdated(self, peer: str) -> None:
        """Take note of a link to one that knows a later configuration.

        By that its name may stand for another disk, one that has promised nothing. So what was
        begun before does not go on with its votes.
        """
        if self.leadership is not None or self.candidacy is not None:
            self.lead_no_more()
            self.patience.begin()
            self.pull(peer)

    def resign(self) -> None:
        """Lead no more, and let another be elected first; it finds what is open by its votes."""
        if self.leadership is not None:
            self.lead_no_more()
            self.patience.stand_back()

    def tick(self) -> None:
        """Take note of the time: beat, send again, stand for election."""
        if self.leadership is None:
            if self.patience.is_over:
                self._canvass()
        elif self.leadership.is_deaf():
            self.lead_no_more()
            self.patience.begin()
        else:
            self.leadership.tick()

    # -- standing ------------------------------------------------------------------------
    def _canvass(self) -> None:
        state = self._state
        self._attempts += 1
        if self._attempts > 1 or not state.is_voter:
            self._ask_around()
        if not state.is_voter:
            self.patience.begin()
            return
        if self._must_wait_for_others():
            self.patience.retry(0.0)
            return
        if not state.grant.allows(state.node, state.now):
            self.patience.until_free()
            return
        self.count += 1
        ballot = max(self._highest, state.acceptor.promised).after(state.node)
        self.followed = NEVER
        self.candidacy = Candidacy(state, ballot)
        self.patience.retry(state.timing.retry_seconds / 2)

    def _ask_around(self) -> None:
        """Ask one of the others, each in its turn, for what it knows to be chosen beyond."""
        peers = sorted(self._state.connected)
        if peers:
            self.pull(peers[self._attempts % len(peers)])

    def pull(self, peer: str) -> None:
        """Ask ``peer`` for what was chosen after what is known here, however much that is."""
        slot = self._state.chosen + 1
        self._state.out.send((peer,), Fetch(slot, slot + PULLED_SLOTS_MAX))

    def _must_wait_for_others(self) -> bool:
        """Say whether this node, which knows nothing, may be linked with one that does."""
        state = self._state
        if state.is_forgetful:
            return True
        others = state.others
        if not state.is_empty or (others and state.connected.issuperset(others)):
            return False
        return state.now < self._began_at + state.timing.founding_seconds

    def endorsed(self, sender: str, message: Endorse) -> None:
        """Take an answer to a canvass of this node."""
        candidacy = self.candidacy
        if candidacy is None or candidacy.ballot != message.ballot:
            return
        if candidacy.endorsed(sender):
            self.patience.retry(2 * self._state.timing.retry_seconds)

    def promised(self, sender: str, message: Promise) -> bool:
        """Take a promise; True where there is more to be learnt before it counts."""
        leadership, candidacy = self.leadership, self.candidacy
        if leadership is not None and leadership.ballot == message.ballot:
            if not leadership.promised(sender, message):
                self.lead_no_more()
                self._canvass()
            return False
        if candidacy is None or candidacy.ballot != message.ballot:
            return False
        candidacy.promised(sender, message)
        return self.lead_if_possible()

    def lead_if_possible(self) -> bool:
        """Lead if the election is won; True where there is more to be learnt before."""
        candidacy = self.candidacy
        if candidacy is None:
            return False
        if candidacy.is_behind:
            self.patience.begin()
            return True
        if candidacy.has_won:
            self.candidacy = None
            self.followed = candidacy.ballot
            self._attempts = 0
            self.leadership = Leadership(self._state, candidacy.ballot, candidacy.gathered)
            self._led()
        return False

    def advanced(self) -> None:
        """Take note that more is chosen, perhaps so that this node's part is another."""
        if self.leadership is not None:
            self.leadership.advanced()
            if self.leadership.is_outvoted:
                self.lead_no_more()
                self.patience.begin()
        self.lead_if_possible()

    def refused(self, message: Refuse) -> None:
        """Take note that there is a higher ballot."""
        self._highest = max(self._highest, message.promised)
        if self.leadership is not None:
            if message.ballot == self.leadership.ballot and message.promised > message.ballot:
                self.lead_no_more()
                self.patience.retry(0.0)
        elif self.candidacy is not None and message.promised > self.candidacy.ballot:
            self.candidacy = None

    # -- helping others --------------------------------------------------------------------
    def on_canvass(self, sender: str, message: Canvass) -> None:
        """Say whether ``sender`` would get a promise; nothing durable happens."""
        state = self._state
        promised = state.acceptor.promised
        is_free = state.grant.allows(sender, state.now)
        knows_enough = message.chosen + state.timing.alpha >= state.chosen
        is_fit = knows_enough and not state.is_forgetful
        helps = is_free and is_fit and message.ballot > promised
        answer = Endorse(message.ballot) if helps else Refuse(message.ballot, promised)
        state.out.send((sender,), answer)

    def on_prepare(self, sender: str, message: Prepare) -> None:
        """Promise, or say why not; where it is this node's own promise, ask the others."""
        state = self._state
        if sender == state.node:
            if self.candidacy is not None and self.candidacy.ballot == message.ballot:
                self.candidacy.prepare()
            return
        ballot, acceptor = message.ballot, state.acceptor
        known = ballot == acceptor.promised
        is_free = state.grant.allows(sender, state.now)
        if ballot.node != sender or not is_free or not acceptor.promise(ballot):
            state.out.send((sender,), Refuse(ballot, acceptor.promised))
            return
        state.out.save()  # where it is known, too: a beat made it known, and saved nothing
        if not known:
            self.lead_no_more()
            self._highest = max(self._highest, ballot)
            self.patience.begin()
        votes, until = acceptor.report(message.slot, MESSAGE_BYTES_SOFT)
        promise = Promise(ballot, message.slot, until, state.chosen, votes)
        state.out.after_save(sender, promise)
