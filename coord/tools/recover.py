"""``coord recover``: a cluster from the one disk that is left, under another name.

Forced, and said so aloud: whatever the lost nodes had acknowledged and this one never heard of is
gone. It changes nothing before ``--yes``, keeps a copy of the journal, and gives the cluster a new
name, so that no node of the old one, should its disk turn up, is ever taken for a member again.
"""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from coord.commands import Genesis
from coord.journal.directory import FILE_NAME
from coord.journal.errors import JournalError
from coord.journal.offline import open_offline
from coord.journal.takeover import reach_of, take_over
from coord.names import valid_address
from coord.node.settings import NO_PEERS, Refused, Settings, check_cluster_name, parse, read_toml
from coord.replicator.admission import REMOVED
from coord.replicator.applier import FOUNDER
from coord.tools import backup_offline
from coord.tools.backup_files import stamp
from coord.tools.init import CONFIG_FILE
from coord.tools.running import DONE, REFUSED
from coord.wire.values import Batch, encode_batch
from coord.wire.values import stamp as stamped

REPORT: Final = "recovered.txt"
"""What was done, for a person, beside the journal."""
_CLUSTER: Final = re.compile(r"^cluster\s*=.*$", re.MULTILINE)


@attrs.frozen(kw_only=True)
class Survivor:
    """A stopped node's directory, and what was found in it."""

    data: Path
    config: Path | None
    node: str
    cluster: str
    address: str
    slot: int
    reach: int
    rev: int
    time_ms: int
    voters: tuple[str, ...]
    is_removed: bool

    def describe(self) -> list[str]:
        """Return what a person has to know before anything is done, line by line."""
        age_seconds = max(0.0, time.time() - self.time_ms / 1000)
        voters, written = " ".join(self.voters), stamp(self.time_ms / 1000)
        rows = [
            f"{self.data}: node {self.node} of the cluster {self.cluster}, voters {voters}",
            f"  holds revision {self.rev}, last written at {written}, {_span(age_seconds)} ago",
            f"  knows slots up to {self.slot} to be chosen, and voted up to {self.reach}",
        ]
        if self.is_removed:
            rows.append("  was removed from that cluster: what it did since is not here")
        return rows


def recover(given: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status.

    :raises Refused: with one line, where it cannot be done; nothing was changed then.
    """
    check_cluster_name(given.cluster)
    try:
        found = survey(given.dir, given.address)
        _check(found, given.cluster)
        print("\n".join(found.describe()))
        if not given.yes:
            _warn(found, given.cluster)
            return REFUSED
        _take_over(found, given.cluster)
    except (JournalError, ValueError, sqlite3.Error) as error:
        raise Refused(str(error)) from None
    return DONE


def survey(place: Path, address: str = "") -> Survivor:
    """Look at a stopped node's directory, or at the folder in which that and its config are.

    :raises JournalError: where the node runs, or it is no node's directory.
    :raises ValueError: where what it holds is damaged.
    """
    config, settings = _settings(place)
    data = place if (place / FILE_NAME).exists() or settings is None else settings.data
    with open_offline(data) as offline:
        node, cluster, durable = offline.node, offline.cluster, offline.found.durable
    if not durable.header.governs:
        raise JournalError(f"{data} holds nothing yet: there is nothing to recover")
    latest = durable.header.governs[-1].configuration
    member = latest.member(node)
    own = dict(settings.peers).get(node, "") if settings is not None else ""
    rebuilt = backup_offline.rebuild(data, undecided=True)
    return Survivor(
        data=data,
        config=config,
        node=node,
        cluster=cluster,
        address=address or (member.address if member else "") or own,
        slot=max(durable.header.chosen, durable.base),
        reach=reach_of(durable),
        rev=rebuilt.store.rev,
        time_ms=rebuilt.time_ms,
        voters=latest.voters,
        is_removed=(data / REMOVED).exists(),
    )


def _settings(place: Path) -> tuple[Path | None, Settings | None]:
    """Return the node's ``coord.toml``, in this folder or the one above, and what it says."""
    for folder in (place, place.absolute().parent):
        config = folder / CONFIG_FILE
        if config.is_file():
            with suppress(Refused):  # it only helps
                return config, parse(read_toml(config))
    return None, None


def _check(found: Survivor, cluster: str) -> None:
    if cluster == found.cluster:
        raise Refused(
            f"{cluster} is what the cluster was called: choose another name, so that no disk of it"
            " is ever taken for one of the new cluster"
        )
    if not valid_address(found.address) and found.address != NO_PEERS:
        raise Refused("say by --address HOST:PORT where other nodes are to reach this one")


def _warn(found: Survivor, cluster: str) -> None:
    """Say what would be done, and that it was not."""
    print(
        f"""
This makes {found.node} the only node of a new cluster, {cluster}. Do it only where a majority of
the voters is lost for good, and on the disk that holds the most: look at each that is left
with this command first. What was acknowledged and is not on this disk is lost. All other
directories are refused from then on: empty them and let their nodes join anew.

Nothing was done. To do it, say the same with --yes.""",
        flush=True,
    )


def _take_over(found: Survivor, cluster: str) -> None:
    """Make the directory that of the new cluster's only node, and say what is left to do."""
    now_ms = max(found.time_ms, time.time_ns() // 1_000_000)
    founding = Batch(FOUNDER, 0, 0, (Genesis(cluster, ((found.node, found.address),)),))
    copy = take_over(
        found.data,
        node=found.node,
        cluster=cluster,
        address=found.address,
        value=stamped(encode_batch(founding), now_ms),
    )
    report = [
        f"{stamp(now_ms / 1000)}: forced recovery, the cluster is {cluster} from now on",
        *found.describe(),
        f"  as it was: {copy}",
    ]
    with (found.data / REPORT).open("a", encoding="utf-8") as file:
        file.write("\n".join([*report, ""]))
    (found.data / REMOVED).unlink(missing_ok=True)  # or the node would not start beside it
    print(f"DONE: {found.node} is the only node of the cluster {cluster}.")
    print(f"The journal as it was is kept in {copy}.")
    print("\n".join(_next_steps(found, cluster)))


def _next_steps(found: Survivor, cluster: str) -> list[str]:
    """Return what an operator does now; the cluster's name is put into the config if it can be."""
    line = f'cluster = "{cluster}"'
    if found.config is not None and _rename(found.config, line):
        first = f"Its config says so now: {found.config}. Start the node:"
        start = f"  twistd -n coord --config {found.config}"
    else:
        first = "Start the node with the new name, by --cluster or in its coord.toml:"
        start = f"  {line}"
    return [
        first,
        start,
        "Then let others join, each with an empty directory, the new name, --join; ask this one:",
        "  MEMBER add NAME HOST:PORT",
    ]


def _rename(config: Path, line: str) -> bool:
    """Put the new name into a ``coord.toml`` that says the old one; say whether that was done."""
    text = config.read_text("utf-8")
    if len(_CLUSTER.findall(text)) != 1:
        return False
    draft = config.with_name(f".{config.name}.new")
    draft.write_text(_CLUSTER.sub(line, text), "utf-8")
    draft.chmod(config.stat().st_mode)
    os.replace(draft, config)
    return True


def _span(seconds: float) -> str:
    """Return a span of time for a person."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
