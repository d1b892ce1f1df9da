"""
What machines are joined by: a switch, and a cable from each to it.

I/O: network namespaces and veth pairs, by netlink.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TypeVar

from powerstrip_weave.networks.namespaces import Namespace
from pyroute2 import IPRoute, netns  # type: ignore[import-untyped]

__all__ = ["Underlay"]

SWITCH = "switch"
"""The bridge's name, in a namespace of its own."""

PLUG = "net0"
"""What a machine calls its end of the cable."""

_T = TypeVar("_T")


class Underlay:
    """
    One Ethernet for network namespaces, none of which is the machine's own.

    A cable goes with the namespace that it leads to.

    Args:
        name: Of its namespace, behind ``powerstrip-``.
    """

    def __init__(self, name: str) -> None:
        self._namespace = f"powerstrip-{name}"
        self._cables: dict[str, str] = {}

    def start(self) -> None:
        """
        Start with no cable; what a killed run has left under this name is removed first.
        """
        self.stop()
        netns.create(self._namespace)

        def add_switch(links: IPRoute) -> None:
            links.link("add", ifname=SWITCH, kind="bridge")
            _change(links, SWITCH, state="up")

        _within(self._namespace, add_switch)

    def stop(self) -> None:
        """
        Remove the switch, and the cables with it.
        """
        self._cables = {}
        if _path(self._namespace).exists():
            netns.remove(self._namespace)

    def connect(self, namespace: str, address: IPv4Interface) -> None:
        """
        Lead a cable to a namespace of ``/run/netns``, which gets this address.
        """
        port = f"port{len(self._cables) + 1}"
        self._cables[namespace] = port

        def add_cable(links: IPRoute) -> None:
            plug = {"ifname": PLUG, "net_ns_fd": namespace}
            links.link("add", ifname=port, kind="veth", peer=plug)
            _change(links, port, master=_index(links, SWITCH), state="up")

        def plug_in(links: IPRoute) -> None:
            index = _index(links, PLUG)
            prefix = address.network.prefixlen
            links.addr("add", index=index, address=str(address.ip), prefixlen=prefix)
            _change(links, PLUG, state="up")

        _within(self._namespace, add_cable)
        _within(namespace, plug_in)

    def pull(self, namespace: str) -> None:
        """
        Pull a machine's cable out of the switch.
        """
        _within(
            self._namespace, lambda links: _change(links, self._cables[namespace], state="down")
        )

    def plug(self, namespace: str) -> None:
        """
        Put a cable back that was pulled.
        """
        _within(self._namespace, lambda links: _change(links, self._cables[namespace], state="up"))


def _path(namespace: str) -> Path:
    return Path("/run/netns", namespace)


def _within(namespace: str, work: Callable[[IPRoute], _T]) -> _T:
    """
    Do something with the interfaces of a namespace. A session belongs to the thread that opens it.
    """

    def run() -> _T:
        with IPRoute() as links:
            return work(links)

    with Namespace(_path(namespace)) as inside:
        return inside.within(run)


def _index(links: IPRoute, name: str) -> int:
    index: int = links.link_lookup(ifname=name)[0]
    return index


def _change(links: IPRoute, name: str, **changes: object) -> None:
    links.link("set", index=_index(links, name), **changes)
