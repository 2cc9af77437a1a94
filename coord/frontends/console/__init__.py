"""The SSH console: a node's own words, for people and for scripts, and Python behind them.

`coord.frontends.console.server` takes connections and says who may; ``channel`` is one session
in it; ``prompt`` is what a person types at and ``errand`` what a script asks for. Both put what
they are asked to the ``words``, and have what comes of it shown by a ``stage``.
"""
