"""A cluster whose members change, and what is asked of it."""

from __future__ import annotations

from coord.commands import CLUSTER, Caller, ChangeMembers, Deed
from coord.results import Items, Result, Written
from tests.replicator.case import Case


class Changed:
    """What became of a change, once that is known: told at most once."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    @property
    def result(self) -> Result:
        """The one answer."""
        assert len(self.results) == 1, f"answered {len(self.results)} times"
        return self.results[0]

    @property
    def text(self) -> str:
        """The text of a refusal, with its code."""
        result = self.result
        return f"{getattr(result, 'code', '')} {getattr(result, 'text', result)}"


class MembersCase(Case):
    """Asks for changes, and looks at what they led to."""

    def ask(
        self, name: str, deed: Deed, node: str, caller: Caller = CLUSTER, **more: object
    ) -> Changed:
        """Ask a node for a change."""
        change = ChangeMembers(deed, node, **more)  # type: ignore[arg-type]
        changed = Changed()
        self.nodes[name].coordinator.change_members(change, changed.results.append, caller)
        return changed

    def do(self, deed: Deed, node: str, **more: object) -> None:
        """Have a change made by whoever leads, and see that it was."""
        changed = self.ask(self.leader(), deed, node, **more)  # type: ignore[arg-type]
        self.advance(1.0)
        self.assertIsInstance(changed.result, Written, changed.result)

    def add(self, name: str, **more: object) -> None:
        """Start a node, add it, and give it time to get its vote."""
        self.join(name)
        self.do(Deed.ADD, name, address=f"{name}:1", **more)
        self.advance(0.5)

    def plan(self, deed: Deed, node: str, **more: object) -> tuple[str, ...]:
        """Return what a change would lead to."""
        changed = self.ask(self.leader(), deed, node, plan=True, **more)  # type: ignore[arg-type]
        self.advance(0.1)
        assert isinstance(changed.result, Items), changed.result
        return changed.result.rows

    def members(self, name: str = "") -> dict[str, str]:
        """Return the part and state of each member, as a node sees them, or the leader."""
        rows = self.nodes[name or self.leader()].coordinator.members().rows
        return {row.split()[0]: " ".join(row.split()[2:]) for row in rows}

    def voters(self, name: str = "") -> list[str]:
        """Return who votes, as a node has learnt it, or the leader."""
        found = self.members(name)
        return [node for node, state in found.items() if state.startswith("voter")]

    def fault(self, name: str) -> str:
        """Return what is the matter with a node."""
        return self.fact(name, "fault")

    def lead(self, name: str) -> None:
        """Have a node lead."""
        for _ in range(20):
            leader = self.leader()
            if leader == name:
                return
            self.nodes[leader].replicator.step_down()
            self.advance(1.5)
        self.fail(f"{name} does not lead")
