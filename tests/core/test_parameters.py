"""
Parameters that the engine would read, and a hook would not.
"""

from __future__ import annotations

import pytest

from powerstrip.core.http1 import RequestHead
from powerstrip.core.parameters import check_parameters
from powerstrip.errors import DownstreamProtocolError

FORM = b"Content-Type: application/x-www-form-urlencoded"
LENGTH = b"Content-Length: 6"


def check(*fields: bytes, target: bytes = b"/containers/x/rename?name=y") -> None:
    """
    Look at a request that is a POST with these fields.
    """
    lines = [b"POST " + target + b" HTTP/1.1", *fields, b"", b""]
    check_parameters(RequestHead.parse(b"\r\n".join(lines)))


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/x-www-form-urlencoded",
        b"Application/X-WWW-Form-URLencoded",
        b"\tapplication/x-www-form-urlencoded ; charset=utf-8",
        b"application/x-www-form-urlencoded;",
        b"multipart/form-data; boundary=x",
        b"MULTIPART/form-data",
    ],
)
@pytest.mark.parametrize("framing", [LENGTH, b"Transfer-Encoding: chunked"])
def test_a_form_is_refused(content_type: bytes, framing: bytes) -> None:
    """
    Go puts its parameters before those of the query, which is all that hooks are shown.
    """
    with pytest.raises(DownstreamProtocolError, match="a form in the body"):
        check(b"content-type:" + content_type, framing)
    with pytest.raises(DownstreamProtocolError, match="a form in the body"):
        check(b"Content-Type: application/json", b"Content-Type:" + content_type, framing)


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/x-www-form-urlencoded\xc2\xa0",
        b"\xe3\x80\x80application/x-www-form-urlencoded",
        b"appl\xc4\xb0cation/x-www-form-urlencoded",
        b"application/json; charset=\xff",
    ],
)
def test_a_type_that_is_not_ascii_is_refused(content_type: bytes) -> None:
    """
    Go trims and lowers Unicode, and so could take it for that of a form.
    """
    with pytest.raises(DownstreamProtocolError, match="Content-Type is not ASCII"):
        check(b"Content-Type: " + content_type, LENGTH)


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (LENGTH,),
        (b"Content-Type: application/json", LENGTH),
        (b"Content-Type: application/json; x=application/x-www-form-urlencoded", LENGTH),
        (b"Content-Type: xapplication/x-www-form-urlencoded", LENGTH),
        (b"Content-Type: application/x-www-form-urlencodedx", LENGTH),
        (b"Content-Type:", LENGTH),
        (b"X-" + FORM, LENGTH),
        (FORM,),
        (FORM, b"Content-Length: 0"),
        (FORM + b"\xff", b"Content-Length: 0"),
    ],
)
def test_other_bodies_and_none_go_on(fields: tuple[bytes, ...]) -> None:
    """
    ``curl -d ''`` calls nothing at all a form.
    """
    check(*fields)


@pytest.mark.parametrize("target", [b"/x?name=y;name=z", b"/x?;", b"/x?a?b;c", b"/x;y?z;"])
def test_a_semicolon_in_the_query_is_refused(target: bytes) -> None:
    """
    It separates parameters to some engines, and does not to their adapters.
    """
    with pytest.raises(DownstreamProtocolError, match="must be escaped"):
        check(target=target)


@pytest.mark.parametrize("target", [b"/x?name=y%3Bname=z&a=b", b"/x;y?z", b"/x;y", b"/x?"])
def test_other_queries_go_on(target: bytes) -> None:
    """
    With a semicolon that is escaped, or that is a part of the path.
    """
    check(target=target)


@pytest.mark.parametrize(
    "query", [b"name=a&name=b", b"name=a&n%61me=b", b"name&name", b"x=1&fromImage=a&fromImage=b"]
)
def test_a_parameter_that_comes_twice_is_refused(query: bytes) -> None:
    """
    Go takes the first, and an adapter may take the last.
    """
    with pytest.raises(DownstreamProtocolError, match="twice"):
        check(target=b"/containers/create?" + query)


@pytest.mark.parametrize(
    "query",
    [b"t=a&t=b", b"names=a&names=b&names=c", b"name=a&Name=b", b"Cmd=sh&Cmd=-c", b"a=1&&b=2&", b""],
)
def test_lists_and_other_names_are_parameters_as_usual(query: bytes) -> None:
    """
    Some parameters are lists, and their names are told apart by case.
    """
    check(target=b"/build?" + query)
