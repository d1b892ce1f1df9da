"""
What a real engine mounts of a request that was rewritten, and what it says of the container.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from powerstrip_flocker.in_use import datasets_in_use, datasets_of, is_in_use
from powerstrip_flocker.places import cleaned
from powerstrip_flocker.rewrite import containers_in, datasets_in, rewritten

from demo.engine import PrivateEngine, why_not

pytestmark = pytest.mark.engine

ENGINES = Path("/tmp/powerstrip-tests")
BINDS_DATASET = {"Binds": ["/flocker/a:/data"]}
SLEEP = {"Cmd": ["sleep", "1000"]}

SOURCES = [
    "/flocker/a",
    "/flocker/a/",
    "//flocker/./a//.",
    "/srv/../flocker/a",
    "/flocker/b/../a",
    "/flocker/a/sub/..",
]
"""Spellings of one dataset."""


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """
    An engine of this module, with the image busybox.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    dockerd = shlex.split(os.environ.get("POWERSTRIP_TEST_DOCKERD", "dockerd"))
    with PrivateEngine(ENGINES, f"binds-{os.getpid()}", dockerd=dockerd) as engine:
        engine.import_busybox()
        yield engine


@pytest.fixture
def mounted(tmp_path: Path) -> dict[str, str]:
    """
    Where two datasets are, by name. In each is a file ``name`` which has its own.
    """
    for name in ("a", "b"):
        (tmp_path / "mnt" / name / "sub").mkdir(parents=True)
        (tmp_path / "mnt" / name / "name").write_text(name)
    return {name: str(tmp_path / "mnt" / name) for name in ("a", "b")}


def ask(engine: PrivateEngine, method: str, target: str, body: str = "") -> Any:
    """
    The engine's answer, which is no error.
    """
    status, answer = engine.request(method, target, body.encode())
    assert status < 400, (status, answer)
    return json.loads(answer) if answer else None


def create(engine: PrivateEngine, body: str) -> dict[str, Any]:
    """
    What the engine says of a container that it has created.
    """
    return inspect(engine, ask(engine, "POST", "/containers/create", body)["Id"])


def inspect(engine: PrivateEngine, container: str) -> dict[str, Any]:
    """
    What ``docker inspect`` shows.
    """
    inspected: dict[str, Any] = ask(engine, "GET", f"/containers/{container}/json")
    return inspected


def body_of(host_config: dict[str, Any], **config: Any) -> str:
    """
    A request to create a container of busybox.
    """
    return json.dumps({"Image": "busybox", **config, "HostConfig": host_config})


def output(engine: PrivateEngine, body: str) -> str:
    """
    What a container writes.
    """
    place = f"/containers/{create(engine, body)['Id']}"
    ask(engine, "POST", f"{place}/start")
    ask(engine, "POST", f"{place}/wait")
    return engine.request("GET", f"{place}/logs?stdout=1&stderr=1")[1].decode()


@pytest.mark.parametrize("source", SOURCES)
def test_a_container_finds_its_dataset(
    engine: PrivateEngine, mounted: dict[str, str], source: str
) -> None:
    """
    However it spells the path, and by both ways to ask for a bind.
    """
    command = ["sh", "-c", "cat /1/name /2/name && ! touch /2/x && touch /1/x"]
    host_config = {
        "Binds": [f"{source}:/1:rw,rprivate"],
        "Mounts": [{"Type": "bind", "Source": source, "Target": "/2", "ReadOnly": True}],
    }
    body = rewritten(body_of(host_config, Cmd=command, Tty=True), mounted)

    assert output(engine, body).startswith("aatouch: /2/x: Read-only file system")
    assert (Path(mounted["a"]) / "x").exists()


def test_what_the_engine_mounts_is_what_was_put_in(
    engine: PrivateEngine, mounted: dict[str, str]
) -> None:
    """
    Options are kept, and ordinary binds beside it are as they were.
    """
    host_config = {
        "Binds": ["/flocker/a/sub:/1:ro,rslave", "/tmp/../usr/:/2:ro", "flocker:/3"],
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/flocker/b",
                "Target": "/4",
                "BindOptions": {"Propagation": "private"},
            }
        ],
    }
    container = create(engine, rewritten(body_of(host_config), mounted))
    mounts = {
        mount["Destination"]: (mount["Source"], mount["RW"], mount["Propagation"])
        for mount in container["Mounts"]
        if mount["Type"] == "bind"
    }

    assert {
        "/1": (f"{mounted['a']}/sub", False, "rslave"),
        "/2": ("/usr", False, "rprivate"),
        "/4": (mounted["b"], True, "private"),
    } == mounts
    assert [m["Destination"] for m in container["Mounts"] if m.get("Name") == "flocker"] == ["/3"]
    assert datasets_of(container, mounted) == ("a", "b")


@pytest.mark.parametrize(
    "path",
    [
        "/q",
        "//q",
        "///q//r/",
        "/q/./r/.",
        "/q/../r",
        "/q/r/../../..//s",
        "/../q",
        "/q/.../r",
        "/q/r /",
    ],
)
def test_paths_are_cleaned_as_the_engine_does_it(engine: PrivateEngine, path: str) -> None:
    """
    What the engine takes for the source of a bind is what decides here.
    """
    (mount,) = create(engine, body_of({"Binds": [f"{path}:/data"]}))["Mounts"]

    assert mount["Source"] == cleaned(path)


def test_a_missing_directory_of_a_dataset_is_the_engine_s_to_make(
    engine: PrivateEngine, mounted: dict[str, str]
) -> None:
    """
    It makes that of a bind when the container starts, and refuses a mount of one.
    """
    body = body_of({"Binds": ["/flocker/a/new/dir:/data"]}, Cmd=["touch", "/data/x"])
    assert output(engine, rewritten(body, mounted)) == ""
    assert (Path(mounted["a"]) / "new/dir/x").exists()

    mount = {"Type": "bind", "Source": "/flocker/a/none", "Target": "/data"}
    body = rewritten(body_of({"Mounts": [mount]}), mounted)
    status, answer = engine.request("POST", "/containers/create", body.encode())
    assert status == 400
    assert "bind source path does not exist" in answer.decode()


@pytest.mark.parametrize("entry", ["/flocker/a", "/flocker"])
def test_a_bind_without_a_source_is_a_volume_of_the_engine_s(
    engine: PrivateEngine, entry: str
) -> None:
    """
    It is none of ours that it is to be seen in the container at such a path.
    """
    body = body_of({"Binds": [entry]}, Volumes={"/flocker/b": {}})

    assert datasets_in(body) == ()
    assert {"volume"} == {mount["Type"] for mount in create(engine, body)["Mounts"]}


def test_no_engine_reads_a_bind_that_was_not_found(
    engine: PrivateEngine, mounted: dict[str, str]
) -> None:
    """
    Wherever a request has Binds, the engine mounts nothing of /flocker itself.
    """
    outside = {"Image": "busybox", **BINDS_DATASET}
    bodies = [outside, {**outside, "HostConfig": None}, {**outside, "HostConfig": {}}]
    for body in bodies:
        container = create(engine, rewritten(json.dumps(body), mounted))
        assert {mount["Source"] for mount in container["Mounts"]} <= {mounted["a"]}


def test_a_start_request_of_an_old_client_is_read_too(
    engine: PrivateEngine, mounted: dict[str, str]
) -> None:
    """
    Up to API 1.23 it may bring a HostConfig, which an engine that still serves it mounts.
    """
    container = create(engine, body_of({}, Cmd=["true"]))["Id"]
    body = rewritten(json.dumps(BINDS_DATASET), mounted)
    status, _ = engine.request("POST", f"/v1.18/containers/{container}/start", body.encode())
    mounts = inspect(engine, container)["Mounts"]

    assert {mount["Source"] for mount in mounts} == ({mounted["a"]} if status == 204 else set())


def test_a_dataset_is_in_use_from_create_to_exit(
    engine: PrivateEngine, mounted: dict[str, str]
) -> None:
    """
    The engine's own words for a container are understood in each of its states.
    """
    container = create(engine, rewritten(body_of(BINDS_DATASET, **SLEEP), mounted))["Id"]

    def used_after(method: str) -> tuple[str, ...]:
        ask(engine, "POST", f"/containers/{container}/{method}")
        return datasets_in_use(inspect(engine, container), mounted)

    assert datasets_in_use(inspect(engine, container), mounted) == ("a",)
    assert used_after("start") == ("a",)
    assert used_after("pause") == ("a",)
    assert used_after("unpause") == ("a",)
    assert used_after("stop?t=0") == ()
    assert used_after("start") == ("a",)
    ask(engine, "DELETE", f"/containers/{container}?force=1")


def test_a_container_that_waits_for_its_restart_uses_its_dataset(
    engine: PrivateEngine, mounted: dict[str, str]
) -> None:
    """
    It has no process for a while, and will have one with no request.
    """
    host_config = {**BINDS_DATASET, "RestartPolicy": {"Name": "always"}}
    body = rewritten(body_of(host_config, Cmd=["false"]), mounted)
    container = create(engine, body)["Id"]
    ask(engine, "POST", f"/containers/{container}/start")
    states: list[str] = []
    while len(states) < 1000 and "restarting" not in states:
        inspected = inspect(engine, container)
        states.append(inspected["State"]["Status"])
        assert is_in_use(inspected), inspected["State"]
    assert "restarting" in states
    ask(engine, "DELETE", f"/containers/{container}?force=1")


def test_volumes_from_a_container_are_its_datasets(
    engine: PrivateEngine, mounted: dict[str, str]
) -> None:
    """
    The engine copies the mounts, and says them of the second container too.
    """
    first = create(engine, rewritten(body_of(BINDS_DATASET), mounted))["Id"]
    body = body_of({"VolumesFrom": [f"{first}:ro"]})
    (container,) = containers_in(body)
    second = create(engine, body)

    assert datasets_of(inspect(engine, container), mounted) == ("a",)
    assert datasets_of(second, mounted) == ("a",)
    assert second["HostConfig"]["Binds"] is None


def test_a_container_can_be_made_anew(engine: PrivateEngine, mounted: dict[str, str]) -> None:
    """
    What the engine says of it has the dataset's place on this host, and is left as it is.
    """
    container = create(engine, rewritten(body_of(BINDS_DATASET), mounted))
    again = json.dumps({**container["Config"], "HostConfig": container["HostConfig"]})

    assert again is rewritten(again, mounted)
    assert datasets_of(create(engine, again), mounted) == ("a",)
