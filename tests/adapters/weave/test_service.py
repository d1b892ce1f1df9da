"""
The service: its options, how it begins and ends, and a real container with a real address.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import treq
from powerstrip_weave.networks.vxlan import VxlanNetwork
from powerstrip_weave.networks.weave import WeaveNetwork
from powerstrip_weave.service import DEFAULT_LISTEN, Options, make_service, makeService
from powerstrip_weave.testing import FakeNetwork
from powerstrip_weave.wait_place import DataContainer, HostDirectory
from twisted.application.service import IServiceMaker
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.task import deferLater
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.web.client import Agent
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.server import Site
from zope.interface import implementer

from demo.engine import PrivateEngine, why_not
from powerstrip.adapter.testing import FakeEngine
from powerstrip.core.payloads import ClientRequest, ServerResponse, encode_post_hook
from powerstrip.net.reactor import Reactor
from tests.net.harness import close_spare_pipes, descriptors, until
from tests.net.peers import reactor

TWISTD = Path(sys.executable).parent / "twistd"
CIDR = "WEAVE_CIDR=10.255.0.51/8"


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
    (maker,) = [it for it in getPlugins(IServiceMaker) if it.tapname == "powerstrip-weave"]
    assert maker.options is Options
    assert maker.makeService is makeService


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--driver", "ipvlan"], "--driver takes vxlan or weave"),
        (["--peer", "node2"], "--peer node2: it must be an IP address"),
        (
            ["--driver", "weave", "--peer", "192.0.2.1"],
            "--peer and --peers-file are for vxlan: Weave Net knows its own peers",
        ),
        (
            ["--driver", "weave", "--peers-file", "/x"],
            "--peer and --peers-file are for vxlan: Weave Net knows its own peers",
        ),
        (["--wait-directory", "bin"], "--wait-directory takes an absolute path without a colon"),
        (["--wait-directory", "/a:b"], "--wait-directory takes an absolute path without a colon"),
        (["--grace", "soon"], "--grace takes a number of seconds"),
    ],
)
def test_a_mistake_of_usage_is_one_sentence(words: list[str], sentence: str) -> None:
    """
    It names the option.
    """
    with pytest.raises(UsageError) as caught:
        options(*words)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--docker", "docker.sock"], 'powerstrip-weave: --docker "docker.sock": write unix:///'),
        (["--listen", "/run/x"], 'powerstrip-weave: --listen "/run/x": a socket is written unix:/'),
        (
            ["--driver", "weave", "--docker", "tls:host:2376"],
            "powerstrip-weave: --docker tls:host:2376: weave takes unix:///PATH or tcp://HOST:PORT",
        ),
    ],
)
def test_a_mistake_in_an_address_is_one_sentence(words: list[str], sentence: str) -> None:
    """
    It ends the start.
    """
    with pytest.raises(SystemExit) as caught:
        makeService(options(*words))
    assert str(caught.value).startswith(sentence)


def test_the_help_has_no_gaps() -> None:
    """
    The breaks in a docstring are not those of the screen.
    """
    usage = " ".join(line.strip() for line in Options().getUsage(80).split("\n"))
    assert f"May be given several times. [default: {DEFAULT_LISTEN}]" in usage
    assert "may be among them. --peers-file" in usage.replace("     ", " ").replace("  ", " ")


def test_the_options_choose_network_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The kernel's own network and a directory of the host, where nothing else is said.
    """
    made: list[Any] = []

    class Adapter:
        def __init__(self, *parts: Any) -> None:
            made.extend(parts)
            self.app = FakeEngine.app

    monkeypatch.setattr("powerstrip_weave.service.WeaveAdapter", Adapter)
    make_service(options(), cast(Reactor, reactor))
    assert isinstance(made[1], VxlanNetwork)
    assert isinstance(made[3], HostDirectory)
    made.clear()
    words = ["--driver", "weave", "--wait-container", "place", "--docker", "unix:///e.sock"]
    monkeypatch.setenv("DOCKER_HOST", "unix:///powerstrip.sock")
    make_service(options(*words), cast(Reactor, reactor))
    assert isinstance(made[1], WeaveNetwork)
    assert made[1]._environment["DOCKER_HOST"] == "unix:///e.sock"
    assert isinstance(made[3], DataContainer)
    assert made[0].address == "unix:///e.sock"


# In this process, with an engine and a network in memory


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
    A service on a socket, which asks a fake engine on another one.
    """

    def __init__(self, directory: Path) -> None:
        self.engine = FakeEngine()
        site = Site(self.engine.app.resource())
        site.noisy = False
        self._engine_port = reactor.listenUNIX(f"{directory}/e.sock", site)
        self.network = FakeNetwork()
        self.socket = f"{directory}/a.sock"
        words = ["--docker", f"unix://{directory}/e.sock", "--listen", f"unix://{self.socket}"]
        words += ["--wait-directory", f"{directory}/bin", "--grace", "20"]
        self.service = make_service(options(*words), cast(Reactor, reactor), self.network)
        agent = Agent.usingEndpointFactory(reactor, cast(Any, Endpoints(self.socket)))
        self._http = treq.client.HTTPClient(agent)

    async def ask(self, method: str, path: str, data: bytes | None = None) -> Any:
        """
        Status and text of an answer.
        """
        response = await self._http.request(method, f"http://weave{path}", data=data)
        return response.code, await response.text()

    async def stop(self) -> None:
        """
        End all.
        """
        if self.service.running:
            await self.service.stopService()
        self.engine.hang_up()
        await self._engine_port.stopListening()


@pytest_twisted.async_yield_fixture
async def stage(short_tmp: Path) -> AsyncIterator[Stage]:
    """
    A service that was started. What it leaves open fails the test.
    """
    usual = signal.getsignal(signal.SIGTERM)
    close_spare_pipes()
    before = descriptors()
    stage = Stage(short_tmp)
    stage.service.startService()
    yield stage
    await stage.stop()
    await until(lambda: descriptors() <= before, "all is closed")
    signal.signal(signal.SIGTERM, usual)


@pytest_twisted.ensureDeferred
async def test_it_attaches_what_starts_and_answers_hooks(stage: Stage) -> None:
    """
    All its parts are put together.
    """
    assert stage.network.running
    await until(lambda: bool(stage.engine._listeners), "it follows")
    one = stage.engine.run("one", CIDR)
    await until(lambda: one in stage.network.attached, "the event is seen to")
    code, text = await stage.ask("GET", "/status")
    (container,) = json.loads(text)["containers"]
    assert (code, container["name"], container["attached"]) == (200, "one", True)
    assert os.stat(stage.socket).st_mode & 0o777 == 0o660


@pytest_twisted.ensureDeferred
async def test_it_ends_when_what_is_under_way_has_ended(stage: Stage) -> None:
    """
    A hook is answered, what an event has begun is done, and the network is let go.
    """
    await until(lambda: bool(stage.engine._listeners), "it follows")
    stage.network.attach_gate = Deferred()
    stage.engine.run("one", CIDR)
    two = stage.engine.run("two", "WEAVE_CIDR=10.255.0.52/8")
    request = ClientRequest("POST", "/containers/two/start", None)
    hook = encode_post_hook(request, ServerResponse(None, "", 204))
    asking = Deferred.fromCoroutine(stage.ask("POST", "/extension", hook))
    await until(lambda: len(stage.network.attach_calls) == 2, "both are seen to")
    await until(lambda: len(stage.service._requests._requests) == 1, "the hook is in")
    stopped = stage.service.stopService()
    await until(lambda: not os.path.exists(stage.socket), "nobody is let in")
    assert not stopped.called
    stage.network.attach_gate.callback(None)
    code, _ = await asking
    await stopped
    assert code == 200
    assert len(stage.network.attached) == 2
    assert two in stage.network.attached
    assert not stage.network.running


# As a process, with a real engine


class Process:
    """
    ``twistd powerstrip-weave``, as users start it.
    """

    def __init__(self, directory: Path, *words: str, before: Sequence[str] = ()) -> None:
        self.log = directory / "log"
        self.socket = directory / "a.sock"
        command = [*before, str(TWISTD), "--nodaemon", "--pidfile=", "powerstrip-weave"]
        command += ["--listen", f"unix://{self.socket}", *words]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def listens(self) -> None:
        """
        Wait until it lets Powerstrip in.
        """
        await until(lambda: self._listens() or self.ended(), "it listens")
        assert not self.ended(), self.log.read_text()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:  # one that was killed leaves its socket
            return client.connect_ex(str(self.socket)) == 0

    def ended(self) -> bool:
        """
        Whether it is over.
        """
        return self.process.poll() is not None

    def terminate(self) -> int:
        """
        Ask it to end, and give its status.
        """
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        """
        End it, whatever it does.
        """
        self.process.kill()
        self.process.wait()


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """
    Ends what was started.
    """
    with ExitStack() as stack:
        yield stack


@pytest_twisted.ensureDeferred
async def test_a_network_that_cant_be_is_a_sentence_and_a_status(
    short_tmp: Path, processes: ExitStack
) -> None:
    """
    No traceback. Here there is no Weave Net.
    """
    process = Process(short_tmp, "--driver", "weave", before=["env", "PATH=/nowhere"])
    processes.callback(process.kill)
    await until(process.ended, "it ends")
    assert process.process.returncode == 1
    log = process.log.read_text()
    assert "powerstrip-weave: weave: there is no such command here\n" in log
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def private_engine() -> Iterator[PrivateEngine]:
    """
    A real engine with the image busybox.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with PrivateEngine(Path("/tmp/powerstrip-tests"), f"ws-{os.getpid()}") as engine:
        engine.import_busybox()
        yield engine


class Node:
    """
    An engine with the adapter beside it, and Powerstrip before it.
    """

    def __init__(self, engine: PrivateEngine, directory: Path, processes: ExitStack) -> None:
        self.engine = engine
        self.directory = directory
        self._processes = processes
        (directory / "adapters.yml").write_text(
            "endpoints:\n"
            '  "POST /*/containers/create": {pre: [weave]}\n'
            '  "POST /*/containers/*/start": {post: [weave]}\n'
            '  "POST /*/containers/*/restart": {post: [weave]}\n'
            "adapters:\n"
            f"  weave: http+unix://{str(directory / 'a.sock').replace('/', '%2F')}/extension\n"
        )
        self.adapter = self.start_adapter()
        command = [str(TWISTD), "--nodaemon", "--pidfile=", "powerstrip"]
        command += ["--config", f"{directory}/adapters.yml", "--docker", engine.docker_host]
        command += ["--listen", f"unix://{directory}/p.sock"]
        proxy = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        processes.callback(proxy.wait)
        processes.callback(proxy.kill)

    def start_adapter(self) -> Process:
        """
        In the engine's network namespace, where its containers are attached.
        """
        adapter = Process(
            self.directory,
            "--docker",
            self.engine.docker_host,
            "--wait-directory",
            f"{self.directory}/bin",
            before=["nsenter", f"--net={self.engine.namespace}"],
        )
        self._processes.callback(adapter.kill)
        return adapter

    async def is_ready(self) -> None:
        """
        Wait until clients can come in.
        """
        await self.adapter.listens()
        await until((self.directory / "p.sock").exists, "powerstrip listens")

    async def docker(self, *words: str) -> tuple[int, str]:
        """
        Status and output of the docker command, through Powerstrip.
        """
        from twisted.internet.utils import getProcessOutputAndValue

        command = ["-H", f"unix://{self.directory}/p.sock", *words]
        out, errors, status = await getProcessOutputAndValue("docker", command, os.environ)
        return status, (out + errors).decode()


@pytest_twisted.async_yield_fixture
async def node(
    private_engine: PrivateEngine, short_tmp: Path, processes: ExitStack
) -> AsyncIterator[Node]:
    """
    A node that clients can use.
    """
    node = Node(private_engine, short_tmp, processes)
    await node.is_ready()
    yield node
    _, ids = await node.docker("ps", "-aq")
    if ids:
        await node.docker("rm", "-f", *ids.split())
    log = node.adapter.log.read_text()
    assert "Traceback" not in log, log


ADDRESSES = ("sh", "-c", "ip -4 -o addr show ethwe | awk '{print $4}'")


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_a_container_has_its_address_before_its_command_runs(node: Node) -> None:
    """
    The command is what asks for it.
    """
    answer = await node.docker("run", "--rm", "-e", CIDR, "busybox", *ADDRESSES)
    assert answer == (0, "10.255.0.51/8\n")


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_an_address_in_use_is_refused_and_the_first_runs_on(node: Node) -> None:
    """
    Its restart policy does not bring the second one back.
    """
    run = ("run", "-d", "--restart=always", "-e", CIDR, "busybox", "sleep", "1000")
    status, first = await node.docker(*run)
    assert status == 0
    status, output = await node.docker(*run[:2], "--name", "second", *run[2:])
    assert status == 125
    assert "weave: the address 10.255.0.51 is in use on the network by " in output
    _, running = await node.docker("ps", "-q", "--no-trunc")
    assert running == first
    assert (await node.docker("exec", first.strip(), *ADDRESSES)) == (0, "10.255.0.51/8\n")


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_every_start_brings_the_address_back(node: Node) -> None:
    """
    A restart, a restart policy, a killed adapter, and one that was killed while a container starts.
    """
    image = ("busybox", "sh", "-c", "trap 'exit 1' TERM; sleep 1000 & wait")
    await node.docker("run", "-d", "--name", "box", "--restart=always", "-e", CIDR, *image)

    async def has_it_back() -> None:
        await until_async(node, "box", "10.255.0.51/8\n")

    await has_it_back()
    assert (await node.docker("restart", "box"))[0] == 0
    assert await node.docker("exec", "box", *ADDRESSES) == (0, "10.255.0.51/8\n")
    await node.docker("exec", "box", "kill", "-TERM", "1")
    await has_it_back()
    node.adapter.kill()
    assert await node.docker("exec", "box", *ADDRESSES) == (0, "10.255.0.51/8\n")
    await node.docker("exec", "box", "kill", "-TERM", "1")
    node.adapter = node.start_adapter()
    await node.adapter.listens()
    await has_it_back()
    assert node.adapter.terminate() == 0


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_a_restarted_engine_brings_the_address_back(node: Node) -> None:
    """
    Of a container that it starts itself; the adapter has been there all the time.
    """
    image = ("busybox", "sh", "-c", "trap 'exit 1' TERM; sleep 1000 & wait")
    await node.docker("run", "-d", "--name", "box", "--restart=always", "-e", CIDR, *image)
    node.engine.restart()
    await until_async(node, "box", "10.255.0.51/8\n")
    assert node.adapter.log.read_text().count("box (") == 2


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_an_adapter_killed_at_any_point_ends_what_it_began(node: Node) -> None:
    """
    The container waits for the next one, and its client is told that the adapter broke off.
    """
    for number in range(8):
        name, address = f"box-{number}", f"10.8.0.{number + 1}/24"
        words = ["run", "-d", "--name", name, "-e", f"WEAVE_CIDR={address}", "busybox"]
        starting = Deferred.fromCoroutine(node.docker(*words, "sleep", "1000"))
        await until(lambda name=name: is_there(node, name), "the container is made")
        await deferLater(reactor, 0.06 * number)
        node.adapter.kill()
        await starting
        node.adapter = node.start_adapter()
        await node.adapter.listens()
        status, output = await node.docker("start", name)
        assert status == 0, output
        assert await node.docker("exec", name, *ADDRESSES) == (0, f"{address}\n")


def is_there(node: Node, name: str) -> bool:
    """
    Whether a container of that name was made.
    """
    return node.engine.request("GET", f"/containers/{name}/json")[0] == 200


async def until_async(node: Node, name: str, wanted: str) -> None:
    """
    Ask a container for its addresses until they are these.
    """
    deadline = reactor.seconds() + 20
    while True:
        answer = await node.docker("exec", name, *ADDRESSES)
        if answer == (0, wanted):
            return
        assert reactor.seconds() < deadline, f"{answer}\n{node.adapter.log.read_text()}"


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_twenty_containers_start_at_once(node: Node) -> None:
    """
    Each has its address, and each was attached once.
    """
    starting = []
    for number in range(20):
        words = ["run", "-d", "--name", f"box-{number}", "-e", f"WEAVE_CIDR=10.9.0.{number + 1}/24"]
        starting.append(Deferred.fromCoroutine(node.docker(*words, "busybox", "sleep", "1000")))
    for start in starting:
        status, output = await start
        assert status == 0, output
    for number in range(20):
        wanted = f"10.9.0.{number + 1}/24\n"
        assert await node.docker("exec", f"box-{number}", *ADDRESSES) == (0, wanted)
    log = node.adapter.log.read_text()
    assert [log.count(f"box-{number} (") for number in range(20)] == [1] * 20
