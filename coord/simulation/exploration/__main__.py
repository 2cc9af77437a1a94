"""``python -m coord.simulation.exploration``: see `coord.simulation.exploration.cli`."""

from coord.simulation.exploration.cli import main

raise SystemExit(main())
