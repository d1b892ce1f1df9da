"""
A body is held whole, and its connection ends when nobody wants it any more.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss

from powerstrip.net.collecting import OverLimitError, collect


@define
class Answer:
    """
    An answer whose body a test delivers.
    """

    body: IProtocol | None = None
    transport: StringTransport = field(factory=StringTransport)

    def deliverBody(self, protocol: IProtocol) -> None:
        self.body = protocol
        protocol.makeConnection(self.transport)

    def collected(self, **more: Any) -> Deferred[bytes]:
        return Deferred.fromCoroutine(collect(cast(Any, self), **more))

    def receive(self, data: bytes) -> None:
        assert self.body is not None
        self.body.dataReceived(data)

    def end(self, reason: Exception) -> None:
        assert self.body is not None
        self.body.connectionLost(Failure(reason))


def failure_of(collecting: Deferred[bytes]) -> BaseException:
    failures: list[Failure] = []
    collecting.addErrback(failures.append)
    assert len(failures) == 1
    assert failures[0].value is not None
    return failures[0].value


@pytest.mark.parametrize("reason", [ResponseDone(), PotentialDataLoss()])
def test_a_body_is_given_when_it_has_ended(reason: Exception) -> None:
    """
    Whole, and not before.
    """
    answer = Answer()
    collecting = answer.collected()
    answer.receive(b"one ")
    answer.receive(b"two")
    assert not collecting.called
    answer.end(reason)
    assert collecting.result == b"one two"
    assert not answer.transport.disconnecting


def test_a_body_that_is_cut_is_none() -> None:
    """
    What has cut it is said.
    """
    answer = Answer()
    collecting = answer.collected()
    answer.receive(b"one ")
    answer.end(ResponseFailed([Failure(ConnectionLost())]))
    assert isinstance(failure_of(collecting), ResponseFailed)


def test_the_end_of_the_connection_can_be_no_end() -> None:
    """
    Where a body that was cut would look the same.
    """
    answer = Answer()
    collecting = answer.collected(may_end_with_connection=False)
    answer.receive(b"one ")
    answer.end(PotentialDataLoss())
    assert isinstance(failure_of(collecting), PotentialDataLoss)


def test_a_body_within_the_limit_is_held() -> None:
    """
    The last byte counts as any other.
    """
    answer = Answer()
    collecting = answer.collected(limit_bytes=4)
    answer.receive(b"1234")
    answer.end(ResponseDone())
    assert collecting.result == b"1234"


def test_a_body_over_the_limit_ends_its_connection() -> None:
    """
    What still comes, and how it ends, is of no interest.
    """
    answer = Answer()
    collecting = answer.collected(limit_bytes=4)
    answer.receive(b"12345")
    assert isinstance(failure_of(collecting), OverLimitError)
    assert answer.transport.disconnecting
    answer.receive(b"6")
    answer.end(ResponseFailed([Failure(ConnectionLost())]))


def test_a_body_that_nobody_waits_for_ends_its_connection() -> None:
    """
    Also while it still comes.
    """
    answer = Answer()
    collecting = answer.collected()
    answer.receive(b"one ")
    collecting.cancel()
    assert isinstance(failure_of(collecting), CancelledError)
    assert answer.transport.disconnecting
    answer.end(ResponseFailed([Failure(ConnectionLost())]))


def test_each_part_of_a_body_is_told_of() -> None:
    """
    Who waits for signs of life hears of it.
    """
    answer = Answer()
    heard: list[None] = []
    answer.collected(heard=lambda: heard.append(None))
    answer.receive(b"one ")
    answer.receive(b"two")
    assert len(heard) == 2
    answer.end(ResponseDone())
