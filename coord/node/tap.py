"""``twistd coord``: the command line of one node.

Whatever is wrong ends in one line on standard error and exit status 1. While options are
read and the service is made that is a `SystemExit`; from then on see `coord.node.build`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from coord import __version__
from coord.node.options import OPTIONS, Kind
from coord.node.settings import Refused, Settings, parse, read_toml

_USUAL_PID_FILE = "twistd.pid"
_SINGLE = [option for option in OPTIONS if not option.many]


class Options(usage.Options):
    """The options of `coord.node.options`, and ``--config``."""

    longdesc = "A node of coord: small, important values, the same on every machine."
    optFlags = [[one.name, None, one.help] for one in _SINGLE if one.kind is Kind.FLAG]
    optParameters = [
        ["config", None, None, "a TOML file in which every option can stand"],
        *([one.name, None, None, one.help] for one in _SINGLE if one.kind is not Kind.FLAG),
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.many: dict[str, list[str]] = {}

    def opt_listen(self, endpoint: str) -> None:
        """Endpoint of the line protocol; repeatable (tcp:8046:interface=127.0.0.1)."""
        self.many.setdefault("listen", []).append(endpoint)

    def opt_peer(self, member: str) -> None:
        """NAME=HOST:PORT of each node of the cluster; repeatable."""
        self.many.setdefault("peer", []).append(member)

    def opt_version(self) -> None:
        """Print the version and leave."""
        print(f"coord {__version__}")
        raise SystemExit(0)

    def parseArgs(self) -> None:
        """Take no words beside the options."""

    def postOptions(self) -> None:
        """Do without a pid file in the foreground, unless one was asked for.

        Nodes are told apart by their directories, which are locked; ``twistd`` would let only
        one node run in a folder, and would leave its file there.
        """
        above = self.parent
        if above is not None and above["nodaemon"] and above["pidfile"] == _USUAL_PID_FILE:
            above["pidfile"] = ""

    def parseOptions(self, options: Any = None) -> None:
        """Read the command line; whatever is wrong with it is one line, not a page."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            raise SystemExit(refusal(f"{error} (twistd coord --help)")) from None

    def settings(self) -> Settings:
        """Return what was asked for, the file's options below the command line's.

        Raises `coord.node.settings.Refused`.
        """
        given: dict[str, object] = {}
        if self["config"] is not None:
            given.update(read_toml(Path(self["config"])))
        for option in _SINGLE:
            if self[option.name] not in (None, 0):
                is_flag = option.kind is Kind.FLAG
                given[option.name] = True if is_flag else self[option.name]
        return parse({**given, **self.many})


def makeService(options: Options) -> IService:
    """Return the service of one node, not started; called by ``twistd``."""
    from twisted.internet import reactor

    from coord.client.clocks import steady
    from coord.node.build import build

    sys.excepthook = _one_line
    steady(reactor)
    try:
        return build(reactor, options.settings())
    except Refused as error:
        raise SystemExit(refusal(str(error))) from None


def refusal(text: str) -> str:
    """Return the one line that a person reads on standard error."""
    return "coord: " + " ".join(text.split())


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a refusal as one line, where ``twistd`` lets it through to the top.

    A service that refuses to start raises; ``twistd`` then removes its pid file and lets
    the exception go on, which ends the process with status 1 after this.
    """
    if isinstance(error, Refused):
        print(refusal(str(error)), file=sys.__stderr__)
    else:
        sys.__excepthook__(kind, error, trace)
