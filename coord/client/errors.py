"""What can go wrong between a client and its servers, beyond what a server says.

All that a server says is in `coord.errors`, and a Deferred carries it as it was said.
"""

from __future__ import annotations

from coord.errors import CoordError, Unavailable


class NoServer(Unavailable):
    """No server could be reached in the time allowed: the request was not done."""


class Closed(CoordError):
    """The client was closed, or is being closed: the request was not done."""

    code = "CLOSED"


class Junk(Exception):
    """What came is no reply of the line protocol; the connection is of no use any more."""
