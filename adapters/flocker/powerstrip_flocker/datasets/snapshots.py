"""
Which snapshots there are to be, and which two nodes share.

Sans-I/O: values in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.interfaces import Snapshot


def next_name(record: Record, snapshots: Sequence[Snapshot]) -> str:
    """
    A name that no snapshot has, later than all of them: ``powerstrip-IDENTITY-00000007``.

    The dataset's identity in it tells a replica from a foreign dataset of the same name.
    """
    numbers = [int(it.name[-8:]) for it in snapshots if is_ours(record.identity, it)]
    return f"powerstrip-{record.identity}-{max(numbers, default=0) + 1:08d}"


def is_ours(identity: str, snapshot: Snapshot) -> bool:
    """
    Whether a snapshot was taken by a move of this dataset, and not by a person.
    """
    pattern = rf"powerstrip-{re.escape(identity)}-\d{{8}}"
    return re.fullmatch(pattern, snapshot.name) is not None


def identity_in(snapshot: Snapshot) -> str | None:
    """
    The identity of the dataset of which a move took it, or None where a person did.
    """
    found = re.fullmatch(r"powerstrip-([0-9a-f]{32})-\d{8}", snapshot.name)
    return found[1] if found else None


def newest_shared(here: Sequence[Snapshot], there: Sequence[Snapshot]) -> Snapshot | None:
    """
    The newest snapshot here that is there too.

    By name and identity: commands take names, and only the identity says that it is the same.
    """
    shared = {(it.name, it.identity) for it in there}
    return next((it for it in reversed(here) if (it.name, it.identity) in shared), None)


def unshared(record: Record, snapshots: Sequence[Snapshot]) -> Sequence[Snapshot]:
    """
    Those of the owner's that no replica has, and that moves have taken.
    """
    shared = {it.identity for it in record.replicas.values()}
    return [it for it in snapshots if is_ours(record.identity, it) and it.identity not in shared]
