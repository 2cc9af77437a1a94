"""The one loop: it introduces the log (`coord.paxos`) to the tree (`coord.store`).

``replicator``   obeys the core's effects: save, send, apply, answer, in that order
``batches``      batches on their way to a slot, proposed here or handed to who leads
``applier``      what a chosen value does to the store, once
``coordinator``  the door for front ends: requests in, batches out, answers back
``members``      changing them (``asking``, ``reconfiguring``), and judging them (``admission``)
``faults``       why the node takes part no more; ``saving``: for how long the disk owes an answer
``digests``      finding out whose store differs, and of what (``comparison``)
``sessions``     keeping sessions alive (``keeper``), ending what is over (``lapses``, ``spans``)
``imaging``      the store into the journal, in small pieces, so that the log can be cut;
                 to a node that lacks that (``sending``, ``receiving``)
``interfaces``   what the loop needs of the world; the I/O floor provides it
"""
