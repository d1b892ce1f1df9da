"""
An adapter as a service: how it begins, and how it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.web.iweb import IRequest

from powerstrip.adapter.serving import AdapterService, Parts, engine_access
from powerstrip.core.addresses import Address, TcpAddress, UnixAddress
from powerstrip.listening import Listening, SocketAccess
from powerstrip.net.reactor import Reactor
from tests.net.harness import descriptors, until
from tests.net.peers import Peer, connect, reactor

GET = b"GET / HTTP/1.1\r\nHost: adapter\r\n\r\n"
REPO = Path(__file__).parent.parent.parent


class Stage:
    """
    A service whose parts a test holds back, and what they did, in order.
    """

    app = Klein()

    def __init__(self, directory: Path) -> None:
        self.socket = str(directory / "a.sock")
        self.done: list[str] = []
        self.started: Deferred[None] = Deferred()
        self.answered: Deferred[None] = Deferred()
        self.finished: Deferred[None] = Deferred()
        self.service = AdapterService(
            cast(Reactor, reactor),
            self.app.resource(),
            Listening(cast(Reactor, reactor), [UnixAddress(self.socket)]),
            Parts(start=self._start, run=self._run, finish=self._finish, stop=self._stop),
            grace_seconds=0.5,
        )

    @app.route("/")
    async def _root(self, request: IRequest) -> bytes:
        await self.answered
        return b"answered"

    async def _start(self) -> None:
        self.done.append("start")
        await self.started

    async def _run(self) -> None:
        self.done.append("run")
        try:
            await Deferred()
        except CancelledError:
            self.done.append("run ends")
            raise

    async def _finish(self) -> None:
        self.done.append("finish")
        await self.finished

    async def _stop(self) -> None:
        self.done.append("stop")

    def connect(self) -> Peer:
        """
        A client.
        """
        return connect(self.socket)

    def is_listening(self) -> bool:
        """
        Whether clients can come in.
        """
        return os.path.exists(self.socket)


@pytest_twisted.async_yield_fixture
async def stage(short_tmp: Path) -> AsyncIterator[Stage]:
    """
    A service that has begun. What it leaves open fails the test.
    """
    usual = signal.getsignal(signal.SIGTERM)
    before = descriptors()
    stage = Stage(short_tmp)
    stage.service.startService()
    yield stage
    for held in (stage.started, stage.answered, stage.finished):
        if not held.called:
            held.callback(None)
    if stage.service.running:
        await stage.service.stopService()
    await until(lambda: descriptors() <= before, "all is closed")
    signal.signal(signal.SIGTERM, usual)


@pytest_twisted.ensureDeferred
async def test_nobody_is_let_in_before_it_is_ready(stage: Stage) -> None:
    """
    Powerstrip says then that the adapter can't be reached, as it is.
    """
    assert (stage.done, stage.is_listening()) == (["start"], False)
    stage.started.callback(None)
    assert (stage.done, stage.is_listening()) == (["start", "run"], True)


@pytest_twisted.ensureDeferred
async def test_what_is_under_way_is_finished(stage: Stage) -> None:
    """
    Nobody new is let in, and those who wait are answered.
    """
    stage.started.callback(None)
    client = stage.connect()
    await client.send(GET)
    await until(lambda: bool(stage.service._requests._requests), "the request is in")
    stopped = stage.service.stopService()
    await until(lambda: not stage.is_listening(), "nobody is let in")
    assert stage.done == ["start", "run", "run ends"]
    stage.answered.callback(None)
    assert (await client.read_until(b"answered")).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not stopped.called
    await until(lambda: stage.done[3:] == ["finish"], "the rest is waited for")
    stage.finished.callback(None)
    await stopped
    assert stage.done[4:] == ["stop"]
    client.close()


@pytest_twisted.ensureDeferred
async def test_what_takes_too_long_is_cut(stage: Stage) -> None:
    """
    And the log says so.
    """
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    stage.started.callback(None)
    client = stage.connect()
    await client.send(GET)
    await until(lambda: bool(stage.service._requests._requests), "the request is in")
    await stage.service.stopService()
    globalLogPublisher.removeObserver(events.append)
    assert stage.done == ["start", "run", "run ends", "stop"]
    assert "what takes longer than 0.5 s is cut" in [formatEvent(event) for event in events]
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_service_may_be_stopped_before_it_is_ready(stage: Stage) -> None:
    """
    It never lets anybody in.
    """
    stage.finished.callback(None)
    await stage.service.stopService()
    assert stage.done == ["start", "finish", "stop"]
    assert not stage.is_listening()


# As a process

PROGRAM = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource
from powerstrip.adapter.serving import AdapterService, Parts, StartError
from powerstrip.core.addresses import UnixAddress
from powerstrip.listening import Listening

def part(name):
    async def do():
        print(name, flush=True)
        if name == sys.argv[1]:
            raise {"StartError": StartError("no rights"), "Other": ZeroDivisionError()}[sys.argv[2]]
        if name == "run":
            await Deferred()
    return do

globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
listening = Listening(reactor, [UnixAddress(sys.argv[3])])
parts = Parts(*map(part, ("start", "run", "finish", "stop")))
service = AdapterService(reactor, Resource(), listening, parts, 5)
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""


def run(*arguments: str) -> tuple[int, str]:
    """
    The status and the output of a process that ends by itself.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_start_that_fails_has_a_sentence_and_a_status(short_tmp: Path) -> None:
    """
    No traceback.
    """
    status, output = run("start", "StartError", f"{short_tmp}/a.sock")
    assert status == 1
    assert "no rights\n" in output
    assert "Traceback" not in output
    assert output.count("finish") == output.count("stop\n") == 1


def test_an_address_that_cant_be_listened_on_has_a_sentence_and_a_status(short_tmp: Path) -> None:
    """
    No traceback.
    """
    status, output = run("none", "Other", f"{short_tmp}/none/a.sock")
    assert status == 1
    assert f"--listen unix://{short_tmp}/none/a.sock: No such file or directory\n" in output
    assert "Traceback" not in output


def test_an_adapter_that_breaks_has_a_traceback_and_a_status(short_tmp: Path) -> None:
    """
    It does not stay half alive.
    """
    status, output = run("run", "Other", f"{short_tmp}/a.sock")
    assert status == 1
    assert "ZeroDivisionError" in output


def test_sigterm_is_a_regular_end(short_tmp: Path) -> None:
    """
    With status 0.
    """
    command = [sys.executable, "-c", PROGRAM, "none", "Other", f"{short_tmp}/a.sock"]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as process:
        output: Any = process.stdout
        assert next(line for line in output if line.strip() in ("run", "Traceback")) == "run\n"
        process.send_signal(signal.SIGTERM)
        rest = output.read()
        assert process.wait(20) == 0
    assert rest.index("finish\n") < rest.index("stop\n")
    assert not os.path.exists(f"{short_tmp}/a.sock")


def test_who_may_speak_to_the_engine_may_speak_to_the_adapter(tmp_path: Path) -> None:
    """
    The group of the engine's socket.
    """
    engine = tmp_path / "docker.sock"
    engine.touch()
    group = next(iter({*os.getgroups(), os.getgid()}))
    os.chown(engine, -1, group)
    assert engine_access(UnixAddress(str(engine))) == SocketAccess(0o660, group)


@pytest.mark.parametrize("engine", [UnixAddress("/nosuch/docker.sock"), TcpAddress("engine", 2375)])
def test_without_a_socket_of_the_engine_there_is_no_group(engine: Address) -> None:
    """
    The adapter's own user is let in.
    """
    assert engine_access(engine) == SocketAccess(0o660, None)
