"""
The service: its options, where it listens, and how it ends.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.application.service import IServiceMaker
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, formatEvent
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError

from powerstrip import service as service_module
from powerstrip.errors import ConfigError
from powerstrip.net import hooks
from powerstrip.service import Options, makeService
from tests.net.adapters import AdapterSite, KleinAdapter
from tests.net.certificates import Authority
from tests.net.harness import OK, PING, until
from tests.net.peers import Listener, reactor, settle
from tests.stage import NO_HOOKS, Process, Stage


@pytest_twisted.async_yield_fixture
async def stage(short_tmp: Path) -> AsyncIterator[Stage]:
    """
    A place for services, which are stopped after the test. What they leave open fails it.
    """
    stage = Stage(short_tmp)
    yield stage
    await stage.close()


# How it is found


def test_twistd_finds_the_command() -> None:
    """
    The plugin is there, and names the service by string.
    """
    (maker,) = [it for it in getPlugins(IServiceMaker) if it.tapname == "powerstrip"]
    assert maker.options is Options
    assert maker.makeService is makeService


# Listening


@pytest_twisted.ensureDeferred
async def test_it_listens_on_every_address(stage: Stage) -> None:
    """
    UNIX sockets, TCP and Twisted's endpoints side by side.
    """
    other = str(stage.directory / "other.sock")
    service = stage.start(
        *("--listen", f"unix://{stage.socket}"),
        *("--listen", f"unix://{other}"),
        *("--listen", "tcp://127.0.0.1:0"),
        *("--listen", "tcp:0:interface=127.0.0.1"),
    )
    ports = [port.getHost().port for port in service.listening.ports[2:]]
    for address in [stage.socket, other, *(("127.0.0.1", port) for port in ports)]:
        assert await stage.serves(address)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@pytest_twisted.ensureDeferred
async def test_it_listens_on_ipv6(stage: Stage) -> None:
    """
    An address in brackets.
    """
    try:
        service = stage.start("--listen", "tcp://[::1]:0")
    except SystemExit:
        pytest.skip("needs an IPv6 loopback")
    port = service.listening.ports[0].getHost().port
    with socket.socket(socket.AF_INET6) as client:
        client.connect(("::1", port))


def test_the_default_is_dockers_port_on_the_loopback() -> None:
    """
    Nobody but this machine's users comes in unless told so.
    """
    assert service_module.DEFAULT_LISTEN == "tcp://127.0.0.1:2375"
    assert Options()["listen"] == []


@pytest_twisted.ensureDeferred
async def test_a_network_that_is_let_in_is_warned_of(stage: Stage) -> None:
    """
    Whoever reaches it has the rights of root.
    """
    stage.start("--listen", "tcp://0.0.0.0:0")
    stage.start("--listen", "tcp://127.0.0.1:0")
    warnings = [event for event in stage.events if event["log_level"] is LogLevel.warn]
    assert len(warnings) == 1
    assert "is open to the network" in formatEvent(warnings[0])


OWN_GROUP = 12345 if os.getuid() == 0 else os.getgid()
"""A group that this process may give away a socket to."""


@pytest.mark.parametrize(
    ("options", "mode", "group"),
    [
        ((), 0o660, OWN_GROUP),
        (("--socket-mode", "600"), 0o600, OWN_GROUP),
        (("--socket-mode", "0666"), 0o666, OWN_GROUP),
        (("--socket-group", str(os.getgid())), 0o660, os.getgid()),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_socket_has_its_mode_and_group(
    stage: Stage, options: tuple[str, ...], mode: int, group: int
) -> None:
    """
    If not told otherwise, 0660 and the group of the engine's own socket.
    """
    os.chown(stage.engine_path, -1, OWN_GROUP)
    stage.start(*options)
    status = os.stat(stage.socket)
    assert stat.S_IMODE(status.st_mode) == mode
    assert status.st_gid == group


@pytest_twisted.ensureDeferred
async def test_a_group_may_have_a_name(stage: Stage) -> None:
    """
    As in /etc/group.
    """
    import grp

    name = grp.getgrgid(os.getgid()).gr_name
    stage.start("--socket-group", name)
    assert os.stat(stage.socket).st_gid == os.getgid()


@pytest_twisted.ensureDeferred
async def test_a_stale_socket_is_replaced(stage: Stage) -> None:
    """
    What a process that was killed has left is in nobody's way.
    """
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(stage.socket)
    stage.start()
    assert await stage.serves()


@pytest_twisted.ensureDeferred
async def test_a_live_socket_is_left_alone(stage: Stage) -> None:
    """
    Another process's, and another powerstrip's.
    """
    stage.start()
    with pytest.raises(SystemExit) as caught:
        stage.start()
    assert str(caught.value) == (
        f"powerstrip: --listen unix://{stage.socket}: another process listens there"
    )
    assert await stage.serves()


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_no_socket_is_left_alone(stage: Stage) -> None:
    """
    Whatever it is.
    """
    Path(stage.socket).write_text("precious")
    with pytest.raises(SystemExit) as caught:
        stage.start()
    assert str(caught.value) == (
        f"powerstrip: --listen unix://{stage.socket}: there is a file that is not a socket"
    )
    assert Path(stage.socket).read_text() == "precious"


@pytest_twisted.ensureDeferred
async def test_a_place_that_can_not_be_listened_on_ends_the_start(stage: Stage) -> None:
    """
    One sentence, also for twistd, which sees nothing but an ``Exception`` of a daemon.
    """
    taken = Listener(("127.0.0.1", 0))
    for address, what in [
        (f"tcp://127.0.0.1:{taken.port}", "Address already in use"),
        ("tcp://192.0.2.1:1", "Cannot assign requested address"),
        ("foo:bar", "not a server endpoint: ValueError(\"Unknown endpoint type: 'foo'\")"),
    ]:
        with pytest.raises(SystemExit) as caught:
            stage.start("--listen", address)
        assert str(caught.value) == f"powerstrip: --listen {address}: {what}"
        assert isinstance(caught.value, Exception)
    taken.close()


# Options and configuration


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        (["--docker", "nowhere"], {}, '--docker "nowhere": write unix:///PATH, '),
        ([], {"DOCKER_HOST": "ssh://h"}, 'DOCKER_HOST "ssh://h": there is no SSH client here'),
        (["--listen", "fd://"], {}, '--listen "fd://": a socket that systemd has opened'),
        (["--socket-group", "no-such"], {}, "--socket-group no-such: there is no such group"),
        (["--docker", "foo:bar"], {}, "--docker foo:bar: not a client endpoint: "),
        (["--config", "/none.yml"], {}, "/none.yml: can't be read: No such file or directory"),
        (
            [],
            {
                "DOCKER_HOST": "tcp://h:1",
                "DOCKER_TLS_VERIFY": "1",
                "DOCKER_CERT_PATH": "/none",
            },
            "DOCKER_CERT_PATH: /none/ca.pem can't be read: No such file or directory",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_mistake_is_one_sentence(
    stage: Stage, options: list[str], environment: dict[str, str], sentence: str
) -> None:
    """
    It names the option.
    """
    with pytest.raises(ConfigError) as caught:
        stage.make(*options, **environment)
    (problem,) = caught.value.problems
    assert problem.startswith(sentence)


@pytest_twisted.ensureDeferred
async def test_it_does_not_listen_where_the_engine_is(stage: Stage) -> None:
    """
    It would speak to itself.
    """
    engine = f"unix://{stage.engine_path}"
    with pytest.raises(ConfigError) as caught:
        stage.make("--listen", engine)
    assert caught.value.problems == (f"--listen {engine}: this is where the engine is",)


@pytest_twisted.ensureDeferred
async def test_it_knows_the_engines_socket_by_another_path(stage: Stage) -> None:
    """
    One through a link to its directory.
    """
    (stage.directory / "link").symlink_to(stage.directory)
    listen = f"unix://{stage.directory}/link/engine.sock"
    with pytest.raises(ConfigError) as caught:
        stage.make("--listen", listen)
    assert caught.value.problems == (f"--listen {listen}: this is where the engine is",)


@pytest.mark.parametrize("engine", ["localhost", "127.0.0.1", "[::1]", "", "0.0.0.0"])
@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "[::]", ""])
@pytest_twisted.ensureDeferred
async def test_it_knows_the_engines_port_by_another_name(
    stage: Stage, listen: str, engine: str
) -> None:
    """
    Each call would call itself, until no descriptor is left.
    """
    with pytest.raises(ConfigError) as caught:
        stage.make("--listen", f"tcp://{listen}:2375", DOCKER_HOST=f"tcp://{engine}:2375")
    assert caught.value.problems == (f"--listen tcp://{listen}:2375: this is where the engine is",)


@pytest.mark.parametrize("mode", ["rw", "0888", "-1", "", "77777"])
def test_a_mode_is_octal(mode: str) -> None:
    """
    Anything else is a mistake of usage.
    """
    with pytest.raises(UsageError) as caught:
        Options().parseOptions(["--socket-mode", mode])
    assert str(caught.value) == "--socket-mode takes an octal number such as 0660"


@pytest.mark.parametrize("grace", ["soon", "-1", "nan", "inf", ""])
def test_a_grace_is_a_number_of_seconds(grace: str) -> None:
    """
    Anything else is a mistake of usage.
    """
    with pytest.raises(UsageError) as caught:
        Options().parseOptions(["--grace", grace])
    assert str(caught.value) == "--grace takes a number of seconds"


@pytest.mark.parametrize("workers", ["two", "0", "-1", "1.5", "1000", "", "01"])
def test_workers_are_a_number(workers: str) -> None:
    """
    Anything else is a mistake of usage.
    """
    with pytest.raises(UsageError) as caught:
        Options().parseOptions(["--workers", workers])
    assert str(caught.value) == "--workers takes a number from 1 to 999"


def test_all_mistakes_of_the_configuration_are_told_at_once(stage: Stage) -> None:
    """
    Each on a line of its own, and the process ends.
    """
    stage.config.write_text("endpoints: {'POST /x': {pre: [a]}}\nadapters: {b: http://b}\n")
    options = Options()
    options.parseOptions(["--config", str(stage.config)])
    with pytest.raises(SystemExit) as caught:
        makeService(options)
    lines = str(caught.value).split("\n")
    assert [line.startswith(f"powerstrip: {stage.config}, line ") for line in lines] == [True] * 2


@pytest_twisted.ensureDeferred
async def test_the_option_counts_before_the_environment(stage: Stage) -> None:
    """
    ``--docker`` over ``DOCKER_HOST``.
    """
    stage.start("--docker", f"unix://{stage.engine_path}", DOCKER_HOST="unix:///none.sock")
    assert await stage.serves()


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest.mark.parametrize("way", ["option", "environment"])
@pytest_twisted.ensureDeferred
async def test_the_docker_clients_own_variables_make_it_speak_tls(stage: Stage, way: str) -> None:
    """
    ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` mean what they mean to the docker client.
    """
    certificates = Authority().write_to(stage.directory / "certificates")
    engine = Listener(("127.0.0.1", 0))
    address = f"tcp://127.0.0.1:{engine.port}"
    stage.start(
        *(("--docker", address) if way == "option" else ()),
        **({"DOCKER_HOST": address} if way == "environment" else {}),
        DOCKER_TLS_VERIFY="1",
        DOCKER_CERT_PATH=str(certificates),
    )
    await stage.connect().send(PING)
    peer = await engine.accept()
    assert (await peer.read_exactly(3))[:2] == b"\x16\x03"  # a TLS handshake
    peer.close()
    engine.close()


@pytest_twisted.ensureDeferred
async def test_a_change_of_the_file_applies_to_an_open_connection(stage: Stage) -> None:
    """
    To its next request, and a file that has become wrong changes nothing.
    """
    adapter = KleinAdapter()
    port = reactor.listenTCP(0, AdapterSite(adapter), interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}/hook"
    service = stage.start()
    client, engine = await stage.exchange()
    for text, hooked in [
        (NO_HOOKS, 0),
        (
            f"endpoints: {{'GET /_ping': {{post: [a]}}}}\nadapters: {{a: '{url}'}}\n",
            1,
        ),
        ("endpoints: {", 1),
        (NO_HOOKS, 0),
    ]:
        adapter.payloads.clear()
        stage.config.write_text(text)
        await engine.send(OK)
        assert await client.read_exactly(len(OK)) == OK
        adapter.payloads.clear()  # of the request that was under way
        await client.send(PING)
        assert await engine.read_head() == PING
        await engine.send(OK)
        assert await client.read_exactly(len(OK)) == OK
        assert len(adapter.payloads) == hooked
        await client.send(PING)
        assert await engine.read_head() == PING
    assert any("the last good configuration stays in force" in line for line in stage.log())
    client.close()
    engine.close()
    await service.stopService()
    stage.services.remove(service)
    await port.stopListening()


@pytest.mark.parametrize("options", [(), ("--trace",)])
@pytest_twisted.ensureDeferred
async def test_heads_are_logged_where_that_is_asked_for(
    stage: Stage, options: tuple[str, ...]
) -> None:
    """
    ``--trace`` adds them to the line for each exchange.
    """
    stage.start(*options)
    assert await stage.serves()
    await settle()
    text = "\n".join(stage.log())
    assert '"GET /_ping" lane=pass status=200 ' in text
    assert ("-> GET /_ping HTTP/1.1" in text) is bool(options)


# The end


@pytest_twisted.ensureDeferred
async def test_stopping_lets_what_runs_end(stage: Stage) -> None:
    """
    Nobody new comes in, the idle are closed, and the socket is gone.
    """
    service = stage.start()
    idle, idle_engine = await stage.exchange()
    await idle_engine.send(OK)
    await idle.read_exactly(len(OK))
    client, engine = await stage.exchange()
    stopped = service.stopService()
    assert await idle.sees_the_end()
    assert await idle_engine.sees_the_end()
    assert not os.path.exists(stage.socket)
    with pytest.raises(OSError, match="No such file"):
        stage.connect()
    assert not stopped.called
    await engine.send(OK)
    assert await client.read_to_end() == OK
    client.close()
    await stopped
    stage.services.remove(service)


@pytest_twisted.ensureDeferred
async def test_a_socket_that_can_not_be_removed_stops_nothing(stage: Stage) -> None:
    """
    What runs ends all the same: somebody was faster, or this user may not remove it.
    """
    other = str(stage.directory / "other.sock")
    service = stage.start("--listen", f"unix://{stage.socket}", "--listen", f"unix://{other}")
    client, engine = await stage.exchange()
    os.unlink(stage.socket)
    stopped = service.stopService()
    await until(lambda: not os.path.exists(other), "the other socket is gone")
    await settle()
    assert not stopped.called
    await engine.send(OK)
    assert await client.read_to_end() == OK
    client.close()
    await stopped
    assert f"can't remove {stage.socket}: No such file or directory" in stage.log()


@pytest_twisted.ensureDeferred
async def test_stopping_cuts_what_takes_longer_than_its_grace(stage: Stage) -> None:
    """
    And says so in the log.
    """
    service = stage.start("--grace", "0.05")
    client, engine = await stage.exchange()
    await service.stopService()
    assert await client.sees_the_end()
    assert await engine.sees_the_end()
    assert any("error=powerstrip stops" in line for line in stage.log())
    stage.services.remove(service)


@pytest_twisted.ensureDeferred
async def test_stopping_closes_the_connections_to_adapters(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Those that are kept alive.
    """
    monkeypatch.setattr(hooks, "KEEP_ALIVE_SECONDS", 600)
    adapter = Listener(("127.0.0.1", 0))
    stage.config.write_text(
        "endpoints: {'GET /_ping': {pre: [a]}}\n"
        f"adapters: {{a: 'http://127.0.0.1:{adapter.port}/hook'}}\n"
    )
    service = stage.start()
    client = stage.connect()
    await client.send(PING)
    hook = await adapter.accept()
    await hook.read_head()
    await hook.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    await client.read_head()
    client.close()
    await service.stopService()
    stage.services.remove(service)
    assert await hook.read_to_end() != b""  # the hook's body, and no more
    hook.close()
    adapter.close()


# As a process


@pytest_twisted.ensureDeferred
async def test_sigterm_is_a_regular_end(stage: Stage) -> None:
    """
    What runs ends, what is idle is closed, nobody new comes in, and the status is 0.
    """
    process = Process(stage, "--listen", f"unix://{stage.socket}", "--grace", "20")
    try:
        await process.listens(stage.socket)
        idle, idle_engine = await stage.exchange()
        await idle_engine.send(OK)
        assert await idle.read_exactly(len(OK)) == OK
        client, engine = await stage.exchange()
        process.process.send_signal(signal.SIGTERM)
        assert await idle.sees_the_end()
        assert await idle_engine.sees_the_end()
        await until(lambda: not os.path.exists(stage.socket), "the socket is gone")
        assert not process.has_ended()
        await engine.send(OK)
        assert await client.read_to_end() == OK
        client.close()
        assert await process.status() == 0
    finally:
        process.kill()
    log = process.log.read_text()
    assert '"GET /_ping" lane=pass status=200 ' in log
    assert "Traceback" not in log


@pytest_twisted.ensureDeferred
async def test_a_second_sigterm_changes_nothing(stage: Stage) -> None:
    """
    What runs has its time, and the log no traceback.
    """
    process = Process(stage, "--listen", f"unix://{stage.socket}", "--grace", "20")
    try:
        await process.listens(stage.socket)
        client, engine = await stage.exchange()
        process.process.send_signal(signal.SIGTERM)
        await until(lambda: not os.path.exists(stage.socket), "the socket is gone")
        process.process.send_signal(signal.SIGTERM)
        await deferLater(reactor, 0.2)
        await engine.send(OK)
        assert await client.read_to_end() == OK
        client.close()
        assert await process.status() == 0
    finally:
        process.kill()
    log = process.log.read_text()
    assert "ReactorNotRunning" not in log
    assert "Traceback" not in log


@pytest_twisted.ensureDeferred
async def test_it_may_open_as_many_descriptors_as_the_system_lets_it(stage: Stage) -> None:
    """
    The hard limit: each client takes two, and the usual soft limit is 1024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard - 1), hard))
    try:
        process = Process(stage, "--listen", f"unix://{stage.socket}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        await process.listens(stage.socket)
        limits = resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE)
    finally:
        process.kill()
    assert limits == (hard, hard)


def test_a_limit_that_may_not_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The start goes on.
    """

    def refuse(_kind: int, _limits: tuple[int, int]) -> None:
        raise PermissionError

    monkeypatch.setattr(resource, "setrlimit", refuse)
    service_module._raise_descriptor_limit()


def test_the_help_has_no_gaps() -> None:
    """
    The breaks in a docstring are not those of the screen.
    """
    usage = " ".join(line.strip() for line in Options().getUsage(80).split("\n"))
    about_listen = usage[usage.index("Where clients") : usage.index("--socket-group")].strip()
    assert about_listen.endswith("May be given several times. [default: tcp://127.0.0.1:2375]")
    assert "  " not in about_listen


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("adapters.yml", "there is a file that is not a socket"),
        ("none/p.sock", "No such file or directory"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_start_that_fails_has_a_sentence_and_a_status(
    stage: Stage, name: str, sentence: str
) -> None:
    """
    No traceback, and no process that listens nowhere.
    """
    address = f"unix://{stage.directory}/{name}"
    process = Process(stage, "--listen", address)
    try:
        assert await process.status() == 1
    finally:
        process.kill()
    log = process.log.read_text()
    assert f"powerstrip: --listen {address}: {sentence}\n" in log
    assert "Traceback" not in log
