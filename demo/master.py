"""
The machine without an engine: it has what the others ask, etcd.

I/O: a process in the machine's namespaces.
"""

from __future__ import annotations

import http.client
import json
import shutil
from contextlib import closing, suppress
from ipaddress import IPv4Interface
from pathlib import Path

from powerstrip_weave.networks.namespaces import Namespace

from demo.machine import Machine

__all__ = ["Master", "why_not"]

ETCD_PORT = 2379
"""etcd's own."""


def why_not() -> str | None:
    """
    The reason why there can be no master here, or None where there can.
    """
    return (
        None if shutil.which("etcd") else "not installed: etcd (scripts/install-etcd installs it)"
    )


class Master(Machine):
    """
    A machine with etcd.
    """

    def __init__(self, parent: Path, name: str, address: IPv4Interface) -> None:
        super().__init__(parent, name, address)
        self.etcd_url = f"http://{address.ip}:{ETCD_PORT}"

    def start_etcd(self) -> None:
        """
        Start etcd, with what an earlier one has left, and wait until it answers.
        """
        members = "http://127.0.0.1:2380"
        command = [
            *("etcd", "--name", "master", "--data-dir", str(self.directory / "etcd")),
            *("--listen-client-urls", f"{self.etcd_url},http://127.0.0.1:{ETCD_PORT}"),
            *("--advertise-client-urls", self.etcd_url),
            *("--listen-peer-urls", members, "--initial-advertise-peer-urls", members),
            *("--initial-cluster", f"master={members}", "--log-level", "warn"),
        ]
        self.start_program("etcd", command, self._is_healthy)

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", ETCD_PORT, timeout=5)
        with (
            closing(connection),
            Namespace(self.namespace) as inside,
            suppress(OSError, http.client.HTTPException),
        ):
            inside.within(connection.connect)
            connection.request("GET", "/health")
            is_healthy: bool = json.loads(connection.getresponse().read()) == {"health": "true"}
            return is_healthy
        return False
