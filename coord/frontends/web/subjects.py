"""What the page shows: the objects of one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs
from twisted.internet.interfaces import IAddress

from coord.commands import Caller
from coord.replicator.account import Account
from coord.replicator.interfaces import ICoordinator


class ITraffic(Protocol):
    """What went to and from one peer so far."""

    @property
    def links(self) -> int:
        """Links that came up."""

    @property
    def frames_in(self) -> int:
        """Frames from it."""

    @property
    def frames_out(self) -> int:
        """Frames to it."""

    @property
    def bytes_in(self) -> int:
        """Bytes from it."""

    @property
    def bytes_out(self) -> int:
        """Bytes to it."""

    @property
    def dropped(self) -> int:
        """Frames for it that were dropped."""


class ITransport(Protocol):
    """The links to the others."""

    def connected(self) -> frozenset[str]:
        """Return the peers to whom there is a link."""

    def traffic(self) -> Mapping[str, ITraffic]:
        """Return what went to and from each peer so far."""


class IStrangers(Protocol):
    """Who knows what people may do of whom nothing is known."""

    def stranger(self, address: IAddress) -> Caller:
        """Return a caller of whom nothing is known but where it is."""


class IClients(Protocol):
    """The clients of the line protocol."""

    @property
    def connections(self) -> int:
        """How many clients are connected."""


@attrs.frozen(kw_only=True)
class Subjects:
    """The objects of a node that the page shows."""

    account: Account
    coordinator: ICoordinator
    transport: ITransport
    clients: IClients
    strangers: IStrangers
