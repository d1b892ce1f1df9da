"""
What runs behind the wait program is what a real engine runs without it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from powerstrip_weave.environment import merged_environment, value_of
from powerstrip_weave.rewrite import (
    WAIT_PROGRAM,
    ImageDefaults,
    WaitBind,
    WaitVolume,
    wait_for_network,
)

from demo.engine import PrivateEngine, why_not

pytestmark = pytest.mark.engine

ENGINES = Path("/tmp/powerstrip-tests")
ADDRESS = "WEAVE_CIDR=10.255.0.51/8"
ABSENT = object()
SHELL = ["/bin/sh", "-c"]

ENTRYPOINTS = (ABSENT, None, [], [""], "e f", ["e"], ["", "e", None], [*SHELL, "e f"])
CMDS = (ABSENT, None, [], [""], "c d", ["c", "d"])
REQUESTS = [
    {name: value for name, value in (("Entrypoint", e), ("Cmd", c)) if value is not ABSENT}
    for e, c in product(ENTRYPOINTS, CMDS)
]

IMAGE_ENTRYPOINTS: tuple[str | None, ...] = (None, "[]", '[""]', '["i", "x"]', "i x")
IMAGE_CMDS: tuple[str | None, ...] = (None, "[]", '["j", "y"]', "j y")
"""As ENTRYPOINT and CMD of a Dockerfile say them; what is no list is in the shell's form."""

IMAGES = list(product(IMAGE_ENTRYPOINTS, IMAGE_CMDS))
RUNNING_IMAGES = [
    ('["i", "x"]', None),
    ('["i", "x"]', '["j", "y"]'),
    ('[""]', '["j", "y"]'),
    (None, '["j", "y"]'),
    ("i x", "j y"),
]
"""Images with something to run, so that there are containers of them."""

Outcome = list[str] | str
"""The line that a container runs, or the sentence with which the engine refuses to create it."""


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """
    An engine of this module, with the image busybox.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    dockerd = shlex.split(os.environ.get("POWERSTRIP_TEST_DOCKERD", "dockerd"))
    with PrivateEngine(ENGINES, f"commands-{os.getpid()}", dockerd=dockerd) as engine:
        engine.import_busybox()
        yield engine


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> WaitBind:
    """
    A mount that is only created, and never run.
    """
    return WaitBind(str(tmp_path_factory.mktemp("wait")))


@cache
def make_image(engine: PrivateEngine, *instructions: str) -> str:
    """
    The identity of an image with nothing in it but what such lines of a Dockerfile say.
    """
    query = urlencode([("fromSrc", "-"), *(("changes", line) for line in instructions)])
    status, answer = engine.request("POST", f"/images/create?{query}", bytes(1024))
    found = re.search(rb"sha256:[0-9a-f]{64}", answer)
    assert found is not None, (status, answer)
    return found[0].decode()


def image_of(engine: PrivateEngine, entrypoint: str | None, cmd: str | None) -> str:
    """
    The image with this entry point and this command, where it is to have one.
    """
    lines = (("ENTRYPOINT", entrypoint), ("CMD", cmd))
    return make_image(engine, *(f"{name} {value}" for name, value in lines if value is not None))


def commit(engine: PrivateEngine, container: dict[str, Any]) -> str:
    """
    The identity of an image that is made of a container.
    """
    answer = engine.request("POST", f"/commit?container={container['Id']}")[1]
    return str(json.loads(answer)["Id"])


def defaults(engine: PrivateEngine, image: str) -> ImageDefaults:
    """
    What the engine says of an image.
    """
    return ImageDefaults.from_json(engine.request("GET", f"/images/{image}/json")[1].decode())


def create(engine: PrivateEngine, body: str) -> dict[str, Any] | str:
    """
    What the engine says of a container that it has created, or why it has created none.
    """
    status, answer = engine.request("POST", "/containers/create", body.encode())
    if status != 201:
        return str(json.loads(answer)["message"])
    created = json.loads(answer)["Id"]
    container: dict[str, Any] = json.loads(engine.request("GET", f"/containers/{created}/json")[1])
    return container


def must_create(engine: PrivateEngine, body: str) -> dict[str, Any]:
    """
    A container that can be created.
    """
    container = create(engine, body)
    assert isinstance(container, dict), container
    return container


def outcome(engine: PrivateEngine, body: str) -> Outcome:
    """
    What comes of a request to create a container.
    """
    container = create(engine, body)
    return container if isinstance(container, str) else [container["Path"], *container["Args"]]


def output(engine: PrivateEngine, body: dict[str, Any]) -> str:
    """
    What a container of busybox writes.
    """
    container = must_create(engine, json.dumps({"Image": "busybox", "Tty": True, **body}))
    place = f"/containers/{container['Id']}"
    assert engine.request("POST", f"{place}/start") == (204, b"")
    engine.request("POST", f"{place}/wait")
    return engine.request("GET", f"{place}/logs?stdout=1")[1].decode()


def waiting(outcome: Outcome) -> Outcome:
    """
    The same behind the wait program, where there is a line at all.
    """
    return [WAIT_PROGRAM, *outcome] if isinstance(outcome, list) else outcome


@pytest.mark.parametrize(("entrypoint", "cmd"), IMAGES)
def test_what_waits_is_what_the_engine_runs(
    engine: PrivateEngine, mount: WaitBind, entrypoint: str | None, cmd: str | None
) -> None:
    """
    Every combination of entry point and command runs as without the wait program, behind it.
    """
    image = image_of(engine, entrypoint, cmd)
    expected, actual = [], []
    for request in REQUESTS:
        body = json.dumps({**request, "Image": image, "Env": [ADDRESS]})
        expected.append((request, waiting(outcome(engine, body))))
        rewritten = wait_for_network(body, defaults(engine, image), mount)
        actual.append((request, outcome(engine, rewritten)))

    assert expected == actual


@pytest.mark.parametrize(("entrypoint", "cmd"), RUNNING_IMAGES)
def test_a_committed_image_runs_what_it_was_made_of(
    engine: PrivateEngine, mount: WaitBind, entrypoint: str | None, cmd: str | None
) -> None:
    """
    An image of a container that waits runs what one of a container that does not wait runs: behind
    the program once where the new container has an address, and without it where not.
    """
    image = image_of(engine, entrypoint, cmd)
    body = json.dumps({"Image": image, "Env": [ADDRESS]})
    plain = commit(engine, must_create(engine, body))
    wrapped = wait_for_network(body, defaults(engine, image), mount)
    committed = commit(engine, must_create(engine, wrapped))
    assert WAIT_PROGRAM in defaults(engine, committed).entrypoint
    expected, actual = [], []
    for request in REQUESTS:
        line = outcome(engine, json.dumps({**request, "Image": plain}))
        for address, wanted in ((ADDRESS, waiting(line)), ("WEAVE_CIDR=none", line)):
            expected.append((request, address, wanted))
            body = json.dumps({**request, "Image": committed, "Env": [address]})
            rewritten = wait_for_network(body, defaults(engine, committed), mount)
            actual.append((request, address, outcome(engine, rewritten)))

    assert expected == actual


@pytest.mark.parametrize(("entrypoint", "cmd"), RUNNING_IMAGES)
@pytest.mark.parametrize("kind", [WaitBind, WaitVolume])
def test_a_container_that_waits_can_be_made_anew(
    engine: PrivateEngine,
    mount: WaitBind,
    kind: type[WaitBind | WaitVolume],
    entrypoint: str | None,
    cmd: str | None,
) -> None:
    """
    What the engine says of such a container may be asked for again, and is left as it is.
    """
    image = image_of(engine, entrypoint, cmd)
    source = must_create(engine, json.dumps({"Image": "busybox"}))["Id"]
    way = mount if kind is WaitBind else WaitVolume(source)
    body = json.dumps({"Image": image, "Env": [ADDRESS], "HostConfig": {"Binds": ["/tmp:/x"]}})
    container = must_create(engine, wait_for_network(body, defaults(engine, image), way))
    again = json.dumps({**container["Config"], "HostConfig": container["HostConfig"]})

    assert again == wait_for_network(again, defaults(engine, image), way)
    assert [container["Path"]] == [WAIT_PROGRAM]


@pytest.mark.parametrize(
    "request_environment",
    [None, [], ["W"], ["W="], ["W=a"], ["W=a", "W"], ["W", "W=a"], ["W=a", "W=b"], ["w=a", "WX=a"]],
)
@pytest.mark.parametrize("image", ["", "W=i", "W="])
def test_a_variable_is_what_the_container_finds(
    engine: PrivateEngine, request_environment: list[str] | None, image: str
) -> None:
    """
    The adapter reads from a request and its image what a process of the container reads.
    """
    name = make_busybox(engine, image)
    found = output(engine, {"Image": name, "Env": request_environment, "Cmd": ["env"]}).splitlines()
    merged = merged_environment(request_environment or [], defaults(engine, name).environment)
    value = value_of("W", merged)

    assert [line for line in found if line.startswith("W=")] == (
        [] if value is None else [f"W={value}"]
    )


@cache
def make_busybox(engine: PrivateEngine, variable: str) -> str:
    """
    An image of busybox with a variable, where one is named.
    """
    container = must_create(engine, json.dumps({"Image": "busybox"}))["Id"]
    query = urlencode({"container": container, "changes": f"ENV {variable}"})
    answer = engine.request("POST", f"/commit?{query}")[1]
    return str(json.loads(answer)["Id"]) if variable else "busybox"


@pytest.mark.parametrize(
    "body",
    [
        {"NetworkDisabled": True},
        {"HostConfig": {"NetworkMode": "none"}},
        {"HostConfig": None},
    ],
)
def test_a_container_that_may_have_an_address_has_a_network_namespace(
    engine: PrivateEngine, body: dict[str, Any]
) -> None:
    """
    The network of a container that is not refused is not that of the host.
    """
    command = {"Cmd": ["readlink", "/proc/self/ns/net"]}
    host = output(engine, {**command, "HostConfig": {"NetworkMode": "host"}})

    assert host == f"{os.readlink(f'/proc/{engine.pid}/ns/net')}\r\n"
    assert output(engine, {**command, **body}) != host
