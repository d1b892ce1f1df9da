"""
The examples, run as the processes that a reader would start, and called as powerstrip would.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from demo.stage import Program, free_port, ignore, listens
from powerstrip.core.config import Config

EXAMPLES = Path(__file__).parents[2] / "examples"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node")

Answer = tuple[int, dict[str, object]]


@contextmanager
def running(*command: str) -> Iterator[int]:
    """
    A process that listens on the port that it is given as its last argument.
    """
    port = free_port()
    program = Program(command[0], [*command, str(port)], ignore)
    try:
        program.wait_for(lambda: listens(socket.AF_INET, ("127.0.0.1", port)))
        yield port
    finally:
        program.stop()


def pre_hook(port: int, path: str, body: str | None) -> Answer:
    """
    POST one pre-hook, and give the status and the JSON that came back.
    """
    payload = {
        "PowerstripProtocolVersion": 1,
        "Type": "pre-hook",
        "ClientRequest": client_request(body),
    }
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, json.dumps(payload), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def client_request(body: str | None) -> dict[str, object]:
    return {"Method": "POST", "Request": "/v1.41/containers/create?name=c", "Body": body}


def passed_on(body: str | None) -> Answer:
    """
    The answer of an adapter that lets the request go on with this body.
    """
    return 200, {"PowerstripProtocolVersion": 1, "ModifiedClientRequest": client_request(body)}


@pytest.fixture(scope="module")
def label() -> Iterator[int]:
    with running(sys.executable, str(EXAMPLES / "label.py")) as port:
        yield port


@pytest.fixture(scope="module")
def slowreq() -> Iterator[int]:
    with running(sys.executable, str(EXAMPLES / "slowreq.py")) as port:
        yield port


@pytest.fixture(scope="module")
def unprivileged() -> Iterator[int]:
    with running("node", str(EXAMPLES / "unprivileged.mjs")) as port:
        yield port


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, {"via": "powerstrip"}),
        ({"Labels": None}, {"via": "powerstrip"}),
        ({"Labels": {"tier": "db"}}, {"tier": "db", "via": "powerstrip"}),
    ],
)
def test_label_is_added_beside_the_containers_own(
    label: int, labels: dict[str, object], expected: dict[str, str]
) -> None:
    """
    A container keeps its labels and all else, and gets one more label.
    """
    body = json.dumps({"Image": "busybox", **labels})

    answer = pre_hook(label, "/label", body)

    assert passed_on(json.dumps({"Image": "busybox", "Labels": expected})) == answer


def test_label_leaves_alone_what_it_is_not_shown(label: int) -> None:
    """
    A Body of null comes back as null.
    """
    assert passed_on(None) == pre_hook(label, "/label", None)


def test_slowreq_takes_a_second_and_changes_nothing(slowreq: int) -> None:
    """
    The request comes back as it was, a second later.
    """
    started = time.monotonic()

    answer = pre_hook(slowreq, "/slowreq-adapter", '{"Image":"busybox"}')

    assert passed_on('{"Image":"busybox"}') == answer
    assert time.monotonic() - started >= 1.0


@needs_node
@pytest.mark.parametrize(
    "body", ['{"HostConfig":{"Privileged":true}}', '{"Privileged":true,"Cmd":["sh"]}']
)
def test_unprivileged_refuses_with_a_message_for_the_cli(unprivileged: int, body: str) -> None:
    """
    A privileged container is refused, and so is a privileged exec.
    """
    expected = (403, {"message": "privileged containers are not allowed here"})

    assert expected == pre_hook(unprivileged, "/unprivileged", body)


@needs_node
@pytest.mark.parametrize(
    "body",
    [None, '{"HostConfig":{"Privileged":false}}', '{"Labels":{"privileged":"true"}}', "[]"],
)
def test_unprivileged_lets_all_else_pass(unprivileged: int, body: str | None) -> None:
    """
    A request that asks for no privilege goes on as it came.
    """
    assert passed_on(body) == pre_hook(unprivileged, "/unprivileged", body)


@needs_node
def test_unprivileged_survives_what_is_no_hook(unprivileged: int) -> None:
    """
    A body that is not JSON is answered in Docker's form, and the adapter goes on.
    """
    status, answer = pre_hook(unprivileged, "/unprivileged", "{")

    assert status == 400
    assert list(answer) == ["message"]
    assert passed_on("{}") == pre_hook(unprivileged, "/unprivileged", "{}")


def test_examples_configuration_is_right() -> None:
    """
    The file of all examples is read without a complaint.
    """
    config = Config.parse((EXAMPLES / "adapters.yml").read_text(), "adapters.yml")

    hooks = config.hooks_for("POST", b"/v1.41/containers/create")

    expected = ["label", "unprivileged", "slowreq"]
    assert expected == [adapter.name for adapter in hooks.pre]
