"""
Where an adapter is: the URLs that can be called, and what is said about the others.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.adapter_urls import AdapterUrl


@pytest.mark.parametrize(
    ("text", "tls", "host", "port", "target", "authority"),
    [
        ("http://weave/extension", False, "weave", 80, "/extension", "weave"),
        ("http://weave", False, "weave", 80, "/", "weave"),
        ("http://weave:80/a//b%20c/", False, "weave", 80, "/a//b%20c/", "weave"),
        ("HTTP://weave:6783/?a=b?c", False, "weave", 6783, "/?a=b?c", "weave:6783"),
        ("http://weave?a", False, "weave", 80, "/?a", "weave"),
        ("https://weave.example./x@y:z", True, "weave.example.", 443, "/x@y:z", "weave.example."),
        ("https://10.0.0.1:80/", True, "10.0.0.1", 80, "/", "10.0.0.1:80"),
        ("http://[::1]:8080/x", False, "::1", 8080, "/x", "[::1]:8080"),
        ("http://[FE80::0:1]", False, "fe80::1", 80, "/", "[fe80::1]"),
        ("http://my_adapter_1/", False, "my_adapter_1", 80, "/", "my_adapter_1"),
    ],
)
def test_a_url_has_its_parts(
    text: str, tls: bool, host: str, port: int, target: str, authority: str
) -> None:
    """
    Over TCP: the host and the port to connect to, and what to ask for there.
    """
    url = AdapterUrl.parse(text)
    assert (url.tls, url.host, url.port, url.target, url.authority, url.socket_path) == (
        tls,
        host,
        port,
        target,
        authority,
        None,
    )


@pytest.mark.parametrize(
    ("text", "socket_path", "target"),
    [
        ("http+unix://%2Frun%2Fweave.sock/extension", "/run/weave.sock", "/extension"),
        ("http+unix://%2frun%2fweave.sock", "/run/weave.sock", "/"),
        ("http+unix://%2FRun%2Fa%20b%40c:1/?x", "/Run/a b@c:1", "/?x"),
        ("http+unix://%2Frun%2F%FF", "/run/\udcff", "/"),
    ],
)
def test_a_socket_stands_in_the_place_of_the_host(text: str, socket_path: str, target: str) -> None:
    """
    Its path is percent-encoded, and keeps its case.
    """
    url = AdapterUrl.parse(text)
    assert (url.tls, url.authority, url.socket_path, url.target) == (
        False,
        "localhost",
        socket_path,
        target,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://weave/extension", "http://weave/extension"),
        ("HTTPS://weave:443", "https://weave:443/"),
        ("http://weave/x?token=secret", "http://weave/x?…"),
        ("http+unix://%2Frun%2Fx.sock/y", "http+unix://%2Frun%2Fx.sock/y"),
    ],
)
def test_a_url_is_shown_without_its_query(text: str, shown: str) -> None:
    """
    A query may hold a token, and sentences go to the clients.
    """
    assert AdapterUrl.parse(text).display_url == shown


FORMS = (
    "the URL must be http://HOST[:PORT]/PATH, https://… or http+unix://%2FPATH%2FTO%2FSOCKET/PATH"
)
SOCKET = (
    "the socket's absolute path must stand percent-encoded in the place of the host, as in "
    "http+unix://%2Frun%2Fweave.sock/extension"
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", FORMS),
        ("weave", FORMS),
        ("weave:80/extension", FORMS),
        ("//weave/extension", FORMS),
        ("http:/weave", FORMS),
        ("tcp://weave:80", FORMS),
        ("unix:///run/weave.sock", FORMS),
        ("https+unix://%2Frun%2Fx.sock/y", FORMS),
        ("http://weave/a b", "the URL must be ASCII without spaces: percent-encode all else"),
        ("http://weave/é", "the URL must be ASCII without spaces: percent-encode all else"),
        ("http://weave/\x7f", "the URL must be ASCII without spaces: percent-encode all else"),
        ("http://me:secret@weave/", "the URL can't hold a user name or a password"),
        ("http+unix://me@%2Frun%2Fx/", "the URL can't hold a user name or a password"),
        ("http://weave/#x", "the URL can't hold a fragment (#…)"),
        ("http:///x", "the URL has no good host in it"),
        ("http://:80/x", "the URL has no good host in it"),
        ("http://a..b/", "the URL has no good host in it"),
        (
            "https://my_adapter/x",
            "the URL's host can't have a _ with https: no certificate is for it",
        ),
        ("http://a%20b/", "the URL has no good host in it"),
        ("http://[::1", "the URL has no IPv6 address between its brackets"),
        ("http://[::1]x", "the URL has no IPv6 address between its brackets"),
        ("http://[::g]/", "the URL has no IPv6 address between its brackets"),
        ("http://[]/", "the URL has no IPv6 address between its brackets"),
        ("http://::1/", "the URL has no good host in it"),
        ("http://weave:/", "the URL's port must be a number from 1 to 65535"),
        ("http://weave:0/", "the URL's port must be a number from 1 to 65535"),
        ("http://weave:65536/", "the URL's port must be a number from 1 to 65535"),
        ("http://weave:+80/", "the URL's port must be a number from 1 to 65535"),
        ("http+unix:///run/weave.sock/x", SOCKET),
        ("http+unix://run%2Fweave.sock/x", SOCKET),
        ("http+unix://%2Frun%00/x", "the socket's path must have 1 to 107 bytes"),
        (f"http+unix://%2F{'x' * 107}/", "the socket's path must have 1 to 107 bytes"),
    ],
)
def test_what_can_not_be_called_is_refused(text: str, problem: str) -> None:
    """
    With one sentence.
    """
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is compared
        AdapterUrl.parse(text)
    assert str(caught.value) == problem


URL_PIECES = ["http", "http+unix", ":", "//", "/", "?", "#", "[", "]", "::1", "h", "%2F", "%", "@"]


@given(st.lists(st.sampled_from(URL_PIECES) | st.text(max_size=2), max_size=12).map("".join))
def test_any_text_is_a_url_or_not(text: str) -> None:
    """
    Nothing but a ValueError comes of a text that is none; what comes of a URL can stand in a head.
    """
    try:
        url = AdapterUrl.parse(text)
    except ValueError:
        return
    assert f"POST {url.target} HTTP/1.1\r\nHost: {url.authority}\r\n".count(" ") == 3
    assert url.target.startswith("/")
