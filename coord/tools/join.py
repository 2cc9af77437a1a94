"""``coord join``: one more node for a cluster that runs, in one line.

What is asked of the cluster comes first: who its members are, and whether it would take the node
(`plan`). Then the folder is made, and last the node becomes a member. A folder that is there
already for this node, without its state, is taken up; and so is a membership: whoever was
interrupted asks again, and a machine whose disk was lost comes back by its old folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from coord.client import Member, Verbs
from coord.commands import ChangeMembers, Deed
from coord.names import split_address, valid_address, valid_node_name
from coord.node.settings import LINE_PORT, Refused, parse_member, read_toml, split_endpoint
from coord.paths import CONTROL
from coord.tools.cli_output import Output
from coord.tools.init import (
    AUTHORITY_FOLDER,
    CONFIG_FILE,
    BadMember,
    check_distinct,
    make_node,
    member_of,
)
from coord.tools.running import DONE

JOIN: Final = "join"
OBSERVER: Final = "observer"


@attrs.frozen(kw_only=True)
class Joining:
    """A node that is to join: its name, where the others reach it, and its folder.

    ``replaces`` is the node whose vote it takes, "" for none.
    """

    folder: Path
    name: str
    address: str
    is_observer: bool = False
    replaces: str = ""
    force: bool = False

    @property
    def config(self) -> Path:
        """Its ``coord.toml``."""
        return self.folder / self.name / CONFIG_FILE

    @property
    def way(self) -> str:
        """The option that lets it in."""
        return OBSERVER if self.is_observer else JOIN

    def change(self) -> ChangeMembers:
        """Return what makes it a member."""
        if self.replaces:
            return ChangeMembers(
                Deed.REPLACE, self.replaces, self.address, self.name, force=self.force
            )
        return ChangeMembers(
            Deed.ADD, self.name, self.address, is_observer=self.is_observer, force=self.force
        )


def joining_of(given: argparse.Namespace) -> Joining:
    """Return who is to join by a command line.

    :raises BadMember: where that makes no sense.
    :raises Refused: where the folder is not one of ``coord init``.
    """
    name, address = member_of(given.member)
    if given.replace and given.observer:
        raise BadMember("an observer takes nobody's vote: --observer, or --replace")
    if given.replace and not valid_node_name(given.replace):
        raise BadMember(f"{given.replace!r} is no name for a node")
    if not (given.dir / AUTHORITY_FOLDER).is_dir():
        raise Refused(f"{given.dir} holds no CA: name the folder that coord init made, with its ca")
    return Joining(
        folder=given.dir,
        name=name,
        address=address,
        is_observer=given.observer,
        replaces=given.replace or "",
        force=given.force,
    )


async def join(client: Verbs, node: Joining, out: Output) -> int:
    """Let a node join, and print how to start it; return the exit status.

    :raises Refused: where its folder cannot be made.
    :raises CoordError: what the cluster said.
    """
    cluster = (await client.get(f"{CONTROL}/cluster")).value.decode()
    members = await _members(client)
    _check(node, cluster, members)
    is_new = not _is_member(node, members)
    if is_new:
        await client.plan(node.change())  # what is refused is refused before anything is made
    taken_up = node.config.exists()
    if not taken_up:
        _make(node, cluster, members)
    if is_new:
        await client.request(node.change())
    option = f" --{node.way}" if taken_up and not _read(node.config).is_let_in else ""
    out.lines(
        [
            f"{node.name} is a member{_hope(node, members)}. Start it, where it belongs:",
            f"  twistd -n coord --config {node.config}{option}",
        ]
    )
    return DONE


def _hope(node: Joining, members: Sequence[Member]) -> str:
    """Return what it will be by itself."""
    votes = any(one.name == node.name and one.part == "voter" for one in members)
    if node.is_observer or (votes and node.replaces != node.name):
        return ""
    return ", and will vote once it has learnt"


async def _members(client: Verbs) -> list[Member]:
    """Return the members as all agree on them: a node that was removed may tell of its own past."""
    above = f"{CONTROL}/members/"
    rows = (await client.walk(f"{above}*")).rows
    told = [(row.path.removeprefix(above), *row.value.decode().split(" ")) for row in rows]
    return [
        Member(name, address, OBSERVER if rest else "voter", is_up=True)
        for name, address, *rest in told
    ]


def _is_member(node: Joining, members: Sequence[Member]) -> bool:
    """Say whether the cluster has it already, as it is to be."""
    if node.replaces == node.name:  # it is a member, on another disk than it comes with
        return False
    names = {one.name: one.address for one in members}
    return names.get(node.name) == node.address


def _check(node: Joining, cluster: str, members: Sequence[Member]) -> None:
    """Raise `Refused`, or `BadMember`, where folder, node and cluster do not belong together."""
    others = _others(node, members)
    if not others:
        raise Refused(
            f"no node of {cluster} can be reached by others: start one with --peer-listen and its"
            " certificates (coord init makes them)"
        )
    check_distinct([*others, (node.name, node.address)])
    for made in _made(node.folder):
        if made.cluster != cluster:
            raise Refused(
                f"{node.folder / made.node} is of the cluster {made.cluster}, and the server of"
                f" {cluster}: ask another server, or move that folder away"
            )
        if made.node == node.name:
            _check_own(node, made)


def _others(node: Joining, members: Sequence[Member]) -> list[tuple[str, str]]:
    """Return where the others are: not it, not the node that it replaces."""
    here = [one for one in members if one.name not in (node.name, node.replaces)]
    return [(one.name, one.address) for one in here if valid_address(one.address)]


def _check_own(node: Joining, made: Made) -> None:
    """Raise `Refused` where its folder is for another address, or holds the state of a node."""
    if made.address != node.address:
        raise Refused(f"{node.config} has another address than {node.address}: change it there")
    if made.data.is_dir() and any(made.data.iterdir()):
        known = f"coord member replace {node.name} {node.name} {node.address} is all it takes"
        instead = f"; or where that is of a disk that was new, {known}"
        raise Refused(
            f"{made.data} holds a node's state: move it away, and join on an empty disk"
            + (instead if node.replaces == node.name else "")
        )


def _make(node: Joining, cluster: str, members: Sequence[Member]) -> None:
    nodes = sorted([*_others(node, members), (node.name, node.address)])
    make_node(node.folder, node.name, cluster, nodes, _step(node, members), node.way)


def _step(node: Joining, members: Sequence[Member]) -> int:
    """Return by how much its ports for clients are above the first: no other's on its host.

    Of nodes there that have no folder here nobody knows the ports; they are taken for the first.
    """
    host, _ = split_address(node.address)
    made = {one.node: one for one in _made(node.folder)}
    here = {
        one.name
        for one in members
        if valid_address(one.address) and split_address(one.address)[0] == host
    }
    taken = {port - LINE_PORT for one in made.values() for port in _ports(one, host)}
    step = len(here - made.keys() - {node.name})
    while step in taken:
        step += 1
    return step


def _ports(made: Made, host: str) -> Iterator[int]:
    """Yield the ports at which a node on ``host`` listens to clients."""
    if made.address and split_address(made.address)[0] == host:
        for endpoint in made.listen:
            _, port, _ = split_endpoint(endpoint)
            if port.isdigit():
                yield int(port)


@attrs.frozen
class Made:
    """What a node is told that has its folder here already."""

    node: str
    cluster: str
    address: str
    listen: Sequence[str]
    data: Path
    is_let_in: bool


def _made(folder: Path) -> Iterator[Made]:
    for config in sorted(folder.glob(f"*/{CONFIG_FILE}")):
        yield _read(config)


def _read(config: Path) -> Made:
    told: Any = read_toml(config)
    node = str(told.get("node", config.parent.name))
    return Made(
        node,
        str(told.get("cluster", "")),
        dict(map(parse_member, told.get("peer", ()))).get(node, ""),
        told.get("listen", ()),
        Path(told.get("data", config.parent / "data")),
        bool(told.get(JOIN) or told.get(OBSERVER)),
    )
