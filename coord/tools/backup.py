"""``coord-backup``: the persistence tool.

Exit status: 0 done; 1 refused, damaged, or the store said no; 2 usage; 3 no server reached; 130
interrupted (``follow`` ends with 0 then).
"""

from __future__ import annotations

import argparse
import math
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet.defer import CancelledError

from coord import __version__
from coord.journal.errors import JournalError
from coord.results import Row
from coord.tools import backup_offline, backup_record
from coord.tools.backup_dump import ROWS_PER_SECOND, Dump, left_out_words
from coord.tools.backup_files import STDIO, Checked, Refused, as_stamp, check, pieces, sink
from coord.tools.backup_follow import ROTATE_BYTES, ROTATE_SECONDS, Follower
from coord.tools.backup_record import Spoiled
from coord.tools.backup_restore import Restore
from coord.tools.backup_stream import ACL, REACH_SECONDS
from coord.tools.progress import Progress
from coord.tools.reach import Reach, add_reach, reach_of
from coord.tools.running import DONE, REFUSED, USAGE, Usage, complain, run
from coord.wire.backup import Content
from coord.wire.backup_reader import Damage, Foreign, Reader

PROGRAM = "coord-backup"
_KNOWN = (Refused, Spoiled, Damage, Foreign, JournalError, sqlite3.Error)
REQUEST_SECONDS = 10.0


def main(words: Sequence[str] | None = None) -> int:
    """Do what ``words`` (or the process's own) ask for; return the exit status."""
    given = parser().parse_args(words)
    try:
        status: int = given.run(given)
    except Usage as error:
        complain(PROGRAM, str(error))
        return USAGE
    except _KNOWN as error:
        complain(PROGRAM, str(error))
        return REFUSED
    except OSError as error:
        complain(PROGRAM, f"{error.filename or ''}: {error.strerror}")
        return REFUSED
    return status


# -- the command line ------------------------------------------------------------------------
def parser() -> argparse.ArgumentParser:
    """Return the grammar of the command line."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Back up a cluster and bring it back. Exit status: 0 done; 1 refused, damaged,"
        " or the store said no; 2 usage; 3 no server reached; 130 interrupted.",
    )
    made.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = made.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _dump_words(verbs)
    _restore_words(verbs)
    _follow_words(verbs)
    verify = verbs.add_parser("verify", help="see that backups are as they were written")
    verify.add_argument("file", nargs="+", help="a file, a folder of follow, or - for stdin")
    verify.set_defaults(run=_verify)
    offline = verbs.add_parser("offline", help="dump the directory of a node that does not run")
    offline.add_argument("data", type=Path, metavar="DATA-DIR")
    offline.add_argument("file", metavar="FILE", help="what to write; - is stdout")
    offline.add_argument(
        "--undecided",
        action="store_true",
        help="take what this node voted for and never learnt the fate of for decided, too",
    )
    offline.set_defaults(run=_offline)
    return made


def _with_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server",
        action="append",
        metavar="HOST:PORT",
        help="a node to ask; repeatable (COORD_SERVERS, or 127.0.0.1:8046)",
    )
    add_reach(parser)


def _dump_words(verbs: Any) -> None:
    dump = verbs.add_parser("dump", help="one picture of a running cluster into a file")
    dump.add_argument("file", metavar="FILE", help="what to write; - is stdout")
    _with_servers(dump)
    _with_pace(dump)
    dump.set_defaults(run=_dump)


def _with_pace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows-per-second",
        type=_pace,
        default=ROWS_PER_SECOND,
        metavar="N",
        help=f"how fast to take nodes at most, 0 for no limit ({ROWS_PER_SECOND:,})",
    )


def _restore_words(verbs: Any) -> None:
    restore = verbs.add_parser("restore", help="bring a backup into a cluster")
    restore.add_argument("file", metavar="FILE", help="a dump, a folder of follow, or - for stdin")
    restore.add_argument(
        "--at", metavar="REV|TIME", help="which moment of a folder: a revision, or a time in UTC"
    )
    restore.add_argument(
        "--into-non-empty",
        action="store_true",
        help="write what differs where there are nodes already; also goes on after an interruption",
    )
    restore.add_argument(
        "--without-rules", action="store_true", help="leave out the rules of access, /ctl/acl"
    )
    restore.add_argument("--dry-run", action="store_true", help="say what would be done")
    _with_servers(restore)
    restore.set_defaults(run=_restore)


def _follow_words(verbs: Any) -> None:
    follow = verbs.add_parser("follow", help="keep a folder that holds every moment from now on")
    follow.add_argument("folder", type=Path, metavar="DIR")
    follow.add_argument(
        "--rotate-bytes",
        type=_some_bytes,
        default=ROTATE_BYTES,
        metavar="N",
        help=f"begin another file after so many bytes ({ROTATE_BYTES:,})",
    )
    follow.add_argument(
        "--rotate-seconds",
        type=_some_seconds,
        default=ROTATE_SECONDS,
        metavar="S",
        help=f"or after so long ({ROTATE_SECONDS:.0f})",
    )
    _with_servers(follow)
    _with_pace(follow)
    follow.set_defaults(run=_follow)


def _pace(text: str) -> float:
    pace = _finite(text)
    if pace < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes in a second")
    return pace


def _some_seconds(text: str) -> float:
    seconds = _finite(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds above 0")
    return seconds


def _some_bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes above 0")
    return int(text)


def _finite(text: str) -> float:
    """Return the number that a text is, -1.0 where it is none or without an end."""
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if math.isfinite(number) else -1.0


# -- dump, offline ------------------------------------------------------------------------------
def _dump(given: argparse.Namespace) -> int:
    reach = reach_of(given, given.server)
    target = sink(given.file)
    progress = Progress("nodes")

    async def work(reactor: Any) -> int:
        dump = _new_dump(reactor, reach, progress, given, reach_seconds=REACH_SECONDS)
        try:
            await dump.run(target)
        finally:
            target.abandon()
            progress.close()
        what = f"{dump.nodes:,} nodes of revision {dump.picture.rev} of {dump.picture.cluster}"
        _tell(what + left_out_words(dump.left_out))
        return DONE

    return run(PROGRAM, work, _KNOWN)


def _new_dump(
    reactor: Any,
    reach: Reach,
    progress: Progress,
    given: argparse.Namespace,
    *,
    reach_seconds: float | None = None,
) -> Dump:
    return Dump(
        reactor,
        reach,
        progress,
        _tell,
        rows_per_second=given.rows_per_second or None,
        reach_seconds=reach_seconds,
    )


def _offline(given: argparse.Namespace) -> int:
    target = sink(given.file)
    progress = Progress("nodes")
    try:
        rebuilt = backup_offline.rebuild(given.data, undecided=given.undecided)
        nodes, left_out = backup_offline.write(rebuilt, target, progress)
    except ValueError as error:
        raise Refused(f"{given.data}: its image cannot be read: {error}") from None
    finally:
        target.abandon()
        progress.close()
    what = f"{nodes:,} nodes of revision {rebuilt.store.rev} of {rebuilt.cluster}"
    _tell(what + left_out_words(left_out))
    if rebuilt.undecided:
        _tell(_left_out(rebuilt.undecided, rebuilt.node))
    return DONE


def _left_out(slots: int, node: str) -> str:
    """Return what is told of slots whose fate is not known."""
    what, them, their = ("slot", "it", "its") if slots == 1 else ("slots", "them", "their")
    are = "is" if slots == 1 else "are"
    return (
        f"{slots:,} {what} of the log {are} left out: {node} voted for {them} and never learnt"
        f" {their} fate (--undecided takes {them})"
    )


# -- verify ---------------------------------------------------------------------------------------
def _verify(given: argparse.Namespace) -> int:
    status = DONE
    for name in given.file:
        try:
            for line in _verified(name):
                print(line)
        except (Damage, Foreign) as problem:
            complain(PROGRAM, f"{name}: {problem}")
            status = REFUSED
        except Spoiled as problem:
            complain(PROGRAM, str(problem))
            status = REFUSED
    return status


def _verified(name: str) -> Iterator[str]:
    path = Path(name)
    if name != STDIO and path.is_dir():
        count = 0
        for part, found in backup_record.check_all(path):
            count += 1
            yield f"{part.path}: {_described(found)}"
        if not count:
            raise Refused(f"{path} holds no backup")
        return
    with _opened(name) as file:
        yield f"{name}: {_described(check(file, unfinished=path.suffix == '.open'))}"


def _described(found: Checked) -> str:
    header = found.header
    if header.content is Content.DUMP:
        what = f"sound, {found.lines:,} nodes of revision {header.rev} of {header.cluster}"
        return what + left_out_words(found.left_out)
    state = "sound" if found.is_whole else "sound as far as it goes, still being written"
    return f"{state}, {found.lines:,} lines, revisions {header.rev} to {found.rev}"


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input, which is kept aside so that it can be read twice."""
    if name != STDIO:
        with Path(name).open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile(prefix="coord-backup-") as aside:
        shutil.copyfileobj(sys.stdin.buffer, aside)
        aside.seek(0)
        yield aside


# -- restore --------------------------------------------------------------------------------
def _restore(given: argparse.Namespace) -> int:
    reach = reach_of(given, given.server)
    at = _moment(given.at)
    if given.file != STDIO and Path(given.file).is_dir():
        moment = backup_record.find(Path(given.file), at)
        with backup_record.rebuilt(moment) as (count, rows, rules):
            return _restored(given, reach, rows, rules, count, f"revision {moment.rev}")
    if at is not None:
        raise Usage("--at is for a folder of follow; a file is one moment")
    with _opened(given.file) as file:
        found = check(file)
        if found.header.content is not Content.DUMP:
            raise Refused(f"{given.file} holds changes: restore the folder that it is in")
        rules = next((row for row in _rows(file) if row.path == ACL), None)
        what = f"revision {found.header.rev}"
        return _restored(given, reach, _rows(file), rules, found.lines, what)


def _rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the nodes of a dump, from its beginning."""
    file.seek(0)
    return (one for one in Reader().records(pieces(file)) if isinstance(one, Row))


def _moment(text: str | None) -> int | str | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return as_stamp(text)
    except ValueError:
        raise Usage(f"--at {text!r} is no revision, and no time such as 2026-11-20T06:01") from None


def _restored(
    given: argparse.Namespace,
    reach: Reach,
    rows: Iterator[Row],
    rules: Row | None,
    count: int,
    what: str,
) -> int:
    """Write some rows into the cluster, and say what was done."""
    progress = Progress("nodes", count)

    async def work(reactor: Any) -> int:
        client = reach.client(reactor, request_seconds=REQUEST_SECONDS)
        restore = Restore(
            reactor,
            client,
            progress,
            into_non_empty=given.into_non_empty,
            dry_run=given.dry_run,
            without_rules=given.without_rules,
        )
        try:
            counts = await restore.run(rows, rules)
        except BaseException:
            progress.close()
            if restore.counts.made + restore.counts.replaced:
                _tell(f"broken off: {restore.counts.describe()}; to go on: --into-non-empty")
            raise
        finally:
            await client.close()
        progress.close()
        done = "would be restored" if given.dry_run else "restored"
        at = f"; the cluster is at revision {counts.rev}" if counts.rev else ""
        print(f"{what} {done}: {counts.describe()}{at}")
        if counts.kept:
            complain(PROGRAM, f"the first that was left: {counts.first_kept}")
            return REFUSED
        return DONE

    return run(PROGRAM, work, _KNOWN)


# -- follow ---------------------------------------------------------------------------------
def _follow(given: argparse.Namespace) -> int:
    if given.folder.exists() and not given.folder.is_dir():
        raise Usage(f"{given.folder} is no folder: follow wants one, there already or to be made")
    reach = reach_of(given, given.server)

    async def work(reactor: Any) -> int:
        client = reach.client(reactor, request_seconds=REQUEST_SECONDS)
        follower = Follower(
            reactor,
            client,
            given.folder,
            lambda: _new_dump(reactor, reach, Progress("nodes"), given),
            _tell,
            rotate_bytes=given.rotate_bytes,
            rotate_seconds=given.rotate_seconds,
        )
        try:
            await follower.run()
        except CancelledError:
            _tell(f"stopped at revision {follower.rev}")
        finally:
            await client.close()
        return DONE

    return run(PROGRAM, work, _KNOWN)


def _tell(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
