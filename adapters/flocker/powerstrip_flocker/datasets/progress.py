"""
How far a move is.

Sans-I/O: values and text; whoever reports has the clock, and the log.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

from powerstrip_flocker.amounts import rate_text, size_text, time_text

LOG_SECONDS = 5.0
"""How often the log tells of a phase that goes on."""


@frozen
class Progress:
    """
    One phase of one move, at one moment.
    """

    name: str
    source: str
    """The node that owns the dataset."""

    target: str
    """The node that it moves to."""

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

    def line(self) -> str:
        """
        How far it is, as a line of text.
        """
        parts = [size_text(self.sent_bytes)]
        if self.expected_bytes is not None:
            parts = [f"{parts[0]} of about {size_text(self.expected_bytes)}"]
        parts.append(rate_text(self.bytes_per_second))
        if self.remaining_seconds is not None:
            parts.append(f"{time_text(self.remaining_seconds)} to go")
        return f"{self._what}: {', '.join(parts)}"

    def end_line(self) -> str:
        """
        What the phase was, once it is over, as a line of text.
        """
        took = f"{size_text(self.sent_bytes)} in {self.elapsed_seconds:.1f} s"
        return f"{self._what}: {took}, {rate_text(self.bytes_per_second)}"

    @property
    def _what(self) -> str:
        return f"{self.name}: {self.source} -> {self.target}, phase {self.phase} of 2"


@define
class PhaseLog:
    """
    Tells of one phase: now and then, and at its end.
    """

    say: Callable[[str], None]
    _said_at: float = field(default=0.0, init=False)

    def goes_on(self, progress: Progress) -> None:
        """
        Say how far it is, if that was not said a moment ago.
        """
        if progress.elapsed_seconds - self._said_at >= LOG_SECONDS:
            self._said_at = progress.elapsed_seconds
            self.say(progress.line())

    def ended(self, progress: Progress) -> None:
        """
        Say how much it was.
        """
        self.say(progress.end_line())
