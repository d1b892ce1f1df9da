"""
Endpoint patterns, and the path as the engine will route it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.endpoints import EndpointPattern, RoutedPath
from powerstrip.errors import DownstreamProtocolError

CREATE = EndpointPattern.parse("POST /*/containers/create")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/_ping", "/_ping"),
        (b"/containers/json?all=1", "/containers/json"),
        (b"/containers/json?", "/containers/json"),
        (b"/containers/json?a=/../b", "/containers/json"),
        (b"/v1.41/containers/create", "/v1.41/containers/create"),
        (b"/v1.41/containers%2Fcreate", "/v1.41/containers/create"),
        (b"/v1.41/containers%2fcreate", "/v1.41/containers/create"),
        (b"/v1.41/%63ontainers/create", "/v1.41/containers/create"),
        (b"/v1%2E41/containers/create", "/v1.41/containers/create"),
        (b"/containers%252Fcreate", "/containers%2Fcreate"),
        (b"/containers%C0%AFcreate", "/containers\udcc0\udcafcreate"),
        (b"/containers/\xc3\xa9", "/containers/é"),
        (b"/containers/%3Fjson", "/containers/?json"),
        (b"/containers/a+b", "/containers/a+b"),
        (b"/containers/a;b", "/containers/a;b"),
        (b"//containers///create", "/containers/create"),
        (b"/./containers/./create", "/containers/create"),
        (b"/images/../containers/create", "/containers/create"),
        (b"/../../containers/create", "/containers/create"),
        (b"/images/%2e%2e/containers/create", "/containers/create"),
        (b"/images%2F..%2Fcontainers/create", "/containers/create"),
        (b"/containers/create/", "/containers/create/"),
        (b"/containers/create//", "/containers/create/"),
        (b"/containers/create/.", "/containers/create"),
        (b"/containers/create/x/..", "/containers/create"),
        (b"/containers/create/x/../", "/containers/create/"),
        (b"/x/../", "/"),
        (b"/containers/.hidden/..x/json", "/containers/.hidden/..x/json"),
        (b"http://host/containers/create?name=x", "/containers/create"),
        (b"HTTP://host:80/containers/create", "/containers/create"),
        (b"https://[::1]:80/containers/create", "/containers/create"),
        (b"http://host", "/"),
        (b"http://host?q=/containers/create", "/"),
        (b"http://host//containers/create", "/containers/create"),
        (b"http://host/containers%2Fcreate", "/containers/create"),
    ],
)
def test_a_path_is_read_as_the_engine_reads_it(target: bytes, path: str) -> None:
    """
    The query is cut, the rest is decoded once and cleaned, and a slash at the end is kept.
    """
    assert RoutedPath.parse(target).path == path


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"?x",
        b"containers/create",
        b"host:80",
        b"ftp://host/containers/create",
        b"http:/containers/create",
        b"http:containers/create",
        b"http:///containers/create",
        b"http://user@host/containers/create",
        b"httpx://host/containers/create",
        b"://host/containers/create",
        b"/containers/create#x",
        b"/containers/json?a=1#&b=2",
        b"/containers/%",
        b"/containers/%6",
        b"/containers/%zz",
        b"/containers/%+1",
        b"/containers/% 1",
        b"/containers/create%00",
        b"/containers/create\0",
        b"/containers/create\t",
        b"/containers/create\x0b",
        b"/containers/create\r",
        b"/containers/create\n",
        b"/containers/create x",
        b"/containers/create\x7f",
    ],
)
def test_a_target_with_no_clear_reading_is_refused(target: bytes) -> None:
    """
    Other forms, bad escapes and control characters are the client's fault.
    """
    with pytest.raises(DownstreamProtocolError):
        RoutedPath.parse(target)


@pytest.mark.parametrize(
    ("target", "version", "unversioned"),
    [
        (b"/v1.41/containers/create", "v1.41", "/containers/create"),
        (b"/v01.41./x", "v01.41.", "/x"),
        (b"/v9/x", "v9", "/x"),
        (b"/v./x", "v.", "/x"),
        (b"/v1.41/v1.40/x", "v1.41", "/v1.40/x"),
        (b"/containers/create", None, "/containers/create"),
        (b"/V1.41/x", None, "/V1.41/x"),
        (b"/v/x", None, "/v/x"),
        (b"/version", None, "/version"),
        (b"/v1.41", None, "/v1.41"),
        (b"/v1.41/", "v1.41", "/"),
        (b"/v1.41x/y", None, "/v1.41x/y"),
        (b"/v%D9%A1/x", None, "/v\u0661/x"),
    ],
)
def test_a_version_is_what_the_engine_takes_for_one(
    target: bytes, version: str | None, unversioned: str
) -> None:
    """
    It is ``v`` and any digits and dots, as a whole first segment.
    """
    routed = RoutedPath.parse(target)
    assert (routed.version, routed.unversioned) == (version, unversioned)


@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        (b"/v1.41/containers%2Fcreate?name=x", "/v1.41/containers/create"),
        (b"http://host//containers/./%63reate", "/containers/create"),
        (b"/images/host:5000/a@sha256:1/json", "/images/host:5000/a@sha256:1/json"),
        (b"/containers/%3F%25%20\xff/json", "/containers/%3F%25%20%FF/json"),
    ],
)
def test_a_path_has_one_canonical_spelling(target: bytes, canonical: str) -> None:
    """
    It is escaped only where it must be, so an adapter can compare it with what it knows.
    """
    assert RoutedPath.parse(target).canonical == canonical


@pytest.mark.parametrize(
    "path",
    [
        b"/containers/create",
        b"/v1.41/containers/create",
        b"/v1.41/containers%2Fcreate",
        b"/%76%31/containers/create",
        b"//v1.41//containers//create",
        b"http://x/containers/create?name=x",
    ],
)
def test_a_hook_cannot_be_stepped_past(path: bytes) -> None:
    """
    Every spelling that the engine routes to create is selected by the pattern for create.
    """
    assert CREATE.matches("POST", RoutedPath.parse(path))


@pytest.mark.parametrize(
    ("pattern", "request_line", "selected"),
    [
        ("POST /*/containers/create", "POST /v1.41/containers/create", True),
        ("POST /*/containers/create", "POST /containers/create", True),
        ("POST /*/containers/create", "GET /containers/create", False),
        ("POST /*/containers/create", "post /containers/create", False),
        ("POST /*/containers/create", "POST /containers/create/", False),
        ("POST /*/containers/create", "POST /networks/create", False),
        ("POST /*/containers/*/start", "POST /containers/a/b/start", True),
        ("POST /*/containers/*/start", "POST /containers/a%0Ab/start", True),
        ("POST /v1.41/containers/create", "POST /containers/create", True),
        ("POST /v1.41/containers/create", "POST /v1.40/containers/create", False),
        ("POST /v1.*/containers/create", "POST /containers/create", True),
        ("POST /v1.4?/containers/create", "POST /containers/create", True),
        ("POST /v[0-9]*/containers/create", "POST /containers/create", True),
        ("POST /v[!0-9.]*/containers/create", "POST /containers/create", False),
        ("POST /?1*create", "POST /containers/create", True),
        ("POST /vx/containers/create", "POST /containers/create", False),
        ("POST /containers/create", "POST /containers/create", True),
        ("POST /containers/create", "POST /v1.41/containers/create", True),
        ("POST */create", "POST /containers/create", True),
        ("GET /volumes/*", "GET /containers/json", False),
        ("GET /volumes/*", "GET /v1.41/volumes/x", True),
        ("* /*", "DELETE /containers/x", True),
        ("P[OU]* /*", "PUT /containers/x/archive", True),
        ("P[OU]* /*", "DELETE /containers/x", False),
        ("GET /*/containers/json", "GET /containers/json?all=1", True),
        ("POST /*/grpc", "POST /grpc", True),
        ("* /*/containers/json", "GET /containers/json", True),
    ],
)
def test_a_pattern_selects(pattern: str, request_line: str, selected: bool) -> None:
    """
    Globs as in a shell, where a star crosses slashes, in both forms of a path.
    """
    method, target = request_line.split()
    path = RoutedPath.parse(target.encode())
    assert EndpointPattern.parse(pattern).matches(method, path) == selected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a method and a path are needed"),
        ("POST", "a path must follow"),
        ("POST ", "a path must follow"),
        ("/containers/create", "write /CONTAINERS/CREATE"),
        ("post /containers/create", "write POST"),
        ("POST containers/create", "begin with a slash"),
        ("POST /a /b", "no spaces"),
        ("POST /containers%2Fcreate", "matched decoded"),
        ("GET /containers/json?all=1", "the query takes no part"),
        ("POST //containers/create", "matched cleaned"),
        ("POST /containers/../create", "matched cleaned"),
        ("PO{ST /containers/create", "not a method"),
    ],
)
def test_a_pattern_that_cannot_work_is_a_mistake(text: str, reason: str) -> None:
    """
    A hook that would never run is found at the start, not after an accident.
    """
    with pytest.raises(ValueError, match=reason):
        EndpointPattern.parse(text)


def test_a_pattern_prints_as_it_is_written() -> None:
    """
    It stands in the log as in the configuration.
    """
    assert str(CREATE) == "POST /*/containers/create"


SEGMENT = st.text("abcv19.*?~:", min_size=1, max_size=5).filter(
    lambda text: text not in (".", "..")
)
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def _escape(char: str, how: int) -> str:
    code = f"%{ord(char):02x}"
    return [char if char != "?" else code, code, code.upper()][how]


@given(st.data(), PATHS)
def test_each_spelling_of_a_path_is_read_as_that_path(data: st.DataObject, path: str) -> None:
    """
    Escapes and detours don't change what is read.
    """
    hows = data.draw(st.lists(st.integers(0, 2), min_size=len(path), max_size=len(path)))
    detours = data.draw(
        st.lists(st.sampled_from(["", "/", "/.", "/a/..", "/%2e", "/a%2F.."]), min_size=9)
    )
    spelled = "/"
    for char, how in zip(path, hows, strict=True):
        detour = detours.pop() if char == "/" and detours else ""
        spelled += detour + _escape(char, how)
    assert RoutedPath.parse(spelled.encode()).path == path


@given(PATHS)
def test_a_canonical_path_is_read_as_itself(path: str) -> None:
    """
    Reading it again changes nothing.
    """
    escaped = path.replace("?", "%3F").encode()
    canonical = RoutedPath.parse(escaped).canonical
    assert RoutedPath.parse(canonical.encode()).canonical == canonical


@given(st.binary(max_size=40))
def test_any_target_is_read_or_refused(target: bytes) -> None:
    """
    What is read begins with a slash and is clean.
    """
    try:
        path = RoutedPath.parse(target).path
    except DownstreamProtocolError:
        return
    assert path.startswith("/")
    assert not {"", ".", ".."} & set(path[1:].removesuffix("/").split("/")) or path == "/"


GLOBS = st.text("/*?v1.[]!-ac", min_size=1, max_size=12)
VERSIONS = st.text("019.", min_size=1, max_size=4).map(lambda digits: "/v" + digits)


@given(GLOBS, PATHS, VERSIONS)
def test_a_path_without_a_version_is_selected_if_it_would_be_with_one(
    glob: str, path: str, version: str
) -> None:
    """
    No glob tells a path without a version from the same path with some version.
    """
    if RoutedPath.parse(path.replace("?", "%3F").encode()).version is not None:
        return
    pattern = EndpointPattern("POST", glob)
    if fnmatchcase(version + path, glob):
        assert pattern.matches("POST", RoutedPath(path, None, path))
