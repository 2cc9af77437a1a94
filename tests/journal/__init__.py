"""The journal: one examination for all providers, then what only a real disk can show."""
