"""
What an adapter takes from its own command, and from nobody else.
"""

from __future__ import annotations

from io import BytesIO

import pytest
from twisted.web.test.requesthelper import DummyRequest

from powerstrip.adapter.errors import Refused
from powerstrip.adapter.posted import posted_json


class _Request(DummyRequest):
    def __init__(self, body: bytes, content_type: str | None) -> None:
        super().__init__([])
        self.content = BytesIO(body)
        if content_type is not None:
            self.requestHeaders.addRawHeader("content-type", content_type)


JSON = ["application/json", "Application/JSON; charset=utf-8"]


@pytest.mark.parametrize("content_type", JSON)
@pytest.mark.parametrize(("body", "members"), [(b'{"to": "n2"}', {"to": "n2"}), (b"", {})])
def test_an_object_is_read(body: bytes, members: dict[str, str], content_type: str) -> None:
    """
    Whatever else its type says; no body is an object without members.
    """
    assert members == posted_json(_Request(body, content_type), "{}")


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
@pytest.mark.parametrize("body", [b"", b'{"to": "n2"}'])
def test_what_a_form_can_send_is_refused(body: bytes, content_type: str | None) -> None:
    """
    A page of another site can make a browser post these, with any body.
    """
    with pytest.raises(Refused) as refused:
        posted_json(_Request(body, content_type), "{}")
    assert refused.value.status == 415


@pytest.mark.parametrize("body", [b"[]", b'"n2"', b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """
    With an example of what is.
    """
    with pytest.raises(Refused) as refused:
        posted_json(_Request(body, JSON[0]), '{"to": "NODE"}')
    expected = (400, 'the body must be JSON such as {"to": "NODE"}')
    assert expected == (refused.value.status, str(refused.value))
