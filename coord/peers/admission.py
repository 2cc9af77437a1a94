"""Whether two nodes belong together: what a Hello has to say, beside being true.

That the name in it is the certificate's was verified before (`coord.peers.identity`). The
texts go to both nodes' logs, so each names both.
"""

from __future__ import annotations

from coord.peers.refusals import ONE_RELEASE, Refused
from coord.wire.peer import Hello


def dials(node: str, peer: str) -> bool:
    """Say whether ``node`` dials ``peer``; if not, it listens for it."""
    return node < peer


def check_hello(ours: Hello, theirs: Hello) -> None:
    """Raise `Refused` where version, cluster or address are not those of this node.

    ``ours`` is what this node says to that one.
    """
    if theirs.protocol != ours.protocol:
        raise Refused(
            f"{theirs.node} speaks version {theirs.protocol} of the peers' protocol,"
            f" {ours.node} version {ours.protocol}",
            ONE_RELEASE,
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


def check_place(node: str, hello: Hello, *, dialled: bool, known: bool, newest: int) -> None:
    """Raise `Refused` where there is no place for a link of ``node`` with who says ``hello``.

    ``dialled``: this node dialled. ``known``: that one is among its peers. ``newest`` is the
    incarnation at the other end of the link that there is already, 0 where there is none.
    """
    if not known:
        raise Refused(
            f"{hello.node} is not a peer of {node}",
            f"name it with --peer {hello.node}=HOST:PORT, or stop it",
        )
    if dialled != dials(node, hello.node):
        raise Refused(f"{hello.node} dialled {node}, which dials {hello.node} itself", ONE_RELEASE)
    if hello.incarnation < newest:
        raise Refused(
            f"life {hello.incarnation} of {hello.node} comes after life {newest}",
            "see that it runs once, and on its newest data",
        )
