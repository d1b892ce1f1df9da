"""
Several hosts on this machine, each with an engine, Powerstrip and adapters of its own.

I/O: network namespaces and processes, by the hosts and the cable between them. Standard library
only.
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

from demo.node import Node
from demo.underlay import Underlay

__all__ = ["Cluster"]

FIRST_ADDRESS = IPv4Address("192.0.2.1")
"""Of the network TEST-NET-1 (RFC 5737). Outside of the namespaces nobody sees it."""

PREFIX_LENGTH = 24


class Cluster:
    """
    Hosts on one cable.

    All of it goes when it is left, and what a killed run has left goes when the next one of this
    name starts. Files are below ``directory/name``; namespaces are called
    ``powerstrip-NAME-HOST``, and that of the cable ``powerstrip-NAME-cable``.

    Args:
        directory: Short: a socket's path has 107 characters at most.
        hosts: The hosts' names, and more options of their dockerd.
        dockerd: The command that becomes dockerd.
        first_address: The first host's; the others count on from it.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        hosts: Mapping[str, Sequence[str]],
        *,
        dockerd: Sequence[str] = ("dockerd",),
        first_address: IPv4Address = FIRST_ADDRESS,
    ) -> None:
        self.directory = directory / name
        self.underlay = Underlay(f"{name}-cable")
        self.nodes = {
            host: Node(
                self.directory,
                f"{name}-{host}",
                IPv4Interface((first_address + number, PREFIX_LENGTH)),
                dockerd=dockerd,
                arguments=arguments,
            )
            for number, (host, arguments) in enumerate(hosts.items())
        }

    def __enter__(self) -> Self:
        try:
            self._start()
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
    def peers(self) -> list[str]:
        """
        The addresses of all hosts.
        """
        return [str(node.address.ip) for node in self.nodes.values()]

    def stop(self) -> None:
        """
        Remove all of it, of this run or of one that was killed.
        """
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            stack.callback(self.underlay.stop)
            for node in self.nodes.values():
                stack.callback(node.stop)

    def _start(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.underlay.start()
        # Engines take seconds to start, and mostly wait for one another's locks in the kernel.
        with ThreadPoolExecutor() as pool:
            list(pool.map(_start_engine, self.nodes.values()))
        for node in self.nodes.values():
            self.underlay.connect(node.namespace.name, node.address)
        # Not in threads: a program is told to end when the thread that has started it does.
        for node in self.nodes.values():
            node.start_weave(self.peers)
            node.start_powerstrip()


def _start_engine(node: Node) -> None:
    node.engine.start()
    node.engine.import_busybox()
