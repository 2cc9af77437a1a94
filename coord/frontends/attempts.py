"""How fast secrets can be tried: slower with every failure, for each address by itself.

Attempts from one address, over however many connections, are answered one after the other, each
not before a delay that the failures so far have earned; it doubles with each failure up to
`DELAY_SECONDS_MAX`, and is forgotten when there was none for `FORGOTTEN_SECONDS`. A right
secret waits like a wrong one, or the waiting would tell them apart, but makes nobody wait
longer; and it forgives nothing, or who has one secret could try for another at full speed.

Too many attempts in the queue of an address are not looked at. The table is bounded: an address
that none of it has room for takes the place of the one that failed longest ago.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime

DELAY_SECONDS: Final = 0.1
"""How long the attempt after the first failure waits."""
DELAY_SECONDS_MAX: Final = 5.0
"""The longest wait for one failure."""
WAIT_SECONDS_MAX: Final = 20.0
"""An attempt that would have to wait longer is not looked at."""
FORGOTTEN_SECONDS: Final = 60.0
"""After so long without a failure an address is as good as new."""
ADDRESSES_MAX: Final = 4096
"""Addresses whose failures are known."""
_NETWORK_BITS: Final = 64
"""What one household has of IPv6: who has one address of it has all."""


@attrs.define
class _Record:
    """The failures of one address; the next attempt from there is answered at ``free_at``."""

    failures: int = 0
    free_at: float = 0.0


class Attempts:
    """The failures of all addresses."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def wait_seconds(self, source: str) -> float:
        """Return how long an attempt from ``source`` that comes now has to wait."""
        record = self._find(source)
        return 0.0 if record is None else max(0.0, record.free_at - self._clock.seconds())

    def failed(self, source: str) -> None:
        """Take note that an attempt which comes now from ``source`` is a failure."""
        wait = self.wait_seconds(source)
        record = self._records.setdefault(source, _Record())
        self._records.move_to_end(source)
        delay = min(DELAY_SECONDS * 2.0 ** min(record.failures, 30), DELAY_SECONDS_MAX)
        record.failures += 1
        record.free_at = self._clock.seconds() + wait + delay
        if len(self._records) > ADDRESSES_MAX:
            self._records.popitem(last=False)

    def _find(self, source: str) -> _Record | None:
        """Return what is known of an address, and forget what was long ago."""
        record = self._records.get(source)
        if record is not None and record.free_at + FORGOTTEN_SECONDS <= self._clock.seconds():
            del self._records[source]
            return None
        return record


def source_of(place: str) -> str:
    """Return what attempts from a place (``host:port``, ``unix:UID``) are counted under."""
    host, _, _ = place.rpartition(":")
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return place
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _NETWORK_BITS), strict=False))
