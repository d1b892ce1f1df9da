"""
The adapter over HTTP, with an engine and datasets in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from powerstrip_flocker.app import FlockerAdapter
from powerstrip_flocker.errors import (
    ConflictError,
    FlockerError,
    InUseError,
    LedgerError,
    MoveError,
    NoSpaceError,
    PeerError,
    StorageError,
)
from powerstrip_flocker.hook import Hook
from powerstrip_flocker.interfaces import IDatasets, IRequests
from treq.testing import StubTreq
from twisted.web.resource import Resource
from zope.interface import implementer
from zope.interface.verify import verifyObject

from powerstrip.adapter.hooks import ClientRequest, ServerResponse
from powerstrip.adapter.testing import FakeEngine
from powerstrip.errors import HookRefused
from powerstrip.testing import post_hook, pre_hook


@implementer(IDatasets)
@define(eq=False)
class FakeDatasets:
    """
    Datasets as directories.
    """

    root: Path
    asked: list[tuple[str, ...]] = field(factory=list)
    """What each call has asked for."""

    failure: FlockerError | None = None
    looked: int = 0
    """How often it was asked what there is."""

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def have(self, names: Sequence[str]) -> Mapping[str, Path]:
        self.asked.append(tuple(names))
        if self.failure is not None:
            raise self.failure
        for name in names:
            (self.root / name).mkdir(exist_ok=True)
        return {name: self.root / name for name in names}

    def mounted_below(self) -> Path:
        return self.root

    async def mount_points(self) -> Mapping[str, Path]:
        self.looked += 1
        return {name: self.root / name for name in ("a", "b", "moved")}


@implementer(IRequests)
@define(eq=False)
class FakeRequests:
    """
    What was said of requests.
    """

    said: list[tuple[object, ...]] = field(factory=list)

    def starting(self, container_id: str, names: Sequence[str]) -> None:
        self.said.append(("starting", container_id, *names))

    def not_created(self, names: Sequence[str]) -> None:
        self.said.append(("not created", *names))

    def not_started(self, container_id: str) -> None:
        self.said.append(("not started", container_id))


class Operator(Resource):
    """
    Says what it was asked.
    """

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"%s %s" % (request.method, request.uri)


class Rig:
    """
    An adapter, and all that it stands on.
    """

    def __init__(self, directory: Path, operator: Resource | None = None) -> None:
        self.engine = FakeEngine()
        self.engine.add_image("busybox")
        self.pool = directory / "pool"
        self.pool.mkdir()
        self.datasets = FakeDatasets(self.pool)
        self.requests = FakeRequests()
        hook = Hook(self.engine.client, self.datasets, self.requests)
        self.resource = FlockerAdapter(hook, operator).app.resource()

    async def create(self, target: str = "/v1.41/containers/create?name=x", **config: Any) -> Any:
        """
        What becomes of a request to create a container of busybox.
        """
        body = await self.before(target, json.dumps({"Image": "busybox", **config}))
        return json.loads(body or "")

    async def bind(self, *binds: str) -> list[str]:
        """
        What becomes of its binds.
        """
        made: list[str] = (await self.create(HostConfig={"Binds": binds}))["HostConfig"]["Binds"]
        return made

    async def before(self, target: str, body: str | None) -> str | None:
        """
        What becomes of a request's body.
        """
        request = ClientRequest("POST", target, body)
        answer = await pre_hook(self.resource, "/flocker-adapter", request)
        assert (answer.method, answer.request) == (request.method, request.request)
        return answer.body

    async def after(self, target: str, body: str | None, code: int) -> None:
        """
        Say what the engine has answered, which goes on as it came.
        """
        response = ServerResponse("application/json", "{}", code)
        request = ClientRequest("POST", target, body)
        assert await post_hook(self.resource, "/flocker-adapter", request, response) == response

    def has(self, name: str, *binds: str, **host_config: Any) -> str:
        """
        Have a container that is over.
        """
        container_id = self.engine.run(name, Binds=list(binds), **host_config)
        self.engine.die(container_id)
        return container_id


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """
    An engine with the image busybox.
    """
    return Rig(tmp_path)


def sentence_of(refused: HookRefused) -> str:
    """
    The sentence that the docker command prints.
    """
    message: str = json.loads(refused.body)["message"]
    return message


async def refused(doing: Any) -> tuple[int, str]:
    """
    Status and sentence of a refusal.
    """
    with pytest.raises(HookRefused) as caught:
        await doing
    return caught.value.status, sentence_of(caught.value)


def test_what_stands_in_for_datasets_is_as_they_are(rig: Rig) -> None:
    """
    The interface is there as it is said.
    """
    assert verifyObject(IDatasets, rig.datasets)
    assert verifyObject(IRequests, rig.requests)


# Before a create


@pytest.mark.parametrize("target", ["/containers/create", "/v1.16/containers/create?name=x"])
@pytest_twisted.ensureDeferred
async def test_a_bind_leads_to_where_the_dataset_is(rig: Rig, target: str) -> None:
    """
    All else stays as it was.
    """
    host_config = {
        "Binds": ["/flocker/a:/data:ro,rslave", "/srv:/srv", "volume:/v"],
        "Mounts": [{"Type": "bind", "Source": "/flocker/b/sub", "Target": "/b", "ReadOnly": True}],
        "Memory": 5,
    }
    made = await rig.create(target, HostConfig=host_config, Env=["FLOCKER_SIZE=1"])
    wanted = {
        "Binds": [f"{rig.pool}/a:/data:ro,rslave", "/srv:/srv", "volume:/v"],
        "Mounts": [{**host_config["Mounts"][0], "Source": f"{rig.pool}/b/sub"}],  # type: ignore[dict-item, index]
        "Memory": 5,
    }
    assert made == {"Image": "busybox", "HostConfig": wanted, "Env": ["FLOCKER_SIZE=1"]}


@pytest_twisted.ensureDeferred
async def test_all_datasets_of_a_request_are_asked_for_at_once(rig: Rig) -> None:
    """
    So that it has both, or both stay where they are.
    """
    await rig.bind("/flocker/a:/1", "/flocker/b/x:/2", "/flocker/a/y:/3")
    assert rig.datasets.asked == [("a", "b")]


@pytest.mark.parametrize(
    "body",
    [
        None,
        "{",
        "[]",
        '{"Image":  "busybox"}',
        '{"Image":  "busybox", "HostConfig": {"Binds": ["/srv:/x", "named:/y"]}}',
        '{"Image":  "busybox", "HostConfig": {"Binds": 5}}',
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_containers_go_on_as_they_came(rig: Rig, body: str | None) -> None:
    """
    Byte for byte, and nothing is asked for.
    """
    assert await rig.before("/containers/create", body) == body
    assert rig.datasets.asked == []
    assert "GET /images/busybox/json" not in rig.engine.requests


@pytest_twisted.ensureDeferred
async def test_containers_without_datasets_cost_no_look_at_them(rig: Rig) -> None:
    """
    The ledger may be on another machine, which may be down. They are created and started all the
    same.
    """
    binds = ["named:/x", "/srv:/srv", f"{rig.pool}-beside:/y"]
    await rig.create(HostConfig={"Binds": binds, "Memory": 1})
    await rig.before(f"/containers/{rig.has('box', *binds)}/start", None)
    assert rig.datasets.looked == 0


@pytest.mark.parametrize(
    ("binds", "sentence"),
    [
        (["/flocker/a b:/x"], "flocker: 'a b' can't be the name of a dataset: it may have letters"),
        (["/flocker:/x"], "flocker: /flocker itself can't be mounted: name a dataset in it"),
        (["/flocker/a/../..:/x"], "flocker: the path '/flocker/a/../..' leads out of /flocker"),
        (["/flocker/a:/x", "/flocker/..b:/y"], "flocker: '..b' can't be the name of a dataset"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_dataset_is_refused(rig: Rig, binds: list[str], sentence: str) -> None:
    """
    With the status 400, and nothing has been asked for.
    """
    status, said = await refused(rig.bind(*binds))
    assert (status, said[: len(sentence)]) == (400, sentence)
    assert rig.datasets.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InUseError("a is used by box on node1"), 409),
        (ConflictError("a is being moved"), 409),
        (MoveError("node1 has another dataset that is called a"), 409),
        (NoSpaceError("out of space"), 507),
        (LedgerError("etcd can't be asked"), 503),
        (PeerError("node1 can't be reached"), 503),
        (StorageError("cannot open 'pool'"), 500),
        (FlockerError("what uses a can't be said"), 500),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_cant_be_had_is_refused(rig: Rig, error: FlockerError, status: int) -> None:
    """
    Each error has its status, and its sentence comes through.
    """
    rig.datasets.failure = error
    assert await refused(rig.bind("/flocker/a:/x")) == (status, f"flocker: {error}")


@pytest_twisted.ensureDeferred
async def test_a_missing_image_is_said_before_anything_moves(rig: Rig) -> None:
    """
    In the engine's own words, by which the docker command knows that it has to pull.
    """
    creating = rig.create(Image="later", HostConfig={"Binds": ["/flocker/a:/x"]})
    assert await refused(creating) == (404, "No such image: later")
    assert rig.datasets.asked == []


@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_not_there_is_a_502(rig: Rig) -> None:
    """
    Nothing moves for a container that can't be made.
    """
    rig.engine.is_up = False
    status, said = await refused(rig.bind("/flocker/a:/x"))
    assert status == 502
    assert said.startswith("flocker: the Docker Engine at unix:///fake.sock can't be reached")
    assert rig.datasets.asked == []


@pytest_twisted.ensureDeferred
async def test_volumes_from_a_container_bring_its_datasets(rig: Rig) -> None:
    """
    They are asked for with the request's own, and its ``VolumesFrom`` is the engine's.
    """
    rig.has("box", f"{rig.pool}/moved/sub:/x", "/srv:/srv")
    made = await rig.create(
        HostConfig={"VolumesFrom": ["box:ro", "nobody"], "Binds": ["/flocker/a:/y"]}
    )
    assert rig.datasets.asked == [("a", "moved")]
    assert made["HostConfig"] == {
        "VolumesFrom": ["box:ro", "nobody"],
        "Binds": [f"{rig.pool}/a:/y"],
    }


@pytest_twisted.ensureDeferred
async def test_a_bind_of_where_a_dataset_is_mounted_brings_it(rig: Rig) -> None:
    """
    A container may be made again of what ``docker inspect`` shows of the last one.
    """
    assert await rig.bind(f"{rig.pool}/moved:/x") == [f"{rig.pool}/moved:/x"]
    assert rig.datasets.asked == [("moved",)]


@pytest.mark.parametrize("target", ["/etc", "../../..", "inside/../../b", "loop", "/proc/self/x"])
@pytest_twisted.ensureDeferred
async def test_a_link_out_of_a_dataset_is_not_followed(rig: Rig, target: str) -> None:
    """
    Wherever on the path it is.
    """
    (rig.pool / "a" / "inside").mkdir(parents=True)
    (rig.pool / "a" / "link").symlink_to(target if target != "loop" else "link")
    status, said = await refused(rig.bind("/flocker/a/link/x:/x"))
    assert status == 400
    assert said.startswith(f"flocker: {rig.pool}/a/link/x ")
    assert said.endswith(("leads out of the dataset, by a symbolic link", "that lead nowhere"))


@pytest_twisted.ensureDeferred
async def test_a_link_within_a_dataset_is_as_good_as_a_directory(rig: Rig) -> None:
    """
    The engine follows it. What is not there yet leads nowhere else.
    """
    (rig.pool / "a" / "inside").mkdir(parents=True)
    (rig.pool / "a" / "link").symlink_to("inside/../inside")
    binds = ["/flocker/a/link/new/x:/x", "/flocker/a/none:/y"]
    assert await rig.bind(*binds) == [f"{rig.pool}/a/link/new/x:/x", f"{rig.pool}/a/none:/y"]


# Before a start


@pytest.mark.parametrize("target", ["/containers/box/start", "/v1.41/containers/box/restart?t=1"])
@pytest.mark.parametrize("body", [None, "", "{}"])
@pytest_twisted.ensureDeferred
async def test_a_container_has_its_datasets_back_before_it_starts(
    rig: Rig, target: str, body: str | None
) -> None:
    """
    They may have gone elsewhere since it was created.
    """
    rig.has("box", f"{rig.pool}/moved:/x", f"{rig.pool}/a/sub:/y", "/srv:/srv")
    assert await rig.before(target, body) == (body or None)
    assert rig.datasets.asked == [("a", "moved")]


@pytest_twisted.ensureDeferred
async def test_a_container_is_found_by_the_beginning_of_its_id(rig: Rig) -> None:
    """
    As the engine finds it.
    """
    box = rig.has("box", f"{rig.pool}/a:/x")
    await rig.before(f"/containers/{box[:12]}/start", None)
    assert rig.datasets.asked == [("a",)]
    assert rig.requests.said == [("starting", box, "a")]


@pytest_twisted.ensureDeferred
async def test_a_start_is_refused_where_a_dataset_cant_be_had(rig: Rig) -> None:
    """
    Else it would write where the dataset has been.
    """
    rig.has("box", f"{rig.pool}/moved:/x")
    rig.datasets.failure = InUseError("moved is used by other on node2")
    starting = rig.before("/containers/box/start", None)
    assert await refused(starting) == (409, "flocker: moved is used by other on node2")


@pytest_twisted.ensureDeferred
async def test_a_link_that_was_made_since_is_not_followed(rig: Rig) -> None:
    """
    The engine would follow it at the start.
    """
    (rig.pool / "a").mkdir()
    (rig.pool / "a" / "sub").symlink_to("/etc")
    rig.has("box", f"{rig.pool}/a/sub:/x")
    status, _ = await refused(rig.before("/containers/box/start", None))
    assert status == 400


@pytest_twisted.ensureDeferred
async def test_a_container_that_runs_is_left_alone_unless_it_is_restarted(rig: Rig) -> None:
    """
    A restart ends its use for a moment.
    """
    rig.engine.run("box", Binds=[f"{rig.pool}/a:/x"])
    await rig.before("/containers/box/start", None)
    assert rig.datasets.asked == []
    await rig.before("/containers/box/restart", None)
    assert rig.datasets.asked == [("a",)]


@pytest.mark.parametrize("name", ["nobody", "plain"])
@pytest_twisted.ensureDeferred
async def test_other_starts_go_on(rig: Rig, name: str) -> None:
    """
    A container that is not there, and one without binds, for which nothing is asked.
    """
    rig.has("plain")
    await rig.before(f"/containers/{name}/start", None)
    assert (rig.datasets.asked, rig.datasets.looked) == ([], 0)


@pytest_twisted.ensureDeferred
async def test_a_start_that_names_datasets_is_refused(rig: Rig) -> None:
    """
    As it could up to API 1.23, and would override what was created.
    """
    rig.has("box")
    starting = rig.before("/containers/box/start", '{"Binds": ["/flocker/a:/x"]}')
    sentence = (
        "flocker: /flocker can be named when a container is created, and not when it is started"
    )
    assert await refused(starting) == (400, sentence)


@pytest_twisted.ensureDeferred
async def test_a_start_may_take_over_volumes(rig: Rig) -> None:
    """
    As it could up to API 1.23.
    """
    rig.has("box")
    rig.has("data", f"{rig.pool}/a:/x")
    await rig.before("/v1.16/containers/box/start", '{"VolumesFrom": ["data"]}')
    assert rig.datasets.asked == [("a",)]


# All else


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/containers/box/stop"),
        ("GET", "/containers/create"),
        ("POST", "/containers/create/x"),
        ("POST", "/build"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_requests_go_on_as_they_came(rig: Rig, method: str, target: str) -> None:
    """
    Whatever their body says.
    """
    body = '{"HostConfig":  {"Binds": ["/flocker/a:/x"]}}'
    request = ClientRequest(method, target, body)
    assert await pre_hook(rig.resource, "/flocker-adapter", request) == request


# After the engine


@pytest.mark.parametrize("target", ["/containers/create", "/v1.16/containers/create?name=x"])
@pytest_twisted.ensureDeferred
async def test_a_container_that_was_not_created_is_expected_no_more(rig: Rig, target: str) -> None:
    """
    With all its datasets: its own, and those that it would have taken over.
    """
    rig.has("box", f"{rig.pool}/moved:/x")
    host_config = {"Binds": ["/flocker/a:/1", "/flocker/a/sub:/2"], "VolumesFrom": ["box"]}
    body = json.dumps({"Image": "busybox", "HostConfig": host_config})
    await rig.before(target, body)
    await rig.after(target, body, 409)
    assert rig.datasets.asked == [("a", "moved")]
    assert rig.requests.said == [("not created", "a", "moved")]


@pytest.mark.parametrize(("verb", "code"), [("start", 500), ("restart", 409), ("start", 304)])
@pytest_twisted.ensureDeferred
async def test_a_container_that_was_not_started_is_expected_no_more(
    rig: Rig, verb: str, code: int
) -> None:
    """
    Nor one that ran already, of which no event tells.
    """
    box = rig.has("box", f"{rig.pool}/a:/x")
    await rig.before(f"/v1.41/containers/{box[:12]}/{verb}", None)
    await rig.after(f"/v1.41/containers/{box[:12]}/{verb}", None, code)
    await rig.after(f"/v1.41/containers/nobody/{verb}", None, 404)
    assert rig.requests.said == [("starting", box, "a"), ("not started", box)]


@pytest_twisted.ensureDeferred
async def test_a_refusal_because_of_a_link_leaves_nothing_expected(rig: Rig) -> None:
    """
    The dataset is here by then.
    """
    (rig.pool / "a").mkdir()
    (rig.pool / "a" / "sub").symlink_to("/etc")
    box = rig.has("box", f"{rig.pool}/a/sub:/x")
    assert (await refused(rig.bind("/flocker/a/sub:/x")))[0] == 400
    assert (await refused(rig.before("/containers/box/start", None)))[0] == 400
    said = [("not created", "a"), ("starting", box, "a"), ("not started", box)]
    assert rig.requests.said == said


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/containers/create", 201),
        ("/containers/box/start", 204),
        ("/containers/box/restart", 204),
        ("/containers/box/stop", 500),
        ("/build", 500),
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_answers_mean_nothing(rig: Rig, target: str, code: int) -> None:
    """
    What was expected comes by itself.
    """
    rig.has("box", f"{rig.pool}/a:/x")
    await rig.after(target, '{"HostConfig": {"Binds": ["/flocker/a:/x"]}}', code)
    assert rig.requests.said == []


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/containers/create", None),
        ("/containers/create", "{"),
        ("/containers/create", '{"HostConfig": {"Binds": ["/flocker/a b:/x"]}}'),
        ("/containers/create", '{"HostConfig": {"VolumesFrom": ["box"]}}'),
        ("/containers/box/start", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_error_goes_on_as_it_came_whatever_happens_here(
    rig: Rig, target: str, body: str | None
) -> None:
    """
    Also where it can't be said what was asked for, as the engine has gone.
    """
    rig.engine.is_up = False
    await rig.after(target, body, 500)
    assert rig.requests.said in ([], [("not created",)])


@pytest_twisted.ensureDeferred
async def test_other_paths_are_the_operators(tmp_path: Path) -> None:
    """
    Whole, as they were asked for; and where there is no operator, nothing is there.
    """
    for operator, wanted in [(Operator(), b"GET /datasets/a/snapshots?x=1"), (None, None)]:
        directory = tmp_path / str(wanted is None)
        directory.mkdir()
        http: Any = StubTreq(Rig(directory, operator).resource)
        response = await http.get("http://flocker/datasets/a/snapshots?x=1")
        assert response.code == (404 if wanted is None else 200)
        if wanted is not None:
            assert await response.content() == wanted
