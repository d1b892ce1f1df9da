"""
Ways to spell a request so that a hook might not see it, or see another one than the engine.

Each spelling is all the bytes that a client sends on one connection. ``@MARK@`` stands for six
characters that tell its effect on the engine from that of all others: a container of that name, an
exec with that argument. ``RUNNER`` is a container that runs, and each spelling that starts or
renames something has a container ``@MARK@`` of its own.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from enum import Enum

from attrs import frozen

MARK = b"@MARK@"
RUNNER = "runner"
MAX_BODY_BYTES = 64 * 1024
"""The bound on bodies that the adapters are given, which the sizes here are close to."""


class Effect(Enum):
    """
    What shows that the engine did what was asked.
    """

    CREATED = "a container named or labelled @MARK@ exists"
    BANNED = "a container named @MARK@ exists that is privileged or has the label banned"
    STARTED = "the container @MARK@ is no longer as created"
    EXECUTED = "the runner has an exec with the argument @MARK@"
    LISTED = "the answer lists the runner"
    RENAMED = "a container named banned-@MARK@ exists"


@frozen
class Spelling:
    """
    One way.
    """

    name: str
    effect: Effect
    segments: tuple[bytes, ...]
    """What is sent, each in one write, with a pause between; an empty one is a half-close."""


def message(line: str, *fields: str, body: bytes = b"", length: bool = True) -> bytes:
    """
    A request, with a right Content-Length unless that is left out.
    """
    head = [line, "Host: docker", *fields]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


JSON = "Content-Type: application/json"
CREATE_BODY = b'{"Image":"busybox","Cmd":["true"],"Labels":{"spelling":"@MARK@"}}'
CREATE_LINE = "POST /v1.41/containers/create?name=@MARK@ HTTP/1.1"
CREATE = message(CREATE_LINE, JSON, body=CREATE_BODY)


def chunked(body: bytes, extension: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    """
    A body in one chunk.
    """
    return b"%x%s\r\n%s\r\n%s" % (len(body), extension, body, end)


def spellings() -> list[Spelling]:
    """
    All of them.
    """
    found = [
        *_starts(),  # first, since a container's start may take its time
        *_paths(),
        *_methods_and_versions(),
        *_framings(),
        *_chunks(),
        *_smuggled(),
        *_behind(),
        *_behind_allowed(),
        *_content_types(),
        *_sizes(),
        *_json(),
        *_lists(),
        *_execs(),
        *_forms(),
    ]
    names = [spelling.name for spelling in found]
    assert len(set(names)) == len(names), "two spellings have one name"
    return found


# -- the request line --------------------------------------------------------------------------

VERSIONS = (
    "",
    "/v1.24",
    "/v1.41",
    "/v01.41",
    "/v1.41.",
    "/v1.041",
    "/v1.23",
    "/v9",
    "/v1",
    "/v.",
    "/v1..41",
    "/v",
    "/V1.41",
    "/1.41",
    "/v1.41a",
    "/v-1.41",
    "/v1%2E41",
    "/%76%31%2e%34%31",
    "/v1.41/v1.41",
)
SPELLED_PATHS = (
    "/%63ontainers/create",
    "/c%6Fntainers/create",
    "/c%6fntainers/create",
    "/containers%2Fcreate",
    "/containers%2fcreate",
    "%2Fcontainers/create",
    "/containers/creat%65",
    "/%63%6f%6e%74%61%69%6e%65%72%73%2f%63%72%65%61%74%65",
    "/%43ontainers/create",
    "/%2563ontainers/create",
    "/containers%252Fcreate",
    "/containers%C0%AFcreate",
    "/%C1%A3ontainers/create",
    "/%EF%BD%83ontainers/create",
    "/%u0063ontainers/create",
    "/containers/creat\xe5",
    "/containers/create%",
    "/containers/create%6",
    "/containers/creat%6",
    "/containers/create%zz",
    "/containers/create/",
    "/containers/create//",
    "/containers/create%2F",
    "/containers/create/.",
    "/containers/create/x/..",
    "/containers/create/..",
    "/containers/create%20",
    "/containers/create%09",
    "/containers/create%0A",
    "/containers/create%0D%0A",
    "/containers/create%00",
    "/containers/create%00/json",
    "/containers/create%23",
    "/containers/create%3F",
    "/containers/create#",
    "/containers/create#/json",
    "/x#/../containers/create",
    "/containers/create;x",
    "/containers/create;x=y",
    "/containers/create%3Bx",
    "/containers;x=y/create",
    "/containers/create,",
    "/containers/create.json",
    "/containers/create\\",
    "/containers\\create",
    "/containers%5Ccreate",
    "/Containers/create",
    "/containers/CREATE",
    "//containers/create",
    "///containers/create",
    "/containers//create",
    "/containers///create",
    "/./containers/create",
    "/containers/./create",
    "/%2E/containers/create",
    "/x/../containers/create",
    "/../containers/create",
    "/..//containers/create",
    "/%2e%2e/containers/create",
    "/.%2e/containers/create",
    "/x%2F..%2Fcontainers/create",
    "/v1.41/../containers/create",
    "/containers/x/../create",
    "/containers/json/../create",
    "/containers/create/../create",
    "/_ping/../containers/create",
)
TARGETS = (
    "http://x/v1.41/containers/create?name=@MARK@",
    "HTTP://x/containers/create?name=@MARK@",
    "https://x/containers/create?name=@MARK@",
    "http://x:80/containers/create?name=@MARK@",
    "http://[::1]:80/containers/create?name=@MARK@",
    "http://x//containers/create?name=@MARK@",
    "http://x/%63ontainers/create?name=@MARK@",
    "http://x%2Fcontainers/create?name=@MARK@",
    "http://u@x/containers/create?name=@MARK@",
    "http://u:p@x/containers/create?name=@MARK@",
    "http://_ping@x/containers/create?name=@MARK@",
    "http://x?/containers/create?name=@MARK@",
    "http://x#/containers/create?name=@MARK@",
    "http:///containers/create?name=@MARK@",
    "http:/containers/create?name=@MARK@",
    "http:containers/create?name=@MARK@",
    "http:/_ping/../containers/create?name=@MARK@",
    "a:/containers/create?name=@MARK@",
    "a:///containers/create?name=@MARK@",
    "a+b.c-d://x/containers/create?name=@MARK@",
    "unix:///containers/create?name=@MARK@",
    "ftp://x/containers/create?name=@MARK@",
    "//x/containers/create?name=@MARK@",
    "://x/containers/create?name=@MARK@",
    "containers/create?name=@MARK@",
    "./containers/create?name=@MARK@",
    "x:80/containers/create?name=@MARK@",
    "*",
    "*/containers/create?name=@MARK@",
    "?/containers/create?name=@MARK@",
    "/containers/create??name=@MARK@",
    "/containers/create?x?name=@MARK@",
    "/containers/create?/../x&name=@MARK@",
    "/containers/create?name=@MARK@#",
    "/containers/create?x=#&name=@MARK@",
    "/containers/create?name=@MARK@&name=other",
    "/containers/create?name=%zz&name=@MARK@",
    "/containers/create?x=%00&name=@MARK@",
    "/containers/create?x;name=@MARK@",
    "/containers/create?x=/../../images/json&name=@MARK@",
)


def _create(name: str, *segments: bytes) -> Spelling:
    return Spelling(name, Effect.CREATED, segments)


def _paths() -> Iterator[Spelling]:
    for version in VERSIONS:
        line = f"POST {version}/containers/create?name=@MARK@ HTTP/1.1"
        yield _create(f"version {version or 'none'}", message(line, JSON, body=CREATE_BODY))
    for path in SPELLED_PATHS:
        line = f"POST {path}?name=@MARK@ HTTP/1.1"
        yield _create(f"path {path}", message(line, JSON, body=CREATE_BODY))
    for path in SPELLED_PATHS[:4]:
        line = f"POST /v1.41{path}?name=@MARK@ HTTP/1.1"
        yield _create(f"path /v1.41{path}", message(line, JSON, body=CREATE_BODY))
    for target in TARGETS:
        line = f"POST {target} HTTP/1.1"
        yield _create(f"target {target}", message(line, JSON, body=CREATE_BODY))


def _methods_and_versions() -> Iterator[Spelling]:
    path = "/v1.41/containers/create?name=@MARK@"
    for method in ("post", "Post", "PUT", "GET", "PATCH", "POSTX", "CONNECT", "OPTIONS", "P\0OST"):
        line = f"{method} {path} HTTP/1.1"
        yield _create(f"method {method!r}", message(line, JSON, body=CREATE_BODY))
    for field in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        for method in ("GET", "PUT"):
            sent = message(f"{method} {path} HTTP/1.1", JSON, f"{field}: POST", body=CREATE_BODY)
            yield _create(f"{method} with {field}", sent)
    for header in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"):
        line = "POST /v1.41/_ping HTTP/1.1"
        yield _create(
            f"header {header}", message(line, JSON, f"{header}: {path}", body=CREATE_BODY)
        )
    for target in ("http://x/containers/create?name=@MARK@", "x:80", "/containers/create"):
        line = f"CONNECT {target} HTTP/1.1"
        yield _create(f"CONNECT {target}", message(line, JSON, body=CREATE_BODY) + CREATE)
    yield _create("OPTIONS * before", message("OPTIONS * HTTP/1.1") + CREATE)
    for line in (
        f"POST {path} HTTP/1.0",
        f"POST {path} HTTP/1.2",
        f"POST {path} HTTP/2.0",
        f"POST {path} HTTP/0.9",
        f"POST {path} HTTP/1.10",
        f"POST {path} HTTP/11",
        f"POST {path} http/1.1",
        f"POST {path} HTTP/1.1 ",
        f"POST {path} HTTP/1.1\t",
        f"POST {path}",
        f"POST  {path} HTTP/1.1",
        f"POST {path}  HTTP/1.1",
        f"POST\t{path}\tHTTP/1.1",
        f"POST {path}\tHTTP/1.1",
        f" POST {path} HTTP/1.1",
        f"\r\nPOST {path} HTTP/1.1",
        f"\r\n\r\nPOST {path} HTTP/1.1",
        f"\nPOST {path} HTTP/1.1",
        f"\rPOST {path} HTTP/1.1",
        f"\0POST {path} HTTP/1.1",
        f"\x0bPOST {path} HTTP/1.1",
        f"POST {path} x HTTP/1.1",
        f"POST /_ping HTTP/1.1\rPOST {path} HTTP/1.1",
    ):
        yield _create(f"line {line!r}", message(line, JSON, body=CREATE_BODY))


# -- where the body ends -----------------------------------------------------------------------

_LENGTH = str(len(CREATE_BODY))

ODD_LENGTHS = (
    "Content-Length: +{n}",
    "Content-Length: -{n}",
    "Content-Length: 0{n}",
    "Content-Length: 0x{n:x}",
    "Content-Length: {n}.0",
    "Content-Length: {n}e0",
    "Content-Length: {n} {n}",
    "Content-Length: {n}, {n}",
    "Content-Length: {n},",
    "Content-Length: {n}, 0",
    "Content-Length: 0, {n}",
    "Content-Length: {n}\r\nContent-Length: {n}",
    "Content-Length: {n}\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {n}",
    "Content-Length: \r\nContent-Length: {n}",
    "Content-Length: {n}\r\ncontent-length: 0",
    "Content-Length : {n}",
    "Content-Length\t: {n}",
    " Content-Length: {n}",
    "Content-Length:\t{n}",
    "Content-Length:{n}",
    "Content-Length:\r\n {n}",
    "X: y\r\n Content-Length: {n}",
    "Content_Length: {n}",
    "Content-Length\0: {n}",
    "Content-Length: {n}\0",
    "Content-Length: {n}\x0b",
    "Content-Length: {n}\xa0",
    "Content-Length: \xb2{n}",
    "Content-Length: 1844674407370955161{n}",
    "Content-Length: 4294967296",
    "Content-Length: {n}\rX: y",
    "Content-Length: {n}\nX: y",
    "X: y\rContent-Length: {n}",
    "X: y\nContent-Length: {n}",
    "X\nContent-Length: {n}",
    "Content-Length",
    ": {n}\r\nContent-Length: {n}",
)
ODD_CODINGS = (
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:  chunked ",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\x0b",
    "Transfer-Encoding: chunked\xa0",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunk",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: chunked;x=y",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: ",
    "Transfer-Encoding: \r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding:\n chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer\x0bEncoding: chunked",
    "Transfer-Encoding: chun\r\n ked",
    "TE: chunked",
)


def _framings() -> Iterator[Spelling]:
    for field in ODD_LENGTHS:
        sent = field.format(n=len(CREATE_BODY))
        yield _create(f"create, {field!r}", _unframed(CREATE_LINE, sent, CREATE_BODY))
    for field in ODD_CODINGS:
        sent = _unframed(CREATE_LINE, field, chunked(CREATE_BODY))
        yield _create(f"create, {field!r}", sent)
    fields = (f"Content-Length: {_LENGTH}", "Transfer-Encoding: chunked")
    for first, second in (fields, fields[::-1]):
        for body in (CREATE_BODY, chunked(CREATE_BODY)):
            name = (
                f"create, {first.split(':')[0]} first, {'chunked' if body[:1] != b'{' else 'bare'}"
            )
            yield _create(name, message(CREATE_LINE, JSON, first, second, body=body, length=False))
    line = CREATE_LINE.replace("HTTP/1.1", "HTTP/1.0")
    for connection in ("close", "keep-alive"):
        field = f"Transfer-Encoding: chunked\r\nConnection: {connection}"
        yield _create(f"chunked in 1.0, {connection}", _unframed(line, field, chunked(CREATE_BODY)))
    yield _create("no length", _unframed(CREATE_LINE, "X: y", CREATE_BODY))
    yield _create("no length in 1.0", _unframed(line, "X: y", CREATE_BODY))
    for ending in (b"\n", b"\r", b"\r\r\n", b"\n\r"):
        head, _, body = CREATE.partition(b"\r\n\r\n")
        sent = head.replace(b"\r\n", ending) + ending * 2 + body
        yield _create(f"lines end with {ending!r}", sent)
    yield _create("the head ends with LF", CREATE.replace(b"\r\n\r\n", b"\r\n\n"))
    yield _create("the head ends with LF LF", CREATE.replace(b"\r\n\r\n", b"\n\n"))
    for field in (
        "Host: other",
        "Host : docker",
        "X",
        "X Y: z",
        ": x",
        "X: \0",
        "X: \x7f",
        "X: \x01",
        "X: y\r\n folded",
        "X: y\r\n\tfolded",
        "Expect: 100-continue",
        "Expect: 100-Continue, x",
        "Expect: x",
        "Connection: close",
        "Connection: Content-Length",
        "Connection: Content-Type, Content-Length, Transfer-Encoding",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==",
        "Upgrade: tcp\r\nConnection: Upgrade",
        "Trailer: Content-Length",
        "X: " + "y" * 70_000,
    ):
        yield _create(f"header {field[:60]!r}", message(CREATE_LINE, JSON, field, body=CREATE_BODY))
    for part in (1, 20, len(CREATE) - len(CREATE_BODY), len(CREATE) - 5):
        yield _create(f"in two parts at {part}", CREATE[:part], CREATE[part:])
    yield _create("no host", CREATE.replace(b"Host: docker\r\n", b""))


def _unframed(line: str, field: str, body: bytes) -> bytes:
    return message(line, JSON, field, body=body, length=False)


def _chunks() -> Iterator[Spelling]:
    body, size = CREATE_BODY, len(CREATE_BODY)
    half = size // 2
    for name, sent in {
        "an extension": chunked(body, b";x=y"),
        "an extension in quotes": chunked(body, b';x="y;z"'),
        "an extension with LF": chunked(body, b";x\ny"),
        "an extension with CR": chunked(body, b";x\ry"),
        "an extension of 5000 bytes": chunked(body, b";" + b"x" * 5000),
        "spaces after the size": chunked(body, b"  "),
        "a tab after the size": chunked(body, b"\t"),
        "words after the size": chunked(body, b" x"),
        "a space before the size": b" " + chunked(body),
        "capitals": b"%X\r\n%s\r\n0\r\n\r\n" % (size, body),
        "a plus": b"+" + chunked(body),
        "a minus": b"-" + chunked(body),
        "0x": b"0x" + chunked(body),
        "an underscore": b"%x_%x\r\n%s\r\n0\r\n\r\n" % (size >> 4, size & 15, body),
        "zeros in front": b"0" * 12 + chunked(body),
        "20 zeros in front": b"0" * 20 + chunked(body),
        "an overflow": b"1" + b"0" * 16 + chunked(body),
        "an empty size": b"\r\n" + body + b"\r\n0\r\n\r\n",
        "bare LF": chunked(body).replace(b"\r\n", b"\n"),
        "bare LF after the size": b"%x\n%s\r\n0\r\n\r\n" % (size, body),
        "bare LF after the data": b"%x\r\n%s\n0\r\n\r\n" % (size, body),
        "nothing after the data": b"%x\r\n%s0\r\n\r\n" % (size, body),
        "other bytes after the data": b"%x\r\n%sxx0\r\n\r\n" % (size, body),
        "CR CR LF": b"%x\r\r\n%s\r\n0\r\n\r\n" % (size, body),
        "two chunks": chunked(body[:half], end=b"") + chunked(body[half:]),
        "chunks of one byte": b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
        "a last chunk 00": chunked(body, end=b"000\r\n\r\n"),
        "a last chunk with an extension": chunked(body, end=b"0;x=y\r\n\r\n"),
        "a trailer": chunked(body, end=b"0\r\nX: y\r\n\r\n"),
        "a trailer with a length": chunked(body, end=b"0\r\nContent-Length: 9\r\n\r\n"),
        "a trailer that is no field": chunked(body, end=b"0\r\nxyz\r\n\r\n"),
        "a trailer with bare LF": chunked(body, end=b"0\nX: y\n\n"),
        "no end": chunked(body, end=b""),
        "half an end": chunked(body, end=b"0\r\n"),
        "JSON ahead of the end": chunked(b"{}", end=b"") + chunked(body),
    }.items():
        yield _create(
            f"chunks with {name}", _unframed(CREATE_LINE, "Transfer-Encoding: chunked", sent)
        )


# -- behind another request --------------------------------------------------------------------

CARRIERS = {"GET": "GET /_ping HTTP/1.1", "POST": "POST /v1.41/containers/none/wait HTTP/1.1"}


def _smuggled() -> Iterator[Spelling]:
    """
    Behind a request that passes, so framed that it could be taken for its body.
    """
    for method, line in CARRIERS.items():
        for field in ODD_LENGTHS:
            sent = field.format(n=len(CREATE))
            yield _create(
                f"in a {method}, {sent!r}", message(line, sent, body=CREATE, length=False)
            )
        for field in ODD_CODINGS:
            yield _create(f"in a {method}, {field!r}", *_both_ways(line, field))
        for first in ("Content-Length: 5", "Transfer-Encoding: chunked"):
            fields = ("Content-Length: 5", "Transfer-Encoding: chunked")
            ordered = fields if first == fields[0] else fields[::-1]
            sent = message(line, *ordered, body=b"0\r\n\r\n" + CREATE, length=False)
            yield _create(f"behind a {method} with {first} first", sent)
            length = "Content-Length: " + str(len(b"%x\r\n" % len(CREATE)))
            ordered = tuple(length if f[0] == "C" else f for f in ordered)
            sent = message(line, *ordered, body=chunked(CREATE), length=False)
            yield _create(f"in a chunk of a {method} with {first} first", sent)
        for name, body in {
            "LF in an extension": b"5;x\n" + b"%b\r\n0\r\n\r\n" % CREATE,
            "CR in an extension": b"0;x\r" + CREATE,
            "a bare LF": b"0\n\n" + CREATE,
            "a bare CR": b"0\r\r" + CREATE,
            "a trailer": b"0\r\nX: y\n\n" + CREATE,
            "a size that overflows": b"1" + b"0" * 16 + b"\r\n\r\n" + CREATE,
            "a negative size": b"-1\r\n\r\n" + CREATE,
            "an empty size": b"\r\n\r\n" + CREATE,
            "a size of 0x0": b"0x0\r\n\r\n" + CREATE,
            "a longer chunk": b"1\r\nxx\r\n0\r\n\r\n" + CREATE,
            "nothing between": b"1\r\nx0\r\n\r\n" + CREATE,
        }.items():
            sent = message(line, "Transfer-Encoding: chunked", body=body, length=False)
            yield _create(f"behind chunks of a {method} with {name}", sent)


def _both_ways(line: str, field: str) -> tuple[bytes, ...]:
    """
    A coding beside a length: whichever is believed, one of the two ends before the hidden request.
    """
    length = f"Content-Length: {len(CREATE) + 5}"
    return (message(line, length, field, body=b"0\r\n\r\n" + CREATE, length=False),)


def _behind() -> Iterator[Spelling]:
    """
    Behind a request that passes, whose answer may have left HTTP, ended early or never ended.
    """
    tcp = ("Connection: Upgrade", "Upgrade: tcp")
    h2c = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAoAAA",
    )
    websocket = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    carriers: dict[str, bytes] = {
        "a ping": message("GET /_ping HTTP/1.1"),
        "a HEAD": message("HEAD /_ping HTTP/1.1"),
        "a HEAD with a body": message("HEAD /_ping HTTP/1.1", body=b"x"),
        "a 404": message("GET /nothing HTTP/1.1"),
        "a redirect": message("GET //_ping HTTP/1.1"),
        "a 304": message(f"POST /v1.41/containers/{RUNNER}/start HTTP/1.1"),
        "a 204": message(f"POST /v1.41/containers/{RUNNER}/kill?signal=CONT HTTP/1.1"),
        "a ping in 1.0": message("GET /_ping HTTP/1.0"),
        "a ping in 1.0 that keeps alive": message("GET /_ping HTTP/1.0", "Connection: keep-alive"),
        "a ping that closes": message("GET /_ping HTTP/1.1", "Connection: close"),
        "a ping with Connection: Close": message("GET /_ping HTTP/1.1", "Connection: Close"),
        "a download": message("GET /v1.41/images/busybox/get HTTP/1.1"),
        "an archive": message(f"GET /v1.41/containers/{RUNNER}/archive?path=/etc HTTP/1.1"),
        "logs": message(f"GET /v1.41/containers/{RUNNER}/logs?stdout=1 HTTP/1.1"),
        "logs in 1.0": message(f"GET /v1.41/containers/{RUNNER}/logs?stdout=1 HTTP/1.0"),
        "endless logs": message(f"GET /v1.41/containers/{RUNNER}/logs?stdout=1&follow=1 HTTP/1.1"),
        "endless events": message("GET /v1.41/events HTTP/1.1"),
        "past events": message("GET /v1.41/events?since=1&until=2 HTTP/1.1"),
        "endless stats": message(f"GET /v1.41/containers/{RUNNER}/stats HTTP/1.1"),
        "a wait": message(f"POST /v1.41/containers/{RUNNER}/wait HTTP/1.1"),
        "an error of import": message(
            "POST /v1.41/images/create?fromSrc=- HTTP/1.1", body=b"x" * 99
        ),
        "a body that is not read": message("POST /nothing HTTP/1.1", body=b"x" * 5000),
        "Expect: 100-continue": message("POST /nothing HTTP/1.1", "Expect: 100-continue"),
        "a body with Expect": message("POST /nothing HTTP/1.1", "Expect: 100-continue", body=b"x"),
        "a ping with Upgrade: tcp": message("GET /_ping HTTP/1.1", *tcp),
        "a ping with Upgrade: h2c": message("GET /_ping HTTP/1.1", *h2c),
        "a ping with Upgrade: websocket": message("GET /_ping HTTP/1.1", *websocket, key),
        "Upgrade without Connection": message("GET /_ping HTTP/1.1", tcp[1]),
        "a 404 with Upgrade": message("POST /nothing HTTP/1.1", *tcp),
        "a 404 attach": message("POST /v1.41/containers/none/attach?stream=1 HTTP/1.1", *tcp),
        "a 404 attach, no upgrade": message("POST /v1.41/containers/none/attach?stream=1 HTTP/1.1"),
        "a 400 attach": message("POST /v1.41/containers/x/attach?stream=%zz HTTP/1.1", *tcp),
        "an attach of nothing": message(f"POST /v1.41/containers/{RUNNER}/attach HTTP/1.1", *tcp),
        "an attach": message(
            f"POST /v1.41/containers/{RUNNER}/attach?stream=1&stdin=1 HTTP/1.1", *tcp
        ),
        "an attach, no upgrade": message(
            f"POST /v1.41/containers/{RUNNER}/attach?stream=1&stdin=1 HTTP/1.1"
        ),
        "a websocket of none": message(
            "GET /v1.41/containers/none/attach/ws HTTP/1.1", *websocket, key
        ),
        "a websocket with no key": message(
            f"GET /v1.41/containers/{RUNNER}/attach/ws?stream=1 HTTP/1.1", *websocket
        ),
        "a websocket": message(
            f"GET /v1.41/containers/{RUNNER}/attach/ws?stream=1 HTTP/1.1", *websocket, key
        ),
        "a 404 exec": message("POST /v1.41/exec/none/start HTTP/1.1", JSON, *tcp, body=b"{}"),
        "a 400 exec": message("POST /v1.41/exec/none/start HTTP/1.1", JSON, *tcp, body=b"x"),
        "a session": message("POST /session HTTP/1.1", *h2c),
        "a session, no upgrade": message("POST /session HTTP/1.1"),
        "a session, other protocol": message("POST /session HTTP/1.1", *tcp),
        "a grpc": message("POST /grpc HTTP/1.1", *h2c),
        "a grpc, no upgrade": message("POST /grpc HTTP/1.1"),
        "a refused create": message(
            "POST /v1.41/containers/create?name=other HTTP/1.1", JSON, body=CREATE_BODY
        ),
        "a refused list": message("GET /v1.41/containers/json HTTP/1.1"),
        "a refused list that upgrades": message("GET /v1.41/containers/json HTTP/1.1", *tcp),
        "a refused list in 1.0": message(
            "GET /v1.41/containers/json HTTP/1.0", "Connection: keep-alive"
        ),
        "a refused exec": message(
            f"POST /containers/{RUNNER}/exec HTTP/1.1", JSON, *tcp, body=b"{}"
        ),
        "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "a TLS hello": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        "empty lines": b"\r\n\r\n\r\n",
        "an empty line": b"\r\n",
    }
    for name, carrier in carriers.items():
        yield _create(f"behind {name}", carrier + CREATE)
        yield _create(f"behind {name}, later", carrier, CREATE)
    for name in ("a ping", "a 404", "endless events", "a download", "an attach", "a session"):
        yield _create(f"behind {name}, half-closed", carriers[name] + CREATE, b"")
    yield _create("half-closed", CREATE, b"")
    yield _create("cut short and half-closed", CREATE[:-9], b"")
    yield _create("behind nine pings", carriers["a ping"] * 9 + CREATE)
    yield _create("behind half a ping", message("GET /_ping HTTP/1.1")[:-2] + CREATE)
    body = message("POST /nothing HTTP/1.1", body=CREATE)
    yield _create("in the body of a 404", body)
    yield _create(
        "in a body with Expect", body.replace(b"Host", b"Expect: 100-continue\r\nHost", 1)
    )
    yield _create(
        "in a body that is too short", message("POST /nothing HTTP/1.1", body=CREATE[:-9])
    )
    held = message(
        "POST /v1.41/containers/create HTTP/1.1", JSON, "Expect: 100-continue", body=CREATE
    )
    yield _create("in the held body of a refused create", held)
    head = held.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    yield _create("instead of a body that Expect held back", head, CREATE)
    yield _create(
        "in the chunks of a 404",
        _unframed("POST /nothing HTTP/1.1", "Transfer-Encoding: chunked", chunked(CREATE)),
    )


# -- the body ----------------------------------------------------------------------------------

BANNED_BODY = b'{"Image":"busybox","Labels":{"banned":"@MARK@"},"HostConfig":{"Privileged":true}}'


def _banned(name: str, body: bytes, content_type: str = JSON, *more: str) -> Spelling:
    return Spelling(name, Effect.BANNED, (message(CREATE_LINE, content_type, *more, body=body),))


def _behind_allowed() -> Iterator[Spelling]:
    """
    Behind a create that the hook lets through, or in its body.
    """
    line, allowed = CREATE_LINE.replace("@MARK@", "a-@MARK@"), b'{"Image":"busybox"}'
    banned = message(CREATE_LINE, JSON, body=BANNED_BODY)
    framed = "Transfer-Encoding: chunked"
    for name, sent in {
        "in one write": message(line, JSON, body=allowed) + banned,
        "with Expect": message(line, JSON, "Expect: 100-continue", body=allowed) + banned,
        "that closes": message(line, JSON, "Connection: close", body=allowed) + banned,
        "in 1.0": message(line.replace("1.1", "1.0"), JSON, body=allowed) + banned,
        "in chunks": _unframed(line, framed, chunked(allowed)) + banned,
        "in chunks with a trailer": _unframed(
            line, framed, chunked(allowed, end=b"0\r\nX: y\r\n\r\n")
        )
        + banned,
        "with no length": message(line, JSON, length=False) + banned,
        "with a shorter length": message(line, JSON, body=allowed) + BANNED_BODY + banned,
        "that upgrades": message(line, JSON, "Connection: Upgrade", "Upgrade: tcp", body=allowed)
        + banned,
        "whose answer is an error": message(line, JSON, body=b'{"Image":"none"}') + banned,
        "in its own body": message(line, JSON, body=allowed + banned),
        "that is not JSON": message(line, JSON, body=b"x") + banned,
    }.items():
        yield Spelling(f"banned behind an allowed create {name}", Effect.BANNED, (sent,))


def _content_types() -> Iterator[Spelling]:
    for value in (
        "application/json; charset=utf-8",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "APPLICATION/JSON",
        "Application/Json",
        "application/json;;",
        "application/json;",
        "application/json; x",
        "application/json; x=y; x=z",
        " application/json ",
        "application/json,text/plain",
        "application/x-tar, application/json",
        "application/x-tar",
        "application/octet-stream",
        "application/vnd.docker.raw-stream",
        "application/problem+json",
        "text/plain",
        "text/json",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json\t",
        '"application/json"',
        "application /json",
        "json",
        "*/*",
        "",
        "x",
    ):
        yield _banned(f"content type {value!r}", BANNED_BODY, f"Content-Type: {value}")
    tar = "Content-Type: application/x-tar"
    yield _banned("no content type", BANNED_BODY, "X: y")
    yield _banned("content types json and tar", BANNED_BODY, JSON, tar)
    yield _banned("content types tar and json", BANNED_BODY, tar, JSON)
    yield _banned("content type empty, then json", BANNED_BODY, "Content-Type: ", JSON)
    yield _banned("CONTENT-TYPE", BANNED_BODY, JSON.upper())
    for coding in ("gzip", "deflate", "identity", "aws-chunked", "br"):
        field = f"Content-Encoding: {coding}"
        yield _banned(f"content encoding {coding}, plain", BANNED_BODY, JSON, field)
    packed = gzip.compress(BANNED_BODY)
    yield _banned("content encoding gzip", packed, JSON, "Content-Encoding: gzip")
    yield _banned("gzip, not said", packed)


def _sizes() -> Iterator[Spelling]:
    bound, size = MAX_BODY_BYTES, len(BANNED_BODY)
    for name, padding in {
        "one under": bound - 1 - size,
        "at": bound - size,
        "one over": bound + 1 - size,
        "far over": 40 * bound,
    }.items():
        for where in ("before", "after", "within"):
            body = {
                "before": b" " * padding + BANNED_BODY,
                "after": BANNED_BODY + b" " * padding,
                "within": BANNED_BODY[:-1] + b" " * padding + b"}",
            }[where]
            yield _banned(f"{name} the bound, spaces {where}", body)
            head = message(CREATE_LINE, JSON, "Transfer-Encoding: chunked", length=False)
            sent = head + chunked(body)
            yield Spelling(f"{name} the bound, spaces {where}, chunked", Effect.BANNED, (sent,))
    small = b"".join(b"1;%s\r\n \r\n" % (b"x" * 60) for _ in range(2000))
    head = message(CREATE_LINE, JSON, "Transfer-Encoding: chunked", length=False)
    sent = head + small + chunked(BANNED_BODY)
    yield Spelling("small, in chunks over the bound", Effect.BANNED, (sent,))
    sent = message(CREATE_LINE, JSON, "Expect: 100-continue", body=BANNED_BODY)
    yield Spelling("held back by Expect", Effect.BANNED, (sent,))
    yield Spelling(
        "held back, then sent",
        Effect.BANNED,
        (sent[: -len(BANNED_BODY)], sent[-len(BANNED_BODY) :]),
    )


JSON_TEXTS = {
    "nothing odd": "{IMAGE,BANNED,HOST}",
    "labels": '{IMAGE,"labels":{"banned":"@MARK@"}}',
    "LABELS": '{IMAGE,"LABELS":{"banned":"@MARK@"}}',
    "Labels with a long s": '{IMAGE,"Label\u017f":{"banned":"@MARK@"}}',
    "Labels with an escaped long s": '{IMAGE,"Label\\u017f":{"banned":"@MARK@"}}',
    "Labels with an escape": '{IMAGE,"\\u004cabels":{"banned":"@MARK@"}}',
    "hostconfig": '{IMAGE,"hostconfig":{"Privileged":true}}',
    "HOSTCONFIG": '{IMAGE,"HOSTCONFIG":{"Privileged":true}}',
    "HostConfig with a long s": '{IMAGE,"Ho\u017ftConfig":{"Privileged":true}}',
    "privileged": '{IMAGE,"HostConfig":{"privileged":true}}',
    "PRIVILEGED": '{IMAGE,"HostConfig":{"PRIVILEGED":true}}',
    "Labels twice": '{IMAGE,BANNED,"Labels":{}}',
    "Labels twice, turned": '{IMAGE,"Labels":{},BANNED}',
    "HostConfig twice": '{IMAGE,HOST,"HostConfig":{}}',
    "HostConfig twice, turned": '{IMAGE,"HostConfig":{},HOST}',
    "HostConfig, then null": '{IMAGE,HOST,"HostConfig":null}',
    "HostConfig, then hostconfig": '{IMAGE,"HostConfig":{},"hostconfig":{"Privileged":true}}',
    "hostconfig, then HostConfig": '{IMAGE,"hostconfig":{"Privileged":true},"HostConfig":{}}',
    "Privileged twice": '{IMAGE,"HostConfig":{"Privileged":true,"Privileged":null}}',
    "privileged beside": '{IMAGE,"HostConfig":{"Privileged":false,"privileged":true}}',
    "trailing data": "{IMAGE,BANNED}{}",
    "trailing rubbish": "{IMAGE,BANNED}x",
    "a trailing NUL": "{IMAGE,BANNED}\0",
    "more on the next line": "{IMAGE,BANNED}\n{}\n",
    "an object before": "{}{IMAGE,BANNED}",
    "null before": "null{IMAGE,BANNED}",
    "a list around": "[{IMAGE,BANNED}]",
    "a string around": '"{IMAGE,BANNED}"',
    "a byte order mark": "\ufeff{IMAGE,BANNED}",
    "a form feed before": "\x0c{IMAGE,BANNED}",
    "a vertical tab before": "\x0b{IMAGE,BANNED}",
    "a no-break space before": "\xa0{IMAGE,BANNED}",
    "a NUL before": "\0{IMAGE,BANNED}",
    "white space before": " \t\r\n{IMAGE,BANNED}",
    "a comment before": "/**/{IMAGE,BANNED}",
    "a comment within": "{/**/IMAGE,BANNED}",
    "a line comment": "{IMAGE,BANNED// }\n}",
    "a comma at the end": "{IMAGE,BANNED,}",
    "NaN": '{IMAGE,BANNED,"X":NaN}',
    "a number too big": '{IMAGE,BANNED,"X":1e999}',
    "a number of 5000 digits": '{IMAGE,BANNED,"X":' + "1" * 5000 + "}",
    "a zero in front": '{IMAGE,BANNED,"X":01}',
    "a raw newline": '{IMAGE,BANNED,"X":"\n"}',
    "half a surrogate pair": '{IMAGE,BANNED,"X":"\\ud800"}',
    "a wrong escape": '{IMAGE,BANNED,"X":"\\x41"}',
    "nesting of 900": '{IMAGE,BANNED,"X":' + "[" * 900 + "]" * 900 + "}",
    "nesting of 5000": '{IMAGE,BANNED,"X":' + "[" * 5000 + "]" * 5000 + "}",
    "members of the host's at the top": '{IMAGE,BANNED,"Privileged":true}',
    "an object for a list": '{IMAGE,BANNED,"Env":{}}',
}


def _json_text(text: str) -> str:
    for word, members in {
        "IMAGE": '"Image":"busybox"',
        "BANNED": '"Labels":{"banned":"@MARK@"}',
        "HOST,": '"HostConfig":{"Privileged":true},',
        "HOST}": '"HostConfig":{"Privileged":true}}',
    }.items():
        text = text.replace(word, members)
    return text


def _json() -> Iterator[Spelling]:
    """
    Bodies that the engine may read otherwise than an adapter that looks for what is banned.
    """
    for name, text in JSON_TEXTS.items():
        yield _banned(f"JSON with {name}", _json_text(text).encode())
    plain = _json_text("{IMAGE,BANNED,HOST}")
    for charset in ("utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-7", "cp037"):
        yield _banned(f"JSON in {charset}", plain.encode(charset))
    yield _banned("JSON with a value not UTF-8", plain.encode()[:-1] + b',"X":"\xff"}')
    yield _banned("JSON with a key not UTF-8", plain.encode()[:-1] + b',"\xff":1}')
    yield _banned("JSON with an overlong quote", plain.encode()[:-1] + b',"X":"\xc0\xa2"}')
    yield _banned("JSON with a surrogate in UTF-8", plain.encode()[:-1] + b',"X":"\xed\xa0\x80"}')
    yield _banned("JSON not UTF-8, bad key", plain.encode().replace(b"banned", b"\xffanned"))


# -- other endpoints ---------------------------------------------------------------------------


def _lists() -> Iterator[Spelling]:
    """
    A hooked GET, whose answer must not be seen.
    """
    for path in (
        "/containers/json",
        "/v1.41/containers/json",
        "/v1.24/containers/json",
        "/containers%2Fjson",
        "/%63ontainers/json",
        "/v1%2e41/containers/json",
        "//containers/json",
        "/containers/./json",
        "/x/../containers/json",
        "/containers/json/",
        "/containers/json?all=1",
        "/containers/json?",
        "/containers/json#x",
        "/containers/json%20",
        "http://x/containers/json",
        "http:/containers/json",
        "a:/containers/json",
        "http://u@x/containers/json",
    ):
        yield _listed(f"list {path}", message(f"GET {path} HTTP/1.1", length=False))
    line = "GET /containers/json HTTP/1.1"
    yield _listed("list with a body", message(line, body=b"x"))
    yield _listed("list with JSON", message(line, JSON, body=b"{}"))
    yield _listed("list in 1.0", message("GET /containers/json HTTP/1.0", length=False))
    yield _listed("list in 0.9", b"GET /containers/json\r\n")
    yield _listed("get list", message("get /containers/json HTTP/1.1", length=False))
    yield _listed("HEAD list", message("HEAD /containers/json HTTP/1.1", length=False))
    yield _listed("list that upgrades", message(line, "Connection: Upgrade", "Upgrade: h2c"))
    yield _listed("list behind a ping", message("GET /_ping HTTP/1.1") + message(line))
    yield _listed("list behind a HEAD", message("HEAD /_ping HTTP/1.1") + message(line))
    yield _listed("list of a range", message(line, "Range: bytes=0-9999"))
    yield _listed("list if changed", message(line, "If-None-Match: *"))


def _listed(name: str, sent: bytes) -> Spelling:
    return Spelling(name, Effect.LISTED, (sent,))


def _execs() -> Iterator[Spelling]:
    body = b'{"Cmd":["true","@MARK@"]}'
    for path in (
        f"/v1.41/containers/{RUNNER}/exec",
        f"/containers/{RUNNER}/exec",
        f"/containers/{RUNNER}%2Fexec",
        f"/containers/%2F{RUNNER}/exec",
        f"/containers//{RUNNER}/exec",
        f"/containers/{RUNNER}/%65xec",
        f"/containers/{RUNNER}/./exec",
        f"/containers/x/../{RUNNER}/exec",
        f"/containers/{RUNNER}/exec/",
        f"/containers/{RUNNER}/exec?x=y",
        f"http://x/containers/{RUNNER}/exec",
        f"http:/containers/{RUNNER}/exec",
    ):
        sent = message(f"POST {path} HTTP/1.1", JSON, body=body)
        yield Spelling(f"exec {path}", Effect.EXECUTED, (sent,))
    line = f"POST /containers/{RUNNER}/exec HTTP/1.1"
    for name, fields in {
        "with Upgrade": ("Connection: Upgrade", "Upgrade: tcp"),
        "with Expect": ("Expect: 100-continue",),
        "that closes": ("Connection: close",),
    }.items():
        sent = message(line, JSON, *fields, body=body)
        yield Spelling(f"exec {name}", Effect.EXECUTED, (sent,))
    sent = message(line, JSON, "Transfer-Encoding: chunked", body=chunked(body), length=False)
    yield Spelling("exec in chunks", Effect.EXECUTED, (sent,))


def _starts() -> Iterator[Spelling]:
    """
    Old versions of the API take a HostConfig with the start, which overrides that of create.
    """
    body = b'{"Binds":["/tmp:/mnt"]}'
    for path in (
        "/v1.18/containers/@MARK@/start",
        "/v1.23/containers/@MARK@/start",
        "/v1.24/containers/@MARK@/start",
        "/containers/@MARK@/start",
        "/v1.18/containers/@MARK@%2Fstart",
        "/v1.18/containers/%40MARK%40/start",
        "/v1.18//containers/@MARK@/start",
        "/v1.18/containers/@MARK@/start/",
        "/v1.018/containers/@MARK@/start",
        "http:/v1.18/containers/@MARK@/start",
    ):
        line = f"POST {path} HTTP/1.1"
        sent = message(line, JSON, body=body)
        yield Spelling(f"start {path}", Effect.STARTED, (sent,))
        yield Spelling(f"start {path}, no body", Effect.STARTED, (message(line),))
    line = "POST /v1.18/containers/@MARK@/start HTTP/1.1"
    sent = message(line, JSON, "Transfer-Encoding: chunked", body=chunked(body), length=False)
    yield Spelling("start in chunks", Effect.STARTED, (sent,))
    yield Spelling("start, no length", Effect.STARTED, (message(line, length=False),))


def _forms() -> Iterator[Spelling]:
    """
    Go takes the parameters of a form before those of the query, which is all that a hook is shown.
    """
    form = "Content-Type: application/x-www-form-urlencoded"
    line = "POST /v1.41/containers/@MARK@/rename?name=good-@MARK@ HTTP/1.1"
    bad = b"name=banned-@MARK@"
    multipart = (
        b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nbanned-@MARK@\r\n--x--\r\n'
    )
    multipart_form = "Content-Type: multipart/form-data; boundary=x"
    for name, sent in {
        "plainly": message(line.replace("good", "banned")),
        "with two names": message(line.replace("good-", "banned-@MARK@&name=good-")),
        "with two names, turned": message(line).replace(b" HTTP", b"&name=banned-@MARK@ HTTP"),
        "with an escaped name": message(line.replace("?name=good", "?n%61me=banned")),
        "with a semicolon": message(line.replace("?name", "?x;name=banned-@MARK@&name")),
        "in a form": message(line, form, body=bad),
        "in a form, capitals": message(line, form.upper(), body=bad),
        "in a form with a charset": message(line, form + "; charset=x", body=bad),
        "in a form with a bad parameter": message(line, form + "; ;", body=bad),
        "in a form, tar after it": message(line, form, "Content-Type: x", body=bad),
        "in a form, chunked": message(
            line, form, "Transfer-Encoding: chunked", body=chunked(bad), length=False
        ),
        "in a form that is JSON": message(line, form, body=b'{"x":"&name=banned-@MARK@&"}'),
        "in a form with Expect": message(line, form, "Expect: 100-continue", body=bad),
        "in a form and a no-break space": message(line, form + "\xc2\xa0", body=bad),
        "in a form and a next line": message(line, form + "\xc2\x85;x=y", body=bad),
        "in a wide space and a form": message(line, form.replace(" ", " \xe3\x80\x80"), body=bad),
        "in a form with a dotted I": message(line, form.replace("appli", "appl\xc4\xb0"), body=bad),
        "in a form with a raw no-break space": message(line, form + "\xa0", body=bad),
        "in a multipart form": message(line, multipart_form, body=multipart),
        "in a multipart form, no name": message(
            line.replace("name=good-@MARK@", "x=y"), multipart_form, body=multipart
        ),
        "in a form, no name": message(line.replace("name=good-@MARK@", "x=y"), form, body=bad),
        "in JSON": message(line, JSON, body=b'{"name":"banned-@MARK@"}'),
        "in text": message(line, "Content-Type: text/plain", body=bad),
    }.items():
        yield Spelling(f"rename {name}", Effect.RENAMED, (sent,))


def marked(segments: Iterable[bytes], mark: str) -> list[bytes]:
    """
    What is sent for one mark, which has as many characters as ``@MARK@``.
    """
    assert len(mark) == len(MARK)
    escaped = "".join(f"%{ord(char):02x}" for char in mark).encode()
    return [s.replace(MARK, mark.encode()).replace(b"%40MARK%40", escaped) for s in segments]
