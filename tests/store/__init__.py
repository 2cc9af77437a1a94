"""The store: what the protocol says of it, sentence by sentence, and a naive twin."""
