"""``coord init``: a folder for each node, with all that it needs to start.

``DIR/NAME`` holds the node's settings (``coord.toml``), its key and certificate, those that it
shows to clients over TLS (``listen.key``, ``listen.pem``) and the CA's certificate, and can be
carried to the node's machine as it is. ``DIR/ca`` holds the CA's key: whoever has it can be any
node, so it stays with the operator. ``DIR/clients/NAME`` holds key and certificate of a client, for
listeners that ask for one.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from coord.names import split_address
from coord.node.authority import (
    Authority,
    AuthorityError,
    check_client_name,
    create_authority,
    issue,
    issue_client,
    issue_listener,
    load_authority,
)
from coord.node.settings import (
    LINE_PORT,
    WEB_PORT,
    Refused,
    check_cluster_name,
    is_loopback,
    parse_member,
)

AUTHORITY_FOLDER: Final = "ca"
CLIENTS_FOLDER: Final = "clients"
CONFIG_FILE: Final = "coord.toml"
PORT_MAX: Final = (1 << 16) - 1


class BadMember(Refused):
    """Nodes or clients cannot be these; the text says which, in the user's words."""


def make_cluster(folder: Path, members: Sequence[str], cluster: str = "") -> list[Path]:
    """Make the folders of a new cluster; return each node's ``coord.toml``.

    Without a name for it the cluster gets one of its own, so that a folder which strays from
    one cluster into another is recognised.

    ``members`` are ``NAME=HOST:PORT``, where each node is reached by the others. Nodes on
    one host get ports of their own for clients. Raises `Refused` before anything is made
    where a folder is there already, and `BadMember` where ``members`` are wrong.
    """
    nodes = [member_of(member) for member in members]
    check_distinct(nodes)
    cluster = cluster or f"coord-{secrets.token_hex(4)}"
    check_cluster_name(cluster)
    _check_new(folder, [AUTHORITY_FOLDER, *(name for name, _ in nodes)])
    try:
        authority = create_authority(folder / AUTHORITY_FOLDER, f"coord cluster {cluster} CA")
        for name, address in nodes:
            _issue(folder / name, authority, name, address)
    except AuthorityError as error:
        raise Refused(str(error)) from None
    return [_write_config(folder / name, text) for name, text in _configs(nodes, cluster)]


def make_node(
    folder: Path, name: str, cluster: str, nodes: Sequence[tuple[str, str]], step: int, way: str
) -> Path:
    """Make the folder of one more node by the CA of its cluster; return its ``coord.toml``.

    ``nodes`` are name and address of some that are there, and of this one. Its ports for clients
    are ``step`` above the first; ``way`` is the option that lets it in: ``join`` or ``observer``.
    Raises `Refused` where there is no CA in ``folder``.
    """
    try:
        authority = load_authority(folder / AUTHORITY_FOLDER)
        _issue(folder / name, authority, name, dict(nodes)[name])
    except AuthorityError as error:
        raise Refused(str(error)) from None
    return _write_config(folder / name, _config(name, cluster, nodes, step) + _way(way))


def _issue(place: Path, authority: Authority, name: str, address: str) -> None:
    issue(place, authority, name)
    issue_listener(place, authority, split_address(address)[0])


def make_clients(folder: Path, names: Sequence[str]) -> list[Path]:
    """Issue certificates for clients by the CA of a cluster; return the folder of each.

    Raises `Refused` where there is no CA in ``folder``.
    """
    try:
        authority = load_authority(folder / AUTHORITY_FOLDER)
        places = [folder / CLIENTS_FOLDER / name for name in names]
        for place, name in zip(places, names, strict=True):
            issue_client(place, authority, name)
    except AuthorityError as error:
        raise Refused(str(error)) from None
    return places


def check_clients(folder: Path, names: Sequence[str]) -> None:
    """Raise `BadMember` where no clients may be called so, `Refused` where one is there already."""
    for name in names:
        try:
            check_client_name(name)
        except AuthorityError as error:
            raise BadMember(str(error)) from None
    if len({*names}) < len(names):
        raise BadMember("a client is named twice: name each once")
    _check_new(folder / CLIENTS_FOLDER, names)


def member_of(text: str) -> tuple[str, str]:
    """Return name and address of a node; raises `BadMember`."""
    _, _, port = text.rpartition(":")
    if "=" in text and port.isdecimal() and not 0 < int(port) <= PORT_MAX:
        raise BadMember(f"{text!r}: {port} is no port; take one from 1 to {PORT_MAX}")
    try:
        name, address = parse_member(text)
    except Refused as error:
        raise BadMember(str(error).removeprefix("peer ")) from None
    if name == AUTHORITY_FOLDER:
        raise BadMember(f"no node can be called {name}: that is where the CA is kept")
    if name == CLIENTS_FOLDER:
        raise BadMember(f"no node can be called {name}: that is where theirs are kept")
    return name, address


def check_distinct(nodes: Sequence[tuple[str, str]]) -> None:
    """Raise `BadMember` where two nodes have one name or one address."""
    names: set[str] = set()
    at: dict[tuple[str, int], str] = {}
    for name, address in nodes:
        if name in names:
            raise BadMember(f"{name} is named twice: name each node once")
        names.add(name)
        host, port = split_address(address)
        other = at.setdefault((host.lower(), port), name)
        if other != name:
            raise BadMember(f"{other} and {name} cannot both be at {address}")
    for (host, _), name in at.items():
        if host in names and host != name:
            raise BadMember(f"{name} cannot be at a host that is called as the node {host} is")


def _check_new(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).exists():
            raise Refused(f"{folder / name} is there already: choose another --dir, or remove it")


def _configs(nodes: Sequence[tuple[str, str]], cluster: str) -> list[tuple[str, str]]:
    """Return name and ``coord.toml`` of each node."""
    seen: Counter[str] = Counter()
    configs = []
    for name, address in nodes:
        host, _ = split_address(address)
        configs.append((name, _config(name, cluster, nodes, seen[host])))
        seen[host] += 1
    return configs


def _config(name: str, cluster: str, nodes: Sequence[tuple[str, str]], step: int) -> str:
    peers = ",\n".join(f"    {_quoted(f'{one}={address}')}" for one, address in nodes)
    return f"""\
# Node {name} of the cluster {cluster}: twistd -n coord --config {name}/{CONFIG_FILE}
# Every option of `twistd coord --help` can stand here; relative paths count from here.
node = {_quoted(name)}
cluster = {_quoted(cluster)}
data = "data"

# Clients of the line protocol, and the web page; only this machine reaches them.
listen = [{_quoted(f"tcp:{LINE_PORT + step}:interface=127.0.0.1")}]
web = {_quoted(f"tcp:{WEB_PORT + step}:interface=127.0.0.1")}

# Or, for clients elsewhere, over TLS and known by certificates (coord init --client NAME), where
# paths count from where the node is started:
# "ssl:{LINE_PORT + step}:privateKey=/etc/coord/listen.key:\
certKey=/etc/coord/listen.pem:clientCA=/etc/coord/ca.pem"

# The other nodes, over mutual TLS.
peer-listen = {_quoted(_listen(dict(nodes)[name]))}
peer = [
{peers},
]
ca = "ca.pem"
certificate = "node.pem"
key = "node.key"
"""


def _way(option: str) -> str:
    return f"""
# The cluster runs already: this node becomes one of it, and never founds another.
{option} = true
"""


def _listen(address: str) -> str:
    """Return the endpoint that answers at an address: loopback's own, or all of the host's."""
    host, port = split_address(address)
    kind = "tcp6" if ":" in host else "tcp"
    escaped = host.replace(":", "\\:")
    return f"{kind}:{port}" + (f":interface={escaped}" if is_loopback(host) else "")


def _quoted(text: str) -> str:
    """Return a text as TOML writes it; JSON's strings are TOML's, too."""
    return json.dumps(text)


def _write_config(folder: Path, text: str) -> Path:
    path = folder / CONFIG_FILE
    path.write_text(text, encoding="utf-8")
    return path
