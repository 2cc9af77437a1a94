"""A node's part in finding who differs; `coord.replicator.comparison` has the rules.

Two things are compared, each by itself:

* the *chain*: a hash over all changes that were ever applied. It costs nothing beyond what the
  store does anyway, is known after every slot, and once two nodes differ in it they always will.
  It finds what was applied differently: a log that was damaged, a bug, a value that was flipped
  and then had a say in what was decided.
* the *survey*: a hash over the store as it stands, value by value. It finds what was flipped in
  memory, or in an image, and lies there to be read. It is made after slots that are multiples of
  `DIGEST_SLOTS`, of a power of two as many for large stores (`SURVEY_NODES_PER_SLOT`), one piece
  of 64 KiB a tick, from a picture of that slot; so writes go on meanwhile. It holds no memory:
  where history leaves the slot behind before it is done, it is given up.

Voters tell all others what is new, once a second at most, and each link's other end when it comes
up; where nothing is written nothing is said. So a node that came back with a damaged log is found
as soon as it is linked; one with a damaged image at the next slot of a survey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs
from twisted.logger import Logger

import coord
from coord.errors import TooLate
from coord.limits import COMPARE_SECONDS, DIGEST_SLOTS, SURVEY_NODES_PER_SLOT
from coord.paxos.replica import Replica
from coord.replicator.applier import Applier
from coord.replicator.comparison import Comparison
from coord.replicator.interfaces import IPeers
from coord.replicator.tracing import Traces
from coord.store.machine import Store
from coord.store.picture import IMAGE_VERSION, Picture
from coord.wire import peer as wire

REPORTS: Final = "diverged-*.txt"
"""How reports are named that `DivergedError` leads to."""
_LAST_BYTES: Final = 16
_LINES_MAX: Final = 2048

_WHAT_TO_DO: Final = """
This node serves no more: what it would answer may be wrong. Its journal is left as it is.

 1. Keep a copy of this node's directory, with this file in it, and of its log: they tell what
    happened. Keep copies of the others' journals, too (coord.db and coord.db-wal can be copied
    while they run), and report it, with all of these and the version above.
 2. Start the node again. If only its memory was hit it comes back, equal to the others; test the
    machine's memory before you trust it again.
 3. If it stops again its disk holds the damage. Replace it, as a node whose disk was lost.
 4. If more than one node stopped, see in their files who agrees with whom. Go on with those that
    are equal; where no two are, restore a backup.
"""


class DivergedError(Exception):
    """This node's store is not what the others' is: it stops. Names who, and at which slot."""

    def __init__(self, kind: str, others: Iterable[str], slot: int) -> None:
        super().__init__(f"digest differs from {', '.join(others)} at slot {slot} ({kind})")
        self.report = REPORTS.replace("*", str(slot))


@attrs.frozen
class Surveying:
    """A survey under way: of which slot, how far it is, and what it still has to look at."""

    slot: int
    picture: Picture
    pieces: Iterator[bytes]


class Digests:
    """Takes down what the store comes to, tells it, and says when this node must stop."""

    _log = Logger()

    def __init__(
        self,
        *,
        replica: Replica,
        applier: Applier,
        peers: IPeers,
        traces: Traces,
        now: Callable[[], float],
    ) -> None:
        self._replica = replica
        self._applier = applier
        self._peers = peers
        self._traces = traces
        self._now = now
        self._surveying: Surveying | None = None
        self._is_begun = False
        self._last_piece = b""
        self._tell_at = 0.0
        self._told: wire.Digests | None = None
        self._complained: set[str] = set()
        self.chain = Comparison()
        self.survey = Comparison()
        self.told = 0
        self.surveys = 0

    @property
    def compared(self) -> int:
        """How often this store was held against another's."""
        return self.chain.compared + self.survey.compared

    # -- the loop's side -----------------------------------------------------------------------
    def start(self) -> None:
        """Begin with what was loaded, before anything is applied."""
        self.applied(self._applier.slot)

    def applied(self, slot: int) -> None:
        """Take note of what the store came to after a slot."""
        store = self._applier.store
        self.chain.note(slot, bytes.fromhex(store.digest))
        if not slot % DIGEST_SLOTS and slot and not slot % interval(store):
            self._begin(slot, store)

    def tick(self, now: float) -> None:
        """Let time pass: go on with a survey, tell what is new, judge.

        :raises DivergedError: where this node must stop.
        """
        if self._surveying is not None:
            self._go_on(self._surveying)
        if now >= self._tell_at:
            self._tell_at = now + COMPARE_SECONDS
            self._tell()
        self._judge(now)

    def linked(self, peer: str) -> None:
        """Tell the other end of a new link."""
        message = self._message()
        if message is not None:
            self._send((peer,), message)

    def received(self, sender: str, message: wire.Digests) -> None:
        """Compare with what another node's store came to."""
        if self._applier.store.is_inherited:
            return
        for slot, digest in message.chained:
            self.chain.claim(sender, slot, digest)
        if message.layout == IMAGE_VERSION:
            for slot, digest in message.surveyed:
                self.survey.claim(sender, slot, digest)

    def stop(self) -> None:
        """Give up the survey under way, if any."""
        surveying, self._surveying = self._surveying, None
        if surveying is not None:
            surveying.picture.close()

    # -- surveys ---------------------------------------------------------------------------------
    def _begin(self, slot: int, store: Store) -> None:
        """Begin a survey, unless there is nobody to compare with, or one that has come some way."""
        is_alone = len(self._replica.configuration.nodes) < 2
        if is_alone or (self._surveying is not None and self._is_begun):
            return
        self.stop()
        picture = store.survey()
        self._surveying = Surveying(slot, picture, picture.pieces())
        self._is_begun = False

    def _go_on(self, surveying: Surveying) -> None:
        self._is_begun = True
        is_whole = surveying.picture.rev >= self._applier.store.horizon
        try:
            self._last_piece = next(surveying.pieces) or self._last_piece
        except StopIteration:
            if is_whole:
                self.surveys += 1
                self.survey.note(surveying.slot, self._last_piece[-_LAST_BYTES:])
            self.stop()
        except TooLate:
            self.stop()
        else:
            if not is_whole:
                self.stop()

    # -- telling and judging -----------------------------------------------------------------------
    def _message(self) -> wire.Digests | None:
        """Return what there is to tell; None at a node whose word does not count."""
        replica = self._replica
        if replica.node not in replica.configuration.voters or self._applier.slot == 0:
            return None
        if self._applier.store.is_inherited:
            return None
        return wire.Digests(self.chain.told(), self.survey.told(), IMAGE_VERSION)

    def _tell(self) -> None:
        message = self._message()
        if message is not None and message != self._told:
            self._told = message
            others = set(self._replica.configuration.nodes) - {self._replica.node}
            self._send(sorted(others & self._peers.connected()), message)

    def _send(self, to: Iterable[str], message: wire.Digests) -> None:
        frame = wire.encode(message)
        for peer in to:
            self.told += 1
            if self._traces.is_on:
                self._traces.sent(peer, message)
            self._peers.send(peer, frame)

    def _judge(self, now: float) -> None:
        replica = self._replica
        voters = replica.configuration.voters
        for kind, comparison in (("chain", self.chain), ("survey", self.survey)):
            against = comparison.verdict(replica.node, voters, replica.leader, now)
            if against:
                slot = min(comparison.findings[one].begun for one in against)
                raise DivergedError(kind, against, slot)
            self._complain(kind, comparison.differing(voters), comparison)

    def _complain(self, kind: str, others: list[str], comparison: Comparison) -> None:
        """Say once of each node that it differs: this one may be right."""
        for peer in others:
            if peer not in self._complained:
                self._complained.add(peer)
                self._log.error(
                    "the digest of {peer} differs from this node's at slot {slot} ({kind}): one of"
                    " them is to stop",
                    peer=peer,
                    slot=comparison.findings[peer].begun,
                    kind=kind,
                )

    # -- what is kept ------------------------------------------------------------------------------
    def testimony(self, error: DivergedError, who: str) -> Iterator[str]:
        """Yield the lines of what a person needs to find out why this node differs."""
        replica, store = self._replica, self._applier.store
        yield f"{who}, coord {coord.__version__}: {error}"
        yield _WHAT_TO_DO
        yield f"store: {store.describe()}, applied slot {self._applier.slot}"
        yield f"replica: {replica.describe(self._now())}"
        yield f"voters: {' '.join(replica.configuration.voters)}; leader: {replica.leader or '-'}"
        for kind, comparison in (("chain", self.chain), ("survey", self.survey)):
            yield f"\n{kind}: compared {comparison.compared} times; last with each:"
            for peer, one in sorted(comparison.findings.items()):
                verdict = f"DIFFERS since slot {one.begun}" if one.differs else "equal"
                yield (
                    f"  {peer} slot {one.slot} {verdict}:"
                    f" {peer} {one.theirs.hex()}, here {one.own.hex()}"
                )
            yield f"{kind}: slot and digest of this node, as far as remembered:"
            for slot, digest in comparison.known()[-_LINES_MAX:]:
                yield f"  {slot} {digest.hex()}"


def interval(store: Store) -> int:
    """Return after how many slots a store is surveyed: the same for equal stores."""
    size = store.node_count + len(store.timeouts_ms) + store.lock_count
    slots = DIGEST_SLOTS
    while slots * SURVEY_NODES_PER_SLOT < size:
        slots *= 2
    return slots
