"""One node: its settings, its certificates, and the one place where all parts meet."""
