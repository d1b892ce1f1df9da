"""
The ``powerstrip-weave`` command of ``twistd``.
"""

from twisted.application.service import ServiceMaker

powerstrip_weave = ServiceMaker(
    "powerstrip-weave",
    "powerstrip_weave.service",
    "An adapter for Powerstrip: an address per container, on a network that spans hosts.",
    "powerstrip-weave",
)
