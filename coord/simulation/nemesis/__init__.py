"""The nemesis: real processes, real TLS, real faults, and the simulator's judges.

::

    python -m coord.simulation.nemesis --minutes 30 --seed 7

Nodes are what an operator starts: ``coord init``, then one ``twistd coord`` each. Every road from
one node to another leads through a `road` of ours, a TCP proxy, which can be cut, stopped in one
direction, and slowed; processes are killed, stopped and let go on; a disk is filled. What is
drawn follows from the seed. What comes of it does not: these are real processes, so a seed repeats
the faults, not the run.

A run is a sequence of *rounds* on one cluster, each with paths of its own. In a round

1. clients do what they do, faults happen, and all that is asked and told is written down;
2. everything is mended, and every node must serve within a bounded time;
3. the clients fall silent, and all that belongs to their sessions must go by itself;
4. the nodes' digests must be equal, the whole history is taken from each of them through a watch,
   and the judges of `coord.simulation.checkers` hold what clients were told against it.

The judges look from outside: at histories that clients recorded, and at what ``WATCH`` and ``LOG``
tell of the past. When a session ended is known by the ephemeral node that each client makes first,
its marker; when in true time, by the leader's stamp, as all clocks here are one machine's.
"""
