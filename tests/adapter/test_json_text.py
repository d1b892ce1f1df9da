"""
JSON that is read and written again.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerstrip.adapter.json_text import Json, Number, TooDeep, dump, load

NUMBERS = ["0", "-0", "-0.0", "1.0", "1e3", "1E+3", "1e400", "9007199254740993", "1" * 5000]

TEXTS = st.text(st.characters(exclude_categories=()))
"""With halves of surrogate pairs, which JSON can have and Unicode text can't."""

VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS | st.sampled_from(NUMBERS).map(Number),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_stay_as_they_are_spelled(number: str) -> None:
    """
    No digit, sign or exponent of a number changes.
    """
    assert f'{{"a":[{number}]}}' == dump(load(f' {{"a": [ {number} ] }}\n'))


def test_members_stay_in_their_order() -> None:
    """
    Members come out as they went in, not sorted.
    """
    text = '{"b":{},"a":[],"c":[null,true,false,{"z":"","y":[{}]}]}'

    assert text == dump(load(text))


@settings(deadline=None)
@given(VALUES)
def test_what_was_written_is_read_again(value: Json) -> None:
    """
    Every value survives, with all letters that a text can have.
    """
    assert value == load(dump(value))


@settings(deadline=None)
@given(VALUES)
def test_what_was_written_means_the_same_to_others(value: Json) -> None:
    """
    Another reader of JSON, here Python's own, finds the values that were written.
    """
    assert value == json.loads(dump(value), parse_int=Number, parse_float=Number)


@settings(deadline=None)
@given(VALUES)
def test_json_is_written_in_ascii(value: Json) -> None:
    """
    What is written can be encoded, whatever was read.
    """
    assert dump(value).isascii()


@pytest.mark.parametrize(
    "text", ["", "{", "{} {}", "NaN", '{"a":-Infinity}', "{'a':1}", "\ufeff{}"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """
    What Python alone takes for JSON is refused as well.
    """
    with pytest.raises(ValueError, match=r"."):
        load(text)


def test_json_that_is_too_deep_is_not_taken_for_a_mistake() -> None:
    """
    The engine reads 10000 levels, so that a text with more than Python reads is no nonsense.
    """
    with pytest.raises(TooDeep):
        load("[" * 100_000 + "]" * 100_000)
    value: Json = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(TooDeep):
        dump(value)
