"""
A host of the cluster with its docker client, servers on it, and somebody who asks them.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from attrs import frozen
from powerstrip_weave.networks.namespaces import Namespace

from demo.cluster import Cluster
from demo.node import Node
from tests.adapters.weave.networks.kernel_hosts import echoes_from
from tests.cluster.docker import Docker

SERVE = (
    "trap 'exit 0' TERM; mkdir -p /www; cat /proc/sys/kernel/random/uuid >/www/index.html;"
    " httpd -f -h /www & wait"
)
"""
A container's command: serves the name of this start of it.

The shell is process 1, and one that has no trap takes no notice of SIGTERM.
"""

SHOW = 'ip -o -4 addr show ethwe | awk \'{ print $4 }\'; exec "$0" "$@"'
"""A container's command: prints its address, and becomes what follows it."""

PATIENCE_SECONDS = 0.2
"""How long one answer may take, which is a thousand times what it does."""


class Host:
    """
    One host, and a docker client that speaks to its Powerstrip.
    """

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.node = node
        self.docker = Docker(node.docker_host, node.directory / "client")
        self.past_powerstrip = Docker(node.engine.docker_host, node.directory / "client")
        self._cluster = cluster

    def run(self, address: IPv4Interface, *arguments: str) -> str:
        """
        Run a container in the background that has an address, and return its id.
        """
        return self.docker.must("run", "-d", "-e", f"WEAVE_CIDR={address}", *arguments)

    def serve(self, address: IPv4Interface, *options: str) -> str:
        """
        Run a server, and return its container's id.
        """
        return self.run(address, *options, "busybox", "sh", "-c", SERVE)

    def start_adapter(self) -> None:
        """
        Start the weave adapter, which has ended.
        """
        self._cluster.start_weave(self.node.host)

    def adapter_log(self) -> str:
        """
        What the running weave adapter has printed.
        """
        return self.node.program_log("weave")

    def remove_containers(self, *kept: str) -> None:
        """
        Remove all containers but those of these names.
        """
        engine = self.node.engine
        for container in json.loads(engine.request("GET", "/containers/json?all=1")[1]):
            if container["Names"][0].removeprefix("/") not in kept:
                engine.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")


@frozen
class Observer:
    """
    A container on another host than those that are looked at from it.
    """

    namespace: Path
    address: IPv4Interface
    says: str
    """What it serves itself."""

    def pings(self, address: IPv4Address) -> bool:
        """
        Whether one echo request is answered, the first try.
        """
        with Namespace(self.namespace) as namespace, echoes_from(namespace) as echoes:
            return echoes.ask(address)

    def asks(self, address: IPv4Interface) -> str | None:
        """
        What a server answers to one request, or None where it doesn't.
        """
        connection = http.client.HTTPConnection(str(address.ip), timeout=PATIENCE_SECONDS)
        with (
            Namespace(self.namespace) as namespace,
            closing(connection),
            suppress(OSError, http.client.HTTPException),
        ):
            namespace.within(connection.connect)
            connection.request("GET", "/index.html")
            return connection.getresponse().read().decode().strip()
        return None

    def answer_of(self, address: IPv4Interface, but: str | None = None) -> str:
        """
        Ask until a server answers.

        Args:
            but: The answer of an earlier start, which doesn't count.
        """
        answers: list[str | None] = [None]

        def has_answered() -> bool:
            answers.append(self.asks(address))
            return answers[-1] not in (None, but)

        until(has_answered)
        return str(answers[-1])


def until(holds: Callable[[], object], timeout_seconds: float = 30) -> None:
    """
    Wait until something holds.
    """
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.005)
