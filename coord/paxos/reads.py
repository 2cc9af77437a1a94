"""Linearizable reads without a slot: the point from which a read may be answered.

The point is a slot of which it is sure that everything chosen before the read was asked lies
at or before it. Only the leader can tell, and only if it still leads (PML 5.2): because its
lease holds, or, without leases, because a majority answers a beat sent after the question.
A new leader knows the point only when what earlier leaders may have had chosen is chosen.

Each node has one question under way; all its reads that came before it was sent share it.
"""

from __future__ import annotations

import msgspec

from coord.paxos.lease import NO_TIME


class Question(msgspec.Struct):
    """This node's question under way: its number, and when it was last asked."""

    number: int
    asked_at: float = NO_TIME


class Readers:
    """The leader's side: questions that wait for proof that it still leads."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, reader: str, number: int, beat: int) -> None:
        """Keep a question until ``beat``, which is yet to be sent, is confirmed.

        A question that is asked again waits for the beat that it waited for: any that was sent
        after it first came will do, and one that is always the latest may never come.
        """
        known, _ = self._waiting.get(reader, (None, 0))
        if known != number:
            self._waiting[reader] = (number, beat)

    def take(self, confirmed: int | None) -> list[tuple[str, int]]:
        """Take the questions proven by the confirmed beat; all of them where it is None."""
        ready = [
            (reader, number)
            for reader, (number, beat) in self._waiting.items()
            if confirmed is None or beat <= confirmed
        ]
        for reader, _ in ready:
            del self._waiting[reader]
        return ready

    def clear(self) -> None:
        """Forget all: this node does not lead any more."""
        self._waiting.clear()
