"""
What nodes say to each other in JSON: claims, snapshots, and errors.

Sans-I/O: values in, JSON out, and back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from powerstrip_flocker import errors
from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.interfaces import Claim, Snapshot

__all__ = [
    "ALIVE_SECONDS",
    "PATH",
    "decode_error",
    "decode_snapshots",
    "encode_claim",
    "encode_error",
    "encode_snapshots",
]

PATH = "/v1/peer"
"""Below it, each of `IPeer`'s methods has its name."""

ALIVE_SECONDS = 1.0
"""How often a node that has nothing to say yet says that it lives."""

_ERRORS: Mapping[str, type[FlockerError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, FlockerError)
}


def encode_error(error: FlockerError) -> bytes:
    """
    Write an error as the nearest class that all nodes know.
    """
    name = next(it.__name__ for it in type(error).__mro__ if _ERRORS.get(it.__name__) is it)
    return json.dumps({"error": {"class": name, "text": str(error)}}).encode("ascii")


def decode_error(answer: Mapping[str, Any]) -> FlockerError | None:
    """
    The error that an answer tells of.

    One of a class that isn't known is a `FlockerError`: who tells of it lives.
    """
    if "error" not in answer:
        return None
    written = answer["error"]
    return _ERRORS.get(written["class"], FlockerError)(str(written["text"]))


def encode_claim(claim: Claim) -> Mapping[str, str]:
    return {"name": claim.name, "node": claim.node, "token": claim.token}


def encode_snapshots(snapshots: Sequence[Snapshot]) -> Sequence[Mapping[str, object]]:
    return [
        {"name": it.name, "identity": it.identity, "created_seconds": it.created_seconds}
        for it in snapshots
    ]


def decode_snapshots(written: Sequence[Mapping[str, Any]]) -> Sequence[Snapshot]:
    return [
        Snapshot(str(it["name"]), str(it["identity"]), float(it["created_seconds"]))
        for it in written
    ]
