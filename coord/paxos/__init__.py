"""Multi-Paxos without any I/O: messages in, effects out.

Sources: Lamport, *Paxos Made Simple* (PMS); van Renesse and Altinbuken, *Paxos Made
Moderately Complex* (PMMC); Chandra, Griesemer and Redstone, *Paxos Made Live* (PML);
Burrows, *The Chubby lock service* (Chubby) for leases. Begin with `coord.paxos.replica`.
"""
