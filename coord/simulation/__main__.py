"""``python -m coord.simulation --seed N``: see `coord.simulation.cli`."""

from twisted.logger import LogPublisher, globalLogBeginner

from coord.simulation.cli import main

# What simulated nodes log is looked at by the run itself; it is not for this terminal.
globalLogBeginner.beginLoggingTo([LogPublisher()], redirectStandardIO=False)
raise SystemExit(main())
