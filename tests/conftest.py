"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

# A loaded machine must not make a test fail: no deadlines, no complaint about slow generation.
settings.register_profile("diecast", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("diecast")
