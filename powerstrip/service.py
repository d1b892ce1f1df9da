"""
The service that ``twistd powerstrip`` starts: the proxy, or several processes that are one each.

I/O: reads the configuration; listens, and stops in good order.
"""

from __future__ import annotations

import contextlib
import grp
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from powerstrip.core.addresses import (
    Address,
    EndpointDescription,
    TcpAddress,
    UnixAddress,
    parse_address,
)
from powerstrip.ending import stop_at_sigterm
from powerstrip.errors import ConfigError
from powerstrip.listening import Listening, SocketAccess
from powerstrip.net.config_file import ConfigFile
from powerstrip.net.downstream import DownstreamFactory, Proxy
from powerstrip.net.endpoints import engine_endpoint
from powerstrip.net.exchange_log import ExchangeLog, WriteLines
from powerstrip.net.hooks import HookClient
from powerstrip.net.line_writer import logs_to_standard_output, standard_output_writer
from powerstrip.net.reactor import Reactor
from powerstrip.net.resource import ProxyResource
from powerstrip.net.turn import Turn, once_in
from powerstrip.net.upstream import Engine
from powerstrip.options import Options
from powerstrip.supervisor import Supervisor, WorkerCommand

__all__ = ["Options", "makeService"]

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
DEFAULT_LISTEN = "tcp://127.0.0.1:2375"

CLOSE_SECONDS = 1.0
"""How long the connections to adapters may take to close, when all else has ended."""


def makeService(options: Options) -> Service:
    """
    Make the service.

    Raises:
        SystemExit: with a sentence for each mistake in the configuration or the options.
    """
    from twisted.internet import reactor

    _raise_descriptor_limit()
    try:
        return make_service(options, os.environ, cast(Reactor, reactor), _line_writer(options))
    except ConfigError as error:
        raise SystemExit(sentences(error)) from None


def sentences(error: ConfigError) -> str:
    """
    What is wrong, a line for each mistake.
    """
    return "\n".join(f"powerstrip: {problem}" for problem in error.problems)


def _line_writer(options: Options) -> WriteLines | None:
    if options.parent is None or not logs_to_standard_output(options.parent):
        return None
    return standard_output_writer(time.time).write


def _raise_descriptor_limit() -> None:
    # The soft limit is 1024 on most systems, for the sake of programs that use select(2); servers
    # take the hard one, as Go's do by themselves (its package os, rlimit.go).
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def make_service(
    options: Options,
    environment: Mapping[str, str],
    reactor: Reactor,
    write_lines: WriteLines | None = None,
) -> Service:
    """
    Make the service.

    Args:
        write_lines: Takes the lines of exchanges, where the log is the standard output.

    Raises:
        ConfigError: when the configuration or an option is wrong.
    """
    engine, certificates = _engine(options["docker"], environment)
    listen = [parse_address(text, "--listen") for text in options["listen"] or [DEFAULT_LISTEN]]
    for address in listen:
        if _is_same_place(address, engine):
            raise ConfigError([f"--listen {address}: this is where the engine is"])
        if options["workers"] > 1 and not _can_be_shared(address):
            raise ConfigError([f"--listen {address}: {_NOT_SHARED}"])
    access = SocketAccess(options["socket-mode"], _group(options["socket-group"], engine))
    listening = Listening(reactor, listen, access)
    # Several workers make one each. This one finds the mistakes, before anything is started.
    service = make_proxy_service(options, environment, reactor, listening, write_lines)
    if options["workers"] == 1:
        return service
    if certificates is not None:  # the working directory may change: ``twistd --rundir``
        environment = {**environment, "DOCKER_CERT_PATH": str(certificates.absolute())}
    command = WorkerCommand.of(
        options.for_worker(), environment, reactor, logs_to_output=write_lines is not None
    )
    return Supervisor(reactor, listening, command, options["workers"], options["grace"])


def make_proxy_service(
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    reactor: Reactor,
    listening: Listening,
    write_lines: WriteLines | None = None,
) -> ProxyService:
    """
    Make what serves, with what it stands on.

    Raises:
        ConfigError: when the configuration, or what names the engine, is wrong.
    """
    config_file = ConfigFile(options["config"])
    address, certificates = _engine(options["docker"], environment)
    endpoint = engine_endpoint(reactor, address, certificates)
    hook_client = HookClient(reactor)
    turn = Turn(reactor)
    proxy = Proxy(
        engine=Engine(endpoint, str(address), reactor),
        read_config=once_in(turn, lambda: config_file.config),
        resource=ProxyResource(hook_client, reactor),
        log=ExchangeLog(reactor, turn, traces=bool(options["trace"]), write_lines=write_lines),
        reactor=reactor,
    )
    return ProxyService(proxy, hook_client, listening, options["grace"])


def _engine(option: str | None, environment: Mapping[str, str]) -> tuple[Address, Path | None]:
    if option is not None:
        address = parse_address(option, "--docker")
    else:
        address = parse_address(environment.get("DOCKER_HOST") or DEFAULT_ENGINE, "DOCKER_HOST")
    if not environment.get("DOCKER_TLS_VERIFY"):
        return address, None
    return address, Path(environment.get("DOCKER_CERT_PATH") or "~/.docker").expanduser()


def _is_same_place(listen: Address, engine: Address) -> bool:
    """
    Whether Powerstrip would speak to itself, by whatever names.
    """
    if isinstance(listen, UnixAddress) and isinstance(engine, UnixAddress):
        return os.path.realpath(listen.path) == os.path.realpath(engine.path)
    if isinstance(listen, TcpAddress) and isinstance(engine, TcpAddress):
        return listen.may_be(engine)
    return listen == engine


_NOT_SHARED = (
    "workers can't share what this makes; write unix:///PATH, tcp://HOST:PORT or systemd:..., "
    "or do without --workers"
)


def _can_be_shared(address: Address) -> bool:
    # A socket alone would be the clear text of an endpoint that speaks TLS.
    return not isinstance(address, EndpointDescription) or address.text.startswith("systemd:")


def _group(name: str | None, engine_address: Address) -> int | None:
    if name is None:
        if isinstance(engine_address, UnixAddress) and os.path.exists(engine_address.path):
            return os.stat(engine_address.path).st_gid
        return None
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError([f"--socket-group {name}: there is no such group"]) from None


class ProxyService(Service):
    """
    Listens, and stops in good order.
    """

    def __init__(
        self, proxy: Proxy, hook_client: HookClient, listening: Listening, grace_seconds: float
    ) -> None:
        self._proxy = proxy
        self._hook_client = hook_client
        self.listening = listening
        self._grace_seconds = grace_seconds

    def privilegedStartService(self) -> None:
        """
        Listen, with the rights that the process was started with.
        """
        super().privilegedStartService()
        self.listening.open(DownstreamFactory(self._proxy))

    def startService(self) -> None:
        """
        Begin.
        """
        super().startService()
        self._proxy.reactor.callWhenRunning(stop_at_sigterm, self._proxy.reactor)

    async def _stop(self) -> None:
        await self.listening.close()
        reactor = self._proxy.reactor
        await self._proxy.connections.drain(reactor, self._grace_seconds)
        self._proxy.log.flush()
        closed = Deferred.fromCoroutine(self._hook_client.close())
        with contextlib.suppress(DeferredTimeoutError):  # over TLS, an adapter has a say in it
            await closed.addTimeout(CLOSE_SECONDS, reactor)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, let running exchanges end, and cut what has not ended in time.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())
