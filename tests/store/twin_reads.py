"""What the twin answers to those who read: it looks at everything, whatever is asked."""

from __future__ import annotations

from typing import Any

from coord.commands import Caller
from coord.events import Event, Kind
from coord.results import Facts
from tests.store.twin import Twin
from tests.store.twin_access import Access
from tests.store.twin_world import Nodes, children, sorted_paths
from tests.test_paths import naive_matches


def access(twin: Twin, caller: Caller) -> Access:
    """Return what a caller may do by the rules of now."""
    acl = twin.copies[-1].get("/ctl/acl")
    return Access(acl.value if acl is not None else None, caller)


def facts(twin: Twin, path: str, rev: int | None) -> Facts:
    """Return what ``STAT`` tells; of locks only where it is asked for the present."""
    rev = twin.rev if rev is None else rev
    lock = twin.world.locks.get(path) if rev == twin.rev else None
    node = twin.copies[rev][path]
    holders = [] if lock is None else lock.holders
    return Facts(
        path=path,
        rev=node.rev,
        created=node.created,
        version=node.version,
        child_rev=node.child_rev,
        child_version=node.child_version,
        children=len(children(twin.copies[rev], path)),
        size_bytes=None if node.value is None else len(node.value),
        created_ms=node.created_ms,
        modified_ms=node.modified_ms,
        owner=node.owner or None,
        ttl_seconds=node.ttl_ms / 1000 if node.ttl_ms else None,
        holders=tuple(one.session for one in holders if not one.lost),
        shared=any(one.shared for one in holders),
        token=max((one.token for one in holders), default=None),
        waiting=0 if lock is None else len(lock.queue),
    )


def nodes_of(twin: Twin, session: str) -> int:
    """Return how many nodes a session owns, those of locks left out."""
    nodes, locks = twin.copies[-1].items(), twin.world.locks
    return sum(node.owner == session and path not in locks for path, node in nodes)


def end_cost(twin: Twin, session: str) -> int:
    """Return how much the end of a session has to do."""
    held = sum(lock.find(session) is not None for lock in twin.world.locks.values())
    return held + sum(node.owner == session for node in twin.copies[-1].values())


def blame(twin: Twin, path: str, caller: Caller) -> Any:
    """Return what ``BLAME`` tells."""
    node = twin.copies[-1].get(path)
    if not access(twin, caller).may_read(path):
        return "DENIED"
    if node is None:
        return "NOENT"
    if node.value is None:
        return "ISDIR"
    return (node.rev, path, node.verb, node.author, node.modified_ms)


def names(twin: Twin, path: str, rev: int, caller: Caller) -> list[str] | str:
    """Return what ``LIST`` tells."""
    mine = access(twin, caller)
    if not mine.may_list(path):
        return "DENIED"
    if path not in twin.copies[rev]:
        return "NOENT"
    below = path if path != "/" else ""
    found = sorted(children(twin.copies[rev], path))
    return [name for name in found if mine.may_list(f"{below}/{name}")]


def walk(
    twin: Twin,
    glob: str,
    rev: int,
    caller: Caller,
    after: str | None = None,
    limit: int | None = None,
) -> list[tuple[str, int, bytes]]:
    """Return what ``WALK`` tells."""
    nodes, mine = twin.copies[rev], access(twin, caller)
    order = sorted_paths(nodes if after is None else {**nodes, after: nodes["/"]})
    if after is not None:
        order = order[order.index(after) + 1 :]
    rows = []
    for path in order:
        value = nodes[path].value
        if value is not None and naive_matches(glob, path) and mine.may_read(path):
            rows.append((path, nodes[path].rev, value))
    return rows[:limit]


def changes(old: Nodes, new: Nodes, rev: int) -> list[Event]:
    """Return what differs between a revision and the one before."""
    seen = []
    for path in sorted_paths({**old, **new}):
        value = new[path].value if path in new else None
        if value is not None and new[path].rev == rev:
            seen.append(Event(rev, Kind.SET, path, value))
        elif path in old and old[path].value is not None and value is None:
            seen.append(Event(rev, Kind.DEL, path))
    return seen


def events(twin: Twin, glob: str, after_rev: int, caller: Caller) -> list[Event]:
    """Return what a watch sees from a revision on, by comparing copy with copy."""
    mine = access(twin, caller)
    return [
        event
        for rev in range(max(after_rev, 0) + 1, twin.rev + 1)
        for event in changes(twin.copies[rev - 1], twin.copies[rev], rev)
        if naive_matches(glob, event.path) and mine.may_read(event.path)
    ]


def log(
    twin: Twin, glob: str, horizon: int, caller: Caller, limit: int | None = None
) -> list[tuple[Any, ...]]:
    """Return what ``LOG`` tells: newest first, and of one revision in path order."""
    mine = access(twin, caller)
    rows = [
        row
        for rev in range(twin.rev, horizon, -1)
        for row in twin.logs[rev]
        if naive_matches(glob, row[1]) and mine.may_read(row[1])
    ]
    return rows[:limit]


def lasting(twin: Twin) -> dict[str, tuple[bytes, int]]:
    """Return value and lifetime of all nodes that would be there if all sessions ended now."""
    found = {}
    for path, node in twin.copies[-1].items():
        if path in twin.world.locks:
            before = twin.world.locks[path].before
            if before is not None and not before[1]:
                found[path] = (before[0], before[2])
        elif node.value is not None and not node.owner:
            found[path] = (node.value, node.ttl_ms)
    return found


def difference(twin: Twin, glob: str, after_rev: int, caller: Caller) -> list[Any]:
    """Return what ``WATCH diff`` begins with: rows of what changed, paths of what did not."""
    return [
        (path, rev, value) if rev > after_rev else path
        for path, rev, value in walk(twin, glob, twin.rev, caller)
    ]
