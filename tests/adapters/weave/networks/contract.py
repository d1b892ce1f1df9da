"""
What every network promises to the adapter: one class of tests, for the fake and the real ones.
"""

from __future__ import annotations

from collections.abc import Set
from ipaddress import IPv4Interface
from typing import Protocol

import pytest
import pytest_twisted
from powerstrip_weave.errors import AddressInUse, NotRunning
from powerstrip_weave.interfaces import INetwork, RunningContainer
from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

A = IPv4Interface("10.253.1.1/16")
B = IPv4Interface("10.253.1.2/16")


class NetworkHost(Protocol):
    """
    A host of a network, and its containers.
    """

    network: INetwork

    def run(self) -> RunningContainer:
        """
        Start a container.
        """

    def end(self, container: RunningContainer) -> None:
        """
        End a container's process.
        """

    def restart(self, container: RunningContainer) -> RunningContainer:
        """
        End a container's process and start it again: another process, another namespace.
        """

    def addresses(self, container: RunningContainer) -> Set[IPv4Interface]:
        """
        What a container sees on its interface `ethwe`, where that is there and up.
        """

    def use_elsewhere(self, address: IPv4Interface) -> None:
        """
        Have an address used on the network, but not on this host.
        """


class NetworkContract:
    """
    Subclasses have a fixture `host`: a `NetworkHost` whose network has been started.
    """

    def test_it_is_a_network(self, host: NetworkHost) -> None:
        """
        It has what a network has.
        """
        assert verifyObject(INetwork, host.network)

    @pytest_twisted.ensureDeferred
    async def test_it_can_be_started_again(self, host: NetworkHost) -> None:
        """
        A second start changes nothing.
        """
        container = host.run()
        await host.network.attach(container, (A,))
        await host.network.start()
        assert {A} == host.addresses(container)

    @pytest_twisted.ensureDeferred
    async def test_a_container_gets_its_addresses(self, host: NetworkHost) -> None:
        """
        All of them are on one interface.
        """
        container = host.run()
        await host.network.attach(container, (A, B))
        assert {A, B} == host.addresses(container)

    @pytest_twisted.ensureDeferred
    async def test_attaching_again_changes_nothing(self, host: NetworkHost) -> None:
        """
        A container that has its address keeps it.
        """
        container = host.run()
        await host.network.attach(container, (A,))
        await host.network.attach(container, (A,))
        assert {A} == host.addresses(container)

    @pytest_twisted.ensureDeferred
    async def test_a_restarted_container_gets_its_address_again(self, host: NetworkHost) -> None:
        """
        Its new namespace is attached, be the old one gone or not.
        """
        container = host.run()
        await host.network.attach(container, (A,))
        restarted = host.restart(container)
        await host.network.attach(restarted, (A,))
        assert {A} == host.addresses(restarted)

    @pytest_twisted.ensureDeferred
    async def test_attached_containers_are_known(self, host: NetworkHost) -> None:
        """
        They are listed by their full ids.
        """
        one, two = host.run(), host.run()
        await host.network.attach(one, (A,))
        await host.network.attach(two, (B,))
        assert {one.id: (A,), two.id: (B,)} == await host.network.attachments()

    @pytest_twisted.ensureDeferred
    async def test_an_address_in_use_elsewhere_is_refused(self, host: NetworkHost) -> None:
        """
        The container has none of its addresses then, and the error names the one.
        """
        host.use_elsewhere(B)
        container = host.run()
        with pytest.raises(AddressInUse, match=str(B.ip)):
            await host.network.attach(container, (A, B))
        assert set() == host.addresses(container)
        assert await host.network.attachments() == {}

    @pytest_twisted.ensureDeferred
    async def test_an_address_in_use_on_the_host_is_refused(self, host: NetworkHost) -> None:
        """
        The container that has the address keeps it.
        """
        first, second = host.run(), host.run()
        await host.network.attach(first, (A,))
        with pytest.raises(AddressInUse, match=str(A.ip)):
            await host.network.attach(second, (A,))
        assert {A} == host.addresses(first)
        assert set() == host.addresses(second)

    @pytest_twisted.ensureDeferred
    async def test_an_ended_container_is_not_attached(self, host: NetworkHost) -> None:
        """
        That it has ended is told.
        """
        container = host.run()
        host.end(container)
        with pytest.raises(NotRunning):
            await host.network.attach(container, (A,))
        assert await host.network.attachments() == {}

    @pytest_twisted.ensureDeferred
    async def test_a_detached_container_has_no_address(self, host: NetworkHost) -> None:
        """
        Another one can have it at once.
        """
        first, second = host.run(), host.run()
        await host.network.attach(first, (A,))
        await host.network.detach(first.id)
        await host.network.attach(second, (A,))
        assert set() == host.addresses(first)
        assert {A} == host.addresses(second)

    @pytest_twisted.ensureDeferred
    async def test_detaching_what_is_not_attached_does_nothing(self, host: NetworkHost) -> None:
        """
        Neither twice nor of one that has ended.
        """
        container = host.run()
        await host.network.attach(container, (A,))
        await host.network.detach(container.id)
        await host.network.detach(container.id)
        host.end(container)
        await host.network.detach(container.id)
        assert await host.network.attachments() == {}

    @pytest_twisted.ensureDeferred
    async def test_others_than_those_to_keep_are_detached(self, host: NetworkHost) -> None:
        """
        Those to keep don't notice.
        """
        kept, other = host.run(), host.run()
        await host.network.attach(kept, (A,))
        await host.network.attach(other, (B,))
        await host.network.keep_only({kept.id})
        assert {kept.id: (A,)} == await host.network.attachments()
        assert {A} == host.addresses(kept)
        assert set() == host.addresses(other)

    @pytest_twisted.ensureDeferred
    async def test_containers_are_attached_side_by_side(self, host: NetworkHost) -> None:
        """
        Each has its own addresses in the end.
        """
        containers = {host.run(): (IPv4Interface(f"10.253.2.{n}/16"),) for n in range(1, 5)}
        await gatherResults(
            Deferred.fromCoroutine(host.network.attach(container, addresses))
            for container, addresses in containers.items()
        )
        assert [set(a) for a in containers.values()] == [host.addresses(c) for c in containers]

    @pytest_twisted.ensureDeferred
    async def test_the_host_can_have_an_address(self, host: NetworkHost) -> None:
        """
        No container can have it then, until it is hidden; each may be said twice.
        """
        container = host.run()
        await host.network.expose(A)
        await host.network.expose(A)
        with pytest.raises(AddressInUse):
            await host.network.attach(container, (A,))
        await host.network.hide(A)
        await host.network.hide(A)
        await host.network.attach(container, (A,))
        assert {A} == host.addresses(container)

    @pytest_twisted.ensureDeferred
    async def test_the_host_is_refused_an_address_in_use(self, host: NetworkHost) -> None:
        """
        A container has it.
        """
        await host.network.attach(host.run(), (A,))
        with pytest.raises(AddressInUse, match=str(A.ip)):
            await host.network.expose(A)

    @pytest_twisted.ensureDeferred
    async def test_a_healthy_network_has_no_problems(self, host: NetworkHost) -> None:
        """
        Nothing is wrong with it.
        """
        health = await host.network.health()
        assert health.problems == ()

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_attached_after_a_reset(self, host: NetworkHost) -> None:
        """
        The containers' interfaces are gone.
        """
        container = host.run()
        await host.network.attach(container, (A,))
        await host.network.reset()
        assert set() == host.addresses(container)
        assert await host.network.attachments() == {}
