"""
What a container finds in its environment.
"""

from __future__ import annotations

import pytest
from powerstrip_weave.environment import merged_environment, value_of


@pytest.mark.parametrize(
    ("request_environment", "image", "value"),
    [
        ([], [], None),
        (["W=a"], [], "a"),
        ([], ["W=i"], "i"),
        (["W=a"], ["W=i"], "a"),
        (["W="], ["W=i"], ""),
        (["W"], ["W=i"], None),
        (["W", "W=a"], ["W=i"], "a"),
        (["W=a", "W"], ["W=i"], "a"),
        (["W=a", "W=b"], ["W=i"], "b"),
        ([], ["W=i", "W=j"], "j"),
        ([], ["W=i", "W"], "i"),
        (["W=a=b"], [], "a=b"),
        (["w=a", "WW=a", "XW=a", " W=a"], ["W=i"], "i"),
        (["", "=", "=W"], ["W=i"], "i"),
    ],
)
def test_the_last_of_the_request_counts(
    request_environment: list[str], image: list[str], value: str | None
) -> None:
    """
    A variable that the request names is the request's, even where it says no value.
    """
    assert value == value_of("W", merged_environment(request_environment, image))
