"""What an operator may change of a node's loop."""

from __future__ import annotations

import attrs

from coord.limits import (
    HISTORY_REVISIONS,
    IMAGE_EVERY_BYTES,
    LOG_BYTES_KEPT,
    REQUEST_SECONDS,
)
from coord.paxos.timing import Timing


@attrs.frozen(kw_only=True)
class Tuning:
    """What an operator may change; see `coord.limits` for each."""

    timing: Timing = attrs.Factory(Timing)
    request_seconds: float = REQUEST_SECONDS
    history_revisions: int = HISTORY_REVISIONS
    image_every_bytes: int = IMAGE_EVERY_BYTES
    log_bytes_kept: int = LOG_BYTES_KEPT
