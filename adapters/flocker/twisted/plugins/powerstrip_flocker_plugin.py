"""
The ``powerstrip-flocker`` command of ``twistd``.
"""

from twisted.application.service import ServiceMaker

powerstrip_flocker = ServiceMaker(
    "powerstrip-flocker",
    "powerstrip_flocker.service",
    "An adapter for Powerstrip: volumes that follow their container from host to host.",
    "powerstrip-flocker",
)
