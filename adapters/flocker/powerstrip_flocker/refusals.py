"""
Which HTTP status says what went wrong.

Sans-I/O: an error in, the refusal that the client is answered with out.
"""

from __future__ import annotations

from powerstrip.adapter.errors import Refused
from powerstrip_flocker.errors import (
    ConflictError,
    FlockerError,
    InUseError,
    LedgerError,
    MoveError,
    NoSpaceError,
    PeerError,
    RequestError,
)

__all__ = ["refusal"]

_STATUSES: tuple[tuple[type[FlockerError], int], ...] = (
    (RequestError, 400),
    (InUseError, 409),
    (ConflictError, 409),
    (MoveError, 409),
    (NoSpaceError, 507),
    (LedgerError, 503),
    (PeerError, 503),
)
"""The first that fits counts: a `ConflictError` is a `LedgerError` too."""


def refusal(error: FlockerError) -> Refused:
    """
    What a hook, or the operator's command, is answered: ``flocker: `` and the error's sentence.

    Status 400 is the client's fault, 409 is what it may ask again for when something else has
    ended, 503 is another node or the ledger, 507 a full disk, and 500 the storage here.
    """
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    return Refused(status, f"flocker: {error}")
