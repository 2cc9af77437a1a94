"""The times of the protocol, as one value."""

from __future__ import annotations

import attrs

from coord.limits import (
    ALPHA,
    BEAT_SECONDS,
    ELECTION_SPREAD_SECONDS,
    LEASE_SECONDS,
    RETRY_SECONDS,
)


@attrs.frozen(kw_only=True)
class Timing:
    """Times in seconds; ``leases`` says whether reads rely on them; ``alpha`` is in slots.

    Every node of a cluster uses the same, as one node's lease is another one's promise.
    """

    beat_seconds: float = BEAT_SECONDS
    lease_seconds: float = LEASE_SECONDS
    spread_seconds: float = ELECTION_SPREAD_SECONDS
    retry_seconds: float = RETRY_SECONDS
    leases: bool = True
    alpha: int = ALPHA

    @property
    def patience_seconds(self) -> float:
        """How long a leader may be silent, or hear nothing, before it is given up."""
        return self.lease_seconds + self.spread_seconds
