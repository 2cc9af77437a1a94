"""No two nodes ever apply different values in one slot, and none leaves a slot out (PMS 1)."""

from __future__ import annotations

from coord.paxos.durable import Value
from coord.paxos.membership import Configuration


class Agreement:
    """Hears of every value that any life of any node applies."""

    def __init__(self) -> None:
        self.chosen: dict[int, Value] = {}
        self.configurations: dict[int, Configuration] = {}
        """Those of the chosen values that say who the members are."""
        self.violations: list[str] = []
        self._first: dict[int, str] = {}
        self._last: dict[tuple[str, int], int] = {}

    def applied(self, node: str, life: int, slot: int, value: Value) -> None:
        """Note that a node applied ``value`` as that of ``slot``."""
        if slot not in self.chosen:
            self.chosen[slot], self._first[slot] = value, node
            if isinstance(value, Configuration):
                self.configurations[slot] = value
        elif self.chosen[slot] != value:
            self.violations.append(
                f"agreement: slot {slot} is {_short(self.chosen[slot])} on {self._first[slot]}"
                f" and {_short(value)} on {node}"
            )
        last = self._last.get((node, life))
        if last is not None and slot != last + 1:
            self.violations.append(f"agreement: {node} applied slot {slot} after slot {last}")
        self._last[node, life] = slot

    def adopted(self, node: str, life: int, slot: int) -> None:
        """Note that a node went on from an image of the state after ``slot``."""
        last = self._last.get((node, life))
        if last is not None and slot <= last:
            self.violations.append(f"agreement: {node} went back from slot {last} to {slot}")
        self._last[node, life] = slot


def _short(value: Value) -> str:
    return repr(value[:40]) if isinstance(value, bytes) else repr(value)
