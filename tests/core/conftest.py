"""
How the tests of the core run.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Time on a machine that others use too says nothing about the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def logged_failures() -> None:
    """
    Nothing in the core knows Twisted, so its log need not be watched, nor garbage be collected.
    """
