"""``coord``, the command line.

Exit status: 0 done, 1 it was refused, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from coord import __version__
from coord.node.settings import Refused
from coord.tools.init import make_cluster


def main(words: Sequence[str] | None = None) -> int:
    """Run the command that ``words`` (or the process's own) ask for; return the exit status."""
    given = _parser().parse_args(words)
    try:
        _init(given.member, given.dir, given.cluster)
    except Refused as error:
        print(f"coord: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"coord: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coord", description="A small store, shared.")
    parser.add_argument("--version", action="version", version=f"coord {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    init = commands.add_parser(
        "init",
        help="make a folder for each node of a new cluster",
        description="Make DIR/NAME with coord.toml, key and certificate for each node, and the"
        " cluster's own CA in DIR/ca.",
    )
    init.add_argument(
        "member", nargs="+", metavar="NAME=HOST:PORT", help="a node, and where the others reach it"
    )
    init.add_argument("--dir", type=Path, required=True, help="the folder to make them in")
    init.add_argument("--cluster", default="coord", help="the cluster's name (coord)")
    return parser


def _init(members: Sequence[str], folder: Path, cluster: str) -> None:
    configs = make_cluster(folder, members, cluster)
    print(f"The key of the new cluster's CA is in {folder / 'ca'}: keep it, and keep it secret.")
    print("Start the nodes, each where it belongs:")
    for config in configs:
        print(f"  twistd -n coord --config {config}")


if __name__ == "__main__":
    raise SystemExit(main())
