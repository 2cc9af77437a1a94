"""Why a journal cannot be opened or read: each message is one line, what and what to do."""

from __future__ import annotations


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
