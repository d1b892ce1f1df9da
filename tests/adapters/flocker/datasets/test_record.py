"""
Records as they are written down.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from powerstrip_flocker.datasets.record import Record, Replica, decode, encode

RECORD = Record("test1", "id", "node1", 3, {"node2": Replica("powerstrip-00000001", "guid")})

# Lone surrogates too: what a path had that was no UTF-8.
texts = st.text(st.characters(codec=None), max_size=20)
records = st.builds(
    Record,
    texts,
    texts,
    texts,
    st.integers(),
    st.dictionaries(texts, st.builds(Replica, texts, texts), max_size=3),
)


@given(records)
def test_what_is_written_is_read(record: Record) -> None:
    """
    Whatever stands in it, and in ASCII.
    """
    assert decode(encode(record)) == record
    assert encode(record).isascii()


def test_it_is_written_so() -> None:
    """
    The form that other versions read.
    """
    assert json.loads(encode(RECORD)) == {
        "format": 1,
        "name": "test1",
        "identity": "id",
        "owner": "node1",
        "generation": 3,
        "replicas": {"node2": {"snapshot": "powerstrip-00000001", "identity": "guid"}},
    }


def changed(**members: object) -> bytes:
    return json.dumps({**json.loads(encode(RECORD)), **members}).encode()


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe\xfd", "it is not JSON"),
        (b"{} {}", "it is not JSON"),
        (b"[" * 100_000, "it is nested too deep"),
        (b"[]", "the record is no object"),
        (b"{}", "the record lacks"),
        (encode(RECORD)[:-1], "it is not JSON"),
        (encode(RECORD).replace(b'"owner"', b'"owner": "node3", "owner"'), "comes twice"),
        (changed(format=2), "it is of format 2, from a newer version"),
        (changed(format=2, more=1), "it is of format 2, from a newer version"),
        (changed(format=0), "of a format that never was"),
        (changed(format="1"), "a format that is no int"),
        (changed(more=1), "'more'"),
        (changed(generation=True), "a generation that is no int"),
        (changed(generation=1.0), "a generation that is no int"),
        (changed(owner=None), "an? owner that is no str"),
        (changed(replicas=[]), "a replicas that is no dict"),
        (changed(replicas={"node2": None}), "the replica of 'node2' is no object"),
        (changed(replicas={"node2": {"snapshot": "s"}}), "the replica of 'node2' lacks"),
    ],
)
def test_what_is_not_understood_is_not_read(written: bytes, sentence: str) -> None:
    """
    A sentence says what is wrong with it.
    """
    with pytest.raises(ValueError, match=sentence):
        decode(written)
