"""
The steps of a move, in their order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum


class Step(Enum):
    """
    A step that is about to be taken: a node that dies here has not taken it.
    """

    CLAIM = "claim"
    """The new side takes the right to move."""

    SNAPSHOT = "snapshot"
    """The old side takes the first snapshot; its containers go on."""

    SEND = "send"
    """The new side makes room, and fetches it."""

    RECORD = "record"
    """The new side writes down that it has it."""

    FENCE = "fence"
    """The old side makes its copy read-only. Phase two begins."""

    LAST_SNAPSHOT = "last snapshot"
    """The old side takes the snapshot that nothing can be missing from."""

    SEND_REST = "send rest"
    """The new side fetches what has changed since."""

    VERIFY = "verify"
    """The new side looks whether it has just that snapshot."""

    COMMIT = "commit"
    """The new side swaps the owner in the ledger."""

    WRITABLE = "writable"
    """The new side makes its copy writable."""

    PRUNE = "prune"
    """The new side forgets snapshots that nobody shares."""


At = Callable[[Step, str], Awaitable[None]]
"""Is called with a step that is about to be taken, and the dataset's name."""


async def go_on(step: Step, name: str) -> None:
    """
    Take the step.
    """
