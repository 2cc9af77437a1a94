"""The tests of coord; folders mirror the package. Run them with ``bin/test``."""
