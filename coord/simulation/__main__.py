"""``python -m coord.simulation --seed N``: see `coord.simulation.cli`."""

from coord.simulation.cli import main

raise SystemExit(main())
