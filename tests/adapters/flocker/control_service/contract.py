"""
What a Flocker control service's REST API does: one class of tests, for the fake and a real one.

Written from Flocker 1.15's "Flocker REST API Details" and "Flocker Leases", and from the schemas
that it serves as ``/v1/types.json`` and ``/v1/endpoints.json``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol
from uuid import uuid4

import pytest
import pytest_twisted
from attrs import define, field
from powerstrip_flocker.control_service.client import (
    ConfiguredDataset,
    ControlServiceClient,
    PlacedDataset,
)
from powerstrip_flocker.control_service.exchange import (
    ControlRefused,
    ControlServiceError,
    Exchange,
)

SIZE_BYTES = 64 * 2**20


class ControlHost(Protocol):
    """
    Where a control service is.
    """

    exchange: Exchange

    nodes: Sequence[str]
    """Two of its nodes."""

    def stranger(self) -> Exchange:
        """
        Somebody without a certificate.
        """

    async def wait(self) -> None:
        """
        Let a second pass.
        """


@define
class Desk:
    """
    A client that tidies up after a test.
    """

    host: ControlHost
    client: ControlServiceClient
    made: list[str] = field(factory=list)

    async def make(self, name: str = "contract", **more: Any) -> str:
        """
        Have a dataset made on the first node.
        """
        dataset_id = str(uuid4())
        self.made.append(dataset_id)
        await self.client.create(dataset_id, name, self.host.nodes[0], SIZE_BYTES, **more)
        return dataset_id

    async def configured(self, dataset_id: str) -> ConfiguredDataset:
        """
        A dataset as it is to be.
        """
        datasets = (await self.client.configuration()).datasets
        (found,) = [it for it in datasets if it.dataset_id == dataset_id]
        return found

    async def placed(self, dataset_id: str) -> PlacedDataset | None:
        """
        A dataset as it is.
        """
        found = [it for it in await self.client.state() if it.dataset_id == dataset_id]
        return found[0] if found else None

    async def arrival(self, dataset_id: str, node: str) -> PlacedDataset:
        """
        Wait until a dataset is mounted on a node.
        """
        for _ in range(120):
            placed = await self.placed(dataset_id)
            if placed is not None and placed.node == node and placed.path is not None:
                return placed
            await self.host.wait()
        raise AssertionError(f"{dataset_id} has not come to {node}")


async def refusal(asking: Any) -> ControlRefused:
    """
    What is said of what will not be done.
    """
    with pytest.raises(ControlRefused) as refused:
        await asking
    return refused.value


class ControlServiceContract:
    """
    Subclasses have a fixture `host`: a `ControlHost`.
    """

    @pytest_twisted.async_yield_fixture
    async def desk(self, host: ControlHost) -> AsyncIterator[Desk]:
        desk = Desk(host, ControlServiceClient(host.exchange))
        yield desk
        leases = await desk.client.leases() or {}
        for dataset_id in desk.made:
            if dataset_id in leases:
                await desk.client.release_lease(dataset_id)
            await desk.client.delete(dataset_id)

    @pytest_twisted.ensureDeferred
    async def test_it_says_its_version(self, desk: Desk) -> None:
        """
        It is Flocker's.
        """
        assert (await desk.client.version()).count(".") >= 1

    @pytest_twisted.ensureDeferred
    async def test_it_knows_the_nodes(self, desk: Desk) -> None:
        """
        Those whose agents are connected are listed.
        """
        assert {it.uuid for it in await desk.client.nodes()} >= set(desk.host.nodes)

    @pytest_twisted.ensureDeferred
    async def test_an_unknown_era_has_no_node(self, desk: Desk) -> None:
        """
        That may be the era of a node whose agent has not connected yet.
        """
        assert None is await desk.client.node_of_era(str(uuid4()))

    @pytest_twisted.ensureDeferred
    async def test_somebody_without_a_certificate_is_not_let_in(self, host: ControlHost) -> None:
        """
        TLS fails.
        """
        with pytest.raises(ControlServiceError, match="TLS has failed"):
            await host.stranger().ask("GET", "/version")

    @pytest_twisted.ensureDeferred
    async def test_what_is_made_is_configured_at_once(self, desk: Desk) -> None:
        """
        It has its name, and is to be where it was asked for.
        """
        dataset_id = await desk.make("contract-name")
        expected = ConfiguredDataset(dataset_id, "contract-name", desk.host.nodes[0], False)
        assert expected == await desk.configured(dataset_id)

    @pytest_twisted.ensureDeferred
    async def test_what_is_made_comes_later(self, desk: Desk) -> None:
        """
        The state has it after a while, with the path where it is mounted.
        """
        dataset_id = await desk.make()
        assert None is await desk.placed(dataset_id)
        assert (await desk.arrival(dataset_id, desk.host.nodes[0])).path is not None

    @pytest_twisted.ensureDeferred
    async def test_an_identity_is_taken_once(self, desk: Desk) -> None:
        """
        The second is refused with 409, also when it was deleted.
        """
        dataset_id = await desk.make()
        again = desk.client.create(dataset_id, "other", desk.host.nodes[0], SIZE_BYTES)
        assert (await refusal(again)).status == 409
        await desk.client.delete(dataset_id)
        again = desk.client.create(dataset_id, "other", desk.host.nodes[0], SIZE_BYTES)
        assert (await refusal(again)).status == 409

    @pytest_twisted.ensureDeferred
    async def test_names_may_be_alike(self, desk: Desk) -> None:
        """
        They are not its own: nobody is kept from taking one twice.
        """
        one, two = await desk.make("alike"), await desk.make("alike")
        assert (await desk.configured(one)).name == (await desk.configured(two)).name

    @pytest.mark.parametrize("size_bytes", [SIZE_BYTES - 1024, SIZE_BYTES + 512])
    @pytest_twisted.ensureDeferred
    async def test_sizes_have_rules(self, desk: Desk, size_bytes: int) -> None:
        """
        At least 64 MiB, in multiples of 1024: else 400, with what is wrong.
        """
        node = desk.host.nodes[0]
        refused = await refusal(desk.client.create(str(uuid4()), "sized", node, size_bytes))
        assert (refused.status, refused.described) == (400, True)
        assert str(size_bytes) in str(refused)

    @pytest.mark.parametrize(
        "question",
        [
            {},
            {"primary": "node1"},
            {"primary": str(uuid4()), "colour": "green"},
            {"primary": str(uuid4()), "metadata": {"name": 1}},
            [],
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_what_is_not_of_the_schema_is_refused(self, desk: Desk, question: Any) -> None:
        """
        With 400, and nothing is made.
        """
        before = (await desk.client.configuration()).datasets
        asking = desk.host.exchange.ask("POST", "/configuration/datasets", question)
        assert (await refusal(asking)).status == 400
        assert before == (await desk.client.configuration()).datasets

    @pytest_twisted.ensureDeferred
    async def test_a_dataset_moves(self, desk: Desk) -> None:
        """
        It is configured to be elsewhere at once, and comes there later.
        """
        here, there = desk.host.nodes
        dataset_id = await desk.make()
        await desk.arrival(dataset_id, here)
        await desk.client.move(dataset_id, there)
        assert there == (await desk.configured(dataset_id)).node
        placed = await desk.placed(dataset_id)
        assert placed is not None
        assert there != placed.node
        await desk.arrival(dataset_id, there)

    @pytest_twisted.ensureDeferred
    async def test_what_does_not_exist_is_not_found(self, desk: Desk) -> None:
        """
        It can't be moved, deleted or released: 404, with a description.
        """
        unknown = str(uuid4())
        for asking in (
            desk.client.move(unknown, desk.host.nodes[0]),
            desk.client.delete(unknown),
            desk.client.release_lease(unknown),
        ):
            refused = await refusal(asking)
            assert (refused.status, refused.described) == (404, True)

    @pytest_twisted.ensureDeferred
    async def test_other_paths_are_not_its_own(self, desk: Desk) -> None:
        """
        404 without a description: so an older one is told from one that has not found something.
        """
        refused = await refusal(desk.host.exchange.ask("GET", "/configuration/colours"))
        assert (refused.status, refused.described) == (404, False)

    @pytest_twisted.ensureDeferred
    async def test_what_is_deleted_stays_in_the_configuration(self, desk: Desk) -> None:
        """
        It can be deleted again, and not moved: 405.
        """
        dataset_id = await desk.make()
        await desk.client.delete(dataset_id)
        await desk.client.delete(dataset_id)
        assert (await desk.configured(dataset_id)).is_deleted
        asking = desk.client.move(dataset_id, desk.host.nodes[1])
        assert (await refusal(asking)).status == 405

    @pytest_twisted.ensureDeferred
    async def test_a_change_may_be_of_one_configuration(self, desk: Desk) -> None:
        """
        With an old tag it is refused with 412 and not done; with the newest it is done.
        """
        old = (await desk.client.configuration()).tag
        dataset_id = await desk.make()
        new = (await desk.client.configuration()).tag
        assert None not in (old, new)
        assert old != new
        there = desk.host.nodes[1]
        assert (await refusal(desk.client.move(dataset_id, there, old))).status == 412
        assert there != (await desk.configured(dataset_id)).node
        await desk.client.move(dataset_id, there, new)
        assert there == (await desk.configured(dataset_id)).node

    @pytest_twisted.ensureDeferred
    async def test_a_lease_is_one_nodes(self, desk: Desk) -> None:
        """
        It may take it again; another is refused with 409 until it is released.
        """
        here, there = desk.host.nodes
        dataset_id = await desk.make()
        await desk.client.take_lease(dataset_id, here)
        await desk.client.take_lease(dataset_id, here)
        assert (await refusal(desk.client.take_lease(dataset_id, there))).status == 409
        assert here == (await desk.client.leases() or {})[dataset_id]
        await desk.client.release_lease(dataset_id)
        assert dataset_id not in (await desk.client.leases() or {})
        await desk.client.take_lease(dataset_id, there)

    @pytest_twisted.ensureDeferred
    async def test_a_lease_needs_no_dataset(self, desk: Desk) -> None:
        """
        So it can be taken before the dataset is made, or comes.
        """
        dataset_id = str(uuid4())
        await desk.client.take_lease(dataset_id, desk.host.nodes[0])
        assert dataset_id in (await desk.client.leases() or {})
        await desk.client.release_lease(dataset_id)

    @pytest_twisted.ensureDeferred
    async def test_a_lease_of_its_node_keeps_a_dataset(self, desk: Desk) -> None:
        """
        A move is not refused, and not done before the lease is released.
        """
        here, there = desk.host.nodes
        dataset_id = await desk.make()
        await desk.arrival(dataset_id, here)
        await desk.client.take_lease(dataset_id, here)
        await desk.client.move(dataset_id, there)
        for _ in range(30):
            await desk.host.wait()
        placed = await desk.placed(dataset_id)
        assert placed is not None
        assert here == placed.node
        await desk.client.release_lease(dataset_id)
        await desk.arrival(dataset_id, there)

    @pytest_twisted.ensureDeferred
    async def test_a_lease_of_another_node_keeps_nothing(self, desk: Desk) -> None:
        """
        Who is to have a dataset may take the lease first.
        """
        here, there = desk.host.nodes
        dataset_id = await desk.make()
        await desk.arrival(dataset_id, here)
        await desk.client.take_lease(dataset_id, there)
        await desk.client.move(dataset_id, there)
        await desk.arrival(dataset_id, there)
