"""A store that is obviously right: a whole copy of everything for every revision.

Written from the protocol and not from the store. It scans where the store has an index,
copies where the store shares, and tries a write on a copy of the world that it throws away
when the write is refused. What it answers is in `tests.store.twin_reads`, who may do what in
`tests.store.twin_access`, what a write does to nodes and locks in `tests.store.twin_world`.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from coord.commands import (
    Add,
    Caller,
    Check,
    Delete,
    EndSession,
    Genesis,
    Lapse,
    Lock,
    Look,
    Once,
    OpenSession,
    Outcome,
    Resume,
    Revert,
    Set,
    Transaction,
    Unlock,
)
from coord.results import Committed, Opened, Queued, Value, Written
from coord.store.news import Delay, Lifetime, Patience, SessionBegun
from tests.store.twin_world import Nodes, Refusal, Session, World

OUTCOMES_MAX = 3
"""How many answers a session remembers here; the test makes the store's bound as small."""
EXPIRED_MAX = 2
"""The same for sessions that expired."""


class Twin:
    """The world as it is, and ``copies[N]``: all nodes at revision N."""

    def __init__(self) -> None:
        self.world = World()
        self.copies: list[Nodes] = [copy.deepcopy(self.world.nodes)]
        self.logs: list[list[tuple[Any, ...]]] = [[]]
        self.news: list[Any] = []

    @property
    def rev(self) -> int:
        """The newest revision."""
        return len(self.copies) - 1

    # -- writes --------------------------------------------------------------------------
    def apply(self, write: Any, time_ms: int, caller: Caller) -> Any:
        """Return what the store should: a result, or an error's code."""
        return (self._once if isinstance(write, Once) else self._try)(write, time_ms, caller)

    def _try(self, write: Any, time_ms: int, caller: Caller) -> Any:
        """Do it to a copy of the world, which becomes the world if nothing is wrong."""
        world = copy.deepcopy(self.world)
        world.begin(self.rev, time_ms, caller)
        try:
            result = _do(world, write)
        except Refusal as refusal:
            return refusal.code
        self.world = world
        self.copies += world.copies
        self.logs += world.logs
        self.news += world.news
        for session in world.sessions.values():
            session.outcomes = [
                (word, world.settled.get(answer, answer) if type(answer) is Queued else answer)
                for word, answer in session.outcomes
            ]
        del world.expired[:-EXPIRED_MAX]
        return result

    def _once(self, write: Once, time_ms: int, caller: Caller) -> Any:
        """Do what was not done yet, and remember what was answered."""
        session = self.world.sessions.get(caller.session)
        if session is None or write.word in dict(session.outcomes):
            return self.outcome(write.word, caller)
        result = self._try(write.write, time_ms, caller)
        outcomes = self.world.sessions[caller.session].outcomes
        outcomes.append((write.word, result))
        del outcomes[:-OUTCOMES_MAX]
        return result

    # -- what is not of the tree ---------------------------------------------------------
    def outcome(self, word: str, caller: Caller) -> Any:
        """Return what ``OUTCOME`` tells."""
        session = self.world.sessions.get(caller.session)
        if session is None:
            return "SESSION_EXPIRED" if caller.session in self.world.expired else "NO_SESSION"
        return dict(session.outcomes).get(word, "NOENT")

    def answer(self, read: Outcome | Resume, caller: Caller) -> Any:
        """Return what sessions are asked for."""
        if isinstance(read, Outcome):
            return self.outcome(read.word, caller)
        session = self.world.sessions.get(read.session)
        if session is None:
            return "SESSION_EXPIRED" if read.session in self.world.expired else "NO_SESSION"
        if hashlib.sha256(read.key.encode()).digest() != session.key_hash:
            return "DENIED"
        return Opened(read.session, session.timeout_ms)

    def spans(self) -> list[Any]:
        """Return the spans of time under way."""
        found: list[Any] = [
            Lifetime(path, node.rev, node.ttl_ms)
            for path, node in self.world.nodes.items()
            if node.ttl_ms
        ]
        for path, lock in self.world.locks.items():
            found += [Patience(path, one.session, one.number, one.wait_ms) for one in lock.queue]
            found += [Delay(path, one.token, one.delay_ms) for one in lock.holders if one.lost]
        return found


def _do(world: World, write: Any) -> Any:
    """Do one write to a world; return the result."""
    match write:
        case Set() | Revert() | Add() | Delete():
            path = _do_part(world, write)
            return Written(world.end_step(), path if isinstance(write, Add) else None)
        case Lock():
            return world.lock(write)
        case Unlock():
            return Written(world.unlock(write.path))
        case Transaction():
            return _do_all(world, write)
        case OpenSession():
            if world.access.is_shut():
                raise Refusal("DENIED")
            session = Session(write.key_hash, write.timeout_ms, world.author, world.time_ms)
            world.sessions[write.session] = session
            world.news.append(SessionBegun(write.session, write.timeout_ms))
            return Opened(write.session, write.timeout_ms)
        case EndSession():
            return _end(world, write.session)
        case Lapse():
            return _lapse(world, write)
        case _:
            assert isinstance(write, Genesis)
            return _genesis(world, write)


def _do_part(world: World, part: Any) -> Any:
    """Do what may be a part of a transaction; return its row, if it has one."""
    match part:
        case Set():
            world.set(part)
        case Revert():
            assert part.value is not None
            world.set(Set(part.path, part.value, part.if_rev), verb="REVERT")
        case Add():
            return world.add(part)
        case Delete():
            world.delete(part)
        case Check():
            world.guard(part)
        case _:
            assert isinstance(part, Look)
            return world.look(part.path)
    return None


def _do_all(world: World, write: Transaction) -> Committed:
    """Do all parts in one revision, or nothing."""
    rows: list[Any] = []
    for number, part in enumerate(write.parts, 1):
        try:
            row = _do_part(world, part)
        except Refusal as refusal:
            raise Refusal(f"ABORTED {number} {refusal.code}") from None
        if isinstance(part, Look) or (isinstance(part, Add) and part.sequential):
            rows.append(row if not isinstance(row, tuple) else Value(*row))
    return Committed(world.end_step(), tuple(rows))


def _end(world: World, session: str) -> Written:
    if session not in world.sessions:
        raise Refusal("SESSION_EXPIRED" if session in world.expired else "NO_SESSION")
    return Written(world.end_session(session, "END"))


def _lapse(world: World, write: Lapse) -> Written:
    for session in write.sessions:
        if session in world.sessions:
            world.end_session(session, "EXPIRE")
    for node in write.nodes:
        world.lapse_node(*node)
    for wait in write.waits:
        world.lapse_wait(*wait)
    for delay in write.delays:
        world.lapse_delay(*delay)
    return Written(world.rev)


def _genesis(world: World, write: Genesis) -> Written:
    if world.rev == 0:
        world.put("/ctl/cluster", write.cluster.encode(), "GENESIS")
        world.close()
        for name, address in sorted(write.members):
            world.put(f"/ctl/members/{name}", address.encode(), "GENESIS")
            world.close()
    return Written(world.rev)
