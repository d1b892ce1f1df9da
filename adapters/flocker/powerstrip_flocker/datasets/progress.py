"""
How far a move is.

Sans-I/O: values; whoever reports has the clock.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Progress:
    """
    One phase of one move, at one moment.
    """

    name: str
    phase: int
    """1 while containers may go on, 2 while the dataset is fenced."""

    sent_bytes: int
    expected_bytes: int | None
    """About how many it will be, or None where that isn't known."""

    elapsed_seconds: float

    @property
    def bytes_per_second(self) -> float:
        return self.sent_bytes / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """
        Until its expected end, or None where nobody can tell.
        """
        if self.expected_bytes is None or self.bytes_per_second == 0:
            return None
        return max(0, self.expected_bytes - self.sent_bytes) / self.bytes_per_second
