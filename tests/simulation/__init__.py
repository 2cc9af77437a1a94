"""The simulator: its world, its judges, and what they find in the core."""
