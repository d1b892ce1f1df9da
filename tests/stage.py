"""
``twistd powerstrip`` with both of its sides in the hands of the test, in this process or another.

I/O: real sockets, files and processes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from powerstrip.net.reactor import Reactor
from powerstrip.options import Options
from powerstrip.service import ProxyService, make_service
from tests.net.harness import OK, PING, close_spare_pipes, descriptors, until
from tests.net.peers import Listener, Peer, connect, reactor

NO_HOOKS = "endpoints: {}\nadapters: {}\n"


class Stage:
    """
    An engine, a configuration file, and services between that engine and clients.

    What it has is closed with it, and what a service has left open fails the test.
    """

    def __init__(self, directory: Path) -> None:
        self._usual_sigterm = signal.getsignal(signal.SIGTERM)
        close_spare_pipes()
        self._descriptors = descriptors()
        self.directory = directory
        self.config = directory / "adapters.yml"
        self.config.write_text(NO_HOOKS)
        self.engine_path = str(directory / "engine.sock")
        self.engine = Listener(self.engine_path)
        self.socket = str(directory / "p.sock")
        self.clients: list[Peer] = []
        self.services: list[Service] = []
        self.processes: list[Process] = []
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)

    async def close(self) -> None:
        """
        Let go of all.
        """
        for process in self.processes:
            process.kill()
        self.engine.close()
        for peer in [*self.clients, *self.engine.peers]:
            peer.close()
        for service in self.services:
            await service.stopService()
        globalLogPublisher.removeObserver(self.events.append)
        close_spare_pipes()
        await until(lambda: descriptors() <= self._descriptors, "all is closed")
        signal.signal(signal.SIGTERM, self._usual_sigterm)

    def make(self, *options: str, **environment: str) -> ProxyService:
        """
        Make a service, in an environment that names the engine.
        """
        parsed = Options()
        parsed.parseOptions(["--config", str(self.config), *options])
        environment = {"DOCKER_HOST": f"unix://{self.engine_path}", **environment}
        return cast(ProxyService, make_service(parsed, environment, cast(Reactor, reactor)))

    async def run(self, *options: str, **settings: Any) -> Process:
        """
        Start a process, and wait until it lets clients in at `socket`.
        """
        process = Process(self, "--listen", f"unix://{self.socket}", *options, **settings)
        self.processes.append(process)
        await process.listens(self.socket)
        return process

    def start(self, *options: str, **environment: str) -> ProxyService:
        """
        Start a service, which listens on a UNIX socket if not told otherwise.
        """
        if "--listen" not in options:
            options = ("--listen", f"unix://{self.socket}", *options)
        service = self.make(*options, **environment)
        self.services.append(service)
        service.privilegedStartService()
        service.startService()
        return service

    def connect(self, address: str | tuple[str, int] | None = None) -> Peer:
        """
        A client.
        """
        client = connect(address or self.socket)
        self.clients.append(client)
        return client

    async def exchange(self, address: str | tuple[str, int] | None = None) -> tuple[Peer, Peer]:
        """
        A client that has sent a request, and the engine's end, on which it has arrived.
        """
        client = self.connect(address)
        await client.send(PING)
        engine = await self.engine.accept()
        assert await engine.read_head() == PING
        return client, engine

    async def serves(self, address: str | tuple[str, int] | None = None) -> bool:
        """
        Whether a client gets an answer there.
        """
        client, engine = await self.exchange(address)
        await engine.send(OK)
        return await client.read_exactly(len(OK)) == OK

    def log(self) -> list[str]:
        """
        What was logged.
        """
        return [str(formatEvent(event)) for event in self.events]


TWISTD = Path(sys.executable).parent / "twistd"


class Process:
    """
    ``twistd powerstrip``, as users start it.

    It has a process group of its own, as a terminal would give it.
    """

    def __init__(
        self,
        stage: Stage,
        *options: str,
        twistd: Sequence[str] = ("--nodaemon", "--pidfile="),
        wrapper: Sequence[str] = (),
        given: int | None = None,
    ) -> None:
        """
        Args:
            twistd: Options of twistd itself.
            wrapper: What runs twistd.
            given: A descriptor that it gets as its third, as systemd would give it.
        """
        self.log = stage.directory / "log"
        command = [*wrapper, str(TWISTD), *twistd, "powerstrip", "--config", str(stage.config)]
        command += ["--docker", f"unix://{stage.engine_path}", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=stage.directory,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                close_fds=given is None,
                preexec_fn=partial(_prepare, given),
            )

    def has_ended(self) -> bool:
        """
        Whether the process is over.
        """
        return self.process.poll() is not None

    async def status(self) -> int:
        """
        The status with which it ends.
        """
        return int(await deferToThread(self.process.wait, 20))

    async def listens(self, path: str) -> None:
        """
        Wait until it lets clients in.
        """
        limit: Deferred[Any] = deferToThread(_wait_for_socket, path, self.has_ended)
        assert await limit, self.log.read_text()

    def kill(self) -> None:
        """
        End it, whatever it does.
        """
        self.process.kill()
        self.process.wait()


def _prepare(given: int | None) -> None:
    """
    Make a process as a terminal or systemd would, whatever the tests themselves run in.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells have those in the background ignore it
    if given is not None:
        os.dup2(given, 3)


def _wait_for_socket(path: str, is_over: Callable[[], bool]) -> bool:
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                return True
        if is_over():
            return False
        time.sleep(0.02)
    return False
