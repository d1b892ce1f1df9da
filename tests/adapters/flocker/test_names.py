"""
What datasets can be called.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.names import check_name

LENGTH = "it has 65 characters, and 64 are the most"
LETTERS = "it may have letters of ASCII, digits, '.', '_' and '-' only"


@pytest.mark.parametrize(
    "name", ["a", "0", "test1", "Postgres-9.4_data", "-", "_", ".a", "a.", "a.b.c", "x" * 64]
)
def test_a_name_has_letters_digits_and_three_more(name: str) -> None:
    """
    Up to 64 of them, in any order.
    """
    check_name(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "a dataset must have a name, as in /flocker/NAME"),
        (".", "'.' can't be the name of a dataset: it may have no '..' and not be '.'"),
        ("..", "'..' can't be the name of a dataset: it may have no '..' and not be '.'"),
        ("a..b", "'a..b' can't be the name of a dataset: it may have no '..' and not be '.'"),
        (
            "x" * 65,
            f"'{'x' * 20}…' can't be the name of a dataset: {LENGTH}",
        ),
        (
            "a b",
            f"'a b' can't be the name of a dataset: {LETTERS}",
        ),
    ],
)
def test_another_name_is_refused_with_a_sentence(name: str, sentence: str) -> None:
    """
    It says what the name may have.
    """
    with pytest.raises(RequestError) as refused:
        check_name(name)

    assert sentence == str(refused.value)


@pytest.mark.parametrize("letter", [*"/@:%#,= \t\n\0\x7f\\'\"$;*~", *"ä\u017f\u0661\u200b\ud800"])
def test_no_other_letter_is_in_a_name(letter: str) -> None:
    """
    Those do not go through by which file systems, shells and HTTP know parts of a name.
    """
    for name in (letter, f"a{letter}", f"{letter}a"):
        with pytest.raises(RequestError, match=LETTERS) as refused:
            check_name(name)
        assert str(refused.value).isprintable()


@settings(deadline=None)
@given(st.text() | st.text("ab.-_/", max_size=8))
def test_a_name_that_goes_through_is_one_step_of_a_path(name: str) -> None:
    """
    What is not refused is never a path of its own, nor empty.
    """
    try:
        check_name(name)
    except RequestError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name)
    assert name != "."
    assert ".." not in name
