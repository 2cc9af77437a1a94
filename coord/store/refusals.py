"""What the store says no with. The texts name paths as a line writes them."""

from __future__ import annotations

from coord.errors import (
    BadRequest,
    Denied,
    Exists,
    IsDirectory,
    NoEntry,
    NotEmpty,
    RevisionMismatch,
    TooLarge,
    TooLate,
)
from coord.limits import DELETE_NODES_MAX, PATH_BYTES_MAX
from coord.paths import CONTROL, encode


def missing(path: str) -> NoEntry:
    """Say that there is no such node."""
    return NoEntry(f"{_shown(path)} is not there")


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


def _shown(path: str) -> str:
    return encode(path).decode()
