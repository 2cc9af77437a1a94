"""Answers of several rows, as the client gives them: whole, and each with its revision."""

from __future__ import annotations

import msgspec

from coord.results import Row


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
