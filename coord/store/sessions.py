"""Sessions: who they are, what they own, what they were answered."""

from __future__ import annotations

import hashlib


def key_hash(key: str) -> bytes:
    """Return all that the cluster keeps of a session's key."""
    return hashlib.sha256(key.encode("ascii")).digest()
