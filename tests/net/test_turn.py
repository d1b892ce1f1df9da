"""
What is done once in a turn of the reactor.
"""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from powerstrip.net.turn import Turn, once_in


def test_what_waits_for_the_end_of_a_turn_is_called_in_order_and_once() -> None:
    """
    It is called when the reactor has its next turn, and not again in the one after.
    """
    clock, called = Clock(), []
    turn = Turn(clock)
    turn.at_end(lambda: called.append("first"))
    turn.at_end(lambda: called.append("second"))
    assert called == []
    clock.advance(0)
    assert called == ["first", "second"]
    clock.advance(0)
    assert called == ["first", "second"]


def test_what_is_asked_for_at_the_end_of_a_turn_is_not_forgotten() -> None:
    """
    A call at the end of a turn may itself wait for an end: that of the turn that follows.
    """
    clock, called = Clock(), []
    turn = Turn(clock)
    turn.at_end(lambda: turn.at_end(lambda: called.append("later")))
    clock.advance(0)
    assert called == ["later"]


def test_an_answer_holds_for_one_turn() -> None:
    """
    The question is put again in the next turn, and only when somebody wants to know.
    """
    clock, answers = Clock(), [1, 2]
    ask = once_in(Turn(clock), lambda: answers.pop(0))
    assert [ask(), ask()] == [1, 1]
    clock.advance(0)
    assert answers == [2]
    assert ask() == 2


def test_a_question_that_failed_is_put_again() -> None:
    """
    A failure is not remembered as if it were an answer.
    """
    answers = iter([OSError("not now"), 1])

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    remembered = once_in(Turn(Clock()), ask)
    with pytest.raises(OSError, match="not now"):
        remembered()
    assert remembered() == 1
