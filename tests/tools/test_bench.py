"""``coord-bench`` against a store of a few lines, over real sockets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from coord.tools import bench
from coord.tools.bench_figures import Window, percentiles
from coord.tools.bench_work import Ring, Work


class Store:
    """A line server that knows SET, GET and WATCH; one thread for each connection."""

    def __init__(self) -> None:
        self.rev = 0
        self.values: dict[bytes, tuple[int, bytes]] = {}
        self.watchers: list[socket.socket] = []
        self.beginning: set[socket.socket] = set()
        self.spoil: Callable[[bytes], bytes] = lambda reply: reply
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            for line in connection.makefile("rb"):
                with self._lock:
                    reply = self.spoil(self._answer(connection, line[:-1]))
                    connection.sendall(reply)

    def _answer(self, connection: socket.socket, line: bytes) -> bytes:
        verb, _, rest = line.partition(b" ")
        if verb in (b"AUTH", b"SECRET"):
            return b"OK admin\n" if verb == b"SECRET" else b""
        if verb == b"SESSION":
            return b"OK id:key timeout=3\n"
        if verb == b"PING":
            return b"OK\n"
        if verb == b"BEGIN" or (connection in self.beginning and verb == b"SET"):
            self.beginning.add(connection)
            return b"OK QUEUED\n"
        if verb in (b"LOCK", b"UNLOCK", b"COMMIT"):
            self.beginning.discard(connection)
            self.rev += 1
            return b"OK %d\n" % self.rev
        if verb == b"WATCH":
            self.watchers.append(connection)
            return b"OK %d\n" % self.rev
        if verb == b"GET":
            rev, value = self.values[rest.removeprefix(b"local ")]
            if len(value) > 1024:
                return b"VALUE %d {%d}\n%s\n" % (rev, len(value), value)
            return b"VALUE %d %s\n" % (rev, value)
        path, value = rest.removeprefix(rest.partition(b"/")[0]).split(b" ", 1)
        self.rev += 1
        self.values[path] = (self.rev, value)
        for watcher in self.watchers:
            watcher.sendall(b"EVENT %d set %s %s\n" % (self.rev, path, value))
        return b"OK %d\n" % self.rev

    def close(self) -> None:
        """Stop listening, and wait for every connection to end."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


class Runs(SynchronousTestCase):
    """What the command measures and says."""

    def setUp(self) -> None:
        """Start a store."""
        self.store = Store()
        self.addCleanup(self.store.close)

    def run_bench(self, *words: str) -> tuple[int, str, str]:
        """Run the command with short windows; return its status, output and complaints."""
        short = ("--seconds", "0.05", "--windows", "2", "--warmup", "0.01", "--keys", "50")
        out, complaints = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
            status = bench.main(["--server", self.store.address, *short, *words])
        return status, out.getvalue(), complaints.getvalue()

    def test_every_operation(self) -> None:
        """Each operation runs, at any depth and number of connections."""
        for operation in bench.OPERATIONS:
            for shape in (("--outstanding", "1"), ("--connections", "4", "--outstanding", "20")):
                status, out, complaints = self.run_bench("--operation", operation, *shape, "--json")
                self.assertEqual((status, complaints), (0, ""))
                report = json.loads(out)
                self.assertEqual(len(report["windows"]), 2)
                self.assertGreater(report["summary"]["per_second"]["median"], 0)
                self.assertEqual(report["errors"], {})

    def test_large_values(self) -> None:
        """Values that come back as literals are read and checked as well."""
        for operation in ("read", "mix"):
            status, _out, complaints = self.run_bench(
                "--operation", operation, "--value-bytes", "5000", "--outstanding", "7"
            )
            self.assertEqual((status, complaints), (0, ""))

    def test_text(self) -> None:
        """A person gets a row for each window and one for the medians."""
        _status, out, _complaints = self.run_bench("--operation", "write")
        rows = [line.split()[0] for line in out.splitlines()]
        self.assertEqual(rows[1:5], ["window", "1", "2", "median"])

    def test_errors_are_counted(self) -> None:
        """Errors are counted by their code, and the exit status says that there were some."""
        self.store.spoil = lambda reply: b"ERR OVERLOADED try again\n"
        status, out, _complaints = self.run_bench("--operation", "write", "--json")
        self.assertEqual(status, 1)
        self.assertGreater(json.loads(out)["errors"]["OVERLOADED"], 0)

    def test_wrong_value(self) -> None:
        """A read that is answered with another key's value ends the run."""
        self.store.spoil = lambda reply: reply.replace(b" 000000", b" 100000")
        status, out, complaints = self.run_bench("--operation", "read", "--outstanding", "1")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("was told", complaints)

    def test_not_an_answer(self) -> None:
        """An answer that the protocol does not know ends the run."""
        self.store.spoil = lambda reply: b"HELLO\n"
        status, _out, complaints = self.run_bench("--operation", "write")
        self.assertEqual(status, 1)
        self.assertIn("HELLO", complaints)

    def test_revision_goes_back(self) -> None:
        """A write that is answered with an old revision ends the run."""
        self.store.spoil = lambda reply: b"OK 5\n"
        status, _out, complaints = self.run_bench("--operation", "write", "--outstanding", "1")
        self.assertEqual(status, 1)
        self.assertIn("revision 5 was followed by", complaints)

    def test_watchers(self) -> None:
        """Watchers are timed until the last has heard."""
        status, out, complaints = self.run_bench("--watchers", "5", "--json")
        self.assertEqual((status, complaints), (0, ""))
        self.assertGreater(json.loads(out)["summary"]["p50_ms"]["median"], 0)

    def test_each_watcher(self) -> None:
        """Beside the last one, it is told how long each watcher had to wait."""
        _status, out, _complaints = self.run_bench("--watchers", "3")
        self.assertIn("each notification p50 ms: ", out)

    def test_sessions(self) -> None:
        """Idle sessions are kept by pings, spread over time; what befalls them is an error."""
        words = ("--sessions", "7", "--timeout", "0.03", "--json")
        status, out, complaints = self.run_bench(*words)
        self.assertEqual((status, complaints), (0, ""))
        self.assertGreater(json.loads(out)["summary"]["per_second"]["median"], 100)
        self.store.spoil = lambda reply: (
            b"EVENT 5 jeopardy 00ff\nOK\n" if reply == b"OK\n" else reply
        )
        status, out, _complaints = self.run_bench(*words)
        self.assertEqual(status, 1)
        self.assertGreater(json.loads(out)["errors"]["jeopardy"], 0)

    def test_secret(self) -> None:
        """A secret is shown on every connection, before anything else."""
        path = Path(self.mktemp())
        path.write_text("# who\nbench = SECRET\n")
        words = ("--secret-file", str(path), "--connections", "2")
        self.assertEqual(self.run_bench(*words)[0], 0)
        self.store.spoil = lambda reply: reply.replace(b"OK admin", b"ERR DENIED no such secret")
        status, _out, complaints = self.run_bench(*words)
        self.assertEqual((status, "opens nothing" in complaints), (1, True))
        self.assertEqual(self.run_bench("--secret-file", str(path) + "x")[0], 3)
        path.write_text("# nobody\n")
        self.assertEqual(self.run_bench(*words)[0], 2)

    def test_processes(self) -> None:
        """The share of a processor that a process takes is told."""
        _status, out, _complaints = self.run_bench("--pid", str(os.getpid()), "--json")
        self.assertIn(f"process {os.getpid()} %", json.loads(out)["more"])

    def test_nobody_there(self) -> None:
        """Where no server listens, one line says so and the status is 3."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _out, complaints = self.run_bench("--server", address, "--connections", "2")
        self.assertEqual(status, 3)
        self.assertEqual(complaints.count("\n"), 1)


class Parts(SynchronousTestCase):
    """The arithmetic."""

    def test_percentiles(self) -> None:
        """Percentiles respect how many answers a sample stands for."""
        samples = [(0.001, 98), (0.005, 1), (0.1, 1)]
        self.assertEqual(percentiles(samples, (50, 90, 99)), [0.001, 0.001, 0.005])

    def test_window(self) -> None:
        """A window's rate is answers by time, its worst the greatest latency."""
        figures = Window(2.0, 100, [(0.004, 50), (0.002, 50)]).figures()
        self.assertEqual((figures.per_second, figures.max_ms, figures.p50_ms), (50.0, 4.0, 2.0))

    def test_ring_goes_round(self) -> None:
        """Requests taken in any pieces are the same requests, round and round."""
        ring = Ring(Work(operation="mix", keys=10, value_bytes=20), 3)
        whole = b"".join(ring.slices(0, 3 * ring.size))
        pieces, first = b"", 0
        while first < 3 * ring.size:
            number = min(777, 3 * ring.size - first)
            pieces += b"".join(ring.slices(first, number))
            first += number
        self.assertEqual(pieces, whole)
        self.assertTrue(whole.startswith(b"SET /bench/00000003 00000003."))
