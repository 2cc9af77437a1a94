"""A store of which a test says what is in it."""

from __future__ import annotations

from collections.abc import Mapping

from coord.commands import CLUSTER, Caller, Read, Stat
from coord.errors import NoEntry
from coord.results import Facts, Result
from coord.store.machine import Store


class FakeStore(Store):
    """Sessions with timeouts and numbers of nodes, places in queues, tokens, facts of nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: dict[str, int] = {}
        self.nodes: dict[str, int] = {}
        self.places: dict[tuple[str, str], int] = {}
        self.tokens: dict[tuple[str, str], int] = {}
        self.facts: dict[str, Facts] = {}
        self.looks = 0

    @property
    def timeouts_ms(self) -> Mapping[str, int]:
        """The open sessions and their timeouts."""
        return self.timeouts

    def nodes_of(self, session: str) -> int:
        """Return how many nodes a session owns."""
        return self.nodes.get(session, 0)

    def place(self, path: str, session: str) -> int | None:
        """Return the number of a session's place in a queue."""
        return self.places.get((path, session))

    def token(self, path: str, session: str) -> int | None:
        """Return the token under which a session holds a lock."""
        return self.tokens.get((path, session))

    def answer(self, read: Read, caller: Caller = CLUSTER) -> Result:
        """Answer a `Stat` from ``facts``."""
        assert isinstance(read, Stat)
        self.looks += 1
        return self.facts.get(read.path, NoEntry(f"{read.path} is not there"))


def facts(path: str, rev: int, **more: object) -> Facts:
    """Return what is known of a node of which only this matters."""
    plain = {"created": rev, "version": 1, "child_rev": 0, "child_version": 0, "children": 0}
    given = {"size_bytes": 0, "created_ms": 0, "modified_ms": 0, **plain, **more}
    return Facts(path=path, rev=rev, **given)  # type: ignore[arg-type]
