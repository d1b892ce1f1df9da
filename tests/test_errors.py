"""
What went wrong, and the status that a client is told.
"""

from __future__ import annotations

import pytest

from powerstrip import errors

STATUSES = {
    "BodyTooLarge": 413,
    "ConfigError": 500,
    "DownstreamProtocolError": 400,
    "HeadTooLarge": 431,
    "HookConnectError": 502,
    "HookError": 502,
    "HookRefused": 403,
    "HookReplyError": 502,
    "HookTimeout": 504,
    "PowerstripError": 500,
    "UpstreamConnectError": 502,
    "UpstreamProtocolError": 502,
}


def make(name: str) -> errors.PowerstripError:
    kind: type[errors.PowerstripError] = getattr(errors, name)
    if kind is errors.HookRefused:
        return errors.HookRefused("a", "http://a", 403, None, b"no")
    if kind is errors.ConfigError:
        return errors.ConfigError(["it went wrong"])
    if issubclass(kind, errors.HookError):
        return kind("a", "http://a", "went wrong")
    return kind("it went wrong")


def test_each_error_has_the_status_of_its_kind() -> None:
    """
    And there is none that has not.
    """
    assert {name: make(name).status for name in errors.__all__} == STATUSES


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_is_one_sentence(name: str) -> None:
    """
    An adapter's names it and its URL.
    """
    error = make(name)
    if isinstance(error, errors.HookError):
        assert error.adapter == "a"
        what = "refused with status 403" if name == "HookRefused" else "went wrong"
        assert str(error) == f"adapter a (http://a) {what}"
    else:
        assert str(error) == "it went wrong"


def test_a_refusal_keeps_what_the_adapter_said() -> None:
    """
    The client is given it as it is.
    """
    error = errors.HookRefused("a", "http://a", 403, "text/plain", b"no")
    assert (error.status, error.content_type, error.body) == (403, "text/plain", b"no")


def test_all_problems_of_a_configuration_are_told_at_once() -> None:
    """
    Each on its line.
    """
    error = errors.ConfigError(["a is wrong", "b is wrong"])
    assert error.problems == ("a is wrong", "b is wrong")
    assert str(error) == "a is wrong\nb is wrong"
