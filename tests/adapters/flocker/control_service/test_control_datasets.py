"""
Datasets of a control service, as the hooks ask for them: on the fake, in its own time.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import uuid4

import pytest
from attrs import define, field
from powerstrip_flocker.control_service.client import ControlServiceClient
from powerstrip_flocker.control_service.datasets import (
    ARRIVE_SECONDS,
    LAG_SECONDS,
    NODE_SECONDS,
    ControlServiceDatasets,
    ControlSettings,
    identity_of,
)
from powerstrip_flocker.control_service.exchange import (
    ControlServiceError,
    Exchange,
)
from powerstrip_flocker.control_service.leases import LOOK_SECONDS, WAIT_SECONDS
from powerstrip_flocker.control_service.testing import FakeControlService
from powerstrip_flocker.errors import ConflictError, FlockerError, InUseError, MoveError
from powerstrip_flocker.interfaces import IDatasets, IUses
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.web.client import ResponseFailed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.adapters.flocker.control_service.server import ERA, NODES, fake, in_memory

HERE, THERE = NODES
SIZE_BYTES = 64 * 2**20

T = TypeVar("T")


@implementer(IUses)
@define(eq=False, slots=False)
class Uses:
    """
    The containers of a node, by dataset.
    """

    found: dict[str, list[str]] = field(factory=dict)
    failure: FlockerError | None = None

    async def containers(self, name: str) -> Sequence[str]:
        if self.failure is not None:
            raise self.failure
        return tuple(self.found.get(name, ()))

    def expect(self, name: str) -> None:
        self.found.setdefault(name, []).append("expected")

    def end(self, name: str) -> None:
        """
        Have no container use a dataset any more.
        """
        self.found.pop(name, None)


class Lossy:
    """
    Loses the answers to changes of datasets, which happen.
    """

    def __init__(self, treq: Any, count: int) -> None:
        self._treq = treq
        self.left = count

    def request(self, method: str, url: str, **more: Any) -> Deferred[Any]:
        answer: Deferred[Any] = self._treq.request(method, url, **more)
        if method != "POST" or "/configuration/datasets" not in url or not self.left:
            return answer
        self.left -= 1

        def lose(response: Any) -> None:
            raise ResponseFailed([])

        return answer.addCallback(lose)


class Away:
    """
    Can't be reached.
    """

    def request(self, method: str, url: str, **more: Any) -> Deferred[Any]:
        return fail(ConnectError())


@define(eq=False)
class Adapter:
    """
    One node's adapter.
    """

    clock: Clock
    exchange: Exchange
    datasets: ControlServiceDatasets
    uses: Uses

    def outcome(self, asking: Coroutine[Any, Any, T], seconds: float = 200.0) -> T:
        """
        What comes of something, when as much time passes as it takes.
        """
        outcomes: list[Any] = []
        Deferred.fromCoroutine(asking).addBoth(outcomes.append)
        while not outcomes:
            assert seconds > 0
            self.clock.advance(0.5)
            seconds -= 0.5
        if hasattr(outcomes[0], "raiseException"):
            outcomes[0].raiseException()
        return cast(T, outcomes[0])

    def have(self, *names: str) -> dict[str, str]:
        """
        Have datasets here.
        """
        found = self.outcome(self.datasets.have(names))
        return {name: str(path) for name, path in found.items()}

    def pass_time(self, seconds: float) -> None:
        """
        Let time pass, step by step.
        """
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)


@define(eq=False)
class World:
    """
    A cluster of two nodes.
    """

    clock: Clock
    service: FakeControlService
    boot_id: Path
    adapters: list[Adapter] = field(factory=list)

    def adapter(self, node: str = HERE, uses: Uses | None = None, **settings: Any) -> Adapter:
        """
        Start one.
        """
        exchange = in_memory(self.service, self.clock)
        made = ControlSettings(**{"node": node, "boot_id": self.boot_id, **settings})
        uses = uses or Uses()
        client = ControlServiceClient(exchange)
        datasets = ControlServiceDatasets(client, uses, self.clock, made)
        adapter = Adapter(self.clock, exchange, datasets, uses)
        self.adapters.append(adapter)
        adapter.outcome(datasets.start())
        return adapter

    def close(self) -> None:
        """
        Stop them.
        """
        for adapter in self.adapters:
            adapter.outcome(adapter.datasets.stop())

    def node_of(self, name: str) -> str | None:
        """
        Where a dataset is.
        """
        for dataset_id, dataset in self.service.datasets.items():
            if dataset["metadata"].get("name") == name and not dataset["deleted"]:
                return cast("str | None", self.service.places[dataset_id].get("primary"))
        return None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(f"{ERA}\n")
    world = World(clock, fake(clock), boot_id)
    yield world
    world.close()


def test_it_is_datasets(world: World) -> None:
    """
    It has what the hooks ask for.
    """
    assert verifyObject(IDatasets, world.adapter().datasets)


@pytest.mark.parametrize("lag_seconds", [1.0, 5.0, 15.0])
def test_a_dataset_is_made_once(world: World, lag_seconds: float) -> None:
    """
    It is waited for until it is mounted, and where it is mounted is what the state says; asked for
    again it is there.
    """
    world.service.lag_seconds = lag_seconds
    adapter = world.adapter()
    expected = {"test1": f"/flocker/{identity_of('test1')}"}
    assert expected == adapter.have("test1")
    assert expected == adapter.have("test1")
    assert world.service.changes == ["create test1"]
    assert adapter.uses.found["test1"] == ["expected", "expected"]


@pytest.mark.parametrize("paths_have_nodes", [False, True])
def test_a_dataset_moves(world: World, paths_have_nodes: bool) -> None:
    """
    There and back, as soon as no container uses it: its path may be another on another node.
    """
    world.service.paths_have_nodes = paths_have_nodes
    one, two = world.adapter(HERE), world.adapter(THERE)
    name = identity_of("test1")
    for adapter, node in ((one, HERE), (two, THERE), (one, HERE)):
        path = f"/flocker/{node}.default.{name}" if paths_have_nodes else f"/flocker/{name}"
        assert {"test1": path} == adapter.have("test1")
        assert node == world.node_of("test1")
        adapter.uses.end("test1")
    assert world.service.changes == ["create test1", "move test1", "move test1"]


def test_a_dataset_in_use_stays(world: World) -> None:
    """
    It is refused before anything is asked for, with the node, and goes on when the container ends.
    """
    one, two = world.adapter(HERE), world.adapter(THERE)
    one.have("test1")
    before = world.clock.seconds()
    with pytest.raises(InUseError, match=r"test1 is in use on node 192\.0\.2\.1"):
        two.have("test1")
    assert world.clock.seconds() - before < WAIT_SECONDS + 2
    assert (world.service.changes, world.node_of("test1")) == (["create test1"], HERE)
    one.uses.end("test1")
    two.have("test1")
    assert world.node_of("test1") == THERE


def test_an_adapter_that_has_gone_keeps_what_was_in_use(world: World) -> None:
    """
    Its containers may go on: a lease outlives it. The next one looks after it.
    """
    one, two = world.adapter(HERE), world.adapter(THERE)
    one.have("test1")
    one.outcome(one.datasets.stop())
    world.clock.advance(3600)
    with pytest.raises(InUseError):
        two.have("test1")
    again = world.adapter(HERE, one.uses)
    again.pass_time(3 * LOOK_SECONDS)
    with pytest.raises(InUseError):
        two.have("test1")
    one.uses.end("test1")
    two.have("test1")


def test_what_was_in_use_before_gets_a_lease(world: World) -> None:
    """
    A container of before this adapter was there counts, and one whose lease is lost.
    """
    first = world.adapter(HERE)
    first.have("test1")
    first.outcome(first.datasets.stop())
    world.service.leases.clear()
    world.adapter(HERE, first.uses).pass_time(LOOK_SECONDS)
    assert {identity_of("test1")} == set(world.service.leases)


def test_while_the_engine_is_away_leases_stay(world: World) -> None:
    """
    Whether containers use a dataset can't be said.
    """
    one = world.adapter(HERE)
    one.have("test1")
    one.uses.end("test1")
    one.uses.failure = FlockerError("the engine is away")
    one.pass_time(5 * LOOK_SECONDS)
    assert {identity_of("test1")} == set(world.service.leases)
    one.uses.failure = None
    one.pass_time(LOOK_SECONDS)
    assert not world.service.leases


def test_while_its_agent_is_away_a_lease_stays(world: World) -> None:
    """
    The state has no path by which a container could be known to use the dataset.
    """
    world.service.lag_seconds = 4 * ARRIVE_SECONDS
    one = world.adapter()

    async def containers(name: str) -> Sequence[str]:
        await one.datasets.mount_point(name)
        return ()

    one.uses.containers = containers  # type: ignore[method-assign]
    with pytest.raises(MoveError):
        one.have("test1")
    one.pass_time(5 * LOOK_SECONDS)
    assert {identity_of("test1")} == set(world.service.leases)
    one.pass_time(4 * ARRIVE_SECONDS)
    assert not world.service.leases


def test_two_are_had_together(world: World) -> None:
    """
    Where one of two is in use, neither is asked for, and the other is free again soon.
    """
    one, two = world.adapter(HERE), world.adapter(THERE)
    one.have("one", "two")
    one.uses.end("one")
    one.pass_time(LOOK_SECONDS)
    with pytest.raises(InUseError, match="two is in use"):
        two.have("one", "two")
    assert world.service.changes == ["create one", "create two"]
    two.pass_time(LOOK_SECONDS)
    one.have("one", "two")


def test_nodes_that_ask_at_once_make_one(world: World) -> None:
    """
    One has it, the other is told that it is in use.
    """
    adapters = [world.adapter(HERE), world.adapter(THERE)]
    outcomes: list[Any] = []
    for adapter in adapters:
        Deferred.fromCoroutine(adapter.datasets.have(["test1"])).addBoth(outcomes.append)
    adapters[0].pass_time(30)
    (refused,) = [it for it in outcomes if hasattr(it, "check")]
    assert refused.check(InUseError)
    assert (len(outcomes), world.service.changes) == (2, ["create test1"])


@pytest.mark.parametrize("answers", [1, 2])
def test_a_lost_answer_makes_no_second_dataset(world: World, answers: int) -> None:
    """
    What has become of a change is looked up.
    """
    adapter = world.adapter()
    adapter.exchange._http = cast(Any, Lossy(adapter.exchange._http, answers))
    adapter.have("test1", "test2")
    assert world.service.changes == ["create test1", "create test2"]


def test_a_lost_answer_moves_once(world: World) -> None:
    """
    A move as well.
    """
    one, two = world.adapter(HERE), world.adapter(THERE)
    one.have("test1")
    one.uses.end("test1")
    two.exchange._http = cast(Any, Lossy(two.exchange._http, 1))
    two.have("test1")
    assert world.service.changes == ["create test1", "move test1"]


def test_what_others_have_made_is_found(world: World) -> None:
    """
    By the name that Flocker's plugin for Docker gives, or by its identity where it has no name.
    """
    named, nameless = str(uuid4()), str(uuid4())
    adapter = world.adapter()
    client = ControlServiceClient(adapter.exchange)
    adapter.outcome(client.create(named, "theirs", THERE, SIZE_BYTES))
    question = {"dataset_id": nameless, "primary": THERE}
    adapter.outcome(adapter.exchange.ask("POST", "/configuration/datasets", question))
    adapter.pass_time(5)
    expected = {"theirs": f"/flocker/{named}", nameless: f"/flocker/{nameless}"}
    assert expected == adapter.have("theirs", nameless)
    assert tuple(world.service.places[it]["primary"] for it in (named, nameless)) == (HERE, HERE)


def test_the_identity_of_a_dataset_is_its_name_too(world: World) -> None:
    """
    ``docker inspect`` shows it as a bind's source, below /flocker.
    """
    adapter = world.adapter()
    expected = adapter.have("test1")["test1"]
    dataset_id = Path(expected).name
    assert {"test1": expected, dataset_id: expected} == adapter.have("test1", dataset_id)
    assert world.service.changes == ["create test1"]


def test_a_deleted_dataset_is_not_made_again(world: World) -> None:
    """
    What was in it is gone, and somebody may not know.
    """
    adapter = world.adapter()
    adapter.have("test1")
    adapter.uses.end("test1")
    adapter.pass_time(LOOK_SECONDS)
    adapter.outcome(ControlServiceClient(adapter.exchange).delete(identity_of("test1")))
    with pytest.raises(MoveError, match="test1 has been deleted"):
        adapter.have("test1")
    assert world.service.changes == ["create test1", "delete test1"]


def test_one_name_of_two_datasets_is_refused(world: World) -> None:
    """
    Which is meant can't be said.
    """
    adapter = world.adapter()
    client = ControlServiceClient(adapter.exchange)
    for _ in range(2):
        adapter.outcome(client.create(str(uuid4()), "alike", HERE, SIZE_BYTES))
    with pytest.raises(MoveError, match="several datasets with the name alike"):
        adapter.have("alike")


def test_without_leases_nothing_moves(world: World) -> None:
    """
    It would go from under a container: only a dataset that is to be here anyway is had. Unless the
    operator says otherwise.
    """
    world.service.version = (1, 3)
    one, two = world.adapter(HERE), world.adapter(THERE)
    one.have("test1")
    one.have("test1")
    with pytest.raises(InUseError, match="--control-unleased"):
        two.have("new", "test1")
    assert world.service.changes == ["create test1"]
    world.adapter(THERE, moves_unleased=True).have("test1")
    assert world.node_of("test1") == THERE


def test_a_changed_configuration_is_looked_at_again(world: World) -> None:
    """
    Somebody changes it between the look and the change: 412, and then another look.
    """
    adapter = world.adapter()
    client = ControlServiceClient(adapter.exchange)
    changed: list[str] = []

    async def configuration() -> Any:
        found = await client.configuration()
        if world.service.leases and not changed:
            changed.append(str(uuid4()))
            await client.create(changed[0], "test1", THERE, SIZE_BYTES)
        return found

    meddled = ControlServiceClient(adapter.exchange)
    meddled.configuration = configuration  # type: ignore[method-assign]
    adapter.datasets._client = meddled
    with pytest.raises(ConflictError, match="just been made by somebody else"):
        adapter.have("test1")
    assert {"test1": f"/flocker/{changed[0]}"} == adapter.have("test1")
    assert world.service.changes == ["create test1", "move test1"]


def test_one_that_does_not_come_is_said(world: World) -> None:
    """
    It is waited for as long as is bearable, and found when it has come later.
    """
    world.service.lag_seconds = 4 * ARRIVE_SECONDS
    adapter = world.adapter()
    with pytest.raises(MoveError, match="has not brought test1 here within 120 s"):
        adapter.have("test1")
    assert "test1" not in adapter.uses.found
    adapter.pass_time(2 * ARRIVE_SECONDS)
    adapter.have("test1")
    assert world.service.changes == ["create test1"]


def test_an_old_state_is_not_believed(world: World) -> None:
    """
    A dataset that was to go away and is called back: the state still has it here, though its agent
    may be about to unmount it.
    """
    adapter = world.adapter()
    adapter.have("test1")
    adapter.outcome(ControlServiceClient(adapter.exchange).move(identity_of("test1"), THERE))
    before = world.clock.seconds()
    adapter.have("test1")
    assert world.clock.seconds() - before >= LAG_SECONDS
    assert world.node_of("test1") == HERE


def test_its_node_is_found_by_its_era(world: World) -> None:
    """
    As soon as its agent has connected.
    """
    world.service.eras.clear()
    world.clock.callLater(5.0, lambda: world.service.eras.update({ERA: THERE}))
    world.adapter(cast(Any, None)).have("test1")
    assert world.node_of("test1") == THERE


@pytest.mark.parametrize("settings", [{"node": None}, {"node": str(uuid4())}])
def test_an_unknown_node_is_said(world: World, settings: Any) -> None:
    """
    Of one that does not exist, the control service would take a dataset away from where it is.
    """
    world.service.eras.clear()
    with pytest.raises(ControlServiceError, match="knows no node"):
        world.adapter(**settings)
    assert NODE_SECONDS <= world.clock.seconds() < NODE_SECONDS + 2


def test_an_old_flocker_wants_to_be_told_the_node(world: World) -> None:
    """
    It has no eras.
    """
    world.service.version = (1, 7)
    with pytest.raises(ControlServiceError, match="give --control-node UUID"):
        world.adapter(cast(Any, None))
    world.adapter(HERE.upper()).have("test1")


@pytest.mark.parametrize("size_bytes", [SIZE_BYTES - 1024, SIZE_BYTES + 512])
def test_a_size_that_would_be_refused_is_said(world: World, size_bytes: int) -> None:
    """
    At the start.
    """
    with pytest.raises(ControlServiceError, match="at least 67108864, and a multiple of 1024"):
        world.adapter(size_bytes=size_bytes)


def test_a_size_is_passed_on(world: World) -> None:
    """
    For what is made.
    """
    world.adapter(size_bytes=SIZE_BYTES).have("test1")
    assert world.service.datasets[identity_of("test1")]["maximum_size"] == SIZE_BYTES


@pytest.mark.parametrize("paths_have_nodes", [False, True])
def test_mount_points_are_known(world: World, paths_have_nodes: bool) -> None:
    """
    Also those of datasets that are elsewhere, after a new start, and while the control service is
    away.
    """
    world.service.paths_have_nodes = paths_have_nodes
    one, two = world.adapter(HERE), world.adapter(THERE)
    here = one.have("test1")["test1"]
    one.uses.end("test1")
    assert here != two.have("test1")["test1"] or not paths_have_nodes
    again = world.adapter(HERE)
    for adapter in (one, again):
        assert {"test1": Path(here)} == adapter.outcome(adapter.datasets.mount_points())
        assert Path(here) == adapter.outcome(adapter.datasets.mount_point("test1"))
        with pytest.raises(ControlServiceError, match="where test2 is mounted"):
            adapter.outcome(adapter.datasets.mount_point("test2"))
    one.exchange._http = cast(Any, Away())
    assert {"test1": Path(here)} == one.outcome(one.datasets.mount_points())


def test_nothing_is_asked_for_before_the_start(world: World) -> None:
    """
    Which node this is is not known then.
    """
    adapter = world.adapter()
    datasets = ControlServiceDatasets(
        ControlServiceClient(adapter.exchange), Uses(), world.clock, ControlSettings()
    )
    with pytest.raises(ControlServiceError, match="not been found out yet"):
        adapter.outcome(datasets.have(["test1"]))
