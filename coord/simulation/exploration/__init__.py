"""Small worlds, explored to the last interleaving, on the real `coord.paxos.replica.Replica`.

::

    python -m coord.simulation.exploration --nodes 3 --proposals 2 --crashes 1

A world is two or three replicas, their disks, and the messages under way. At each state it has
*choices*: deliver a message, lose or repeat one, let a disk write, crash a node (it starts again
from what its disk has), let time pass until a node has something to say, propose, change who
votes, read. The search goes breadth first through all of them, up to bounds on how often each
may happen; so the first story that it finds to break a rule is one of the shortest.

What makes it fast: a replica is a function of its state and one input, and small worlds meet the
same few local states again and again in ever new combinations. So states are made values
(`coord.simulation.exploration.picture`), each local step is run once on a real replica and then
remembered (`coord.simulation.exploration.lives`), and the world is a tuple of numbers
(`coord.simulation.exploration.world`). Nothing is left out by this: no interleaving is cut away.

A node that is down is, to the others, one whose messages are under way; so a crash is the
moment of starting again. A message that stays under way is a lost one, where any order is
allowed; where links keep the order, losses are choices of their own.

Where all ways are too many, walks by dice go deep (``--walks``): they prove nothing, and find much.
"""
