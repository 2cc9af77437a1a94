"""A store that is obviously right: a whole copy of everything for every revision."""

from __future__ import annotations

from coord import paths
from coord.commands import Add, Delete, Set
from coord.events import Event, Kind
from coord.results import Facts
from tests.test_paths import naive_matches

Nodes = dict[str, "Node"]


class Node:
    """One node in one copy."""

    def __init__(self, value: bytes | None, rev: int, version: int, time_ms: int) -> None:
        self.value = value
        self.rev = rev
        self.created = rev
        self.version = version
        self.created_ms = time_ms
        self.modified_ms = time_ms
        self.child_rev = 0
        self.child_version = 0

    def copy(self) -> Node:
        """Return the same again."""
        again = Node.__new__(Node)
        again.__dict__ = dict(self.__dict__)
        return again


def sorted_paths(nodes: Nodes) -> list[str]:
    """Return paths in path order, by comparing lists of names."""
    return sorted(nodes, key=lambda path: path.split("/")[1:] if path != "/" else [])


def children(nodes: Nodes, path: str) -> set[str]:
    """Return the names of a node's children by looking at every node."""
    return {one.rpartition("/")[2] for one in nodes if one != "/" and paths.parent(one) == path}


class Twin:
    """All copies, ``copies[N]`` at revision N; and the last numbers of sequential children."""

    def __init__(self) -> None:
        self.copies: list[Nodes] = [{"/": Node(None, 0, 0, 0)}]
        self.numbers: dict[str, int] = {}

    @property
    def rev(self) -> int:
        """The newest revision."""
        return len(self.copies) - 1

    def apply(self, write: Set | Add | Delete, time_ms: int) -> tuple[int, str | None] | str:
        """Return revision and name, or an error's code."""
        nodes = {path: node.copy() for path, node in self.copies[-1].items()}
        path = write.path
        if isinstance(write, Add) and write.sequential:
            path = self._numbered(nodes, path)
        if path == "/ctl" or path.startswith("/ctl/"):
            return "DENIED"
        code = self._write(nodes, write, path, time_ms)
        if code is not None:
            return code
        if isinstance(write, Add) and write.sequential:
            self.numbers[paths.parent(write.path)] = int(path[-10:])
        self._count_children(self.copies[-1], nodes)
        self.copies.append(nodes)
        return self.rev, path if isinstance(write, Add) else None

    def _numbered(self, nodes: Nodes, path: str) -> str:
        number = self.numbers.get(paths.parent(path), 0) + 1
        while f"{path}{number:010d}" in nodes:
            number += 1
        return f"{path}{number:010d}"

    def _write(
        self, nodes: Nodes, write: Set | Add | Delete, path: str, time_ms: int
    ) -> str | None:
        old = nodes.get(path)
        rev = self.rev + 1
        if isinstance(write, Delete):
            return self._delete(nodes, write)
        if isinstance(write, Add) and old is not None:
            return "EXISTS"
        if isinstance(write, Set) and write.if_rev is not None:
            if old is None and write.if_rev > 0:
                return "NOENT"
            if old is not None and (write.if_rev == 0 or old.rev > write.if_rev):
                return "REV_MISMATCH"
        if old is None:
            nodes[path] = Node(write.value, rev, 1, time_ms)
            above = paths.parent(path)
            while above not in nodes:
                nodes[above] = Node(None, rev, 0, time_ms)
                above = paths.parent(above)
        else:
            old.value, old.rev, old.modified_ms = write.value, rev, time_ms
            old.version += 1
        return None

    def _delete(self, nodes: Nodes, write: Delete) -> str | None:
        path = write.path
        if path == "/":
            return "DENIED"
        old = nodes.get(path)
        if old is None:
            return "NOENT"
        if write.if_rev is not None and (write.if_rev == 0 or old.rev > write.if_rev):
            return "REV_MISMATCH"
        if children(nodes, path) and not write.tree:
            return "NOTEMPTY"
        for one in list(nodes):
            if one == path or one.startswith(path + "/"):
                del nodes[one]
        above = paths.parent(path)
        while above != "/" and nodes[above].value is None and not children(nodes, above):
            del nodes[above]
            above = paths.parent(above)
        return None

    def _count_children(self, before: Nodes, nodes: Nodes) -> None:
        for path, node in nodes.items():
            was = children(before, path) if path in before else set()
            changes = len(was ^ children(nodes, path))
            if changes:
                node.child_version += changes
                node.child_rev = self.rev + 1

    def facts(self, path: str, rev: int) -> Facts:
        """Return what ``STAT`` tells."""
        node = self.copies[rev][path]
        return Facts(
            path=path,
            rev=node.rev,
            created=node.created,
            version=node.version,
            child_rev=node.child_rev,
            child_version=node.child_version,
            children=len(children(self.copies[rev], path)),
            size_bytes=None if node.value is None else len(node.value),
            created_ms=node.created_ms,
            modified_ms=node.modified_ms,
        )

    def names(self, path: str, rev: int) -> list[str]:
        """Return what ``LIST`` tells."""
        return sorted(children(self.copies[rev], path))

    def walk(
        self, glob: str, rev: int, after: str | None = None, limit: int | None = None
    ) -> list[tuple[str, int, bytes | None]]:
        """Return what ``WALK`` tells."""
        nodes = self.copies[rev]
        order = sorted_paths({**nodes, **({after: Node(None, 0, 0, 0)} if after else {})})
        if after is not None:
            order = order[order.index(after) + 1 :]
        rows = [
            (path, nodes[path].rev, nodes[path].value)
            for path in order
            if nodes[path].value is not None and naive_matches(glob, path)
        ]
        return rows[:limit]

    def events(self, glob: str, after_rev: int) -> list[Event]:
        """Return what a watch sees from a revision on, by comparing copy with copy."""
        seen = []
        for rev in range(max(after_rev, 0) + 1, self.rev + 1):
            old, new = self.copies[rev - 1], self.copies[rev]
            for path in sorted_paths({**old, **new}):
                if not naive_matches(glob, path):
                    continue
                value = new[path].value if path in new else None
                if value is not None and new[path].rev == rev:
                    seen.append(Event(rev, Kind.SET, path, value))
                elif path in old and old[path].value is not None and value is None:
                    seen.append(Event(rev, Kind.DEL, path))
        return seen
