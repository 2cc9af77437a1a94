"""``python -m coord.simulation.nemesis --minutes N``: see `coord.simulation.nemesis`."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from coord.simulation.nemesis.cli import Nemesis, parse

given = parse()


def main(reactor: Any) -> Deferred[None]:
    """Run, and leave with the status that the run has."""

    async def run() -> None:
        status = await Nemesis(reactor, given).run()
        if status:
            raise SystemExit(status)

    return Deferred.fromCoroutine(run())


react(main)
