"""``python -m coord.simulation.nemesis --minutes N``: see `coord.simulation.nemesis`."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from coord.simulation.nemesis.cli import Nemesis, parse

INTERRUPTED = 130
given = parse()


def main(reactor: Any) -> Deferred[None]:
    """Run, and leave with the status that the run has."""

    async def run() -> None:
        status = await Nemesis(reactor, given).run()
        if status:
            raise SystemExit(status)

    running = Deferred.fromCoroutine(run())
    ended: Deferred[None] = Deferred()
    is_interrupted = False

    def interrupt() -> Deferred[None]:
        """Have processes and mounts be gone before we are."""
        nonlocal is_interrupted
        is_interrupted = not running.called
        running.cancel()
        return ended

    def end(outcome: Any) -> Any:
        ended.callback(None)
        return Failure(SystemExit(INTERRUPTED)) if is_interrupted else outcome

    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    return running.addBoth(end)


react(main)
