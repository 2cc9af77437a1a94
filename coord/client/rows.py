"""Answers of several rows, as the client gives them: whole, and each with its revision."""

from __future__ import annotations

import msgspec

from coord.results import Entry, Row


class Names(msgspec.Struct, frozen=True):
    """The names of a node's children, sorted, as they were at ``rev``."""

    rev: int
    names: tuple[str, ...]


class Page(msgspec.Struct, frozen=True):
    """Rows of a walk in path order, a picture of revision ``rev``."""

    rev: int
    rows: tuple[Row, ...]


class Member(msgspec.Struct, frozen=True):
    """A node of the cluster as another sees it; ``part`` is ``voter`` or ``observer``."""

    name: str
    address: str
    part: str
    is_up: bool


class Entries(msgspec.Struct, frozen=True):
    """Changes, newest first, a picture of revision ``rev``: what ``LOG`` and ``BLAME`` tell."""

    rev: int
    entries: tuple[Entry, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How what a watch sees differs at ``rev`` from what it was at ``after_rev``, long ago.

    ``changed`` are the nodes whose value changed since then, as they are now; ``unchanged`` the
    paths of those that match and whose value did not. What is in neither is not there any
    more: whoever had it deletes it. What happened in between is not told.
    """

    rev: int
    after_rev: int
    changed: tuple[Row, ...]
    unchanged: tuple[str, ...]


class Seen(msgspec.Struct, frozen=True):
    """A lasting watch was told all up to ``rev``, though nothing that lasts may have happened."""

    rev: int
