"""Stores that have applied the same slots are equal."""

from __future__ import annotations


class Digests:
    """Hears of digests, and of the slot after which each was taken."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.compared = 0
        self._seen: dict[int, tuple[str, str]] = {}

    def taken(self, node: str, slot: int, digest: str) -> None:
        """Note what a node's store digested to after ``slot``."""
        known, first = self._seen.setdefault(slot, (digest, node))
        if first != node:
            self.compared += 1
        if known != digest:
            self.violations.append(
                f"digests: after slot {slot} {first} has {known} and {node} {digest}"
            )
