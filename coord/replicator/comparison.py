"""Whose store differs: what the voters' stores came to, compared slot by slot, and who must stop.

Stores that applied the same slots are equal. Where two are not, a bit was flipped in a memory or
past a checksum on a disk, or the program has a bug. One of the two is wrong, and goes on to answer
wrongly until it is stopped. Each node decides for itself only, by what it was told:

* *against* it are the voters that differ from it where both were last compared;
* *with* it are itself, if it votes, and the voters that were found equal at the slot where the
  difference was first seen, or later. (Equal before that says nothing: it may have been before
  this node's own damage.)

It stops where more are against it than with it. That is sure at once where either side is more
than half of all voters, heard of or not; else it waits for `COMPARE_PATIENCE_SECONDS` for the rest
to say something. Where both sides are equally large nobody can know who is right, yet somebody has
to stop: those who differ from the leader do. The leader is then short of a quorum by just those,
so the cluster stands still rather than answer now one thing and now another.

1. n1, n2, n3, and n3's store is damaged. n3 hears n1 and n2, both against it: two of three, it
   stops. n1 hears n3 first and has nobody with it yet, so it waits; then it hears n2: two of three
   with it, and it goes on. So does n2.
2. Of n1, n2, n3 the last is down; n1 leads, n1 and n2 differ: one against, one with. Nobody can
   know. After its patience n2, which is not the leader, stops; n1 has no quorum. When n3 comes
   back it applies the same log, and is equal to one of them. If to n1, these two go on. If to n2,
   then n1, which has not forgotten what n2 said, has two against it, and stops; n2 is started
   again, and has n3 for a quorum.
3. n1, n2, n3, all different: each has two of three against it. All stop, and a person has to look.
4. n1 to n5, and n4 and n5 differ from the rest, alike or not: each of them has three of five
   against it and stops, the rest has three of five with it. With n1 and n2 down as well, n3 has
   two against it and only itself with it; that is no majority of five, but after its patience it
   stops, though it is right. Two damaged and two lost are more than five nodes are good for: what
   is left has no quorum, and once n1 and n2 are back, n4 and n5 stop.
5. n1 and n2 are all there is: as in 2, without an n3 to come.
6. An observer votes for nothing and is with nobody, itself not excepted: two of three voters
   against it stop it at once, and one does after a while. No voter cares what an observer's store
   comes to.

How much history a node keeps plays no part: neither what is compared, nor when, follows from it. A
node that loaded an image begins with the digest that the image holds, and can be compared at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

import msgspec

from coord.limits import COMPARE_PATIENCE_SECONDS, DIGEST_SLOTS, DIGESTS_KEPT

_AHEAD_MAX: Final = 4
"""What one node said of slots that this one has not come to; the first is kept, so that a node far
behind comes to it."""


class Finding(msgspec.Struct, frozen=True):
    """What came of comparing with one node: at ``slot`` last, and different from ``begun`` on."""

    slot: int
    own: bytes
    theirs: bytes
    begun: int

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.own != self.theirs


class Comparison:
    """What this node's store came to, slot by slot, and what others said of theirs.

    ``compared`` counts how often two were held against each other. Of this node's own digests the
    last `DIGESTS_KEPT` are remembered, and as many of those at multiples of `DIGEST_SLOTS`.
    """

    def __init__(self) -> None:
        self.compared = 0
        self.findings: dict[str, Finding] = {}
        self.last: tuple[int, bytes] | None = None
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._marks: OrderedDict[int, bytes] = OrderedDict()
        self._ahead: dict[str, dict[int, bytes]] = {}
        self._awaited: float = float("inf")
        self._since: float | None = None

    def note(self, slot: int, digest: bytes) -> None:
        """Take note of what the own store came to after a slot, later than all before."""
        self.last = (slot, digest)
        recent = self._recent
        recent[slot] = digest
        if len(recent) > DIGESTS_KEPT:
            recent.popitem(last=False)
        if not slot % DIGEST_SLOTS:
            self._marks[slot] = digest
            if len(self._marks) > DIGESTS_KEPT:
                self._marks.popitem(last=False)
        if slot >= self._awaited:
            self._arrive(slot)

    def claim(self, peer: str, slot: int, digest: bytes) -> None:
        """Take note of what a node says that its store came to."""
        own = self._recent.get(slot) or self._marks.get(slot)
        if own is not None:
            self._compare(peer, slot, own, digest)
        elif self.last is None or slot > self.last[0]:
            ahead = self._ahead.setdefault(peer, {})
            if len(ahead) < _AHEAD_MAX:
                ahead[slot] = digest
                self._awaited = min(self._awaited, slot)

    def told(self) -> tuple[tuple[int, bytes], ...]:
        """Return what others want to know: the last, and the last at a multiple."""
        if self.last is None:
            return ()
        mark = next(reversed(self._marks.items()), self.last)
        return (self.last,) if mark == self.last else (mark, self.last)

    def known(self) -> list[tuple[int, bytes]]:
        """Return the own digests that are remembered, by slot."""
        return sorted({**self._marks, **self._recent}.items())

    def verdict(
        self, node: str, voters: Collection[str], leader: str | None, now: float
    ) -> list[str]:
        """Return the voters for whose difference this node must stop; none where it goes on."""
        against = {name: self.findings[name] for name in self.differing(voters)}
        if not against:
            self._since = None
            return []
        begun = min(one.begun for one in against.values())
        agreeing = int(node in voters) + sum(
            name in voters and not one.differs and one.slot >= begun
            for name, one in self.findings.items()
        )
        if 2 * agreeing > len(voters):
            self._since = None
            return []
        if self._since is None:
            self._since = now
        is_sure = 2 * len(against) > len(voters)
        if not is_sure and now - self._since < COMPARE_PATIENCE_SECONDS:
            return []
        is_outdone = len(against) > agreeing or (len(against) == agreeing and leader in against)
        return list(against) if is_outdone else []

    def differing(self, voters: Collection[str]) -> list[str]:
        """Return the voters that differ from this node."""
        found = self.findings.items()
        return sorted(name for name, one in found if one.differs and name in voters)

    def _arrive(self, slot: int) -> None:
        """Compare with those who were ahead, now that this node has come so far."""
        for peer, ahead in self._ahead.items():
            for there in sorted(one for one in ahead if one <= slot):
                theirs, own = ahead.pop(there), self._recent.get(there)
                if own is not None:
                    self._compare(peer, there, own, theirs)
        waiting = (there for ahead in self._ahead.values() for there in ahead)
        self._awaited = min(waiting, default=float("inf"))

    def _compare(self, peer: str, slot: int, own: bytes, theirs: bytes) -> None:
        before = self.findings.get(peer)
        if before is not None and before.slot > slot:
            return
        self.compared += 1
        is_old = before is not None and before.differs
        begun = before.begun if before is not None and is_old else slot
        self.findings[peer] = Finding(slot, own, theirs, begun)
