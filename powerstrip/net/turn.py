"""
One turn of the reactor: all that happened since it last waited for something to happen.

I/O: none but the reactor's. What is the same for all exchanges of a turn is done once in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

_T = TypeVar("_T")


class Turn:
    """
    Tells when a turn has ended.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._calls: list[Callable[[], None]] = []

    def at_end(self, call: Callable[[], None]) -> None:
        """
        Have something called when this turn has ended.
        """
        if not self._calls:
            self._reactor.callLater(0, self._end)
        self._calls.append(call)

    def _end(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


def once_in(turn: Turn, ask: Callable[[], _T]) -> Callable[[], _T]:
    """
    Ask for something in a turn when it is first needed, and remember the answer until its end.
    """
    answers: list[_T] = []

    def remembered() -> _T:
        if not answers:
            answers.append(ask())
            turn.at_end(answers.clear)
        return answers[0]

    return remembered
