"""
Several hosts on this machine, each with an engine, Powerstrip and adapters, and a master beside.

I/O: namespaces and processes, by the hosts and the cable between them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import TracebackType
from typing import Self

from powerstrip_flocker.peers.keys import make_keys

from demo.engine import why_not as why_no_engine
from demo.master import Master
from demo.master import why_not as why_no_etcd
from demo.node import Node
from demo.pool import NewPool, new_pool
from demo.pool import why_not as why_no_pool
from demo.underlay import Underlay

__all__ = ["Cluster", "why_not"]

FIRST_ADDRESS = IPv4Address("192.0.2.1")
"""Of the network TEST-NET-1 (RFC 5737). Outside of the namespaces nobody sees it."""

PREFIX_LENGTH = 24


def why_not() -> str | None:
    """
    The one reason why there can be no cluster here, or None where there can.
    """
    return why_no_engine() or why_no_pool() or why_no_etcd()


class Cluster:
    """
    Hosts on one cable.

    All of it goes when it is left, and what a killed run has left goes when the next one of this
    name starts. Files are below ``directory/name``; namespaces are called
    ``powerstrip-NAME-HOST``, that of the master ``powerstrip-NAME-master`` and that of the cable
    ``powerstrip-NAME-cable``.

    Args:
        directory: Short: a socket's path has 107 characters at most.
        hosts: The hosts' names, and more options of their dockerd.
        dockerd: The command that becomes dockerd.
        first_address: The master's; the hosts count on from it.
        new_pool: What makes a host's pool.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        hosts: Mapping[str, Sequence[str]],
        *,
        dockerd: Sequence[str] = ("dockerd",),
        first_address: IPv4Address = FIRST_ADDRESS,
        new_pool: NewPool = new_pool,
    ) -> None:
        self.directory = directory / name
        self.underlay = Underlay(f"{name}-cable")
        master_address = IPv4Interface((first_address, PREFIX_LENGTH))
        self.master = Master(self.directory, f"{name}-master", master_address)
        self.nodes = {
            host: Node(
                self.directory,
                host,
                f"{name}-{host}",
                IPv4Interface((first_address + number, PREFIX_LENGTH)),
                dockerd=dockerd,
                arguments=arguments,
                new_pool=new_pool,
            )
            for number, (host, arguments) in enumerate(hosts.items(), 1)
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def keys(self) -> Path:
        """
        Where the nodes' keys are for one another.
        """
        return self.directory / "keys"

    @property
    def peers(self) -> list[str]:
        """
        The addresses of all hosts.
        """
        return [str(node.address.ip) for node in self.nodes.values()]

    def start(self) -> None:
        """
        Start all of it; what a killed run has left is removed first. Where something fails, what
        has been started is there until `stop`.
        """
        self.stop()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_keys(self.keys, list(self.nodes))
        self.underlay.start()
        self.master.start()
        self.underlay.connect(self.master.namespace.name, self.master.address)
        self.master.start_etcd()
        # Engines take seconds to start, and mostly wait for one another's locks in the kernel.
        with ThreadPoolExecutor() as pool:
            list(pool.map(Node.start, self.nodes.values()))
        for node in self.nodes.values():
            self.underlay.connect(node.namespace.name, node.address)
        # Not in threads: a program is told to end when the thread that has started it does.
        for host, node in self.nodes.items():
            node.pool.start()
            self.start_flocker(host)
            self.start_weave(host)
            node.start_powerstrip()

    def stop(self) -> None:
        """
        Remove all of it, of this run or of one that was killed.
        """
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            stack.callback(self.underlay.stop)
            stack.callback(self.master.stop)
            for node in self.nodes.values():
                stack.callback(node.stop)

    def start_flocker(self, host: str) -> None:
        """
        Start a host's flocker adapter, which has ended.
        """
        self.nodes[host].start_flocker(self.master.etcd_url, self.keys)

    def start_weave(self, host: str) -> None:
        """
        Start a host's weave adapter, which has ended.
        """
        self.nodes[host].start_weave(self.peers)
