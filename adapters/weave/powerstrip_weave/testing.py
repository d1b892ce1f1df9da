"""
A network in memory, for tests of what attaches containers to one.

The contract tests of the real networks run on it too, so that it behaves as they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from ipaddress import IPv4Address, IPv4Interface

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from powerstrip_weave.errors import AddressInUse, NetworkError, NotRunning
from powerstrip_weave.interfaces import INetwork, NetworkHealth, Peer, RunningContainer

__all__ = ["FakeNetwork", "FakeWire"]


@define
class FakeWire:
    """
    What the nodes of one network share: who has which address.
    """

    holders: dict[IPv4Address, str] = field(factory=dict)
    """
    Each address in use, with who has it. Put an address here to have it used by a stranger.
    """


@implementer(INetwork)
@define
class FakeNetwork:
    """
    One node of a network in memory.
    """

    wire: FakeWire = field(factory=FakeWire)
    """Give two nodes the same one, and they are one network."""

    attached: dict[str, tuple[IPv4Interface, ...]] = field(factory=dict)
    """The containers that have addresses now, by id."""

    exposed: set[IPv4Interface] = field(factory=set)
    """The addresses that the host has."""

    attach_calls: list[tuple[RunningContainer, tuple[IPv4Interface, ...]]] = field(factory=list)
    """What `attach` was asked for, whatever came of it."""

    attach_gate: Deferred[None] | None = None
    """Where there is one, `attach` waits for it before it does anything."""

    failure: NetworkError | None = None
    """Where there is one, everything but `stop`, `health` and `attachments` raises it."""

    peers: tuple[Peer, ...] = ()

    problems: tuple[str, ...] = ()

    running: bool = False
    """Whether it has been started, and not stopped since."""

    _attached_pids: dict[str, int] = field(factory=dict)
    _ended_pids: set[int] = field(factory=set)

    async def start(self) -> None:
        self._fail_if_told_to()
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def attach(
        self, container: RunningContainer, addresses: tuple[IPv4Interface, ...]
    ) -> None:
        self.attach_calls.append((container, addresses))
        if self.attach_gate is not None:
            await self.attach_gate
        self._fail_if_told_to()
        if container.pid in self._ended_pids:
            raise NotRunning(f"the container {container.id[:12]} has ended")
        if self._attached_pids.get(container.id) == container.pid and set(
            self.attached[container.id]
        ) == set(addresses):
            return
        self._forget(container.id)
        self._hold(container.id, addresses)
        self.attached[container.id] = addresses
        self._attached_pids[container.id] = container.pid

    async def detach(self, container_id: str) -> None:
        self._fail_if_told_to()
        self._forget(container_id)

    async def attachments(self) -> Mapping[str, tuple[IPv4Interface, ...]]:
        return dict(self.attached)

    async def keep_only(self, container_ids: Set[str]) -> None:
        self._fail_if_told_to()
        for container_id in self.attached.keys() - container_ids:
            self._forget(container_id)

    async def health(self) -> NetworkHealth:
        return NetworkHealth("fake", self.peers, self.problems)

    async def expose(self, address: IPv4Interface) -> None:
        self._fail_if_told_to()
        if address not in self.exposed:
            self._hold("host", (address,))
            self.exposed.add(address)

    async def hide(self, address: IPv4Interface) -> None:
        self._fail_if_told_to()
        if address in self.exposed:
            self.exposed.remove(address)
            del self.wire.holders[address.ip]

    async def reset(self) -> None:
        self._fail_if_told_to()
        for container_id in list(self.attached):
            self._forget(container_id)
        for address in list(self.exposed):
            await self.hide(address)

    def end(self, container: RunningContainer) -> None:
        """
        The container's process has ended, and what it was attached by has gone with it.
        """
        self._ended_pids.add(container.pid)
        if self._attached_pids.get(container.id) == container.pid:
            self._forget(container.id)

    def _fail_if_told_to(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _hold(self, holder: str, addresses: tuple[IPv4Interface, ...]) -> None:
        for address in addresses:
            if address.ip in self.wire.holders:
                raise AddressInUse(address, self.wire.holders[address.ip])
        for address in addresses:
            self.wire.holders[address.ip] = holder

    def _forget(self, container_id: str) -> None:
        for address in self.attached.pop(container_id, ()):
            del self.wire.holders[address.ip]
        self._attached_pids.pop(container_id, None)
