"""The table of a node's options: one row each, for the command line and for TOML alike.

What an option means stands here once; `coord.node.tap` turns the table into
``twisted.python.usage`` and `coord.node.settings` turns what was given into values.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from coord import limits


class Kind(enum.Enum):
    """What an option's value is, on the command line and in TOML."""

    TEXT = "text"
    FILE = "file"
    FLAG = "flag"
    SECONDS = "seconds"
    COUNT = "count"


@attrs.frozen(kw_only=True)
class Option:
    """One option: how it is written, what its value is, what it says.

    ``many`` options may be given again and again, and are arrays in TOML. ``later`` ones
    have their name reserved and are refused, because this version cannot do them.
    """

    name: str
    kind: Kind = Kind.TEXT
    help: str
    many: bool = False
    later: bool = False


def _later(name: str, kind: Kind, what: str) -> Option:
    return Option(name=name, kind=kind, help=f"{what} (not in this version)", later=True)


OPTIONS: Final[tuple[Option, ...]] = (
    Option(name="node", help="this node's name (default n1)"),
    Option(name="cluster", help="the cluster's name (default coord)"),
    Option(name="data", kind=Kind.FILE, help="directory of this node's state (./coord-data)"),
    Option(
        name="listen",
        many=True,
        help="endpoint of the line protocol, repeatable (tcp:8046:interface=127.0.0.1)",
    ),
    Option(name="peer-listen", help="endpoint at which the other nodes reach this one"),
    Option(name="peer", many=True, help="NAME=HOST:PORT of each node, repeatable"),
    Option(name="join", kind=Kind.FLAG, help="the cluster runs already: some of it are --peer"),
    Option(name="observer", kind=Kind.FLAG, help="as --join; learn and serve reads, never vote"),
    Option(name="ca", kind=Kind.FILE, help="certificate authority of the cluster, PEM"),
    Option(name="certificate", kind=Kind.FILE, help="this node's certificate, PEM"),
    Option(name="key", kind=Kind.FILE, help="the certificate's private key, PEM"),
    Option(name="web", help="endpoint of the web page, or none (tcp:8056:interface=127.0.0.1)"),
    Option(name="console", help="endpoint of the SSH console (none; tcp: on loopback)"),
    Option(name="authorized-keys", kind=Kind.FILE, help="keys of who may do all at the console"),
    Option(name="console-readers", kind=Kind.FILE, help="keys of who gets its words, no Python"),
    Option(name="read-secret", kind=Kind.FILE, help="secrets of those who read, one a line"),
    Option(name="write-secret", kind=Kind.FILE, help="secrets of those who write"),
    Option(name="admin-secret", kind=Kind.FILE, help="secrets of those who may do all"),
    Option(name="open", kind=Kind.FLAG, help="let everyone who reaches a listener write"),
    Option(name="no-leases", kind=Kind.FLAG, help="ask a majority for every read"),
    Option(
        name="lease",
        kind=Kind.SECONDS,
        help=f"how long a leader may go unheard ({limits.LEASE_SECONDS})",
    ),
    Option(
        name="request-timeout",
        kind=Kind.SECONDS,
        help=f"answer UNAVAILABLE or UNKNOWN after so long ({limits.REQUEST_SECONDS})",
    ),
    Option(
        name="history-revisions",
        kind=Kind.COUNT,
        help=f"revisions that can be read and watched from ({limits.HISTORY_REVISIONS})",
    ),
    Option(
        name="log-bytes-kept",
        kind=Kind.COUNT,
        help=f"log kept for nodes that were away ({limits.LOG_BYTES_KEPT})",
    ),
    Option(
        name="image-every-bytes",
        kind=Kind.COUNT,
        help=f"image the store after so much log ({limits.IMAGE_EVERY_BYTES})",
    ),
    Option(
        name="line-bytes-max",
        kind=Kind.COUNT,
        help=f"longest line of a request ({limits.LINE_BYTES_MAX})",
    ),
    Option(
        name="value-bytes-max",
        kind=Kind.COUNT,
        help=f"longest value ({limits.VALUE_BYTES_MAX})",
    ),
    Option(
        name="connections-max",
        kind=Kind.COUNT,
        help=f"clients connected at one time ({limits.CONNECTIONS_MAX})",
    ),
    _later("zookeeper", Kind.TEXT, "endpoint for ZooKeeper's clients"),
)

BY_NAME: Final = {option.name: option for option in OPTIONS}
