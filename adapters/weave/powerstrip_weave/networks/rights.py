"""
The rights that this process needs to make networks.

I/O: reads ``/proc/self/status``.
"""

from __future__ import annotations

from pathlib import Path

from powerstrip_weave.errors import NetworkError

NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
"""Interfaces; ARP; entering namespaces. With the bits of capabilities(7), linux/capability.h."""


def check_rights(status: Path = Path("/proc/self/status")) -> None:
    """
    Raises:
        NetworkError: some rights are missing.
    """
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    effective = int(lines["CapEff"], 16)
    missing = [name for name, bit in NEEDED.items() if not effective & 1 << bit]
    if missing:
        raise NetworkError(
            f"no right to make networks: {' and '.join(missing)} missing "
            f"(for a container: {' '.join(f'--cap-add {name[4:]}' for name in missing)})"
        )
