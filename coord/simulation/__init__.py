"""A whole cluster in one process, from one seed: the real core in a hostile world.

The replicator, the store and the wire are the ones that run in production; clock, network,
disk and dice are not. Begin with `coord.simulation.world`; ``python -m coord.simulation
--seed N`` runs one seed and says what it found.

Beside it are small worlds, explored to the last interleaving (`coord.simulation.exploration`), and
real nodes under real faults (`coord.simulation.nemesis`).
"""
