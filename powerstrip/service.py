"""
The service that ``twistd powerstrip`` starts: its options, where it listens, and how it stops.
"""

from __future__ import annotations

import contextlib
import grp
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, cast

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from powerstrip.core.addresses import (
    Address,
    EndpointDescription,
    TcpAddress,
    UnixAddress,
    parse_address,
)
from powerstrip.errors import ConfigError
from powerstrip.net.bridge import BridgeFactory
from powerstrip.net.config_file import ConfigFile
from powerstrip.net.downstream import DownstreamFactory, Proxy
from powerstrip.net.endpoints import engine_endpoint, listening_endpoint, remove_stale_socket
from powerstrip.net.exchange_log import ExchangeLog
from powerstrip.net.hooks import HookClient
from powerstrip.net.line_writer import logs_to_standard_output, standard_output_writer
from powerstrip.net.reactor import Reactor
from powerstrip.net.resource import ProxyResource
from powerstrip.net.upstream import Engine

DEFAULT_CONFIG = "/etc/powerstrip/adapters.yml"
DEFAULT_ENGINE = "unix:///var/run/docker.sock"
DEFAULT_LISTEN = "tcp://127.0.0.1:2375"

CLOSE_SECONDS = 1.0
"""How long the connections to adapters may take to close, when all else has ended."""

_log = Logger(namespace="powerstrip")


class Options(BaseOptions):
    """
    What ``twistd powerstrip`` takes.
    """

    synopsis = "[options]"
    longdesc = (
        "A proxy in front of the Docker Engine that calls adapters before and after requests."
    )

    optParameters: ClassVar = [
        ["config", "c", DEFAULT_CONFIG, "The adapters, and the requests that they see."],
        [
            "docker",
            None,
            None,
            "The engine: unix:///PATH, tcp://HOST:PORT or a Twisted endpoint, if not DOCKER_HOST.",
        ],
        ["socket-mode", None, "0660", "The permissions of UNIX sockets, in octal."],
        ["socket-group", None, None, "The group of UNIX sockets, if not that of the engine's."],
        ["grace", None, "10", "Seconds that running exchanges have to end after SIGTERM."],
    ]
    optFlags: ClassVar = [["trace", None, "Log heads, and what each hook changed."]]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        # ``--help`` would show the breaks between the lines of the docstring, and their indent.
        self.docs["listen"] = " ".join(self.docs["listen"].split())

    def opt_listen(self, address: str) -> None:
        """
        Where clients come in: unix:///PATH, tcp://HOST:PORT, or a Twisted server endpoint such as
        systemd:domain=UNIX:index=0. May be given several times. [default: tcp://127.0.0.1:2375]
        """
        self["listen"].append(address)

    def postOptions(self) -> None:
        """
        Check what is not checked elsewhere.
        """
        if not re.fullmatch(r"[0-7]{1,4}", self["socket-mode"]):
            raise UsageError("--socket-mode takes an octal number such as 0660")
        self["socket-mode"] = int(self["socket-mode"], 8)
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", self["grace"]):
            raise UsageError("--grace takes a number of seconds")
        self["grace"] = float(self["grace"])


@frozen
class SocketAccess:
    """
    Who may connect to the UNIX sockets that clients come in by.
    """

    mode: int
    group: int | None
    """A group's number, or None for that of the process."""


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
        raise SystemExit(
            "\n".join(f"powerstrip: {problem}" for problem in error.problems)
        ) from None


def _line_writer(options: Options) -> Callable[[str], None] | None:
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
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    reactor: Reactor,
    write_line: Callable[[str], None] | None = None,
) -> Service:
    """
    Make the service, with what it stands on.

    Args:
        write_line: Takes the lines of exchanges, if not Twisted's log.

    Raises:
        ConfigError: when the configuration or an option is wrong.
    """
    config_file = ConfigFile(options["config"])
    engine_address, certificates = _engine(options["docker"], environment)
    listen = [parse_address(text, "--listen") for text in options["listen"] or [DEFAULT_LISTEN]]
    for address in listen:
        if _is_same_place(address, engine_address):
            raise ConfigError([f"--listen {address}: this is where the engine is"])
    hook_client = HookClient(reactor)
    proxy = Proxy(
        engine=Engine(
            engine_endpoint(reactor, engine_address, certificates), str(engine_address), reactor
        ),
        read_config=lambda: config_file.config,
        resource=ProxyResource(hook_client, reactor),
        log=ExchangeLog(reactor, traces=bool(options["trace"]), write_line=write_line),
        reactor=reactor,
    )
    access = SocketAccess(options["socket-mode"], _group(options["socket-group"], engine_address))
    return ProxyService(proxy, hook_client, listen, access, options["grace"])


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


def _group(name: str | None, engine_address: Address) -> int | None:
    if name is None:
        if isinstance(engine_address, UnixAddress) and os.path.exists(engine_address.path):
            return os.stat(engine_address.path).st_gid
        return None
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError([f"--socket-group {name}: there is no such group"]) from None


class _ListenError(SystemExit, Exception):
    """
    Ends the process with a sentence, and none but that.

    It is an `Exception` too, since of a daemon that begins twistd sees nothing else, and would wait
    for ever (``UnixApplicationRunner.postApplication``).
    """


class ProxyService(Service):
    """
    Listens, and stops in good order.
    """

    def __init__(
        self,
        proxy: Proxy,
        hook_client: HookClient,
        listen: list[Address],
        access: SocketAccess,
        grace_seconds: float,
    ) -> None:
        self._proxy = proxy
        self._hook_client = hook_client
        self._listen = listen
        self._access = access
        self._grace_seconds = grace_seconds
        self._ports: list[IListeningPort] = []
        self._problem: str | None = None
        """Why one of the addresses can't be listened on."""

    def privilegedStartService(self) -> None:
        """
        Listen, with the rights that the process was started with.
        """
        super().privilegedStartService()
        for address in self._listen:
            self._listen_on(address)

    def startService(self) -> None:
        """
        Begin.
        """
        super().startService()
        self._proxy.reactor.callWhenRunning(self._take_sigterm)

    async def _stop(self) -> None:
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        reactor = self._proxy.reactor
        await self._proxy.connections.drain(reactor, self._grace_seconds)
        closed = Deferred.fromCoroutine(self._hook_client.close())
        with contextlib.suppress(DeferredTimeoutError):  # over TLS, an adapter has a say in it
            await closed.addTimeout(CLOSE_SECONDS, reactor)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, let running exchanges end, and cut what has not ended in time.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def _listen_on(self, address: Address) -> None:
        reactor = self._proxy.reactor
        factory: Factory = DownstreamFactory(self._proxy)
        if isinstance(address, EndpointDescription):
            factory = BridgeFactory(factory, reactor)
        try:
            if isinstance(address, UnixAddress):
                remove_stale_socket(address.path)
            listening = listening_endpoint(reactor, address).listen(factory)
        except ConfigError as error:
            raise _ListenError(f"powerstrip: {error}") from None
        listening.addCallback(self._listens, address)
        listening.addErrback(self._listens_not, address)
        if self._problem is not None:
            raise _ListenError(self._problem)  # not where the Deferred would catch it

    def _listens(self, port: IListeningPort, address: Address) -> None:
        self._ports.append(port)
        if isinstance(address, UnixAddress):
            if self._access.group is not None:
                os.chown(address.path, -1, self._access.group)
            os.chmod(address.path, self._access.mode)
        elif isinstance(address, TcpAddress) and not address.is_loopback:
            _log.warn(
                "{address} is open to the network: who reaches it has the rights of root",
                address=str(address),
            )
        _log.info("listening on {address}", address=str(address))

    def _listens_not(self, failure: Failure, address: Address) -> None:
        failure.trap(CannotListenError, OSError)
        error = getattr(failure.value, "socketError", failure.value)
        what = getattr(error, "strerror", None) or error
        self._problem = f"powerstrip: --listen {address}: {what}"

    def _take_sigterm(self) -> None:
        # Twisted would end the process by the signal itself. This end is a regular one: status 0.
        reactor = self._proxy.reactor

        def end() -> None:
            with contextlib.suppress(ReactorNotRunning):  # a second signal, while exchanges end
                reactor.stop()

        def stop(_number: int, _frame: FrameType | None) -> None:
            reactor.callFromThread(end)

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)
