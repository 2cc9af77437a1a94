"""One judge for each property; each returns a line for each violation, none where all is well.

The judges share nothing with the code that they judge but its words (floor 1).
"""
