"""How the pages are made: ``sphinx-build doc build/doc``."""

project = "coord"
copyright = "2026, the coord authors"
extensions: list[str] = []
html_theme = "furo"
exclude_patterns = ["man", "newsfragments"]
