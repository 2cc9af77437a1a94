"""The status page: the cluster and the tree as they are, for people, probes and Prometheus.

Nothing can be changed here. ``site`` has the addresses, ``looking`` reads the tree, ``page`` makes
HTML of it, ``live`` keeps open pages as things are, ``metrics`` counts.
"""
