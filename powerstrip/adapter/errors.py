"""
What can go wrong between an adapter and its two neighbours: Powerstrip, and the engine.
"""

from __future__ import annotations

__all__ = [
    "EngineError",
    "EngineProtocolError",
    "EngineRefused",
    "EngineUnreachable",
    "PayloadError",
    "Refused",
]


class Refused(Exception):
    """
    Ends a hook with an HTTP error, which ends the chain: its text is what Docker's clients print.
    """

    def __init__(self, status: int, message: str) -> None:
        """
        Args:
            status: From 400 to 599.
        """
        super().__init__(message)
        self.status = status


class PayloadError(Refused):
    """
    What was posted is not a hook of the protocol.
    """

    def __init__(self, what: str) -> None:
        super().__init__(400, what)


class EngineError(Exception):
    """
    The engine did not do what it was asked; the text is a sentence for the user.
    """


class EngineUnreachable(EngineError):
    """
    The engine can't be reached, did not answer in time, or broke off.
    """


class EngineProtocolError(EngineError):
    """
    What the engine sent is not what its API says.
    """


class EngineRefused(EngineError):
    """
    The engine answered with an error; the text is its own.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_missing(self) -> bool:
        """
        Whether there is no such thing as was asked for.
        """
        return self.status == 404
