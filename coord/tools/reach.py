"""How a program reaches a cluster: which servers, by which secret, over TLS or not."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IStreamClientEndpoint

from coord.client import Client
from coord.client.dialler import endpoint
from coord.client.tls import Tls
from coord.tools.running import Usage, servers_of

SECRET_FILE: Final = "COORD_SECRET_FILE"  # noqa: S105 - the name of a variable
TLS_FILES: Final = {"tls_ca": "COORD_TLS_CA", "tls_certificate": "COORD_TLS_CERTIFICATE",
                    "tls_key": "COORD_TLS_KEY"}  # fmt: skip
_NAMED: Final = re.compile(rb"\S+[ \t]+=[ \t]+(\S.*)")


@attrs.frozen(kw_only=True)
class Reach:
    """Where the cluster is, and what opens it."""

    servers: Sequence[str]
    secret: bytes | None = attrs.field(default=None, repr=False)
    tls: Tls | None = None

    def client(self, reactor: Any, *, request_seconds: float, once: bool = False) -> Client:
        """Return a client of the cluster."""
        return Client(
            reactor,
            self.servers,
            request_seconds=request_seconds,
            secret=self.secret,
            tls=self.tls,
            once=once,
        )

    def endpoint(self, reactor: Any, server: str) -> IStreamClientEndpoint:
        """Return the endpoint of one of the servers."""
        return endpoint(reactor, server, self.tls)


def add_reach(made: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options that say what opens the cluster; ``defaults`` as for ``add_argument``."""
    add = made.add_argument
    add(
        "--secret-file",
        metavar="FILE",
        help=f"whose first secret is shown to the servers ({SECRET_FILE})",
        **defaults,
    )
    add(
        "--tls-ca",
        metavar="FILE",
        help="speak TLS; FILE is the authority of the servers' certificates (COORD_TLS_CA)",
        **defaults,
    )
    add(
        "--tls-certificate",
        metavar="FILE",
        help="speak TLS; FILE is our own certificate (COORD_TLS_CERTIFICATE)",
        **defaults,
    )
    add("--tls-key", metavar="FILE", help="and its private key (COORD_TLS_KEY)", **defaults)


def reach_of(given: argparse.Namespace, servers: list[str] | None) -> Reach:
    """Return what options and the environment say; raises `Usage`."""
    files = {
        option: getattr(given, option, None) or os.environ.get(variable) or None
        for option, variable in TLS_FILES.items()
    }
    trust, certificate, key = files.values()
    if key is not None and certificate is None:
        raise Usage("--tls-key goes with --tls-certificate")
    tls = None
    if trust is not None or certificate is not None:
        tls = Tls(trust=trust, certificate=certificate, key=key)
    path = getattr(given, "secret_file", None) or os.environ.get(SECRET_FILE)
    made = Reach(servers=servers_of(servers), secret=secret_in(path), tls=tls)
    if tls is not None:
        _try(made)
    return made


def secret_in(path: str | None) -> bytes | None:
    """Return the first secret in a file, which may be written as for a node: ``name = secret``.

    :raises OSError: where it cannot be read.
    :raises Usage: where there is none.
    """
    if not path:
        return None
    for line in map(bytes.strip, Path(path).read_bytes().splitlines()):
        if line and not line.startswith(b"#"):
            named = _NAMED.fullmatch(line)
            return line if named is None else named[1]
    raise Usage(f"{path} holds no secret")


def _try(made: Reach) -> None:
    """See that there is something that can be read in the files of TLS."""
    from twisted.internet import reactor

    try:
        for server in made.servers:
            made.endpoint(reactor, server)
    except ValueError as error:
        raise Usage(str(error)) from None
