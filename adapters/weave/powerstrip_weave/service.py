"""
The service that ``twistd powerstrip-weave`` starts: its options, and its parts put together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, cast

from twisted.application.service import Service
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from powerstrip.adapter.engine import EngineClient, connect_engine
from powerstrip.adapter.events import EventFollower
from powerstrip.adapter.serving import (
    DEFAULT_ENGINE,
    AdapterService,
    Parts,
    StartError,
    engine_access,
)
from powerstrip.core.addresses import Address, EndpointDescription, parse_address
from powerstrip.errors import ConfigError
from powerstrip.listening import Listening
from powerstrip.net.reactor import Reactor
from powerstrip_weave.app import WeaveAdapter
from powerstrip_weave.attachments import ACTIONS, Attachments
from powerstrip_weave.errors import NetworkError
from powerstrip_weave.interfaces import INetwork
from powerstrip_weave.networks.command import CommandReactor
from powerstrip_weave.networks.peers import PeerList
from powerstrip_weave.networks.vxlan import VxlanNetwork
from powerstrip_weave.networks.weave import WeaveNetwork
from powerstrip_weave.wait_place import DataContainer, HostDirectory, WaitPlace

__all__ = ["Options", "makeService", "make_service"]

DEFAULT_LISTEN = "unix:///run/powerstrip-weave.sock"
"""A socket, which users who may not speak to the engine can't speak to either."""

DEFAULT_WAIT_DIRECTORY = "/var/lib/powerstrip-weave/bin"


class Options(BaseOptions):
    """
    What ``twistd powerstrip-weave`` takes.
    """

    synopsis = "[options]"
    longdesc = "Gives containers with a WEAVE_CIDR an address on a network that spans hosts."

    optParameters: ClassVar = [
        ["docker", None, DEFAULT_ENGINE, "The engine's own socket: unix:///PATH or tcp://…"],
        ["driver", None, "vxlan", "vxlan, the kernel's own network, or weave, Weave Net."],
        ["peers-file", None, None, "A file with a peer in each line, read again on change."],
        [
            "wait-directory",
            None,
            DEFAULT_WAIT_DIRECTORY,
            "A directory of the host for the program that containers are started by.",
        ],
        [
            "wait-container",
            None,
            None,
            "A container to make instead, which has that program: for an adapter in a container.",
        ],
        ["grace", None, "10", "Seconds that what is under way has to end after SIGTERM."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self["peer"] = []
        for name in ("listen", "peer"):
            # ``--help`` would show the breaks between the lines of the docstring.
            self.docs[name] = " ".join(self.docs[name].split())

    def opt_listen(self, address: str) -> None:
        """
        Where Powerstrip comes in: unix:///PATH or tcp://127.0.0.1:PORT. May be given several times.
        [default: unix:///run/powerstrip-weave.sock]
        """
        self["listen"].append(address)

    def opt_peer(self, address: str) -> None:
        """
        The IP address of another node, for vxlan. May be given several times; this node may be
        among them.
        """
        try:
            ip_address(address)
        except ValueError:
            raise UsageError(f"--peer {address}: it must be an IP address") from None
        self["peer"].append(address)

    def postOptions(self) -> None:
        """
        Check what is not checked elsewhere.
        """
        if self["driver"] not in ("vxlan", "weave"):
            raise UsageError("--driver takes vxlan or weave")
        if self["driver"] == "weave" and (self["peer"] or self["peers-file"]):
            raise UsageError("--peer and --peers-file are for vxlan: Weave Net knows its own peers")
        if not re.fullmatch(r"/[^:]*", self["wait-directory"]):
            raise UsageError("--wait-directory takes an absolute path without a colon")
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", self["grace"]):
            raise UsageError("--grace takes a number of seconds")
        self["grace"] = float(self["grace"])


def makeService(options: Options) -> Service:
    """
    Make the service.

    Raises:
        SystemExit: with a sentence for each mistake in the options.
    """
    from twisted.internet import reactor

    try:
        return make_service(options, cast(Reactor, reactor))
    except (ConfigError, NetworkError) as error:
        raise SystemExit(f"powerstrip-weave: {error}") from None


def make_service(
    options: Mapping[str, Any], reactor: Reactor, network: INetwork | None = None
) -> AdapterService:
    """
    Make the service, with what it stands on.

    Args:
        network: In place of that of the options.

    Raises:
        ConfigError: when an option is wrong.
        NetworkError: when the network can't be such a one.
    """
    engine_address = parse_address(options["docker"], "--docker")
    listen = [parse_address(text, "--listen") for text in options["listen"] or [DEFAULT_LISTEN]]
    engine = connect_engine(reactor, engine_address)
    network = network or _network(options, engine_address, reactor)
    attachments = Attachments(engine, network, reactor)
    follower = EventFollower(
        engine, reactor, ACTIONS, attachments.look_at_all, attachments.happened
    )
    adapter = WeaveAdapter(engine, network, attachments, _wait_place(options, engine))

    async def start() -> None:
        try:
            await network.start()
        except NetworkError as error:
            raise StartError(f"powerstrip-weave: {error}") from error

    return AdapterService(
        reactor,
        adapter.app.resource(),
        Listening(reactor, listen, engine_access(engine_address)),
        Parts(start=start, run=follower.follow, finish=attachments.finish, stop=network.stop),
        options["grace"],
    )


def _network(options: Mapping[str, Any], engine: Address, reactor: Reactor) -> INetwork:
    if options["driver"] == "weave":
        if isinstance(engine, EndpointDescription):
            raise ConfigError([f"--docker {engine}: weave takes unix:///PATH or tcp://HOST:PORT"])
        environment = {**os.environ, "DOCKER_HOST": str(engine)}
        return WeaveNetwork(cast(CommandReactor, reactor), environment)
    file = options["peers-file"]
    # A daemon's working directory may change.
    peers = PeerList(options["peer"], None if file is None else Path(os.path.abspath(file)))
    return VxlanNetwork(reactor, reactor, peers)


def _wait_place(options: Mapping[str, Any], engine: EngineClient) -> WaitPlace:
    if options["wait-container"] is not None:
        return DataContainer(engine, options["wait-container"])
    return HostDirectory(engine, options["wait-directory"])
