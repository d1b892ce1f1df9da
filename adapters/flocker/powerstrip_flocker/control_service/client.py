"""
The REST API of Flocker's control service, version 1.

I/O: asks by an `Exchange`. What was asked for is a change of the configuration; the cluster's state
follows it some seconds later. From Flocker's own documents: "Flocker REST API Details", its
examples, "Flocker Leases", and the schemas of its ``/v1/types.json`` and ``/v1/endpoints.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from attrs import frozen

from powerstrip_flocker.control_service.exchange import (
    ControlRefused,
    ControlServiceError,
    Exchange,
)

__all__ = [
    "CONFLICT",
    "DELETED",
    "MINIMUM_BYTES",
    "NOT_FOUND",
    "PRECONDITION_FAILED",
    "SIZE_STEP_BYTES",
    "Configuration",
    "ConfiguredDataset",
    "ControlServiceClient",
    "Node",
    "PlacedDataset",
]

NOT_FOUND, DELETED, CONFLICT, PRECONDITION_FAILED = 404, 405, 409, 412

MINIMUM_BYTES = 64 * 2**20
SIZE_STEP_BYTES = 1024
"""What a dataset's ``maximum_size`` has to be: the schemas."""

_T = TypeVar("_T")


@frozen
class ConfiguredDataset:
    """
    A dataset as it is to be.
    """

    dataset_id: str
    name: str | None
    """What its metadata say, as Flocker's plugin for Docker writes them."""

    node: str
    """Where it is to be."""

    is_deleted: bool
    """One that was deleted stays in the configuration for good."""


@frozen
class Configuration:
    """
    All datasets as they are to be.
    """

    datasets: tuple[ConfiguredDataset, ...]
    tag: str | None
    """Tells whether anybody has changed it since; None before Flocker 1.9."""


@frozen
class PlacedDataset:
    """
    A dataset as it is, as far as its node has told the control service by now.
    """

    dataset_id: str
    node: str | None
    """Where it is attached; None while it is nowhere."""

    path: Path | None
    """Where it is mounted there."""


@frozen
class Node:
    """
    A node whose agent is connected.
    """

    uuid: str
    host: str


class ControlServiceClient:
    """
    Asks for datasets.

    Raises:
        ControlServiceError: by any method, when it can't be asked or refuses; `ControlAnswerLost`
            when a change may have happened all the same.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def version(self) -> str:
        """
        Flocker's.
        """
        answer = await self._exchange.ask("GET", "/version")
        return _parsed(answer.value, lambda value: _text(value["flocker"]))

    async def nodes(self) -> Sequence[Node]:
        """
        Those that are connected.
        """
        answer = await self._exchange.ask("GET", "/state/nodes")
        return _each(answer.value, lambda it: Node(_uuid(it["uuid"]), _text(it["host"])))

    async def node_of_era(self, era: str) -> str | None:
        """
        The node that was booted as this one, or None as long as its agent has not connected.

        Args:
            era: The kernel's ``boot_id``.

        Raises:
            ControlRefused: with no description, before Flocker 1.8.
        """
        try:
            answer = await self._exchange.ask("GET", f"/state/nodes/by_era/{quote(era, safe='')}")
        except ControlRefused as refusal:
            if refusal.status == NOT_FOUND and refusal.described:
                return None
            raise
        return _parsed(answer.value, lambda value: _uuid(value["uuid"]))

    async def configuration(self) -> Configuration:
        """
        All datasets as they are to be.
        """
        answer = await self._exchange.ask("GET", "/configuration/datasets")
        return Configuration(_each(answer.value, _configured), answer.tag)

    async def state(self) -> Sequence[PlacedDataset]:
        """
        All datasets as they are.
        """
        answer = await self._exchange.ask("GET", "/state/datasets")
        return _each(answer.value, _placed)

    async def create(
        self,
        dataset_id: str,
        name: str,
        node: str,
        size_bytes: int | None = None,
        tag: str | None = None,
    ) -> None:
        """
        Have a dataset made.

        Args:
            size_bytes: None for as large as the control service makes them.
            tag: Of the configuration in which it is missing.

        Raises:
            ControlRefused: 409 when one has this identity, 412 when the tag is old.
        """
        question: dict[str, object] = {
            "dataset_id": dataset_id,
            "primary": node,
            "metadata": {"name": name},
        }
        if size_bytes is not None:
            question["maximum_size"] = size_bytes
        await self._exchange.ask("POST", "/configuration/datasets", question, tag)

    async def move(self, dataset_id: str, node: str, tag: str | None = None) -> None:
        """
        Have a dataset moved. This does not ask whether anybody uses it: it is done when no lease
        of the node where it is keeps it there, and no container of Flocker's own.

        Raises:
            ControlRefused: 404 where there is none, 405 when it was deleted, 412 when the tag is
                old.
        """
        path = f"/configuration/datasets/{dataset_id}"
        await self._exchange.ask("POST", path, {"primary": node}, tag)

    async def delete(self, dataset_id: str) -> None:
        """
        Have a dataset deleted, with what is in it. Once more does no harm.

        Raises:
            ControlRefused: 404 where there is none.
        """
        await self._exchange.ask("DELETE", f"/configuration/datasets/{dataset_id}")

    async def leases(self) -> Mapping[str, str] | None:
        """
        The nodes on which datasets are kept, by the datasets' identities; None before Flocker 1.4,
        which has no leases.
        """
        try:
            answer = await self._exchange.ask("GET", "/configuration/leases")
        except ControlRefused as refusal:
            if refusal.status == NOT_FOUND and not refusal.described:
                return None
            raise
        return dict(_each(answer.value, _lease))

    async def take_lease(self, dataset_id: str, node: str) -> None:
        """
        Keep a dataset on a node, for good until it is released. Once more does no harm.

        There need be no such dataset yet, and it may be elsewhere: only the node of the lease is
        kept from giving a dataset away.

        Raises:
            ControlRefused: 409 when another node has it.
        """
        question = {"dataset_id": dataset_id, "node_uuid": node, "expires": None}
        await self._exchange.ask("POST", "/configuration/leases", question)

    async def release_lease(self, dataset_id: str) -> None:
        """
        Let others have a dataset. Anybody may release anybody's.

        Raises:
            ControlRefused: 404 where there is no lease.
        """
        await self._exchange.ask("DELETE", f"/configuration/leases/{dataset_id}")


def _each(value: Any, parse: Callable[[Any], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise ControlServiceError(f"Flocker's control service answers what is no list: {value!r}")
    return tuple(_parsed(it, parse) for it in value)


def _parsed(value: Any, parse: Callable[[Any], _T]) -> _T:
    try:
        return parse(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"Flocker's control service answers what is not of its API: {value!r}"
        raise ControlServiceError(what) from error


def _configured(value: Any) -> ConfiguredDataset:
    name = value.get("metadata", {}).get("name")
    return ConfiguredDataset(
        _uuid(value["dataset_id"]),
        None if name is None else _text(name),
        _uuid(value["primary"]),
        value.get("deleted", False) is True,
    )


def _placed(value: Any) -> PlacedDataset:
    node, path = value.get("primary"), value.get("path")
    return PlacedDataset(
        _uuid(value["dataset_id"]),
        None if node is None else _uuid(node),
        None if path is None else Path(_absolute(path)),
    )


def _lease(value: Any) -> tuple[str, str]:
    return _uuid(value["dataset_id"]), _uuid(value["node_uuid"])


def _uuid(value: Any) -> str:
    # It compares identities without regard to case, and so must we.
    return _text(value).lower()


def _absolute(value: Any) -> str:
    if not _text(value).startswith("/"):
        raise ValueError(value)
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
