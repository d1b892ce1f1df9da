"""
The service that ``twistd powerstrip-flocker`` starts: its parts put together.

I/O: reads the files that the options name.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorThreads
from twisted.web.resource import IResource

from powerstrip.adapter.engine import EngineClient, connect_engine
from powerstrip.adapter.events import EventFollower
from powerstrip.adapter.serving import AdapterService, Parts, StartError, engine_access
from powerstrip.core.addresses import parse_address
from powerstrip.errors import ConfigError
from powerstrip.listening import Listening
from powerstrip_flocker.app import FlockerAdapter
from powerstrip_flocker.cluster import Door, Member
from powerstrip_flocker.cluster_datasets import ClusterDatasets
from powerstrip_flocker.control_service.client import ControlServiceClient
from powerstrip_flocker.control_service.datasets import ControlServiceDatasets, ControlSettings
from powerstrip_flocker.control_service.exchange import ControlTls, Exchange, check_url
from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.datasets.steps import At, go_on
from powerstrip_flocker.errors import FlockerError, LedgerError
from powerstrip_flocker.hook import Hook
from powerstrip_flocker.interfaces import IDatasets, ILedger, INodes, IPeer, IStorage, IUses
from powerstrip_flocker.ledger.etcd import CLAIM_SECONDS, EtcdLedger
from powerstrip_flocker.ledger.etcd_gateway import EtcdGateway, EtcdUser
from powerstrip_flocker.ledger.etcd_nodes import EtcdNodes
from powerstrip_flocker.ledger.etcd_tls import EtcdTls
from powerstrip_flocker.ledger.file import FileLedger
from powerstrip_flocker.lone_node import LoneNodes, no_peer
from powerstrip_flocker.operator_api import OperatorApi
from powerstrip_flocker.options import DEFAULT_LEDGER, DEFAULT_LISTEN, Options
from powerstrip_flocker.peers.addresses import parse_peer_address
from powerstrip_flocker.peers.client import SILENCE_SECONDS, HttpPeer
from powerstrip_flocker.peers.port import PeerPort
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.peers.server import PeerResource
from powerstrip_flocker.peers.tls import PeerTls
from powerstrip_flocker.storage.btrfs import BtrfsStorage
from powerstrip_flocker.storage.command import StorageReactor
from powerstrip_flocker.storage.zfs import ZfsStorage
from powerstrip_flocker.uses import ACTIONS, EngineUses

__all__ = ["Options", "makeService", "make_service"]


_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


class ServiceReactor(PeerReactor, IReactorThreads):
    """
    Sockets, time, processes and threads.
    """


def makeService(options: Options) -> Service:
    """
    Make the service.

    Raises:
        SystemExit: with a sentence for each mistake in the options.
    """
    from twisted.internet import reactor

    try:
        return make_service(options, cast(ServiceReactor, reactor))
    except (ConfigError, FlockerError) as error:
        raise SystemExit(f"powerstrip-flocker: {error}") from None


@frozen
class Conduct:
    """
    What is the same for all who run the adapter, and another for those who try to break it.
    """

    storage: IStorage | None = None
    """In place of that of the options."""

    uses: IUses | None = None
    """In place of what the engine says."""

    at: At = go_on
    claim_seconds: int = CLAIM_SECONDS
    silence_seconds: float = SILENCE_SECONDS


def make_service(
    options: Mapping[str, Any], reactor: ServiceReactor, conduct: Conduct = Conduct()
) -> AdapterService:
    """
    Make the service, with what it stands on.

    Raises:
        ConfigError: when an address is wrong.
        FlockerError: when another option is, or a file that it names.
    """
    engine_address = parse_address(options["docker"], "--docker")
    listen = [parse_address(text, "--listen") for text in options["listen"] or [DEFAULT_LISTEN]]
    engine = connect_engine(reactor, engine_address)
    if options["control-service"] is not None:
        work = _of_control_service(options, reactor, engine)
    else:
        work = _of_cluster(options, reactor, engine, conduct)
    uses = work.uses
    follower = EventFollower(engine, reactor, ACTIONS, uses.connected, uses.happened)
    hook = Hook(engine, work.datasets, uses, _root(options))
    adapter = FlockerAdapter(hook, work.operator)

    async def start() -> None:
        try:
            await work.start()
        except FlockerError as error:
            raise StartError(f"powerstrip-flocker: {error}") from error

    async def finish() -> None:
        """
        Hooks have been answered: nothing else is waited for.
        """

    async def stop() -> None:
        await work.stop()
        uses.stop()

    return AdapterService(
        reactor,
        adapter.app.resource(),
        Listening(reactor, listen, engine_access(engine_address)),
        Parts(start=start, run=follower.follow, finish=finish, stop=stop),
        options["grace"],
    )


@frozen
class _Work:
    """
    What the hooks need, and who begins and ends it.
    """

    datasets: IDatasets
    uses: EngineUses
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    operator: IResource | None = None


def _of_control_service(
    options: Mapping[str, Any], reactor: ServiceReactor, engine: EngineClient
) -> _Work:
    url = check_url(options["control-service"])
    ca, cert, key = (_file(options[name]) for name in ("tls-ca", "tls-cert", "tls-key"))
    if ca is None or cert is None or key is None:
        raise FlockerError(
            f"--control-service {url}: it lets nobody in without --tls-ca, --tls-cert and --tls-key"
        )
    uses = EngineUses(engine, lambda name: datasets.mount_point(name), reactor)
    client = ControlServiceClient(Exchange.over_tls(reactor, url, ControlTls.load(ca, cert, key)))
    settings = ControlSettings(
        options["control-node"], options["control-size"], bool(options["control-unleased"])
    )
    settings.check()
    datasets = ControlServiceDatasets(client, uses, reactor, settings)
    return _Work(datasets, uses, datasets.start, datasets.stop)


def _of_cluster(
    options: Mapping[str, Any], reactor: ServiceReactor, engine: EngineClient, conduct: Conduct
) -> _Work:
    storage = conduct.storage or _storage(options, reactor)

    async def mount_point(name: str) -> Path:
        return storage.mount_point(name)

    node, uses = options["node"], EngineUses(engine, mount_point, reactor)
    gateway = _gateway(options, reactor)
    ledger: ILedger
    nodes: INodes
    peer: Callable[[str], IPeer]
    if gateway is None:
        ledger = FileLedger(reactor, _path(options["ledger"] or DEFAULT_LEDGER))
        nodes, peer, tls = LoneNodes(), no_peer, None
    else:
        ledger = EtcdLedger(reactor, gateway, conduct.claim_seconds)
        nodes, tls = EtcdNodes(gateway), _tls(options)

        def peer(name: str) -> IPeer:
            return HttpPeer(reactor, name, nodes, storage, tls, conduct.silence_seconds)

    keeper = Keeper(node, storage, ledger, conduct.uses or uses, reactor, conduct.at)
    mover = Mover(keeper, peer)
    door = None
    if gateway is not None:
        resource = PeerResource(reactor, node, keeper, mover, storage)
        door = _door(options, reactor, nodes, resource, tls)
    operator = OperatorApi(node, keeper, mover, nodes, peer, reactor, options["storage"])
    member = Member(ClusterDatasets(keeper, mover), reactor, door)
    return _Work(member.datasets, uses, member.start, member.stop, operator.app.resource())


def _door(
    options: Mapping[str, Any],
    reactor: PeerReactor,
    nodes: INodes,
    resource: PeerResource,
    tls: PeerTls | None,
) -> Door:
    address = parse_peer_address(options["peer-listen"])
    advertised = options["peer-advertise"]
    if advertised is not None:
        parse_peer_address(advertised)
    elif address.host in _EVERYWHERE:
        raise FlockerError(
            f"--peer-listen {options['peer-listen']} is no address that other nodes could use: "
            "say one, with --peer-advertise HOST:PORT"
        )
    port = PeerPort(reactor, address, resource, tls, options["insecure-peers"])
    return Door(nodes, port, resource, advertised)


def _storage(options: Mapping[str, Any], reactor: ServiceReactor) -> IStorage:
    kind, _, where = options["storage"].partition(":")
    storage_reactor, enter = cast(StorageReactor, reactor), _enter(options)
    if kind == "btrfs":
        return BtrfsStorage(storage_reactor, Path(where), enter, _root(options))
    return ZfsStorage(storage_reactor, where, enter)


def _enter(options: Mapping[str, Any]) -> Sequence[str]:
    process = options["enter-mounts"]
    return () if process is None else ("nsenter", f"--mount=/proc/{process}/ns/mnt")


def _root(options: Mapping[str, Any]) -> Path:
    process = options["enter-mounts"]
    return Path("/") if process is None else Path(f"/proc/{process}/root")


def _gateway(options: Mapping[str, Any], reactor: ServiceReactor) -> EtcdGateway | None:
    if not options["etcd"]:
        return None
    ca, cert, key = (_file(options[name]) for name in ("etcd-ca", "etcd-cert", "etcd-key"))
    tls = None if ca is None else EtcdTls.load(ca, cert, key)
    user = _file(options["etcd-user"])
    return EtcdGateway(reactor, options["etcd"], tls, None if user is None else _read_user(user))


def _read_user(path: Path) -> EtcdUser:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LedgerError(f"{path} can't be read: {what}") from error
    name, colon, password = lines[0].partition(":") if len(lines) == 1 else ("", "", "")
    if not name or not colon:
        raise LedgerError(f"{path} has to be one line, NAME:PASSWORD")
    return EtcdUser(name, password)


def _tls(options: Mapping[str, Any]) -> PeerTls | None:
    ca, cert, key = (_file(options[name]) for name in ("tls-ca", "tls-cert", "tls-key"))
    if ca is None or cert is None or key is None:
        return None
    tls = PeerTls.load(ca, cert, key)
    if options["node"] not in tls.names:
        names = ", ".join(sorted(tls.names)) or "none"
        raise FlockerError(f"{cert} is not for {options['node']}: the names in it are {names}")
    return tls


def _file(name: str | None) -> Path | None:
    return None if name is None else _path(name)


def _path(name: str) -> Path:
    return Path(os.path.abspath(name))  # a daemon's working directory may change
