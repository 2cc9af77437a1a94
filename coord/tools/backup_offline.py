"""``coord-backup offline``: the store of a node that does not run, from its directory alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from coord.commands import Get, Walk
from coord.journal.offline import Offline, open_offline
from coord.limits import ALPHA
from coord.paths import CONTROL
from coord.paxos.durable import Vote
from coord.paxos.membership import Membership
from coord.replicator.applier import Applier, Run
from coord.replicator.imaging import load
from coord.results import Aside, Row, Rows, Value
from coord.store.machine import Store
from coord.tools.backup_files import Sink, stamp
from coord.tools.progress import Progress
from coord.wire.backup import Content, Header, LeftOut, Writer
from coord.wire.backup_text import span_ms
from coord.wire.values import Batch


class Rebuilt(msgspec.Struct, frozen=True):
    """What a directory led to; ``undecided`` votes are left, whose fate this node never learnt."""

    node: str
    cluster: str
    store: Store
    time_ms: int
    undecided: int


class _Nobody:
    """Who took no batch of the log: its results concern nobody any more."""

    def runs(self, batch: Batch, value: bytes) -> Sequence[Run] | None:
        """Return that no batch is ours."""
        return None


def rebuild(directory: Path, *, undecided: bool = False) -> Rebuilt:
    """Return the store that a stopped node's journal leads to. Blocks.

    What this node knew to be chosen is applied, and where it voted alone all that it voted
    for. ``undecided`` takes every other vote for chosen, too.

    :raises coord.journal.errors.JournalError: where the directory is in use, or no node's.
    :raises ValueError: where its image is damaged.
    """
    with open_offline(directory) as offline:
        applier = load(offline.found.image, history_revisions=1).applier
        left = _apply(applier, offline, undecided)
    name = applier.store.answer(Get(f"{CONTROL}/cluster"))
    cluster = name.value.decode() if isinstance(name, Value) else offline.cluster
    return Rebuilt(offline.node, cluster, applier.store, applier.time_ms, left)


def _apply(applier: Applier, offline: Offline, undecided: bool) -> int:
    """Apply the votes that count; return how many do not."""
    durable = offline.found.durable
    header = durable.header
    membership = Membership(header.governs, ALPHA) if header.governs else None
    votes = iter(durable.votes)
    left: list[Vote] = []
    for vote in votes:
        alone = membership is not None and membership.at(vote.slot).voters == (offline.node,)
        counts = vote.slot <= header.chosen or alone or undecided
        if not counts or vote.slot != applier.slot + 1:
            left.append(vote)
            break
        applier.apply(vote.slot, vote.value, _Nobody())
        applier.store.news()  # for the owner of a store that lives
        if membership is not None and not isinstance(vote.value, bytes):
            membership.learn(vote.slot, vote.value)
    return len(left) + sum(1 for _ in votes)


def write(rebuilt: Rebuilt, sink: Sink, progress: Progress) -> tuple[int, LeftOut]:
    """Write a dump of the store; return how many nodes it holds, and what it does not."""
    store = rebuilt.store
    progress.whole = None
    header = Header(
        content=Content.DUMP,
        rev=store.rev,
        cluster=rebuilt.cluster,
        time=stamp(rebuilt.time_ms / 1000),
    )
    writer = Writer(header)
    sink.write(writer.head())
    asides: Counter[str] = Counter()
    for row in _rows(store, asides):
        sink.write(writer.node(row))
        progress.add(1)
    sessions = len(store.sessions())
    left_out = LeftOut(asides["ephemeral"], asides["lock"], sessions)
    sink.write(writer.end(left_out))
    sink.finish()
    return writer.lines, left_out


def _rows(store: Store, asides: Counter[str]) -> Iterator[Row]:
    """Yield the nodes that last, with their lifetimes; count the others."""
    found = store.answer(Walk("/**", lasting=True))
    assert isinstance(found, Rows), found
    ttl_ms = 0
    for row in found.rows:
        if isinstance(row, Row):
            yield Row(row.path, row.rev, row.value, ttl_ms)
            ttl_ms = 0
        elif isinstance(row, Aside) and row.what.startswith("ttl="):
            ttl_ms = span_ms(row.what.removeprefix("ttl=").encode())
        elif isinstance(row, Aside):
            asides[row.what] += 1
