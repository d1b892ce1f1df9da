"""
The network in memory keeps what the real ones promise.
"""

from __future__ import annotations

import itertools
from collections.abc import Set
from ipaddress import IPv4Interface

import pytest
import pytest_twisted
from attrs import define, evolve, field
from powerstrip_weave.errors import AddressInUse, NetworkError
from powerstrip_weave.interfaces import RunningContainer
from powerstrip_weave.testing import FakeNetwork
from twisted.internet.defer import Deferred

from tests.adapters.weave.networks.contract import A, NetworkContract

_numbers = itertools.count(1000)


@define
class FakeHost:
    """
    A host of the network in memory.
    """

    network: FakeNetwork = field(factory=FakeNetwork)

    def run(self) -> RunningContainer:
        number = next(_numbers)
        return RunningContainer(f"{number:064x}", number)

    def end(self, container: RunningContainer) -> None:
        self.network.end(container)

    def restart(self, container: RunningContainer) -> RunningContainer:
        self.network.end(container)
        return evolve(container, pid=next(_numbers))

    def addresses(self, container: RunningContainer) -> Set[IPv4Interface]:
        return set(self.network.attached.get(container.id, ()))

    def use_elsewhere(self, address: IPv4Interface) -> None:
        self.network.wire.holders[address.ip] = "76:01:02:03:04:05"


@pytest_twisted.async_fixture
async def host() -> FakeHost:
    """
    A host whose network has been started.
    """
    host = FakeHost()
    await host.network.start()
    return host


class TestFakeNetwork(NetworkContract):
    """
    The contract.
    """


@pytest_twisted.ensureDeferred
async def test_two_nodes_on_one_wire_are_one_network() -> None:
    """
    What one has attached the other refuses.
    """
    one, other = FakeHost(), FakeHost()
    other.network.wire = one.network.wire
    await one.network.attach(one.run(), (A,))
    with pytest.raises(AddressInUse):
        await other.network.attach(other.run(), (A,))


@pytest_twisted.ensureDeferred
async def test_it_fails_when_told_to(host: FakeHost) -> None:
    """
    The given error is raised, and the attempt is on record.
    """
    container = host.run()
    host.network.failure = NetworkError("the cable is out")
    with pytest.raises(NetworkError, match="the cable is out"):
        await host.network.attach(container, (A,))
    assert [(container, (A,))] == host.network.attach_calls


def test_attaching_waits_at_the_gate(host: FakeHost) -> None:
    """
    A test decides when it goes on.
    """
    host.network.attach_gate = gate = Deferred[None]()
    attaching = Deferred.fromCoroutine(host.network.attach(container := host.run(), (A,)))
    assert set() == host.addresses(container)
    gate.callback(None)
    assert attaching.called
    assert {A} == host.addresses(container)
