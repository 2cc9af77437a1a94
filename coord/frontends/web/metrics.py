"""Figures for Prometheus, looked up when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import coord
from coord.frontends.web.subjects import Subjects

GAUGES: Final = {
    "serving": "1 while this node is in touch with a majority",
    "is_leader": "1 on the node that leads",
    "revision": "The newest revision of the store",
    "history_revision": "The oldest revision that can be read and watched from",
    "slot": "The last slot of the log that is applied",
    "slots_behind": "Slots known to be chosen and not applied yet",
    "slots_open": "Slots in which something is proposed or voted for and not known to be chosen",
    "tree_nodes": "Nodes of the tree, those without a value among them",
    "sessions": "Open sessions",
    "sessions_here": "Sessions that this node's connections are attached to",
    "locks": "Locks that are held, or kept from others after their holder was lost",
    "watches": "Watches of clients, consoles and pages",
    "commands_waiting": "Writes that wait for a batch",
    "waiting_bytes": "About how much memory they take",
    "disk_waits_seconds": "For how long the disk has finished nothing though a save waits",
    "batches_in_flight": "Batches of this node sent and not yet applied",
    "reads_waiting": "Reads that wait for the point to read at",
}
COUNTERS: Final = {
    "elections": "Elections that this node stood for",
    "images": "Images of the store that were written",
    "images_sent": "Images of the store that were sent to nodes too far behind",
    "images_adopted": "Images of other nodes from which this one went on",
    "proposals": "Batches of commands that this node had proposed",
    "writes": "Writes that clients of this node sent in them",
    "reads": "Reads answered by this node, without those that came between writes",
    "renews": "Messages by which this node told the leader which sessions are alive",
    "digests_compared": "Times that this node's store was held against another's",
    "surveys": "Surveys of the whole store for that",
    "lapses": "Sessions, lifetimes, waits and delays that this node, leading, proposed to end",
}


class Metrics:
    """What ``/metrics`` says, from a registry of this node's own."""

    def __init__(self, subjects: Subjects, viewers: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(subjects, viewers))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        return generate_latest(self._registry)


class _Figures(Collector):
    def __init__(self, subjects: Subjects, viewers: Callable[[], int]) -> None:
        self._subjects = subjects
        self._viewers = viewers

    def describe(self) -> Iterator[Metric]:
        """Return nothing: names are told with the figures."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every figure as it is now."""
        account = self._subjects.account
        identity = account.identity
        yield InfoMetricFamily(
            "coord",
            "The node and its version",
            {"node": identity.node, "cluster": identity.cluster, "version": coord.__version__},
        )
        figures = account.figures()
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"coord_{name}", text, figures[name])
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"coord_{name}", text, figures[name])
        clients = self._subjects.clients.connections
        yield GaugeMetricFamily("coord_clients", "Clients of the line protocol", clients)
        yield GaugeMetricFamily("coord_viewers", "Open status pages", self._viewers())
        durations = account.batch_seconds
        yield HistogramMetricFamily(
            "coord_batch_seconds",
            "From the first write of a batch to its answer",
            durations.buckets(),
            durations.sum_seconds,
        )
        yield from self._peers()

    def _peers(self) -> Iterator[Metric]:
        transport = self._subjects.transport
        up = GaugeMetricFamily("coord_peer_up", "1 while there is a link", labels=["peer"])
        links = CounterMetricFamily("coord_peer_links", "Links that came up", labels=["peer"])
        dropped = CounterMetricFamily(
            "coord_peer_dropped_frames", "Frames dropped: the peer took nothing", labels=["peer"]
        )
        ways = ["peer", "direction"]
        frames = CounterMetricFamily("coord_peer_frames", "Frames on links", labels=ways)
        sizes = CounterMetricFamily("coord_peer_bytes", "Bytes on links", labels=ways)
        connected = transport.connected()
        for peer, traffic in transport.traffic().items():
            up.add_metric([peer], float(peer in connected))
            links.add_metric([peer], traffic.links)
            dropped.add_metric([peer], traffic.dropped)
            frames.add_metric([peer, "in"], traffic.frames_in)
            frames.add_metric([peer, "out"], traffic.frames_out)
            sizes.add_metric([peer, "in"], traffic.bytes_in)
            sizes.add_metric([peer, "out"], traffic.bytes_out)
        yield from (up, links, dropped, frames, sizes)
