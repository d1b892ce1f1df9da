"""
The kernel's own network: a bridge on each host, VXLAN tunnels between them, a veth pair for each
container.

I/O: all that blocks is done by threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TypeVar

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from powerstrip_weave.errors import NetworkError
from powerstrip_weave.interfaces import INetwork, NetworkHealth, RunningContainer
from powerstrip_weave.networks.arp import ArpSocket, ProbeTimes
from powerstrip_weave.networks.links import NetlinkError
from powerstrip_weave.networks.namespaces import OWN_NAMESPACE
from powerstrip_weave.networks.node import Node
from powerstrip_weave.networks.overlay import Overlay
from powerstrip_weave.networks.peers import PeerList

BEAT_SECONDS = 2.0
"""How often the peers hear this node, and the file of peers is looked at."""

BEATS_PER_REFRESH = 5
"""How often the ways to the peers are looked at: a link or its MTU may have changed."""

ANNOUNCE_INTERVAL_SECONDS = 0.4
"""
How long after the first announcement the second follows, should that be lost. RFC 5227 has 2
seconds; an address that has moved is to answer within one.
"""

MOST_THREADS = 32
"""Attaching mostly waits for answers to probes, so threads are there for a crowd of containers."""

_T = TypeVar("_T")
_log = Logger(namespace="powerstrip-weave")


@frozen
class _Announcement:
    """
    The second announcement of a container's addresses, still to come.
    """

    arp: ArpSocket
    call: IDelayedCall

    def cancel(self) -> None:
        self.call.cancel()
        self.arp.close()


@implementer(INetwork)
class VxlanNetwork:
    """
    The network `vxlan`.

    Args:
        clock: When to look at the peers, and to announce again.
        host: The host's network namespace.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        clock: IReactorTime,
        peers: PeerList,
        *,
        overlay: Overlay = Overlay(),  # noqa: B008  (frozen)
        times: ProbeTimes = ProbeTimes(),  # noqa: B008
        host: Path = OWN_NAMESPACE,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._node = Node(peers, overlay, times, host)
        self._threads = ThreadPool(minthreads=0, maxthreads=MOST_THREADS, name="vxlan")
        self._beats = 0
        self._beating = LoopingCall(self._beat)
        self._beating.clock = clock
        self._attaching: set[str] = set()
        self._announcements: dict[str, _Announcement] = {}

    async def start(self) -> None:
        await self._in_thread("the network can't be made", self._node.start)
        if not self._beating.running:
            self._beating.start(BEAT_SECONDS, now=False).addErrback(
                lambda failure: _log.failure("looking at the peers has ended", failure)
            )

    async def stop(self) -> None:
        if self._threads.joined:
            return
        if self._beating.running:
            self._beating.stop()
        for whose in list(self._announcements):
            self._stop_announcing(whose)
        await self._in_thread("the network can't be let go", self._node.stop)
        self._threads.stop()

    async def attach(
        self, container: RunningContainer, addresses: tuple[IPv4Interface, ...]
    ) -> None:
        self._stop_announcing(container.id)
        self._attaching.add(container.id)
        try:
            arp = await self._in_thread(
                f"the container {container.id[:12]} can't be attached",
                lambda: self._node.attach(container, addresses),
            )
        finally:
            self._attaching.discard(container.id)
        self._announce_later(container.id, arp, addresses)

    async def detach(self, container_id: str) -> None:
        self._stop_announcing(container_id)
        await self._in_thread(
            f"the container {container_id[:12]} can't be detached",
            lambda: self._node.detach(container_id),
        )

    async def attachments(self) -> Mapping[str, tuple[IPv4Interface, ...]]:
        return await self._in_thread(
            "the containers' interfaces can't be read", self._node.attachments
        )

    async def keep_only(self, container_ids: Set[str]) -> None:
        kept = {*container_ids, *self._attaching}
        await self._in_thread(
            "what is left of containers can't be removed", lambda: self._node.keep_only(kept)
        )

    async def health(self) -> NetworkHealth:
        return await self._in_thread("the network can't be looked at", self._node.health)

    async def expose(self, address: IPv4Interface) -> None:
        self._stop_announcing(str(address))
        arp = await self._in_thread(
            f"the host can't have the address {address}", lambda: self._node.expose(address)
        )
        self._announce_later(str(address), arp, (address,))

    async def hide(self, address: IPv4Interface) -> None:
        self._stop_announcing(str(address))
        await self._in_thread(
            f"the address {address} can't be taken away", lambda: self._node.hide(address)
        )

    async def reset(self) -> None:
        if self._beating.running:
            self._beating.stop()  # it would make the bridge again
        for whose in list(self._announcements):
            self._stop_announcing(whose)
        await self._in_thread("the network can't be removed", self._node.reset)

    async def _in_thread(self, failure: str, work: Callable[[], _T]) -> _T:
        """
        Do something in a thread, and say what could not be done where the kernel says only why.
        """
        if not self._threads.started:
            self._threads.start()
        try:
            result: _T = await deferToThreadPool(self._reactor, self._threads, work)
        except NetlinkError as error:
            raise NetworkError(f"{failure}: {error.args[1]}") from error
        except OSError as error:
            raise NetworkError(f"{failure}: {error.strerror or error}") from error
        return result

    async def _beat(self) -> None:
        self._beats += 1
        try:
            await self._in_thread("the peers can't be looked at", self._look_at_peers)
        except NetworkError as error:
            _log.warn("{error}", error=error)

    def _look_at_peers(self) -> None:
        if self._node.is_stale or self._beats % BEATS_PER_REFRESH == 0:
            self._node.refresh()
        self._node.beat()

    def _announce_later(
        self, whose: str, arp: ArpSocket, addresses: tuple[IPv4Interface, ...]
    ) -> None:
        def announce() -> None:
            del self._announcements[whose]
            with suppress(OSError):  # the container has ended
                arp.announce(addresses)
            arp.close()

        call = self._clock.callLater(ANNOUNCE_INTERVAL_SECONDS, announce)
        self._announcements[whose] = _Announcement(arp, call)

    def _stop_announcing(self, whose: str) -> None:
        announcement = self._announcements.pop(whose, None)
        if announcement is not None:
            announcement.cancel()
