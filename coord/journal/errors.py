"""Why a journal cannot be opened or read: each message is one line, what and what to do."""

from __future__ import annotations

from typing import Final

ADMIT_ANEW: Final = (
    "this node must not vote on it again: empty the directory, then MEMBER replace NODE NODE"
    " HOST:PORT admits the node anew"
)
"""What to do where a cluster's other nodes are there: what was lost or damaged they have."""


class JournalError(Exception):
    """A journal could not be used."""


class IdentityError(JournalError):
    """The directory belongs to another node or another cluster."""


class InUseError(JournalError):
    """Another process has the directory open."""


class SchemaError(JournalError):
    """The directory was written by a newer coord."""


class CorruptionError(JournalError):
    """What was read is not what was written."""


class ClosedError(JournalError):
    """The journal was closed before this was done."""
