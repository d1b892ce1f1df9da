"""
The ``powerstrip`` command of ``twistd``.
"""

from twisted.application.service import ServiceMaker

powerstrip = ServiceMaker(
    "powerstrip",
    "powerstrip.service",
    "A proxy in front of the Docker Engine that calls adapters before and after requests.",
    "powerstrip",
)
