"""The world of the twin: nodes, sessions and locks as they are, and what a write does to them.

One world is one attempt: `begin` it on a copy, do one write, `finish`. Every revision that is
closed leaves a copy of all nodes behind.
"""

from __future__ import annotations

import copy
from typing import Any

from coord import paths
from coord.commands import Add, Caller, Check, Delete, Lock, Set
from coord.errors import CoordError, NoSession, NotHeld, SessionExpired, TimedOut
from coord.results import Granted, Queued
from coord.store.news import Delay, Lifetime, Patience, PlaceOver, SessionOver
from tests.store.twin_access import Access

Nodes = dict[str, "Node"]
KEEP = object()


class Refusal(Exception):
    """Why a write is not done: an error's code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


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
        self.owner = ""
        self.ttl_ms = 0
        self.verb = ""
        self.author = ""


class Holder:
    """Who holds a lock, or wants to."""

    def __init__(self, caller: Caller, write: Lock, number: int, time_ms: int) -> None:
        self.session = caller.session
        self.author = caller.author()
        self.value = write.value
        self.shared = write.shared
        self.wait_ms = write.wait_ms
        self.delay_ms = write.delay_ms
        self.number = number
        self.since_ms = time_ms
        self.token = 0
        self.lost = False


class LockState:
    """One lock: who holds it, who waits, and what the node was before."""

    def __init__(self) -> None:
        self.before: tuple[bytes, str, int] | None = None
        self.holders: list[Holder] = []
        self.queue: list[Holder] = []

    def find(self, session: str) -> Holder | None:
        """Return a session's hold."""
        return next((one for one in self.holders if one.session == session and not one.lost), None)

    def place(self, session: str) -> Holder | None:
        """Return a session's place in the queue."""
        return next((one for one in self.queue if one.session == session), None)

    def allows(self, shared: bool) -> bool:
        """Say whether one more may hold it now."""
        return not self.holders or (shared and all(one.shared for one in self.holders))


class Session:
    """One open session."""

    def __init__(self, key_hash: bytes, timeout_ms: int, author: str, time_ms: int) -> None:
        self.key_hash = key_hash
        self.timeout_ms = timeout_ms
        self.author = author
        self.opened_ms = time_ms
        self.outcomes: list[tuple[str, Any]] = []


def sorted_paths(nodes: Nodes) -> list[str]:
    """Return paths in path order, by comparing lists of names."""
    return sorted(nodes, key=lambda path: path.split("/")[1:] if path != "/" else [])


def children(nodes: Nodes, path: str) -> set[str]:
    """Return the names of a node's children by looking at every node."""
    return {one.rpartition("/")[2] for one in nodes if one != "/" and paths.parent(one) == path}


class World:
    """All that there is after the last revision."""

    def __init__(self) -> None:
        self.nodes: Nodes = {"/": Node(None, 0, 0, 0)}
        self.numbers: dict[str, int] = {}
        self.sessions: dict[str, Session] = {}
        self.expired: list[str] = []
        self.locks: dict[str, LockState] = {}
        self.places = 0
        self.begin(0, 0, Caller())

    def begin(self, rev: int, time_ms: int, caller: Caller) -> None:
        """Begin an attempt."""
        self.rev, self.time_ms, self.caller = rev, time_ms, caller
        self.author = caller.author()
        self.before = copy.deepcopy(self.nodes)
        self.gone: dict[str, tuple[str, str]] = {}
        self.copies: list[Nodes] = []
        self.logs: list[list[tuple[Any, ...]]] = []
        self.news: list[Any] = []
        self.settled: dict[Queued, Granted | str] = {}

    @property
    def access(self) -> Access:
        """Who may do what by the rules as they are now."""
        acl = self.nodes.get("/ctl/acl")
        return Access(acl.value if acl is not None else None, self.caller)

    # -- revisions -----------------------------------------------------------------------
    def close(self) -> int:
        """End a revision if anything has changed; return the newest one."""
        old = {path: vars(node) for path, node in self.before.items()}
        new = {path: vars(node) for path, node in self.nodes.items()}
        if old != new:
            self.rev += 1
            self.logs.append(self._log())
            for path, node in self.nodes.items():
                if node.ttl_ms and node.rev == self.rev:
                    self.news.append(Lifetime(path, node.rev, node.ttl_ms))
            self.before = copy.deepcopy(self.nodes)
            self.copies.append(self.before)
            self.gone = {}
        return self.rev

    def _log(self) -> list[tuple[Any, ...]]:
        """Return what ``LOG`` tells of the revision now closed, in path order."""
        rows = []
        for path in sorted_paths({**self.before, **self.nodes}):
            was, now = self.before.get(path), self.nodes.get(path)
            if now is not None and now.value is not None and now.rev == self.rev:
                rows.append((self.rev, path, now.verb, now.author, self.time_ms))
            elif was is not None and was.value is not None and (now is None or now.value is None):
                rows.append((self.rev, path, *self.gone[path], self.time_ms))
        return rows

    def count_children(self, before: Nodes) -> None:
        """Let every node know how its children have changed since ``before``."""
        for path, node in self.nodes.items():
            was = before.get(path)
            names = (
                children(before, path) if was is not None and was.created == node.created else set()
            )
            changes = len(names ^ children(self.nodes, path))
            if changes:
                node.child_version += changes
                node.child_rev = self.rev + 1

    # -- nodes -----------------------------------------------------------------------------
    def end_step(self) -> int:
        """End a write's own revision; return it. Locks that are free now make more."""
        rev = self.close()
        self.grant_rest()
        return rev

    def put(
        self, path: str, value: bytes, verb: str, owner: Any = KEEP, ttl_ms: Any = KEEP
    ) -> None:
        """Give a node a value, and make it and its parents where missing."""
        before = copy.copy(self.nodes)
        rev, node = self.rev + 1, self.nodes.get(path)
        if node is None:
            node = self.nodes[path] = Node(None, rev, 0, self.time_ms)
            above = paths.parent(path)
            while above not in self.nodes:
                self.nodes[above] = Node(None, rev, 0, self.time_ms)
                above = paths.parent(above)
        node.value, node.rev, node.modified_ms = value, rev, self.time_ms
        node.version += 1
        node.verb, node.author = verb, self.author
        node.owner = node.owner if owner is KEEP else owner
        node.ttl_ms = node.ttl_ms if ttl_ms is KEEP else ttl_ms
        self.count_children(before)

    def remove(self, doomed: list[str], verb: str) -> None:
        """Take away values; nodes go, and implied parents too, where nothing is left below."""
        before = copy.copy(self.nodes)
        for path in reversed(sorted_paths({path: self.nodes[path] for path in doomed})):
            node = self.nodes.get(path)
            if node is None:
                continue
            if node.value is not None:
                self.gone[path] = (verb, self.author)
                node.value, node.rev, node.modified_ms = None, self.rev + 1, self.time_ms
                node.owner, node.ttl_ms = "", 0
                node.verb, node.author = verb, self.author
            while path != "/" and self.nodes[path].value is None and not children(self.nodes, path):
                del self.nodes[path]
                path = paths.parent(path)
        self.count_children(before)

    # -- SET, ADD, DEL -----------------------------------------------------------------------
    def need_session(self) -> str:
        """Return the caller's session, or refuse."""
        session = self.caller.session
        if session in self.sessions:
            return session
        raise Refusal("SESSION_EXPIRED" if session in self.expired else "NO_SESSION")

    def need_right(self, path: str, value: bytes | None = None) -> None:
        """Refuse what the caller may not write."""
        if not self.access.may_write(path):
            raise Refusal("DENIED")

    def is_held_by_others(self, path: str) -> bool:
        """Say whether there is a lock here that the caller does not hold."""
        lock = self.locks.get(path)
        return lock is not None and lock.find(self.caller.session) is None

    def check(self, path: str, if_rev: int | None) -> None:
        """Refuse what ``if=`` forbids."""
        old = self.nodes.get(path)
        if if_rev is None or (old is None and if_rev == 0):
            return
        if old is None:
            raise Refusal("NOENT")
        if if_rev == 0 or old.rev > if_rev:
            raise Refusal("REV_MISMATCH")

    def set(self, write: Set, verb: str = "SET") -> None:
        """Give a node a value."""
        self.need_right(write.path)
        owner = self.need_session() if write.ephemeral else KEEP
        if self.is_held_by_others(write.path):
            raise Refusal("LOCKED")
        self.check(write.path, write.if_rev)
        self.check_rules(write)
        lock = self.locks.get(write.path)
        hold = lock.find(self.caller.session) if lock is not None else None
        ttl_ms = KEEP if write.ttl_ms is None else write.ttl_ms
        if hold is not None:
            hold.value = write.value
            owner, ttl_ms = KEEP, 0
        self.put(write.path, write.value, verb, owner, ttl_ms)

    def check_rules(self, write: Set | Add) -> None:
        """Refuse rules that are none, or that would not stay."""
        if write.path != "/ctl/acl":
            return
        if write.ephemeral or write.ttl_ms or not Access.is_text_of_rules(write.value):
            raise Refusal("BAD_REQUEST")

    def add(self, write: Add) -> str:
        """Make a node; return its name."""
        path = write.path
        if write.sequential:
            number = self.numbers.get(paths.parent(path), 0) + 1
            while f"{path}{number:010d}" in self.nodes:
                number += 1
            path = f"{path}{number:010d}"
        self.need_right(path)
        owner = self.need_session() if write.ephemeral else ""
        if path in self.nodes:
            raise Refusal("EXISTS")
        self.check_rules(write)
        if write.sequential:
            self.numbers[paths.parent(path)] = number
        self.put(path, write.value, "ADD", owner, write.ttl_ms or 0)
        return path

    def delete(self, write: Delete) -> None:
        """Delete a node, or all of a tree; a lock of the caller's own is given up."""
        path = write.path
        if path == "/":
            raise Refusal("DENIED")
        below = [one for one in self.nodes if one == path or one.startswith(path + "/")]
        doomed = below if write.tree else [path]
        if path not in self.nodes or not write.tree:
            self.need_right(path)
        if path not in self.nodes:
            raise Refusal("NOENT")
        if any(
            self.nodes[one].value is not None and not self.access.may_write(one) for one in doomed
        ):
            raise Refusal("DENIED")
        if any(self.is_held_by_others(one) for one in doomed):
            raise Refusal("LOCKED")
        self.check(path, write.if_rev)
        if len(below) > 1 and not write.tree:
            raise Refusal("NOTEMPTY")
        self.remove_and_release(doomed, self.caller.session, "DEL")

    def guard(self, part: Check) -> None:
        """Refuse what a CHECK forbids."""
        if not self.access.may_read(part.path):
            raise Refusal("DENIED")
        self.check(part.path, part.if_rev)
        if part.token is not None:
            lock = self.locks.get(part.path) or LockState()
            if not any(one.token == part.token and not one.lost for one in lock.holders):
                raise Refusal("NOT_HELD")

    def look(self, path: str) -> Any:
        """Return revision and value of a node as it is here, or the code of why not."""
        node = self.nodes.get(path)
        if not self.access.may_read(path):
            return "DENIED"
        if node is None:
            return "NOENT"
        return "ISDIR" if node.value is None else (node.rev, node.value)

    # -- locks -------------------------------------------------------------------------------
    def lock(self, write: Lock) -> Granted | Queued:
        """Take a lock, or a place in its queue."""
        path = write.path
        self.need_right(path)
        session = self.need_session()
        if path == "/ctl/acl":
            raise Refusal("DENIED")  # whoever could wait there could write rules unseen
        lock = self.locks.get(path) or LockState()
        mine = lock.find(session) or lock.place(session)
        if mine is not None:
            if mine.shared != write.shared:
                raise Refusal("LOCKED")
            return Granted(mine.token) if mine in lock.holders else Queued(mine.number)
        one = Holder(self.caller, write, self.places + 1, self.time_ms)
        if lock.allows(write.shared) and not lock.queue:
            self.hold_node(path, lock)
            self.grant(path, lock, one, "LOCK")
            self.close()
            return Granted(one.token)
        if not write.wait_ms:
            raise Refusal("LOCKED")
        self.places += 1
        lock.queue.append(one)
        self.news.append(Patience(path, session, one.number, write.wait_ms))
        return Queued(one.number)

    def hold_node(self, path: str, lock: LockState) -> None:
        """Remember what the node of a lock held before."""
        if path not in self.locks:
            self.locks[path] = lock
            node = self.nodes.get(path)
            if node is not None and node.value is not None:
                lock.before = (node.value, node.owner, node.ttl_ms)

    def grant(self, path: str, lock: LockState, one: Holder, verb: str) -> None:
        """Give a lock: a SET of its node."""
        node = self.nodes.get(path)
        if one.value is None:
            one.value = (node.value if node is not None else None) or b""
        one.token, one.since_ms = self.rev + 1, self.time_ms
        lock.holders.append(one)
        author, self.author = self.author, one.author
        self.put(path, one.value, verb, one.session, 0)
        self.author = author

    def end_place(self, path: str, place: Holder, result: Granted | CoordError) -> None:
        """Take a place out of its queue, and say why."""
        self.locks[path].queue.remove(place)
        self.news.append(PlaceOver(path, place.session, result))
        answer = result if isinstance(result, Granted) else result.code
        self.settled[Queued(place.number)] = answer

    def unlock(self, path: str) -> int:
        """Give up a lock or a place in its queue; return the revision."""
        session, lock = self.caller.session, self.locks.get(path)
        if not session:
            raise Refusal("NOT_HELD")
        self.need_session()
        if lock is None or (lock.find(session) is None and lock.place(session) is None):
            raise Refusal("NOT_HELD")
        place = lock.place(session)
        if place is not None:
            rev = self.rev
            self.end_place(path, place, NotHeld())
            self.grant_rest()
            return rev
        self.remove_and_release([path], session, "UNLOCK")
        return self.end_step()

    def remove_and_release(self, doomed: list[str], session: str, verb: str) -> None:
        """Delete nodes, of which some are locks that ``session`` holds and gives up by it."""
        held = [path for path in doomed if path in self.locks]
        for path in held:
            lock = self.locks[path]
            hold = lock.find(session)
            assert hold is not None
            lock.holders.remove(hold)
            if verb == "DEL":
                lock.before = None
        kept = [path for path in held if self.hand_over(path, verb)]
        self.remove([path for path in doomed if path not in kept], verb)

    def hand_over(self, path: str, verb: str) -> bool:
        """Let the node of a lock be what it has to be after a holder has left.

        Return whether it stays.
        """
        lock = self.locks[path]
        if self.grant_next(path, lock):
            return True
        if lock.holders:
            newest = lock.holders[-1]
            assert newest.value is not None
            self.put(path, newest.value, verb, newest.session, 0)
            return True
        del self.locks[path]
        if lock.before is None:
            return False
        value, owner, ttl_ms = lock.before
        if owner and owner not in self.sessions:
            return False
        self.put(path, value, verb, owner, ttl_ms)
        return True

    def grant_next(self, path: str, lock: LockState) -> bool:
        """Give the lock to the first in its queue, if it may have it now."""
        if not lock.queue or not lock.allows(lock.queue[0].shared):
            return False
        one = lock.queue[0]
        self.grant(path, lock, one, "GRANT")
        self.end_place(path, one, Granted(one.token))
        return True

    def grant_rest(self) -> None:
        """Give locks to all others who may have them, one revision each."""
        for path in sorted_paths(self.nodes):
            while path in self.locks and self.grant_next(path, self.locks[path]):
                self.close()

    # -- ends --------------------------------------------------------------------------------
    def end_session(self, session: str, verb: str) -> int:
        """End a session and all that it owns, in one revision; return it."""
        del self.sessions[session]
        expired = verb == "EXPIRE"
        if expired:
            self.expired.append(session)
        for path, lock in self.locks.items():
            place = lock.place(session)
            if place is not None:
                self.end_place(path, place, SessionExpired() if expired else NoSession())
        held = [path for path, lock in self.locks.items() if lock.find(session) is not None]
        for path in list(held):
            hold = self.locks[path].find(session)
            assert hold is not None
            if hold.delay_ms:
                hold.lost = True
                held.remove(path)
                self.news.append(Delay(path, hold.token, hold.delay_ms))
        owned = [path for path, node in self.nodes.items() if node.owner == session]
        owned = [path for path in owned if path not in self.locks]
        self.remove_and_release(sorted(set(held + owned)), session, verb)
        rev = self.close()
        self.news.append(SessionOver(session, rev, expired))
        self.grant_rest()
        return rev

    def lapse_node(self, path: str, rev: int) -> None:
        """Let a node go that has lived out its time, if it has not changed."""
        node = self.nodes.get(path)
        if node is not None and node.rev == rev and node.ttl_ms:
            self.remove([path], "EXPIRE")
            self.close()

    def lapse_wait(self, path: str, session: str, number: int) -> None:
        """End a place in a queue, if it is still one."""
        lock = self.locks.get(path)
        place = lock.place(session) if lock is not None else None
        if lock is not None and place is not None and place.number == number:
            self.end_place(path, place, TimedOut())
            self.grant_rest()

    def lapse_delay(self, path: str, token: int) -> None:
        """End a lock-delay, if it still runs."""
        lock = self.locks.get(path)
        lost = [one for one in lock.holders if one.lost and one.token == token] if lock else []
        if lock is not None and lost:
            lock.holders.remove(lost[0])
            if not self.hand_over(path, "EXPIRE"):
                self.remove([path], "EXPIRE")
            self.close()
            self.grant_rest()
