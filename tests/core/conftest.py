"""
How property tests run here.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Time on a machine that others use too says nothing about the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
