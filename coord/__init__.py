"""coord: small, extremely important data, the same on every machine.

The packages are floors of one house; imports go down only (see
``doc/architecture.rst``)::

    7  tools | node | simulation | testing    programs: what people start
    6  recipes                                on top of the client
    5  journal | peers | frontends | client   the only floor that does I/O
    4  replicator                             the one loop
    3  wire                                   bytes <-> values, pure
    2  paxos | store                          two pure state machines
    1  commands results events errors paths limits    the words everyone uses
"""

__version__ = "0.1.0"
