"""
What machines are joined by: a switch, and a cable from each to it.

I/O: network namespaces and veth pairs, by ``ip``. Standard library only.
"""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Interface
from pathlib import Path

__all__ = ["Underlay", "UnderlayError"]

SWITCH = "switch"
"""The bridge's name, in a namespace of its own."""

PLUG = "net0"
"""What a machine calls its end of the cable."""


class UnderlayError(Exception):
    """
    The kernel did not make what it was asked for; the text says why.
    """


class Underlay:
    """
    One Ethernet for network namespaces, none of which is the machine's own.

    A cable goes with the namespace that it leads to.

    Args:
        name: Of its namespace, behind ``powerstrip-``.
    """

    def __init__(self, name: str) -> None:
        self._namespace = f"powerstrip-{name}"
        self._cables = 0

    def start(self) -> None:
        """
        Start with no cable; what a killed run has left under this name is removed first.
        """
        self.stop()
        _ip("netns", "add", self._namespace)
        _ip("-n", self._namespace, "link", "add", SWITCH, "type", "bridge")
        _ip("-n", self._namespace, "link", "set", SWITCH, "up")

    def stop(self) -> None:
        """
        Remove the switch, and the cables with it.
        """
        self._cables = 0
        if Path("/run/netns", self._namespace).exists():
            _ip("netns", "delete", self._namespace)

    def connect(self, namespace: str, address: IPv4Interface) -> None:
        """
        Lead a cable to a namespace of ``/run/netns``, which gets this address.
        """
        self._cables += 1
        end = ("peer", "name", f"port{self._cables}", "netns", self._namespace)
        _ip("-n", namespace, "link", "add", PLUG, "type", "veth", *end)
        port = ("link", "set", f"port{self._cables}", "master", SWITCH, "up")
        _ip("-n", self._namespace, *port)
        _ip("-n", namespace, "address", "add", str(address), "dev", PLUG)
        _ip("-n", namespace, "link", "set", PLUG, "up")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise UnderlayError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
