"""The times of the protocol, as one value."""

from __future__ import annotations

from typing import Protocol

import attrs

from coord.limits import (
    ALPHA,
    BEAT_SECONDS,
    ELECTION_SPREAD_SECONDS,
    FOUNDING_SECONDS,
    LEASE_SECONDS,
    RECENT_BYTES_MAX,
    RETRY_SECONDS,
)


class Dice(Protocol):
    """Where chance comes from; a ``random.Random`` is one."""

    def random(self) -> float:
        """Return a number from 0 to before 1."""


@attrs.frozen(kw_only=True)
class Timing:
    """Times in seconds; ``leases`` says whether reads rely on them; ``alpha`` is in slots.

    Every node of a cluster uses the same, as one node's lease is another one's promise. But for
    ``recent_bytes_max``, how much of the chosen log is kept in memory.
    """

    beat_seconds: float = BEAT_SECONDS
    lease_seconds: float = LEASE_SECONDS
    spread_seconds: float = ELECTION_SPREAD_SECONDS
    retry_seconds: float = RETRY_SECONDS
    leases: bool = True
    alpha: int = ALPHA
    founding_seconds: float = FOUNDING_SECONDS
    recent_bytes_max: int = RECENT_BYTES_MAX

    @classmethod
    def of_lease(cls, lease_seconds: float, *, leases: bool = True) -> Timing:
        """Return times in the usual proportions to a lease of that length."""
        scale = lease_seconds / LEASE_SECONDS
        return cls(
            beat_seconds=BEAT_SECONDS * scale,
            lease_seconds=lease_seconds,
            spread_seconds=ELECTION_SPREAD_SECONDS * scale,
            leases=leases,
        )

    @property
    def patience_seconds(self) -> float:
        """How long a leader may be silent, or hear nothing, before it is given up."""
        return self.lease_seconds + self.spread_seconds

    @property
    def absence_seconds(self) -> float:
        """After how long without an answer a node is not counted on where members change."""
        return 4 * self.patience_seconds
