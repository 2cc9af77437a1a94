"""The tests of coord; folders mirror the package. Run them with ``bin/test``."""

from hypothesis import HealthCheck, settings

# No test fails because a machine is busy, by a deadline or by a health check of Hypothesis.
settings.register_profile("coord", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("coord")
