"""
How it is with the adapter, as ``GET /status`` says it.

I/O: asks the engine and the network.
"""

from __future__ import annotations

from ipaddress import IPv4Interface

from powerstrip.adapter.engine import Container, EngineClient
from powerstrip.adapter.errors import EngineError
from powerstrip_weave.attachments import Attachments, wanted_addresses
from powerstrip_weave.errors import AddressError, NetworkError
from powerstrip_weave.interfaces import INetwork

__all__ = ["status"]

JsonObject = dict[str, object]


async def status(engine: EngineClient, network: INetwork, attachments: Attachments) -> JsonObject:
    """
    What `powerstrip_weave.app.WeaveAdapter.status` describes.
    """
    health = await network.health()
    problems = list(health.problems)
    attached: dict[str, tuple[IPv4Interface, ...]] = {}
    try:
        attached.update(await network.attachments())
    except NetworkError as error:
        problems.append(str(error))
    engine_problem = None
    try:
        running = await attachments.running()
        containers = [_container(container, attached.get(container.id)) for container in running]
    except EngineError as error:
        engine_problem = str(error)
        containers = [_nameless(id_, addresses) for id_, addresses in attached.items()]
    return {
        "driver": health.driver,
        "mtu_bytes": health.mtu_bytes,
        "engine": {"address": engine.address, "problem": engine_problem},
        "containers": sorted(containers, key=lambda it: (str(it["name"]), str(it["id"]))),
        "stopped": [
            {
                "id": stopped.container.id,
                "name": stopped.container.name,
                "seconds_ago": attachments.seconds_since(stopped),
                "problem": str(stopped.error),
            }
            for stopped in attachments.stopped
        ],
        "peers": [
            {"address": peer.address, "last_heard_seconds": peer.last_heard_seconds}
            for peer in health.peers
        ],
        "problems": problems,
    }


def _container(container: Container, attached: tuple[IPv4Interface, ...] | None) -> JsonObject:
    try:
        wanted = wanted_addresses(container)
    except AddressError:
        wanted = ()
    return {
        "id": container.id,
        "name": container.name,
        "addresses": [str(address) for address in wanted],
        "attached": bool(wanted) and set(attached or ()) == set(wanted),
    }


def _nameless(container_id: str, addresses: tuple[IPv4Interface, ...]) -> JsonObject:
    return {
        "id": container_id,
        "name": None,
        "addresses": [str(address) for address in addresses],
        "attached": True,
    }
