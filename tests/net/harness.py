"""
A powerstrip put together as its service does, with both of its sides in the hands of the test.

I/O: real sockets. What a test leaves open is closed, and what powerstrip leaves open fails it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from powerstrip.core.addresses import Address, EndpointDescription, TcpAddress, UnixAddress
from powerstrip.core.config import Config
from powerstrip.net.bridge import BridgeFactory
from powerstrip.net.downstream import DownstreamFactory, Proxy
from powerstrip.net.endpoints import engine_endpoint, listening_endpoint
from powerstrip.net.exchange_log import ExchangeLog
from powerstrip.net.hooks import HookClient
from powerstrip.net.reactor import Reactor
from powerstrip.net.resource import ProxyResource
from powerstrip.net.splice import Pipe
from powerstrip.net.turn import Turn
from powerstrip.net.upstream import Engine
from tests.net.adapters import AdapterSite, KleinAdapter
from tests.net.peers import PATIENCE_SECONDS, Listener, Peer, connect, reactor, turn

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
"""An engine's answer."""

PING = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"


async def until(holds: Callable[[], bool], what: str) -> None:
    """
    Let the reactor turn until something holds.
    """
    deadline = reactor.seconds() + PATIENCE_SECONDS
    while not holds():
        assert reactor.seconds() < deadline, f"not in time: {what}"
        await turn()


def descriptors() -> set[str]:
    """
    The sockets and the pipes that this process has open.
    """
    opened = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the directory itself
            opened.append(os.readlink(f"/proc/self/fd/{number}"))
    return {name for name in opened if name.startswith(("socket:", "pipe:"))}


def close_spare_pipes() -> None:
    """
    Close the pipes that are kept for the next body.
    """
    while Pipe._spare:
        pipe = Pipe._spare.pop()
        os.close(pipe.read_end)
        os.close(pipe.write_end)


class ClockedReactor:
    """
    The reactor, but for its time, which a test moves on itself.
    """

    def __init__(self) -> None:
        clock = Clock()
        self.callLater = clock.callLater
        self.seconds = clock.seconds
        self.advance = clock.advance
        self.getDelayedCalls = clock.getDelayedCalls

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Rig:
    """
    A powerstrip between clients and an engine that the test plays itself.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        close_spare_pipes()
        self._descriptors = descriptors()
        self.engine = Listener(self.engine_path)
        self.config = Config((), ())
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.hook_client = HookClient(cast(Reactor, reactor))
        self.proxy = self.make_proxy(UnixAddress(self.engine_path))
        self.socket = str(directory / "powerstrip.sock")
        self._clients: list[Peer] = []
        self._listeners: list[Listener] = []
        self._ports: list[IListeningPort] = []
        self._sites: list[AdapterSite] = []
        self.port = 0

    @property
    def engine_path(self) -> str:
        """
        The engine's socket.
        """
        return str(self.directory / "engine.sock")

    def use_clock(self) -> ClockedReactor:
        """
        Take time into the test's own hands.
        """
        clocked = ClockedReactor()
        self.hook_client = HookClient(cast(Reactor, clocked))
        self.proxy = self.make_proxy(UnixAddress(self.engine_path), clocked)
        return clocked

    def make_proxy(
        self, engine: Address, proxy_reactor: Any = reactor, certificates: Path | None = None
    ) -> Proxy:
        """
        What `powerstrip.service.make_service` puts together.
        """
        endpoint = engine_endpoint(cast(Reactor, reactor), engine, certificates)
        return Proxy(
            engine=Engine(endpoint, str(engine), proxy_reactor),
            read_config=lambda: self.config,
            resource=ProxyResource(self.hook_client, proxy_reactor),
            log=ExchangeLog(proxy_reactor, Turn(proxy_reactor), traces=True),
            reactor=proxy_reactor,
        )

    async def start(self) -> None:
        """
        Listen, on a UNIX socket and on TCP.
        """
        await self.listen(UnixAddress(self.socket))
        self.port = (await self.listen(TcpAddress("127.0.0.1", 0))).getHost().port

    async def listen(self, address: Address) -> Any:
        """
        Let clients in on one more address.
        """
        endpoint = listening_endpoint(cast(Reactor, reactor), address)
        factory: Factory = _LateFactory(self)
        if isinstance(address, EndpointDescription):
            factory = BridgeFactory(factory, reactor)
        port = await endpoint.listen(factory)
        self._ports.append(port)
        return port

    # Hooks

    def hook(
        self, pattern: str, *, pre: Sequence[str] = (), post: Sequence[str] = (), **settings: Any
    ) -> None:
        """
        Have requests that match a pattern call the adapters at these URLs.

        Args:
            settings: Of each adapter: ``timeout``, ``on_error``, ``max_body``.
        """
        names = {url: f"adapter{number}" for number, url in enumerate(dict.fromkeys([*pre, *post]))}
        self.configure(
            {pattern: {"pre": [names[url] for url in pre], "post": [names[url] for url in post]}},
            {name: {"url": url, **settings} for url, name in names.items()},
        )

    def configure(self, endpoints: Mapping[str, Any], adapters: Mapping[str, Any]) -> None:
        """
        Put a configuration in force.
        """
        text = yaml.safe_dump({"endpoints": dict(endpoints), "adapters": dict(adapters)})
        self.config = Config.parse(text, "adapters.yml")

    def serve(self, adapter: KleinAdapter) -> str:
        """
        Serve an adapter over TCP, and give its URL.
        """
        site = AdapterSite(adapter)
        self._sites.append(site)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self._ports.append(port)
        return f"http://127.0.0.1:{port.getHost().port}/hook"

    def serve_unix(self, adapter: KleinAdapter) -> str:
        """
        Serve an adapter over a UNIX socket, and give its URL.
        """
        site = AdapterSite(adapter)
        self._sites.append(site)
        path = self.directory / f"adapter{len(self._ports)}.sock"
        self._ports.append(reactor.listenUNIX(str(path), site))
        return f"http+unix://{str(path).replace('/', '%2F')}/hook"

    def scripted_adapter(self) -> tuple[Listener, str]:
        """
        An adapter that the test plays itself, and its URL.
        """
        listener = Listener(("127.0.0.1", 0))
        self._listeners.append(listener)
        return listener, f"http://127.0.0.1:{listener.port}/hook"

    @property
    def accepted(self) -> list[int]:
        """
        How many connections each adapter had.
        """
        return [site.accepted for site in self._sites]

    # Peers

    def connect(self, kind: str = "unix") -> Peer:
        """
        A client, over ``unix`` or ``tcp``.
        """
        client = connect(self.socket if kind == "unix" else ("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def exchange(self, request: bytes, kind: str = "unix") -> tuple[Peer, Peer]:
        """
        A client that has sent a request, and the engine's end, on which it has all arrived.
        """
        client = self.connect(kind)
        sending = Deferred.fromCoroutine(client.send(request))
        engine = await self.engine.accept()
        assert request == await engine.read_exactly(len(request))
        await sending
        return client, engine

    # The log

    def log_lines(self) -> list[str]:
        """
        What powerstrip has logged.
        """
        return [
            str(formatEvent(event))
            for event in self.events
            if str(event.get("log_namespace", "")).startswith("powerstrip")
        ]

    def exchange_lines(self) -> list[str]:
        """
        The line of each exchange that has ended, without the client's name in front of it.
        """
        lines = "\n".join(self.log_lines()).split("\n")
        return [line.split(" ", 1)[1] for line in lines if " lane=" in line]

    # The end

    async def close(self) -> None:
        """
        Let go of all, and see that powerstrip has let go as well.
        """
        for listener in [self.engine, *self._listeners]:
            listener.close()
            for peer in listener.peers:
                peer.close()
        for client in self._clients:
            client.close()
        try:
            await until(lambda: not self.proxy.connections._open, "clients' connections end")
        finally:
            await self._close_powerstrip()
        await until(lambda: descriptors() <= self._descriptors, "all sockets and pipes are closed")

    async def _close_powerstrip(self) -> None:
        await self.proxy.connections.drain(reactor, 0)
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        await self.hook_client.close()
        close_spare_pipes()
        globalLogPublisher.removeObserver(self.events.append)

    @property
    def failures(self) -> list[Failure]:
        """
        The failures in the log.
        """
        return [event["log_failure"] for event in self.events if "log_failure" in event]


class _LateFactory(DownstreamFactory):
    """
    Lets a test replace the proxy of its rig.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def buildProtocol(self, addr: Any) -> Any:
        return DownstreamFactory(self._rig.proxy).buildProtocol(addr)
