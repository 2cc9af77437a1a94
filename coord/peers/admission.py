"""Whether two nodes belong together: what a Hello has to say, beside being true.

That the name in it is the certificate's was verified before (`coord.peers.identity`), and whether
a node is a member, on its own disk, is judged by who keeps the configurations
(`coord.replicator.interfaces.IAdmission`). The texts go to both nodes' logs, so each names both.
"""

from __future__ import annotations

import attrs

from coord.peers.refusals import Refused
from coord.replicator.interfaces import Card, Unfit
from coord.wire.peer import PROTOCOL, PROTOCOL_OLDEST, Hello


@attrs.frozen
class Versions:
    """The versions of the peers' conversation that a release speaks: from ``oldest`` on."""

    oldest: int = PROTOCOL_OLDEST
    newest: int = PROTOCOL


def dials(node: str, peer: str) -> bool:
    """Say whether ``node`` dials ``peer`` first; if not, it waits for it."""
    return node < peer


def check_hello(ours: Hello, theirs: Hello) -> int:
    """Return the version that both speak; raise `Refused` where version, cluster or address differ.

    ``ours`` is what this node says to that one.
    """
    newest = min(_newest(ours), _newest(theirs))
    if newest < max(ours.protocol, theirs.protocol):
        raise Refused(
            f"{theirs.node} speaks {_spoken(theirs)} of the peers' protocol,"
            f" {ours.node} {_spoken(ours)}",
            "upgrade from one release to the next, and leave none out",
        )
    if theirs.cluster != ours.cluster:
        raise Refused(
            f"{theirs.node} is of cluster {theirs.cluster!r}, {ours.node} of {ours.cluster!r}",
            "see which of the two has the wrong address or data",
        )
    if theirs.to != ours.node:
        raise Refused(
            f"{theirs.node} wants to reach {theirs.to!r}, this is {ours.node}",
            "correct the address of the peer",
        )
    return newest


def _newest(hello: Hello) -> int:
    return hello.newest or hello.protocol  # before 5 there was one version only


def _spoken(hello: Hello) -> str:
    """Return the versions that a node speaks, for a person."""
    oldest, newest = hello.protocol, _newest(hello)
    return f"version {newest}" if oldest == newest else f"versions {oldest} to {newest}"


def card_of(hello: Hello, version: int) -> Card:
    """Return what a node says of itself in its Hello, where the link speaks ``version``."""
    return Card(
        node=hello.node,
        incarnation=hello.incarnation,
        disk=hello.disk,
        address=hello.address,
        promised=hello.promised,
        reach=hello.reach,
        slot=hello.slot,
        is_observer=hello.is_observer,
        founding=hello.founding,
        protocol=version,
    )


def unwanted(unfit: Unfit) -> Refused:
    """Return why a node gets no link that was judged so."""
    return Refused(unfit.text, "", unfit)


def not_a_peer(node: str, peer: str) -> Refused:
    """Return why ``peer`` gets no link with ``node``, which has never heard of it."""
    return Refused(f"{peer} is not a peer of {node}", f"add it with MEMBER add {peer} HOST:PORT")


def check_life(peer: str, life: int, newest: int) -> None:
    """Raise `Refused` where there is a link with a later life of that node already, ``newest``."""
    if life < newest:
        raise Refused(
            f"life {life} of {peer} comes after life {newest}",
            "see that it runs once, and on its newest data",
        )
