"""
The status of each error.
"""

from __future__ import annotations

import pytest
from powerstrip_flocker.errors import (
    ConflictError,
    FlockerError,
    InUseError,
    LedgerError,
    MoveError,
    NoSpaceError,
    PeerError,
    RequestError,
    StorageError,
)
from powerstrip_flocker.refusals import refusal


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (RequestError, 400),
        (InUseError, 409),
        (ConflictError, 409),
        (MoveError, 409),
        (FlockerError, 500),
        (StorageError, 500),
        (LedgerError, 503),
        (PeerError, 503),
        (NoSpaceError, 507),
    ],
)
def test_each_error_has_its_status(kind: type[FlockerError], status: int) -> None:
    """
    Also those that are a kind of another one; the sentence stays.
    """
    refused = refusal(kind("data is on fire"))
    assert (status, "flocker: data is on fire") == (refused.status, str(refused))
