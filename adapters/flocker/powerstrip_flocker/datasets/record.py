"""
What is written down of a dataset: one record, which says who owns it.

Sans-I/O: values, and their JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class Replica:
    """
    What a node that does not own a dataset has of it.
    """

    snapshot: str
    """The newest snapshot that it has received, by name."""

    identity: str
    """That snapshot's, as its storage says it."""


@frozen
class Record:
    """
    A dataset, as the whole cluster knows it.
    """

    name: str
    identity: str
    """Another one for each dataset that ever was, also for one of the same name later."""

    owner: str
    """The node that alone may write it."""

    generation: int
    """Grows by one whenever the owner changes."""

    replicas: Mapping[str, Replica] = field(factory=dict)
    """By node: from here on, only differences need be sent there."""


FORMAT = 1
"""Grows when what is written means something else."""


def encode(record: Record) -> bytes:
    """
    Write a record as JSON, in ASCII.
    """
    written = {
        "format": FORMAT,
        "name": record.name,
        "identity": record.identity,
        "owner": record.owner,
        "generation": record.generation,
        "replicas": {
            node: {"snapshot": replica.snapshot, "identity": replica.identity}
            for node, replica in record.replicas.items()
        },
    }
    return json.dumps(written).encode("ascii")


def decode(written: bytes) -> Record:
    """
    Read what `encode` wrote. What is not understood whole is not read at all: who owns a dataset
    is nothing to guess.

    Raises:
        ValueError: when it is no such record, with a sentence.
    """
    try:
        value = json.loads(written, object_pairs_hook=_once_each)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if isinstance(value, dict) and _is_newer(value.get("format")):
        raise ValueError(f"it is of format {value['format']}, from a newer version of the adapter")
    fields = _fields(
        value,
        "the record",
        {
            "format": int,
            "name": str,
            "identity": str,
            "owner": str,
            "generation": int,
            "replicas": dict,
        },
    )
    if fields.pop("format") != FORMAT:
        raise ValueError("it is of a format that never was")
    replicas = {
        node: Replica(**_fields(it, f"the replica of {node!r}", {"snapshot": str, "identity": str}))
        for node, it in fields.pop("replicas").items()
    }
    return Record(replicas=replicas, **fields)


def _is_newer(written: object) -> bool:
    return type(written) is int and written > FORMAT


def _fields(value: object, what: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    if value.keys() != kinds.keys():
        odd = sorted(value.keys() ^ kinds.keys())
        raise ValueError(f"{what} lacks or has beyond what it should: {', '.join(map(repr, odd))}")
    for name, kind in kinds.items():
        if type(value[name]) is not kind:  # a bool is an int to isinstance
            raise ValueError(f"{what} has a {name} that is no {kind.__name__}")
    return value


def _once_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a member comes twice")
    return value
