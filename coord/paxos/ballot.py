"""Ballots: who may propose, totally ordered (PMS 2.2, PMMC 2.2)."""

from __future__ import annotations

from typing import Final

import msgspec


class Ballot(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A proposal number: ordered by ``number``, then by the name of its node.

    No two nodes ever use the same ballot, as each uses only those with its own name, and
    none uses one of its own twice, as it promises it durably to itself first.
    """

    number: int
    node: str

    def after(self, node: str) -> Ballot:
        """Return the least ballot of ``node`` that is surely above this one."""
        return Ballot(self.number + 1, node)

    def describe(self) -> str:
        """Return the ballot as logs print it: ``7.n2``."""
        return f"{self.number}.{self.node}"


NEVER: Final = Ballot(0, "")
"""Below every ballot that is ever used."""
