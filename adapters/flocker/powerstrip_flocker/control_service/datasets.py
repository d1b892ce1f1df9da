"""
Datasets of Flocker's control service, for the hooks.

I/O: asks the control service, and waits for the cluster's state to follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID, uuid5

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from powerstrip_flocker.control_service.client import (
    CONFLICT,
    DELETED,
    MINIMUM_BYTES,
    NOT_FOUND,
    PRECONDITION_FAILED,
    SIZE_STEP_BYTES,
    Configuration,
    ConfiguredDataset,
    ControlServiceClient,
)
from powerstrip_flocker.control_service.exchange import (
    ControlAnswerLost,
    ControlRefused,
    ControlServiceError,
)
from powerstrip_flocker.control_service.leases import LOOK_SECONDS, Leases
from powerstrip_flocker.errors import ConflictError, FlockerError, InUseError, MoveError
from powerstrip_flocker.interfaces import IDatasets, IUses

__all__ = ["BOOT_ID", "ControlServiceDatasets", "ControlSettings", "identity_of"]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""What Flocker calls the era of a node: another one after each boot."""

POLL_SECONDS = 1.0

ARRIVE_SECONDS = 120.0
"""How long a dataset may take to be here. With block devices it is attached, formatted where it is
new, and mounted."""

LAG_SECONDS = 20.0
"""How long the state may go on saying what was so before a change."""

NODE_SECONDS = 60.0
"""How long this node's agent may take to connect, after a boot."""

TRIES = 20
"""How often others may change the configuration before a change of one's own comes through."""

_NAMES = UUID("9d5a9e0c-6f3f-4a53-8f2e-0f4a3b1c6d27")

_log = Logger()


def identity_of(name: str) -> str:
    """
    The identity of a dataset that is made here: always the same for a name, so that a creation
    which is asked for twice, or by two nodes, makes one.
    """
    return str(uuid5(_NAMES, name))


@frozen
class ControlSettings:
    """
    What the operator says.
    """

    node: str | None = None
    """This node's identity in Flocker, or None where its era tells it: since Flocker 1.8."""

    size_bytes: int | None = None
    """How large a dataset may grow, or None for what the control service takes for granted."""

    moves_unleased: bool = False
    """Whether to move datasets where there are no leases, before Flocker 1.4, though containers may
    use them elsewhere."""

    boot_id: Path = BOOT_ID

    def check(self) -> None:
        """
        Refuses what the control service would refuse.

        Raises:
            ControlServiceError: The sentence says what.
        """
        size = self.size_bytes
        if size is not None and (size < MINIMUM_BYTES or size % SIZE_STEP_BYTES):
            what = f"at least {MINIMUM_BYTES}, and a multiple of {SIZE_STEP_BYTES}"
            raise ControlServiceError(f"Flocker takes no datasets of {size} bytes: it is {what}")


@frozen
class _Here:
    """
    What has been found out at the start.
    """

    node: str
    leases: Leases | None


@implementer(IDatasets)
@define(eq=False)
class ControlServiceDatasets:
    """
    Has Flocker make datasets and move them.

    Its control service changes one dataset at a time, and what it has been asked for is done later
    by its agents. So `have` is all or nothing as far as others are concerned, who may have a lease
    on one of the datasets or have deleted it: that is found before anything is changed. But when
    the control service or an agent fails in the middle, some datasets may have come, or come yet;
    they stay, since nobody uses them elsewhere, and the next who asks has them moved.

    Containers count for which this adapter was asked, on this node or another, and those that
    Flocker runs itself. Whoever has a dataset moved by other means, such as Flocker's own plugin
    for Docker, moves it from under a container unless that has a lease.
    """

    _client: ControlServiceClient
    _uses: IUses
    _clock: IReactorTime
    _settings: ControlSettings = field(factory=ControlSettings)

    _here: _Here | None = None
    _following: Deferred[None] | None = None

    _paths: dict[str, Path] = field(factory=dict)
    """Where datasets were mounted here when that was last heard, by name. That differs by backend.
    Of one that has never been here it is where it would be, as far as that can be told."""

    async def start(self) -> None:
        """
        Find out which node this is, and keep from now on what containers use here.

        Raises:
            ControlServiceError: when it can't be found out.
        """
        self._settings.check()
        node = await self._find_node()
        leases = await self._client.leases()
        if leases is None:
            self._here = _Here(node, None)
            _log.warn("this Flocker has no leases: whether datasets are in use can't be told")
            return
        keeper = Leases(self._client, self._uses, self._clock, node)
        self._here = _Here(node, keeper)
        names = await self._names()
        keeper.adopt({it: names[it] for it, at in leases.items() if at == node and it in names})
        await self._look_at_paths(node)
        self._following = Deferred.fromCoroutine(self._follow(keeper))
        self._following.addErrback(_log_unless_cancelled)

    async def stop(self) -> None:
        """
        Look after the leases no more. They stay.
        """
        if self._following is not None:
            self._following.cancel()

    async def have(self, names: Sequence[str]) -> Mapping[str, Path]:
        """
        Have datasets here, made or moved where they are not.

        Raises:
            InUseError: when one of them is in use elsewhere, or that can't be told.
            MoveError: when one was deleted, or has not come in time.
            ControlServiceError: when the control service can't be asked, or refuses.
        """
        here = self._started()
        configuration = await self._client.configuration()
        found = {name: _find(configuration, name) for name in names}
        called = {name: name if it is None else _name(it) for name, it in found.items()}
        identities = {
            called[name]: identity_of(name) if it is None else it.dataset_id
            for name, it in found.items()
        }
        if here.leases is None:
            paths = await self._bring(here, identities)
        else:
            await here.leases.take(identities)
            try:
                paths = await self._bring(here, identities)
            finally:
                here.leases.settle(identities)
        return {name: paths[called[name]] for name in names}

    def mounted_below(self) -> Path:
        return Path("/")  # each backend of Flocker has a place of its own

    async def mount_points(self) -> Mapping[str, Path]:
        """
        Where datasets are mounted here, or were or would be. Should the control service not answer,
        what was so before: else no container with any bind could be started.
        """
        try:
            await self._look_at_paths(self._started().node)
        except ControlServiceError as error:
            _log.warn("going by what was known before: {error}", error=str(error))
        return dict(self._paths)

    async def mount_point(self, name: str) -> Path:
        """
        Where a dataset is mounted here when it is here. For an `EngineUses`, which asks often.

        Raises:
            ControlServiceError: when that is not known, as when a node's agent is not connected:
                nobody can say then who uses it, and it must not be taken for unused.
        """
        if name not in self._paths:
            await self.mount_points()
        if name not in self._paths:
            raise ControlServiceError(f"Flocker does not say where {name} is mounted")
        return self._paths[name]

    async def _look_at_paths(self, node: str) -> None:
        configuration = await self._client.configuration()
        placed = {it.dataset_id: it for it in await self._client.state()}
        for dataset in configuration.datasets:
            it = placed.get(dataset.dataset_id)
            if it is None or it.node is None or it.path is None or dataset.is_deleted:
                continue
            name = _name(dataset)
            if it.node == node:
                self._paths[name] = it.path
            elif name not in self._paths:
                # With ZFS it is /flocker/NODE.default.DATASET, and else the same on all nodes.
                self._paths[name] = Path(str(it.path).replace(it.node, node))

    def _started(self) -> _Here:
        if self._here is None:
            raise ControlServiceError("which of Flocker's nodes this is has not been found out yet")
        return self._here

    async def _find_node(self) -> str:
        give_up_at = self._clock.seconds() + NODE_SECONDS
        while (node := await self._look_for_node()) is None:
            if self._clock.seconds() >= give_up_at:
                what = self._settings.node or "of this machine's era"
                raise ControlServiceError(
                    f"Flocker's control service knows no node {what}: is its agent running here?"
                )
            await deferLater(self._clock, POLL_SECONDS)
        return node

    async def _look_for_node(self) -> str | None:
        if self._settings.node is not None:
            # Of a node that does not exist it would take a dataset away from where it is.
            known = {it.uuid for it in await self._client.nodes()}
            node = self._settings.node.lower()
            return node if node in known else None
        try:
            return await self._client.node_of_era(self._settings.boot_id.read_text().strip())
        except ControlRefused as refusal:
            if refusal.status != NOT_FOUND:
                raise
            what = "this Flocker, older than 1.8, does not say which node this is"
            raise ControlServiceError(f"{what}: give --control-node UUID") from refusal

    async def _follow(self, keeper: Leases) -> None:
        """
        Keep what was in use before there were leases, and then look after them.
        """
        while True:
            try:
                await self._keep_used(keeper)
                break
            except FlockerError as error:
                _log.warn("which datasets are in use is not known yet: {it}", it=str(error))
            await deferLater(self._clock, LOOK_SECONDS)
        await keeper.follow()

    async def _keep_used(self, keeper: Leases) -> None:
        node = self._started().node
        names = await self._names()
        for placed in await self._client.state():
            name = names.get(placed.dataset_id)
            if placed.node != node or name is None or not await self._uses.containers(name):
                continue
            identities = {name: placed.dataset_id}
            try:
                await keeper.take(identities)
            except InUseError as error:
                _log.error("{name} is in use here, and {it}", name=name, it=str(error))
            else:
                keeper.settle(identities)

    async def _names(self) -> Mapping[str, str]:
        configuration = await self._client.configuration()
        return {it.dataset_id: _name(it) for it in configuration.datasets if not it.is_deleted}

    async def _bring(self, here: _Here, identities: Mapping[str, str]) -> Mapping[str, Path]:
        before = {it.dataset_id for it in await self._client.state() if it.node == here.node}
        changed = await self._configure(here, identities)
        # What is still said of one that was to go away is not said yet of one that is to stay.
        sure_at = self._clock.seconds() + LAG_SECONDS
        doubtful = {name for name in changed if identities[name] in before}
        paths = await self._arrived(here, identities, doubtful, sure_at)
        for name, path in paths.items():
            self._paths[name] = path
            self._uses.expect(name)
        return paths

    async def _configure(self, here: _Here, identities: Mapping[str, str]) -> set[str]:
        """
        Change the configuration until all of these are to be here, each once.

        Returns:
            Those for which it had to be changed.
        """
        changed: set[str] = set()
        for _ in range(TRIES):
            configuration = await self._client.configuration()
            missing = self._missing(here, configuration, identities)
            if not missing:
                return changed
            name, dataset = next(iter(missing.items()))
            changed.add(name)
            try:
                await self._change(here, name, dataset, configuration.tag)
            except ControlAnswerLost as error:
                # The configuration says whether it has happened.
                _log.warn("{it}", it=str(error))
            except ControlRefused as refusal:
                if refusal.status not in (NOT_FOUND, DELETED, CONFLICT, PRECONDITION_FAILED):
                    raise
        raise ConflictError("others keep changing the configuration of Flocker's datasets")

    def _missing(
        self, here: _Here, configuration: Configuration, identities: Mapping[str, str]
    ) -> dict[str, ConfiguredDataset | None]:
        """
        The datasets that are not to be here yet. All of them can be changed, or it is refused.
        """
        missing = {}
        for name, dataset_id in identities.items():
            dataset = _find(configuration, name)
            if dataset is not None and dataset.dataset_id != dataset_id:
                raise ConflictError(f"the dataset {name} has just been made by somebody else")
            if dataset is not None and dataset.node == here.node:
                continue
            if dataset is not None and here.leases is None and not self._settings.moves_unleased:
                raise InUseError(
                    f"the dataset {name} is on Flocker's node {dataset.node}, and whether it is in"
                    " use there can't be told: this Flocker, older than 1.4, has no leases"
                    " (--control-unleased moves it all the same)"
                )
            missing[name] = dataset
        return missing

    async def _change(
        self, here: _Here, name: str, dataset: ConfiguredDataset | None, tag: str | None
    ) -> None:
        if dataset is not None:
            _log.info("{name} is to move here from {node}", name=name, node=dataset.node)
            await self._client.move(dataset.dataset_id, here.node, tag)
            return
        _log.info("{name} is to be made here", name=name)
        size = self._settings.size_bytes
        await self._client.create(identity_of(name), name, here.node, size, tag)

    async def _arrived(
        self, here: _Here, identities: Mapping[str, str], doubtful: set[str], sure_at: float
    ) -> Mapping[str, Path]:
        """
        Wait until the state has all of these here.
        """
        give_up_at = self._clock.seconds() + ARRIVE_SECONDS
        while True:
            placed = {it.dataset_id: it for it in await self._client.state()}
            now = self._clock.seconds()
            paths = {}
            for name, dataset_id in identities.items():
                it = placed.get(dataset_id)
                is_sure = name not in doubtful or now >= sure_at
                if it is not None and it.node == here.node and it.path is not None and is_sure:
                    paths[name] = it.path
            missing = [name for name in identities if name not in paths]
            if not missing:
                return paths
            if now >= give_up_at:
                raise MoveError(
                    f"Flocker has not brought {', '.join(missing)} here within"
                    f" {ARRIVE_SECONDS:g} s; its configuration says that it is to"
                )
            await deferLater(self._clock, POLL_SECONDS)


def _find(configuration: Configuration, name: str) -> ConfiguredDataset | None:
    """
    The dataset of a name, which may have been made by others, or None where none was ever made.

    An identity is a name as well: Flocker mounts datasets at ``/flocker/IDENTITY``, so that is what
    those ask for who make a container again of what ``docker inspect`` shows.

    Raises:
        MoveError: when it was deleted, or there are two.
    """
    named = [it for it in configuration.datasets if name in (it.name, it.dataset_id)]
    living = [it for it in named if not it.is_deleted]
    if len(living) > 1:
        identities = ", ".join(it.dataset_id for it in living)
        raise MoveError(f"Flocker has several datasets with the name {name}: {identities}")
    if named and not living:
        what = f"the dataset {name} has been deleted from Flocker ({named[0].dataset_id})"
        raise MoveError(f"{what}: what was in it is gone, and another needs another name")
    return living[0] if living else None


def _name(dataset: ConfiguredDataset) -> str:
    return dataset.dataset_id if dataset.name is None else dataset.name


def _log_unless_cancelled(failure: Failure) -> None:
    if not failure.check(CancelledError):
        _log.failure("the leases on Flocker's datasets are not looked after any more", failure)
