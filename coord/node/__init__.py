"""One node: its settings, its certificates, and the one place where all parts meet (`life`).

`build` makes a service of it, which has one life after the other where its disk fails (`lives`).
"""
