"""
The adapter over HTTP, with an engine and a network in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from powerstrip_weave.app import WeaveAdapter
from powerstrip_weave.attachments import Attachments
from powerstrip_weave.errors import NetworkError
from powerstrip_weave.interfaces import Peer
from powerstrip_weave.rewrite import WAIT_PROGRAM
from powerstrip_weave.testing import FakeNetwork
from powerstrip_weave.wait_place import HostDirectory
from treq.testing import StubTreq
from twisted.internet.defer import Deferred

from powerstrip.adapter.hooks import ClientRequest, ServerResponse
from powerstrip.adapter.testing import FakeEngine
from powerstrip.errors import HookRefused
from powerstrip.testing import post_hook, pre_hook

CIDR = "WEAVE_CIDR=10.255.0.51/8"
ADDRESSES = (IPv4Interface("10.255.0.51/8"),)
STRANGER = "3e:1f:00:aa:10:02"
STARTED = ServerResponse(None, "", 204)


class Rig:
    """
    An adapter, and all that it stands on.
    """

    def __init__(self, directory: Path) -> None:
        self.engine = FakeEngine()
        self.engine.add_image("busybox", Cmd=["sh"], Env=["PATH=/bin"])
        self.network = FakeNetwork()
        self.directory = directory / "bin"
        programs = directory / "programs"
        programs.mkdir()
        (programs / "wait-for-weave-x86_64").write_bytes(b"program")
        self.attachments = Attachments(self.engine.client, self.network, self.engine.clock)
        place = HostDirectory(self.engine.client, str(self.directory), programs)
        adapter = WeaveAdapter(self.engine.client, self.network, self.attachments, place)
        self.resource = adapter.app.resource()
        self.http: Any = StubTreq(self.resource)

    async def create(self, body: str | None, target: str = "/v1.41/containers/create") -> Any:
        """
        What becomes of a create request's body.
        """
        request = ClientRequest("POST", target, body)
        answer = await pre_hook(self.resource, "/extension", request)
        assert (answer.method, answer.request) == (request.method, request.request)
        return answer.body

    async def started(
        self, reference: str, verb: str = "start", response: ServerResponse = STARTED
    ) -> ServerResponse:
        """
        What becomes of the engine's answer to a start.
        """
        request = ClientRequest("POST", f"/v1.41/containers/{reference}/{verb}?t=1", None)
        return await post_hook(self.resource, "/extension", request, response)

    async def get_status(self) -> Any:
        """
        What ``GET /status`` says.
        """
        response = await self.http.get("http://weave/status")
        assert response.code == 200
        assert response.headers.getRawHeaders("content-type") == ["application/json"]
        return await response.json()

    async def post(self, path: str, data: bytes, content_type: str = "application/json") -> Any:
        """
        Status and JSON of an answer to what the command line asks for.
        """
        headers = {"Content-Type": content_type}
        response = await self.http.post(f"http://weave{path}", data=data, headers=headers)
        return response.code, await response.json()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """
    An engine with the image busybox.
    """
    return Rig(tmp_path)


def body_of(refused: HookRefused) -> str:
    """
    The sentence that the docker command prints.
    """
    assert refused.content_type == "application/json"
    message: str = json.loads(refused.body)["message"]
    return message


# Before a create


CREATE = f'{{"Image": "busybox", "Cmd": ["date"], "Env": ["{CIDR}"], "New": 1e20}}'


@pytest.mark.parametrize("path", ["/extension", "/v1/extension"])
@pytest.mark.parametrize("target", ["/containers/create", "/v1.41/containers/create?name=x"])
@pytest_twisted.ensureDeferred
async def test_the_command_of_a_container_with_an_address_waits(
    rig: Rig, path: str, target: str
) -> None:
    """
    The program that waits is there when the request goes on, and mounted read-only.
    """
    answer = await pre_hook(rig.resource, path, ClientRequest("POST", target, CREATE))
    body = json.loads(answer.body or "")
    assert body["Entrypoint"] == [WAIT_PROGRAM]
    assert body["Cmd"] == ["date"]
    assert body["HostConfig"]["Binds"] == [f"{rig.directory}:/.powerstrip-weave:ro"]
    assert '"New":1e20' in (answer.body or "")
    assert (rig.directory / "wait-for-weave").read_bytes() == b"program"


@pytest_twisted.ensureDeferred
async def test_an_address_may_come_from_the_image(rig: Rig) -> None:
    """
    ``ENV WEAVE_CIDR=…``.
    """
    rig.engine.add_image("with/address:1", Entrypoint=["/run"], Env=[CIDR])
    body = json.loads(await rig.create('{"Image": "with/address:1"}'))
    assert body["Entrypoint"] == [WAIT_PROGRAM, "/run"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "null",
        "[]",
        "{",
        "{}",
        '{"Image": ""}',
        '{"Image":  "busybox",   "Env": ["A=b"], "x": 1.0}',
        '{"Image":  "busybox", "Env": ["WEAVE_CIDR=none"]}',
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_containers_go_on_as_they_came(rig: Rig, body: str | None) -> None:
    """
    Byte for byte, and nothing is written for them.
    """
    assert await rig.create(body) == (body or None)
    assert not rig.directory.exists()


@pytest_twisted.ensureDeferred
async def test_a_missing_image_is_the_engines_to_say(rig: Rig) -> None:
    """
    Its 404 makes the docker command pull; the create that follows is rewritten.
    """
    body = f'{{"Image": "later", "Cmd": ["date"], "Env": ["{CIDR}"]}}'
    assert await rig.create(body) == body
    rig.engine.add_image("later")
    assert json.loads(await rig.create(body))["Entrypoint"] == [WAIT_PROGRAM]


@pytest.mark.parametrize(
    "reference", ["localhost:5000/a/b:tag", "sha256:" + "0" * 64, "0" * 12, "a@sha256:" + "1" * 64]
)
@pytest_twisted.ensureDeferred
async def test_an_image_is_found_by_any_reference(rig: Rig, reference: str) -> None:
    """
    The engine is asked for it as it was named.
    """
    rig.engine.add_image(reference, Cmd=["run"])
    body = json.dumps({"Image": reference, "Env": [CIDR]})
    target = "/v1.41/containers/create?platform=linux%2Farm64"
    assert json.loads(await rig.create(body, target))["Entrypoint"] == [WAIT_PROGRAM]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            '"Env": ["WEAVE_CIDR=10.255.0.51/32"]',
            'weave: WEAVE_CIDR: "10.255.0.51/32" is a network with room for no one else',
        ),
        (
            f'"Env": ["{CIDR}"], "HostConfig": {{"NetworkMode": "host"}}',
            "weave: a container with the host's network can't have a WEAVE_CIDR too",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_cant_be_is_refused(rig: Rig, more: str, sentence: str) -> None:
    """
    With a 400, and the sentence.
    """
    with pytest.raises(HookRefused) as caught:
        await rig.create(f'{{"Image": "busybox", {more}}}')
    assert caught.value.status == 400
    assert body_of(caught.value) == sentence


@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_not_there_is_a_502(rig: Rig) -> None:
    """
    Nothing is let through that could have an address.
    """
    rig.engine.is_up = False
    with pytest.raises(HookRefused) as caught:
        await rig.create(CREATE)
    assert caught.value.status == 502
    sentence = "weave: the Docker Engine at unix:///fake.sock can't be reached: "
    assert body_of(caught.value).startswith(sentence)


@pytest_twisted.ensureDeferred
async def test_a_program_that_cant_be_had_is_a_500(rig: Rig) -> None:
    """
    It says for which machine.
    """
    rig.engine.info["Architecture"] = "riscv64"
    with pytest.raises(HookRefused) as caught:
        await rig.create(CREATE)
    assert caught.value.status == 500
    assert body_of(caught.value) == (
        "weave: there is no wait program for the engine's machine, riscv64; there is one for:"
        " x86_64"
    )


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/containers/create"), ("POST", "/containers/x/start"), ("POST", "/volumes/create")],
)
@pytest_twisted.ensureDeferred
async def test_other_requests_go_on_as_they_came(rig: Rig, method: str, target: str) -> None:
    """
    Whatever the configuration has sent here.
    """
    request = ClientRequest(method, target, CREATE)
    assert await pre_hook(rig.resource, "/extension", request) == request
    assert rig.engine.requests == []


# After a start


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize("code", [204, 304])
@pytest_twisted.ensureDeferred
async def test_a_started_container_is_attached(rig: Rig, verb: str, code: int) -> None:
    """
    The engine's answer goes on as it is; 304 is that it ran already.
    """
    container_id = rig.engine.run("box", CIDR)
    response = ServerResponse(None, "", code)
    assert await rig.started("box", verb, response) == response
    assert rig.network.attached == {container_id: ADDRESSES}


@pytest_twisted.ensureDeferred
async def test_a_name_in_the_path_is_unquoted(rig: Rig) -> None:
    """
    As the engine does.
    """
    container_id = rig.engine.run("a.b", CIDR)
    await rig.started("a%2Eb")
    assert rig.network.attached == {container_id: ADDRESSES}


@pytest.mark.parametrize("code", [404, 409, 500])
@pytest_twisted.ensureDeferred
async def test_the_engines_errors_pass(rig: Rig, code: int) -> None:
    """
    The container was not started.
    """
    rig.engine.run("box", CIDR)
    response = ServerResponse("application/json", '{"message": "no"}', code)
    assert await rig.started("box", response=response) == response
    assert rig.engine.requests == []


@pytest.mark.parametrize("path", ["/containers/box/stop", "/containers/create", "/exec/box/start"])
@pytest_twisted.ensureDeferred
async def test_other_answers_pass(rig: Rig, path: str) -> None:
    """
    Whatever the configuration has sent here.
    """
    rig.engine.run("box", CIDR)
    request = ClientRequest("POST", path, None)
    assert await post_hook(rig.resource, "/extension", request, STARTED) == STARTED
    assert rig.network.attach_calls == []


@pytest_twisted.ensureDeferred
async def test_an_address_in_use_is_a_409(rig: Rig) -> None:
    """
    The client is told who has it, and the container is stopped.
    """
    rig.network.wire.holders[ADDRESSES[0].ip] = STRANGER
    container_id = rig.engine.run("box", CIDR)
    with pytest.raises(HookRefused) as caught:
        await rig.started("box")
    assert caught.value.status == 409
    sentence = f"weave: the address 10.255.0.51 is in use on the network by {STRANGER}"
    assert body_of(caught.value) == sentence
    assert not rig.engine.containers[container_id].pid


@pytest_twisted.ensureDeferred
async def test_a_network_that_fails_is_a_500(rig: Rig) -> None:
    """
    With its own sentence.
    """
    rig.network.failure = NetworkError("no bridge")
    rig.engine.run("box", CIDR)
    with pytest.raises(HookRefused) as caught:
        await rig.started("box")
    assert (caught.value.status, body_of(caught.value)) == (500, "weave: no bridge")


def test_a_client_that_leaves_does_not_stop_the_attachment(rig: Rig) -> None:
    """
    Klein cancels what it answers with.
    """
    rig.network.attach_gate = Deferred()
    container_id = rig.engine.run("box", CIDR)
    request = ClientRequest("POST", "/containers/box/start", None)
    hook = Deferred.fromCoroutine(post_hook(rig.resource, "/extension", request, STARTED))
    hook.addErrback(lambda _: None)
    hook.cancel()
    rig.network.attach_gate.callback(None)
    assert rig.network.attached == {container_id: ADDRESSES}


# The status


@pytest_twisted.ensureDeferred
async def test_the_status_says_how_it_is(rig: Rig) -> None:
    """
    All that `WeaveAdapter.status` describes.
    """
    one = rig.engine.run("one", CIDR)
    two = rig.engine.run("two", "WEAVE_CIDR=10.0.0.1/24,10.0.1.1/24")
    bad = rig.engine.run("bad", "WEAVE_CIDR=x")
    rig.engine.run("other", "A=b")
    await rig.started("one")
    three = rig.engine.run("three", CIDR)
    with pytest.raises(HookRefused):
        await rig.started("three")
    rig.engine.clock.advance(2)
    rig.network.peers = (Peer("192.0.2.7", 0.5), Peer("192.0.2.8", None))
    rig.network.problems = ("no way to 192.0.2.8",)
    assert await rig.get_status() == {
        "driver": "fake",
        "mtu_bytes": None,
        "engine": {"address": "unix:///fake.sock", "problem": None},
        "containers": [
            {"id": bad, "name": "bad", "addresses": [], "attached": False},
            {"id": one, "name": "one", "addresses": ["10.255.0.51/8"], "attached": True},
            {
                "id": two,
                "name": "two",
                "addresses": ["10.0.0.1/24", "10.0.1.1/24"],
                "attached": False,
            },
        ],
        "stopped": [
            {
                "id": three,
                "name": "three",
                "seconds_ago": 2,
                "problem": f"the address 10.255.0.51 is in use on the network by {one}",
            }
        ],
        "peers": [
            {"address": "192.0.2.7", "last_heard_seconds": 0.5},
            {"address": "192.0.2.8", "last_heard_seconds": None},
        ],
        "problems": ["no way to 192.0.2.8"],
    }


@pytest_twisted.ensureDeferred
async def test_the_status_is_there_without_an_engine(rig: Rig) -> None:
    """
    It says what is attached, and why the names are not known.
    """
    one = rig.engine.run("one", CIDR)
    await rig.started("one")
    rig.engine.is_up = False
    status = await rig.get_status()
    assert status["containers"] == [
        {"id": one, "name": None, "addresses": ["10.255.0.51/8"], "attached": True}
    ]
    assert "can't be reached" in status["engine"]["problem"]


@pytest_twisted.ensureDeferred
async def test_a_network_that_cant_say_is_a_problem(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Not the end of the status.
    """

    async def attachments(*_: object) -> None:
        raise NetworkError("not launched")

    monkeypatch.setattr(FakeNetwork, "attachments", attachments)
    assert (await rig.get_status())["problems"] == ["not launched"]


# The host's addresses


@pytest_twisted.ensureDeferred
async def test_the_host_can_have_an_address(rig: Rig) -> None:
    """
    And give it back.
    """
    said = {"address": "10.255.0.1/8"}
    data = json.dumps(said).encode()
    assert await rig.post("/expose", data) == (200, said)
    assert rig.network.exposed == {IPv4Interface("10.255.0.1/8")}
    assert await rig.post("/hide", data, "application/json; charset=utf-8") == (200, said)
    assert rig.network.exposed == set()


@pytest_twisted.ensureDeferred
async def test_the_host_cant_have_an_address_in_use(rig: Rig) -> None:
    """
    It is told who has it.
    """
    rig.network.wire.holders[ADDRESSES[0].ip] = STRANGER
    sentence = f"weave: the address 10.255.0.51 is in use on the network by {STRANGER}"
    answer = await rig.post("/expose", b'{"address": "10.255.0.51/8"}')
    assert answer == (409, {"message": sentence})


@pytest_twisted.ensureDeferred
async def test_a_network_that_fails_says_so(rig: Rig) -> None:
    """
    In its own words.
    """
    rig.network.failure = NetworkError("no bridge")
    answer = await rig.post("/hide", b'{"address": "10.255.0.51/8"}')
    assert answer == (500, {"message": "weave: no bridge"})


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", 'the body must be JSON such as {"address": "10.255.0.1/8"}'),
        (b"[]", 'the body must be JSON such as {"address": "10.255.0.1/8"}'),
        (b'{"address": 1}', 'the body must be JSON such as {"address": "10.255.0.1/8"}'),
        (b'{"address": "none"}', "one address is needed, such as 10.255.0.1/8"),
        (b'{"address": "10.0.0.1/8,10.0.0.2/8"}', "one address is needed, such as 10.255.0.1/8"),
        (
            b'{"address": "10.0.0.1"}',
            '"10.0.0.1" has no prefix length such as the 24 of 10.0.0.1/24',
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_address_is_refused(rig: Rig, data: bytes, sentence: str) -> None:
    """
    With a 400.
    """
    assert await rig.post("/expose", data) == (400, {"message": sentence})
    assert rig.network.exposed == set()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
@pytest_twisted.ensureDeferred
async def test_a_browser_cant_be_made_to_ask_for_an_address(rig: Rig, content_type: str) -> None:
    """
    What a foreign page may post without being let to is refused.
    """
    code, _ = await rig.post("/expose", b'{"address": "10.255.0.51/8"}', content_type)
    assert code == 415
    assert rig.network.exposed == set()
