"""What the store says no with. The texts name paths as a line writes them."""

from __future__ import annotations

from coord.errors import (
    BadRequest,
    CoordError,
    Denied,
    Exists,
    IsDirectory,
    Locked,
    NoEntry,
    NoSession,
    NotEmpty,
    NotHeld,
    Overloaded,
    RevisionMismatch,
    SessionExpired,
    TimedOut,
    TooLarge,
    TooLate,
)
from coord.limits import (
    DELETE_NODES_MAX,
    LOCK_WAITERS_MAX,
    PATH_BYTES_MAX,
    SESSION_LOCKS_MAX,
    SESSION_NODES_MAX,
    SESSIONS_MAX,
    TRANSACTION_PARTS_MAX,
)
from coord.paths import CONTROL, encode


def missing(path: str, rev: int | None = None) -> NoEntry:
    """Say that there is no such node, or was none at a revision."""
    when = "is not there" if rev is None else f"was not there at revision {rev}"
    return NoEntry(f"{_shown(path)} {when}")


def existing(path: str) -> Exists:
    """Say that there is such a node, with or without a value."""
    return Exists(f"{_shown(path)} is there already")


def changed(path: str, rev: int) -> RevisionMismatch:
    """Say that the node is not as ``if=`` wants it."""
    return RevisionMismatch(f"{_shown(path)} was last changed at revision {rev}")


def without_value(path: str) -> IsDirectory:
    """Say that the node is an implied parent."""
    return IsDirectory(f"{_shown(path)} has children and no value")


def too_many(path: str, nodes: int) -> TooLarge:
    """Say that a tree is too large to go in one revision."""
    limit = f"one DEL deletes at most {DELETE_NODES_MAX}: delete it in parts"
    return TooLarge(f"{_shown(path)} and below are {nodes} nodes; {limit}")


def with_children(path: str, children: int) -> NotEmpty:
    """Say that the node cannot be deleted alone."""
    return NotEmpty(f"{_shown(path)} has children: {children}")


def denied() -> Denied:
    """Say that the path is not for clients to write."""
    return Denied(f"{CONTROL} belongs to the cluster")


def hidden(path: str) -> Denied:
    """Say that the caller may not read there, whether anything is there or not."""
    return Denied(f"you may not read {_shown(path)}")


def shut() -> Denied:
    """Say that the caller may read nothing at all."""
    return Denied("you may read nothing here; AUTH shows who you are")


def nothing_to_see(glob: str) -> Denied:
    """Say that the caller may read nothing that a glob matches."""
    return Denied(f"you may read nothing that {glob} matches")


def unwritable(path: str) -> Denied:
    """Say that the caller may not write there."""
    return Denied(f"you may not write {_shown(path)}")


def rules_stay() -> BadRequest:
    """Say that the rules of access cannot go by themselves."""
    return BadRequest("the rules of access neither go with a session nor after a while")


def root_stays() -> Denied:
    """Say that the root cannot be deleted."""
    return Denied("the root is always there")


def too_long_numbered() -> TooLarge:
    """Say that a sequential node's name would be too long."""
    return TooLarge(f"with its number a path has at most {PATH_BYTES_MAX} bytes")


def to_come(rev: int, newest: int) -> BadRequest:
    """Say that a revision that is read was not made yet."""
    return BadRequest(f"revision {rev} is not there yet, the newest is {newest}")


def gone(rev: int, oldest: int) -> TooLate:
    """Say that a revision that is read is kept no more."""
    return TooLate(f"revision {rev} is gone, the oldest kept is {oldest}")


def left_behind(rev: int, foothold: int) -> TooLate:
    """Say that what happened after a revision is not known any more, and from where it is."""
    return TooLate(f"revision {rev} is gone: watch from revision {foothold} or later")


# -- sessions ---------------------------------------------------------------------------
def session_needed() -> NoSession:
    """Say that the caller has no session."""
    return NoSession("this needs a session")


def no_session(session: str) -> NoSession:
    """Say that there is no such session."""
    return NoSession(f"there is no session {session}")


def session_expired(session: str) -> SessionExpired:
    """Say that a session is over because it was not kept alive."""
    return SessionExpired(f"session {session} was not kept alive and is over")


def session_used(session: str) -> Exists:
    """Say that there is or was a session of that name."""
    return Exists(f"session {session} is there already")


def wrong_key() -> Denied:
    """Say that the key is not the session's."""
    return Denied("that is not the key of this session")


def too_many_sessions() -> Overloaded:
    """Say that no more sessions fit in."""
    return Overloaded(f"there are {SESSIONS_MAX} sessions already")


def too_many_nodes() -> TooLarge:
    """Say that a session owns as much as one may."""
    return TooLarge(f"a session owns at most {SESSION_NODES_MAX} nodes")


def no_outcome(word: str) -> NoEntry:
    """Say that no answer to such a write is remembered."""
    return NoEntry(f"no write with id={word} is remembered in this session")


# -- locks ------------------------------------------------------------------------------
def locked(path: str) -> Locked:
    """Say that the lock is not the caller's."""
    return Locked(f"{_shown(path)} is locked; STAT tells by which session, BLAME by whom")


def held_otherwise(path: str, shared: bool) -> Locked:
    """Say that the caller has the lock, or its place, in the other mode."""
    mode = "not shared" if shared else "shared"
    return Locked(f"this session has {_shown(path)} already, {mode}: UNLOCK it first")


def not_held(path: str) -> NotHeld:
    """Say that there is nothing to unlock."""
    return NotHeld(f"this session does not hold {_shown(path)}")


def not_held_under(path: str, token: int) -> NotHeld:
    """Say that a token is no more than a number."""
    return NotHeld(f"{_shown(path)} is not held under token {token}")


def given_up(path: str) -> NotHeld:
    """Say that the caller has left the queue."""
    return NotHeld(f"the place in the queue of {_shown(path)} was given up")


def waited(path: str) -> TimedOut:
    """Say that the lock was not to be had in time."""
    return TimedOut(f"{_shown(path)} was locked for as long as this waited")


def gone_with(path: str, is_expired: bool) -> CoordError:
    """Say that a place in a queue was lost with its session."""
    text = f"the place in the queue of {_shown(path)} is gone with its session"
    return SessionExpired(text) if is_expired else NoSession(text)


def too_many_locks() -> TooLarge:
    """Say that a session holds and waits for as many locks as one may."""
    return TooLarge(f"a session holds and waits for at most {SESSION_LOCKS_MAX} locks")


def too_many_waiters(path: str) -> Overloaded:
    """Say that the queue is full."""
    return Overloaded(f"{LOCK_WAITERS_MAX} wait for {_shown(path)} already")


# -- transactions -------------------------------------------------------------------------
def too_many_parts(parts: int) -> TooLarge:
    """Say that a transaction is too long."""
    return TooLarge(f"a transaction has at most {TRANSACTION_PARTS_MAX} lines, not {parts}")


def too_much_told(size_bytes: int) -> TooLarge:
    """Say that what a transaction reads is more than one answer holds."""
    return TooLarge(f"what is read here is answered with at most {size_bytes} bytes")


def nothing_to_revert_to(path: str, rev: int, code: str) -> CoordError:
    """Say why the node that was asked found nothing to set back, as to a ``GET``."""
    if code == NoEntry.code:
        return missing(path, rev)
    if code == IsDirectory.code:
        return without_value(path)
    if code == Denied.code:
        return hidden(path)
    return TooLate(f"the node that was asked knows of nothing that {_shown(path)} held at {rev}")


def _shown(path: str) -> str:
    return encode(path).decode()
