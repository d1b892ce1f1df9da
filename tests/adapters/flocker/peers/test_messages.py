"""
Errors keep their class on their way.
"""

from __future__ import annotations

import json

import pytest
from powerstrip_flocker import errors
from powerstrip_flocker.errors import FlockerError, LedgerError
from powerstrip_flocker.ledger.etcd_gateway import AnswerLost
from powerstrip_flocker.peers.messages import decode_error, encode_error

ALL = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, FlockerError)]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_is_of_the_same_class(kind: type[FlockerError]) -> None:
    """
    With the same text.
    """
    told = decode_error(json.loads(encode_error(kind("caf\u00e9"))))
    assert (kind, "caf\u00e9") == (type(told), str(told))


def test_an_error_of_one_part_is_of_the_nearest_class() -> None:
    """
    Which all nodes know.
    """
    assert type(decode_error(json.loads(encode_error(AnswerLost("no"))))) is LedgerError


def test_an_error_of_a_class_that_is_not_known_is_still_one() -> None:
    """
    No `PeerError`, by which a node would be taken for dead.
    """
    told = decode_error({"error": {"class": "OfNextYear", "text": "no"}})
    assert type(told) is FlockerError


def test_an_answer_can_be_no_error() -> None:
    """
    Then there is none.
    """
    assert decode_error({"result": None}) is None
