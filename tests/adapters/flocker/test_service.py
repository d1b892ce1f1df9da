"""
The service: its options, how it begins and ends, in this process and as one of its own.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import treq
from powerstrip_flocker.options import CONTROL_SERVICE, DEFAULT_LISTEN
from powerstrip_flocker.service import Conduct, Options, ServiceReactor, make_service, makeService
from powerstrip_flocker.testing import FakeStorage
from twisted.application.service import IServiceMaker
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.web.client import Agent
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.server import Site
from zope.interface import implementer

from powerstrip.adapter.testing import FakeEngine
from powerstrip.core.payloads import ClientRequest, encode_pre_hook
from tests.adapters.flocker.ledger.etcd_server import make_keys
from tests.net.harness import close_spare_pipes, descriptors, until
from tests.net.peers import reactor

NODE = ["--node", "node1", "--storage", "zfs:flocker"]
CLUSTER = [*NODE, "--etcd", "http://127.0.0.1:1"]


def options(*words: str) -> Options:
    """
    The options of a command line.
    """
    parsed = Options()
    parsed.parseOptions(words)
    return parsed


# Options


def test_twistd_finds_the_command() -> None:
    """
    The plugin is there, and names the service by string.
    """
    (maker,) = [it for it in getPlugins(IServiceMaker) if it.tapname == "powerstrip-flocker"]
    assert maker.options is Options
    assert maker.makeService is makeService


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "--storage is missing: zfs:POOL or btrfs:PATH (or --control-service URL)"),
        (NODE[2:], "--node is missing: what this node is called, as in --node node1"),
        (["--node", "node/1", *NODE[2:]], "--node 'node/1': it may have letters of ASCII, digits"),
        (["--node", "", *NODE[2:]], "--node '': it may have letters of ASCII, digits"),
        (["--node", "n" * 65, *NODE[2:]], f"--node '{'n' * 65}': it may have letters of ASCII"),
        ([*NODE[:2], "--storage", "ext4:/x"], "--storage takes zfs:POOL or btrfs:PATH"),
        ([*NODE[:2], "--storage", "zfs"], "--storage zfs: zfs: takes a pool, or a file system"),
        ([*NODE[:2], "--storage", "zfs:a:b"], "--storage zfs:a:b: zfs: takes a pool, or a file"),
        ([*NODE[:2], "--storage", "btrfs:x"], "--storage btrfs:x: btrfs: takes an absolute path"),
        ([*NODE[:2], "--storage", "btrfs:/a:b"], "--storage btrfs:/a:b: /a:b has a colon, which"),
        (
            [*NODE[:2], "--storage", "btrfs:/x/../flocker/"],
            "--storage btrfs:/x/../flocker/: /x/../flocker/ can't be where datasets are mounted",
        ),
        (CLUSTER, "--etcd needs --peer-listen: where other nodes fetch what moves away from here"),
        ([*CLUSTER, "--ledger", "/x"], "--ledger is for one node, and --etcd for several"),
        (
            [*NODE, "--peer-listen", "127.0.0.1:1"],
            "--peer-listen is for several nodes: it needs --etcd",
        ),
        ([*NODE, "--etcd-user", "/x"], "--etcd-user is for several nodes: it needs --etcd"),
        ([*NODE, "--insecure-peers"], "--insecure-peers is for several nodes: it needs --etcd"),
        ([*NODE, "--tls-key", "/x"], "--tls-key is for several nodes: it needs --etcd"),
        (
            [*CLUSTER, "--peer-listen", "127.0.0.1:1", "--etcd-cert", "/x"],
            "--etcd-cert and --etcd-key belong together",
        ),
        (
            [*CLUSTER, "--peer-listen", "x:1", "--etcd-cert", "/x", "--etcd-key", "/x"],
            "--etcd-cert needs --etcd-ca",
        ),
        (
            [*CLUSTER, "--peer-listen", "127.0.0.1:1", "--tls-ca", "/x"],
            "--tls-ca, --tls-cert and --tls-key belong together",
        ),
        (
            [
                *[*CLUSTER, "--peer-listen", "127.0.0.1:1", "--insecure-peers"],
                *["--tls-ca", "/x", "--tls-cert", "/x", "--tls-key", "/x"],
            ],
            "--insecure-peers is for nodes without TLS: leave it out, or --tls-…",
        ),
        ([*NODE, "--enter-mounts", "0"], "--enter-mounts takes the number of a process"),
        ([*NODE, "--grace", "soon"], "--grace takes a number of seconds"),
        ([*NODE, "--control-node", "x"], "--control-node needs --control-service"),
        (
            [*NODE, "--control-service", "http://x/v1"],
            "--storage is not for Flocker's control service, which has storage and nodes",
        ),
        (
            ["--control-service", "http://x/v1", "--etcd", "http://x"],
            "--etcd is not for Flocker's control service, which has storage and nodes",
        ),
        (
            ["--control-service", "http://x/v1", "--control-size", "1G"],
            "--control-size takes a number of bytes",
        ),
    ],
)
def test_a_mistake_of_usage_is_one_sentence(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It names the option.
    """
    monkeypatch.delenv(CONTROL_SERVICE, raising=False)
    with pytest.raises(UsageError) as caught:
        options(*words)
    assert str(caught.value)[: len(sentence)] == sentence
    assert "\n" not in str(caught.value)


def files(directory: Path) -> dict[str, str]:
    """
    Files of all kinds, good and bad, by name.
    """
    (directory / "empty").write_text("")
    (directory / "two").write_text("a:b\nc:d\n")
    (directory / "user").write_text("root:pass:word\n")
    keys = make_keys(directory / "keys")
    found = {it: str(directory / it) for it in ("empty", "two", "user", "none")}
    return {**found, "ca": str(keys.ca), "cert": str(keys.cert), "key": str(keys.key)}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([*NODE, "--docker", "docker.sock"], '--docker "docker.sock": write unix:///'),
        ([*NODE, "--listen", "/run/x"], '--listen "/run/x": a socket is written unix:/'),
        (
            [*NODE, "--etcd", "ftp://x", "--peer-listen", "127.0.0.1:1"],
            "ftp://x is no endpoint of etcd",
        ),
        (
            [*NODE, "--etcd", "http://a:b@x", "--peer-listen", "127.0.0.1:1"],
            "the user and the password of etcd don't belong in its URL",
        ),
        (
            [*CLUSTER, "--peer-listen", "127.0.0.1:1", "--etcd-user", "{none}"],
            "{none} can't be read: No such file",
        ),
        (
            [*CLUSTER, "--peer-listen", "127.0.0.1:1", "--etcd-user", "{empty}"],
            "{empty} has to be one line, NAME:PASSWORD",
        ),
        (
            [*CLUSTER, "--peer-listen", "127.0.0.1:1", "--etcd-user", "{two}"],
            "{two} has to be one line, NAME:PASSWORD",
        ),
        (
            [*CLUSTER, "--peer-listen", "127.0.0.1:1", "--etcd-ca", "{none}"],
            "{none} can't be read: No such file",
        ),
        ([*CLUSTER, "--peer-listen", "nowhere"], "nowhere is no address of a node"),
        ([*CLUSTER, "--peer-listen", "192.0.2.1:1"], "--peer-listen 192.0.2.1:1: without --tls-ca"),
        (
            [*CLUSTER, "--peer-listen", "0.0.0.0:1", "--insecure-peers"],
            "--peer-listen 0.0.0.0:1 is no address that other nodes could use: say one",
        ),
        (
            [*CLUSTER, "--peer-listen", "0.0.0.0:1", "--peer-advertise", "nowhere"],
            "nowhere is no address of a node",
        ),
        (
            [
                *[*CLUSTER, "--peer-listen", "127.0.0.1:1"],
                *["--tls-ca", "{ca}", "--tls-cert", "{cert}", "--tls-key", "{key}"],
            ],
            "{cert} is not for node1: the names in it are none",
        ),
        (
            ["--control-service", "https://control:4523/v1"],
            "--control-service https://control:4523/v1: it lets nobody in without --tls-ca",
        ),
        (["--control-service", "control"], "control is no "),
    ],
)
def test_a_mistake_in_what_options_name_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    """
    It ends the start.
    """
    names = files(tmp_path)
    with pytest.raises(SystemExit) as caught:
        makeService(options(*(word.format(**names) for word in words)))
    wanted = f"powerstrip-flocker: {sentence.format(**names)}"
    assert str(caught.value)[: len(wanted)] == wanted


def test_the_control_service_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    As it did in 2015; a storage that is named goes before it.
    """
    monkeypatch.setenv(CONTROL_SERVICE, "http://control:4523/v1")
    assert options()["control-service"] == "http://control:4523/v1"
    assert options(*NODE)["control-service"] is None


def test_several_etcds_are_one(tmp_path: Path) -> None:
    """
    With commas, or repeated.
    """
    words = ["--etcd", "http://a:1, http://b:2", "--etcd", "http://c:3"]
    assert options(*NODE, *words, "--peer-listen", "127.0.0.1:0")["etcd"] == [
        "http://a:1",
        "http://b:2",
        "http://c:3",
    ]


def test_the_help_has_no_gaps() -> None:
    """
    The breaks in a docstring are not those of the screen.
    """
    usage = " ".join(Options().getUsage(200).split())
    assert f"May be given several times. [default: {DEFAULT_LISTEN}]" in usage
    assert "with commas between them. May be given several times." in usage


# In this process, with an engine and a storage in memory


@implementer(IAgentEndpointFactory)
class Endpoints:
    """
    Leads to a socket.
    """

    def __init__(self, path: str) -> None:
        self._endpoint = UNIXClientEndpoint(reactor, path)

    def endpointForURI(self, uri: Any) -> Any:
        return self._endpoint


class Stage:
    """
    A service on a socket, which asks a fake engine on another one. Its node is by itself, unless
    words say otherwise.
    """

    def __init__(self, directory: Path, storage: FakeStorage, *words: str) -> None:
        self.engine = FakeEngine()
        self.engine.add_image("busybox")
        self._engine_socket = f"{directory}/e.sock"
        self._engine_port: Any = None
        self.storage = storage
        self.socket = f"{directory}/a.sock"
        own = ["--docker", f"unix://{directory}/e.sock", "--listen", f"unix://{self.socket}"]
        words = words or (*NODE, "--ledger", f"{directory}/l/ledger.json")
        parsed = options(*words, *own, "--grace", "20")
        self.service = make_service(
            parsed, cast(ServiceReactor, reactor), Conduct(storage=self.storage)
        )
        agent = Agent.usingEndpointFactory(reactor, cast(Any, Endpoints(self.socket)))
        self._http = treq.client.HTTPClient(agent)

    def start_engine(self) -> None:
        """
        Have the engine be there.
        """
        site = Site(self.engine.app.resource())
        site.noisy = False
        self._engine_port = reactor.listenUNIX(self._engine_socket, site)

    async def bind(self, *binds: str) -> Any:
        """
        Status and JSON of the answer to a hook before a create.
        """
        body = json.dumps({"Image": "busybox", "HostConfig": {"Binds": binds}})
        hook = encode_pre_hook(ClientRequest("POST", "/containers/create", body))
        response = await self._http.post("http://flocker/flocker-adapter", data=hook)
        return response.code, await response.json()

    async def get(self, path: str) -> Any:
        """
        The JSON of an answer.
        """
        response = await self._http.get(f"http://flocker{path}")
        return await response.json()

    async def stop(self) -> None:
        """
        End all.
        """
        if self.service.running:
            await self.service.stopService()
        self.engine.hang_up()
        if self._engine_port is not None:
            await self._engine_port.stopListening()


@pytest_twisted.async_yield_fixture
async def stage(short_tmp: Path) -> AsyncIterator[Stage]:
    """
    A service that was started, of a node that has a dataset ``a`` already. What it leaves open
    fails the test.
    """
    usual = signal.getsignal(signal.SIGTERM)
    close_spare_pipes()
    storage = FakeStorage(short_tmp / "pool")
    before = descriptors()
    stage = Stage(short_tmp, storage)
    stage.service.startService()
    await until(lambda: os.path.exists(stage.socket), "it listens")
    yield stage
    await stage.stop()
    await until(lambda: descriptors() <= before, "all is closed")
    signal.signal(signal.SIGTERM, usual)


@pytest_twisted.ensureDeferred
async def test_it_has_datasets_and_answers_the_operator(stage: Stage) -> None:
    """
    All its parts are put together.
    """
    stage.start_engine()
    code, reply = await stage.bind("/flocker/a:/x")
    made = json.loads(reply["ModifiedClientRequest"]["Body"])
    assert (code, made["HostConfig"]["Binds"]) == (200, [f"{stage.storage.root}/a:/x"])
    assert await stage.storage.is_writable("a")
    (dataset,) = (await stage.get("/datasets"))["datasets"]
    assert (dataset["name"], dataset["owner"]) == ("a", "node1")
    assert os.stat(stage.socket).st_mode & 0o777 == 0o660


@pytest_twisted.ensureDeferred
async def test_it_may_start_before_the_engine(stage: Stage) -> None:
    """
    As both may when a machine starts. Then it follows what happens to containers.
    """
    code, reply = await stage.bind("/flocker/a:/x")
    assert code == 502
    assert reply["message"].startswith("flocker: the Docker Engine at unix:///")
    stage.start_engine()
    await until(lambda: bool(stage.engine._listeners), "it follows")
    assert (await stage.bind("/flocker/a:/x"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_what_is_its_own_is_writable_before_anybody_is_let_in(short_tmp: Path) -> None:
    """
    After a reboot nothing is mounted.
    """
    usual = signal.getsignal(signal.SIGTERM)
    first = Stage(short_tmp, FakeStorage(short_tmp / "pool"))
    first.start_engine()
    first.service.startService()
    await until(lambda: os.path.exists(first.socket), "it listens")
    await first.bind("/flocker/a:/x")
    await first.stop()
    first.storage.reboot()
    second = Stage(short_tmp, first.storage)
    second.service.startService()
    await until(lambda: os.path.exists(second.socket), "it listens")
    assert await second.storage.is_writable("a")
    await second.stop()
    signal.signal(signal.SIGTERM, usual)


@pytest_twisted.ensureDeferred
async def test_it_ends_when_a_hook_is_answered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What was begun is done.
    """
    stage.start_engine()
    gate: Deferred[None] = Deferred()
    create = FakeStorage.create

    async def slow(storage: FakeStorage, name: str) -> None:
        await gate
        await create(storage, name)

    monkeypatch.setattr(FakeStorage, "create", slow)
    binding = Deferred.fromCoroutine(stage.bind("/flocker/a:/x"))
    await until(lambda: len(stage.service._requests._requests) == 1, "the hook is in")
    stopped = stage.service.stopService()
    await until(lambda: not os.path.exists(stage.socket), "nobody is let in")
    assert not stopped.called
    gate.callback(None)
    assert (await binding)[0] == 200
    await stopped


@pytest_twisted.ensureDeferred
async def test_what_takes_too_long_is_cut_at_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A move that goes on for an hour is given up, as if it had been cancelled.
    """
    stage.start_engine()
    stage.service._grace_seconds = 0.1
    cut: list[bool] = []
    monkeypatch.setattr(FakeStorage, "create", lambda storage, name: endless(cut))
    binding = Deferred.fromCoroutine(stage.bind("/flocker/a:/x"))
    await until(lambda: cut == [False], "it is under way")
    await stage.service.stopService()
    assert cut == [False, True]
    sentence = "flocker: the adapter was stopped before a had come: try again"
    assert await binding == (500, {"message": sentence})


async def endless(cut: list[bool]) -> None:
    """
    Wait until it is cancelled.
    """
    cut.append(False)
    try:
        await Deferred()
    finally:
        cut.append(True)
