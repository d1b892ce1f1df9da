"""
How it is with datasets and moves, as the operator's API says it.

Sans-I/O: what was found out in, JSON out. `powerstrip_flocker.survey` finds it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import frozen

from powerstrip_flocker.datasets.progress import Progress
from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.interfaces import Snapshot, Space

__all__ = ["DatasetStatus", "Departure", "Here", "Status", "read_progress", "snapshot_json"]

JsonObject = dict[str, Any]


class Here(Enum):
    """
    What this node has of a dataset.
    """

    WRITABLE = "writable"
    """It owns it, or (a problem says so) another node does."""

    FENCED = "fenced"
    """It owns it, and it is read-only: it is about to go to another node."""

    REPLICA = "replica"
    """Another node owns it; what is here is read-only, and not mounted."""

    ARRIVING = "arriving"
    """A move is bringing it here."""

    MISSING = "missing"
    """It owns it, but its storage does not have it."""

    UNRECORDED = "unrecorded"
    """No record speaks of it: it is another's, or the dataset was destroyed while this node was
    away."""

    UNKNOWN = "unknown"
    """It is here, but the ledger or the storage does not say more."""

    NOTHING = "nothing"
    """It is elsewhere alone."""


@frozen
class DatasetStatus:
    """
    A dataset, seen from one node at one moment.
    """

    node: str
    """Where it is seen from."""

    name: str
    record: Record | None
    """None where there is none, or the ledger does not answer."""

    here: Here
    is_writable: bool = False
    space: Space | None = None
    """None where it isn't here, or can't be said."""

    moving_to: str | None = None
    failure: str | None = None
    """What the storage said, where it did not do what it was asked."""

    @property
    def problem(self) -> str | None:
        """
        What is not as it has to be, in a sentence.
        """
        owner = self.record.owner if self.record else None
        if self.failure is not None:
            return f"{self.name}: {self.failure}"
        if self.here is Here.MISSING:
            return f"{self.node} owns {self.name}, but its storage does not have it"
        if self.here is Here.FENCED and self.moving_to is None:
            return f"{self.node} owns {self.name}, but it can't be written there"
        if self.is_writable and owner not in (None, self.node):
            return f"{owner} owns {self.name}, but it can still be written on {self.node}"
        return None

    def json(self) -> JsonObject:
        """
        As `powerstrip_flocker.operator_api` describes it.
        """
        record = self.record
        replicas = record.replicas if record else {}
        return {
            "name": self.name,
            "owner": record.owner if record else None,
            "generation": record.generation if record else None,
            "here": self.here.value,
            "used_bytes": self.space.used_bytes if self.space else None,
            "replicas": {node: it.snapshot for node, it in sorted(replicas.items())},
            "moving_to": self.moving_to,
        }


@frozen
class Departure:
    """
    A move from here: how far it is, the other node knows.
    """

    name: str
    source: str
    target: str

    def line(self) -> str:
        """
        As a line of text.
        """
        return f"{self.name}: {self.source} -> {self.target}, under way"


@frozen
class Status:
    """
    All of it, at one moment.
    """

    node: str
    storage: str
    """As ``--storage`` names it."""

    datasets: Sequence[DatasetStatus]
    moves: Sequence[Progress | Departure]
    nodes: Mapping[str, str]
    ledger_problem: str | None
    engine_problem: str | None
    problems: Sequence[str]
    """Those that belong nowhere else."""

    def json(self) -> JsonObject:
        """
        As `powerstrip_flocker.operator_api` describes it.
        """
        free = [it.space.free_bytes for it in self.datasets if it.space]
        problems = [*self.problems, *(it.problem for it in self.datasets if it.problem)]
        return {
            "node": self.node,
            "storage": {"name": self.storage, "free_bytes": max(free, default=None)},
            "ledger": {"problem": self.ledger_problem},
            "engine": {"problem": self.engine_problem},
            "nodes": dict(sorted(self.nodes.items())),
            "datasets": [it.json() for it in self.datasets],
            "moves": [move_json(it) for it in self.moves],
            "problems": problems,
        }


def move_json(move: Progress | Departure) -> JsonObject:
    """
    A move; all figures are null where they aren't known.
    """
    progress = move if isinstance(move, Progress) else None
    return {
        "dataset": move.name,
        "from": move.source,
        "to": move.target,
        "phase": progress and progress.phase,
        "sent_bytes": progress and progress.sent_bytes,
        "expected_bytes": progress and progress.expected_bytes,
        "elapsed_seconds": progress and progress.elapsed_seconds,
        "bytes_per_second": progress and progress.bytes_per_second,
        "remaining_seconds": progress and progress.remaining_seconds,
    }


def read_progress(move: Mapping[str, Any]) -> Progress | Departure:
    """
    Read what `move_json` has written.
    """
    ends = (move["dataset"], move["from"], move["to"])
    if move["phase"] is None:
        return Departure(*ends)
    return Progress(
        *ends, move["phase"], move["sent_bytes"], move["expected_bytes"], move["elapsed_seconds"]
    )


def snapshot_json(snapshot: Snapshot) -> JsonObject:
    """
    A snapshot.
    """
    return {
        "name": snapshot.name,
        "identity": snapshot.identity,
        "created_seconds": snapshot.created_seconds,
    }
