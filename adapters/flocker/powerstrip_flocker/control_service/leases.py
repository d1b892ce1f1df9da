"""
Leases on datasets for this node: a dataset that has one stays here.

I/O: asks the control service, and the engine for who uses a dataset.

Flocker gives a dataset away when its configuration says so, whether anybody uses it or not, and
answers the change of the configuration at once: "200". Only a lease keeps it, and only one of the
node where it is. So each node has a lease on what its containers use, for good: it outlives this
process and the machine. And before anything is moved, the node that it moves to takes the lease,
which one node can have at a time: that is refused while containers use it elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from powerstrip_flocker.control_service.client import (
    CONFLICT,
    NOT_FOUND,
    ControlServiceClient,
)
from powerstrip_flocker.control_service.exchange import ControlRefused
from powerstrip_flocker.errors import FlockerError, InUseError
from powerstrip_flocker.interfaces import IUses

__all__ = ["LOOK_SECONDS", "WAIT_SECONDS", "Leases"]

LOOK_SECONDS = 2.0
"""How often it is looked whether containers still use what has a lease."""

WAIT_SECONDS = 6.0
"""How long the lease of another node is waited for: that one looks three times meanwhile. So a
container can be run here as soon as the one there has ended."""

_log = Logger()


@define(eq=False)
class Leases:
    """
    The leases of this node.
    """

    _client: ControlServiceClient
    _uses: IUses
    _clock: IReactorTime
    _node: str

    _held: dict[str, str] = field(factory=dict)
    """The names of the datasets that have one, by identity."""

    _wanted: list[str] = field(factory=list)
    """The names that somebody is having moved here, for whom no container counts yet."""

    _doubts: dict[str, str] = field(factory=dict)
    """Why it can't be said whether a dataset is in use, by name."""

    _lock: DeferredLock = field(factory=DeferredLock)
    """Is held while it is decided whether a dataset stays. What is under way when one is released
    would come before or after what is under way when it is taken."""

    def adopt(self, found: Mapping[str, str]) -> None:
        """
        Take over the leases that an earlier process had.

        Args:
            found: The names of the datasets, by identity.
        """
        self._held |= found

    async def take(self, identities: Mapping[str, str]) -> None:
        """
        Have leases on all of these datasets. They are kept at least until `settle`.

        Args:
            identities: By name.

        Raises:
            InUseError: when another node has one. Those that were taken are released soon.
        """
        self._wanted += identities
        give_up_at = self._clock.seconds() + WAIT_SECONDS
        try:
            while True:
                try:
                    await self._take(identities)
                    return
                except InUseError:
                    if self._clock.seconds() >= give_up_at:
                        raise
                await deferLater(self._clock, 1.0)
        except BaseException:
            self.settle(identities)
            raise

    async def _take(self, identities: Mapping[str, str]) -> None:
        await self._lock.acquire()
        try:
            # In one order on all nodes, so that no two wait for each other.
            for name, dataset_id in sorted(identities.items()):
                await self._take_one(name, dataset_id)
        finally:
            self._lock.release()

    async def _take_one(self, name: str, dataset_id: str) -> None:
        # In doubt it is ours, and is released when nobody uses it.
        was_held, self._held[dataset_id] = dataset_id in self._held, name
        try:
            await self._client.take_lease(dataset_id, self._node)
        except ControlRefused as refusal:
            if refusal.status == CONFLICT or not was_held:
                del self._held[dataset_id]
            if refusal.status != CONFLICT:
                raise
            node = ((await self._client.leases()) or {}).get(dataset_id, "another")
            host = {it.uuid: it.host for it in await self._client.nodes()}.get(node, "away")
            raise InUseError(
                f"the dataset {name} is in use on node {host}: Flocker's node {node} has the lease"
                f" on {dataset_id}; stop the container there, or release the lease"
            ) from refusal

    def settle(self, names: Iterable[str]) -> None:
        """
        End what `take` has begun: from now on a dataset stays as long as containers use it.
        """
        for name in names:
            self._wanted.remove(name)

    async def look(self) -> None:
        """
        Release what no container uses. What can't be said stays.
        """
        for dataset_id, name in list(self._held.items()):
            await self._lock.acquire()
            try:
                if name not in self._wanted and not await self._uses.containers(name):
                    await self._release(dataset_id)
                self._doubts.pop(name, None)
            except FlockerError as error:
                self._say(name, str(error))
            finally:
                self._lock.release()

    def _say(self, name: str, doubt: str) -> None:
        # Once for each that is new: it is looked often.
        if self._doubts.get(name) != doubt:
            self._doubts[name] = doubt
            _log.warn("the lease on {name} stays: {doubt}", name=name, doubt=doubt)

    async def _release(self, dataset_id: str) -> None:
        # Anybody may release a lease: it is looked first whose it is by now.
        if ((await self._client.leases()) or {}).get(dataset_id) == self._node:
            try:
                await self._client.release_lease(dataset_id)
            except ControlRefused as refusal:
                if refusal.status != NOT_FOUND:
                    raise
        self._held.pop(dataset_id, None)

    async def follow(self) -> None:
        """
        Look again and again, until cancelled.
        """
        while True:
            await deferLater(self._clock, LOOK_SECONDS)
            await self.look()
