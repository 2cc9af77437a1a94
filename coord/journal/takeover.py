"""A stopped node's journal, made that of a cluster of one: where all other disks are lost.

What the node has voted for is chosen by that, at whichever ballot: what was acknowledged may be
among it, and nobody is left who could say that something else was chosen. The header says the rest.
The node alone governs, from so far on that no configuration of the log comes into force again; the
slots up to there hold nothing, so that it does govern when the node starts.

The cluster's name is another one from then on, and so is the disk's: nodes and directories of the
cluster that was are strangers.
"""

from __future__ import annotations

import os
import secrets
from contextlib import closing
from pathlib import Path
from typing import Final

from coord.journal import tables
from coord.journal.directory import FILE_NAME, claim, connect, identify, sync_names
from coord.journal.errors import JournalError
from coord.journal.recovery import recover
from coord.journal.tables import Identity
from coord.limits import ALPHA
from coord.paxos.durable import Durable, Header, Save, Vote
from coord.paxos.membership import Configuration, Governs, Member

KEPT_NAME: Final = f"{FILE_NAME}.before-recovery"
"""What the copy of the journal as it was is called, and then a number."""


def take_over(directory: Path, *, node: str, cluster: str, address: str, value: bytes) -> Path:
    """Make ``node`` of this directory the only one of the cluster ``cluster``; return the copy.

    ``address`` is where other nodes are to reach it, ``value`` the first that the new cluster
    chooses. All of it is done, or nothing. Blocks.

    :raise InUseError: the node runs.
    :raise JournalError: there is nothing to take over, or the disk does not let us.
    :raise CorruptionError: a record is damaged, or a chosen slot is missing.
    """
    lock = claim(directory)
    try:
        identity = identify(directory, node=node, cluster=None)
        durable = recover(directory, ()).durable
        if not durable.header.governs:
            raise JournalError(f"{directory} holds nothing yet: there is nothing to recover")
        with closing(connect(directory, synchronous="FULL")) as connection:
            copy = _free_name(directory)
            connection.execute("VACUUM INTO ?", (str(copy),))
            _sync(copy)
            sync_names(directory)
            renamed = Identity(node, cluster, identity.incarnation, secrets.token_hex(8))
            connection.execute("BEGIN IMMEDIATE")
            tables.write_identity(connection, renamed)
            tables.save(connection, [_alone(node, address, durable, value)])
            connection.execute("COMMIT")
        sync_names(directory)
        return copy
    finally:
        os.close(lock)


def reach_of(durable: Durable) -> int:
    """Return the last slot that is known to be chosen, or was voted for."""
    last = durable.votes[-1].slot if durable.votes else 0
    return max(durable.header.chosen, durable.base, last)


def _alone(node: str, address: str, durable: Durable, value: bytes) -> Save:
    """Return what makes a node the only one that governs."""
    header, reach = durable.header, reach_of(durable)
    ballot = max((header.promised, *(vote.ballot for vote in durable.votes))).after(node)
    first, last = max(header.chosen, durable.base) + 1, reach + ALPHA
    voted = {vote.slot for vote in durable.votes}
    votes = tuple(
        Vote(slot, ballot, value if slot == reach + 1 else b"")
        for slot in range(first, last + 1)
        if slot not in voted
    )
    # The disk is bound by the node itself: so the log says, too, who the members are.
    alone = Configuration(voters=(node,), members=(Member(node, address),))
    header = Header(promised=ballot, chosen=last, governs=(Governs(last + 1, alone),))
    return Save(1, header, votes)


def _free_name(directory: Path) -> Path:
    number = 1
    while (copy := directory / f"{KEPT_NAME}-{number}").exists():
        number += 1
    return copy


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
