"""
The hook lane: requests and answers that adapters see, and may change.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from powerstrip.net import hooks
from powerstrip.net.hooks import REPLY_OVERHEAD_BYTES
from tests.net.adapters import KleinAdapter, changing, modified, refusing, unchanged
from tests.net.harness import OK, PING, Rig
from tests.net.peers import Peer, bulk, carried, settle

CREATE_HEAD = (
    b"POST /v1.41/containers/create?name=x HTTP/1.1\r\nHost: docker\r\nUser-Agent:  d/1\r\n"
    b"Content-Type: application/json\r\nX-A: 2\r\nX-a: 1\r\n"
)
BODY = b'{ "Image":"busybox",  "Count": 12345678901234567890, "F": 1.10, "\\u00e9": "\xc3\xa9" }\n'


def post(body: bytes, head: bytes = CREATE_HEAD) -> bytes:
    """
    A request with a body and its length.
    """
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


CREATE = post(BODY)
CREATED = (
    b"HTTP/1.1 201 Created\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nX-B: 1\r\n"
    b'x-b: 2\r\nContent-Length: 28\r\n\r\n{"Id": "1", "Warnings":null}'
)


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


async def answered(client: Peer, engine: Peer, answer: bytes = OK) -> None:
    """
    Have the engine answer, and see that the client gets just that.
    """
    await engine.send(answer)
    assert await client.read_exactly(len(answer)) == answer


async def exchanged(rig: Rig, request: bytes, answer: bytes) -> tuple[bytes, bytes]:
    """
    What the engine gets of a request, and then the client of an answer that ends the connection.
    """
    client = rig.connect()
    await client.send(request)
    client.half_close()
    engine = await rig.engine.accept()
    received = await engine.read_to_end()
    await engine.send(answer)
    engine.close()
    return received, await client.read_to_end()


def parts(message: bytes) -> tuple[list[bytes], bytes]:
    """
    The lines of a head, and the body.
    """
    head, _, body = message.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def message_of(answer: bytes) -> str:
    """
    What an answer of powerstrip's own says.
    """
    return str(json.loads(parts(answer)[1])["message"])


# What hooks are shown, and what is left alone


@pytest_twisted.ensureDeferred
async def test_a_pre_hook_is_shown_the_request_before_the_engine(rig: Rig, kind: str) -> None:
    """
    Method, path with query, and the body as text, while nobody has connected to the engine.
    """
    adapter, url = rig.scripted_adapter()
    rig.hook("POST /*/containers/create", pre=[url])
    client = rig.connect(kind)
    await client.send(CREATE)
    hook = await adapter.accept()
    await hook.read_head()
    assert json.loads(await hook.read()) == {
        "PowerstripProtocolVersion": 1,
        "Type": "pre-hook",
        "ClientRequest": {
            "Method": "POST",
            "Request": "/v1.41/containers/create?name=x",
            "Body": BODY.decode(),
        },
    }
    assert await client.has_nothing_to_read()
    assert not rig.engine.is_waited_for
    reply = modified("ModifiedClientRequest", {"Body": BODY.decode()}).encode()
    await hook.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
    engine = await rig.engine.accept()
    assert await engine.read_exactly(len(CREATE)) == CREATE
    await answered(client, engine)


@pytest_twisted.ensureDeferred
async def test_a_post_hook_is_shown_the_answer_before_the_client(rig: Rig, kind: str) -> None:
    """
    The client's own request, and type, body and status of the engine's answer.
    """
    adapter, url = rig.scripted_adapter()
    rig.hook("POST /*/containers/create", post=[url])
    client, engine = await rig.exchange(CREATE, kind)
    await engine.send(CREATED)
    hook = await adapter.accept()
    await hook.read_head()
    assert json.loads(await hook.read()) == {
        "PowerstripProtocolVersion": 1,
        "Type": "post-hook",
        "ClientRequest": {
            "Method": "POST",
            "Request": "/v1.41/containers/create?name=x",
            "Body": BODY.decode(),
        },
        "ServerResponse": {
            "ContentType": "application/json",
            "Body": '{"Id": "1", "Warnings":null}',
            "Code": 201,
        },
    }
    assert await client.has_nothing_to_read()
    reply = modified(
        "ModifiedServerResponse", {"Body": '{"Id": "1", "Warnings":null}', "Code": 201}
    ).encode()
    await hook.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
    assert await client.read_exactly(len(CREATED)) == CREATED


UNCHANGED_REQUESTS = {
    "a body": CREATE,
    "chunks": CREATE_HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n{ }\r\n0\r\nT: 1\r\n\r\n",
    "no body": b"POST /v1.41/containers/x/start HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n",
    "no length": b"POST /v1.41/containers/x/start HTTP/1.1\r\nHost: d\r\n\r\n",
    "GET": b"GET /v1.41/containers/json?all=1&filters=%7B%7D HTTP/1.1\r\nHost: d\r\n\r\n",
    "not JSON": post(b"plain text"),
    "an archive": post(b"\x00\xff" * 100, b"POST /v1.41/build HTTP/1.1\r\n"),
    "a spelled path": post(b"{}", b"POST /v1.41/containers%2Fcreate?a=%2F HTTP/1.1\r\n"),
    "an absolute target": post(b"{}", b"POST http://d/v1.41/containers/create HTTP/1.1\r\n"),
}


@pytest.mark.parametrize("request_bytes", UNCHANGED_REQUESTS.values(), ids=UNCHANGED_REQUESTS)
@pytest_twisted.ensureDeferred
async def test_a_request_that_hooks_leave_alone_goes_on_as_it_came(
    rig: Rig, request_bytes: bytes
) -> None:
    """
    The client's own bytes, head and body.

    Traps: JSON passed through a hook that changed nothing; an empty POST re-framed as chunked.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.hook("* /*", pre=[url], post=[url])
    client, engine = await rig.exchange(request_bytes)
    await answered(client, engine)
    await client.send(PING)  # the connection stays, and is read right
    assert await engine.read_exactly(len(PING)) == PING
    assert len(adapter.payloads) == 3


UNCHANGED_ANSWERS = {
    "a length": CREATED,
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\n{ }\n\r\n0\r\nT: 1\r\n\r\n"
    ),
    "an error": b'HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\n\r\n{"message":"no"}\n',
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "an archive": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nContent-Length: 2\r\n\r\n\xff\x00"
    ),
    "no text": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\x00",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
    "an interim answer": b"HTTP/1.1 102 Processing\r\n\r\n" + CREATED,
}


@pytest.mark.parametrize("answer", UNCHANGED_ANSWERS.values(), ids=UNCHANGED_ANSWERS)
@pytest_twisted.ensureDeferred
async def test_an_answer_that_hooks_leave_alone_goes_on_as_it_came(rig: Rig, answer: bytes) -> None:
    """
    The engine's own bytes, head and body, and the connection stays.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.hook("* /*", pre=[url], post=[url])
    client, engine = await rig.exchange(CREATE)
    await answered(client, engine, answer)
    await client.send(PING)
    assert await engine.read_exactly(len(PING)) == PING
    await answered(client, engine)


@pytest_twisted.ensureDeferred
async def test_an_answer_to_head_is_shown_and_goes_on(rig: Rig) -> None:
    """
    It has no body, whatever its length says.
    """
    adapter = KleinAdapter()
    rig.hook("* /*", post=[rig.serve(adapter)])
    client, engine = await rig.exchange(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\n"
    await answered(client, engine, answer)
    assert adapter.bodies == [""]
    await client.send(PING)
    assert await engine.read_exactly(len(PING)) == PING


@pytest_twisted.ensureDeferred
async def test_an_answer_that_ends_with_the_connection_is_shown_whole(rig: Rig) -> None:
    """
    As errors of attach do.

    Traps: attach errors have no Content-Length.
    """
    adapter = KleinAdapter()
    rig.hook("* /*", post=[rig.serve(adapter)])
    answer = b'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n{"message":"no"}'
    _, received = await exchanged(rig, b"POST /containers/x/attach HTTP/1.1\r\n\r\n", answer)
    assert received == answer
    assert adapter.bodies == ['{"message":"no"}']


# What hooks change


@pytest.mark.parametrize("text", ["{ }", '{"Image": "café ☕"}', '{"a": "' + "x" * 300_000 + '"}'])
@pytest_twisted.ensureDeferred
async def test_a_changed_body_has_its_length_in_bytes_of_utf8(rig: Rig, text: str) -> None:
    """
    One length, no transfer coding, and every other field as it came, in order.

    Traps: a body rewritten by a hook.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter(changing(Body=text)))])
    body = text.encode()
    for framed in [
        CREATE,
        CREATE_HEAD
        + b"transfer-encoding: chunked\r\nTrailer: T\r\n\r\n2\r\n{}\r\n0\r\nT: 1\r\n\r\n",
    ]:
        received, _ = await exchanged(rig, framed, OK)
        lines, received_body = parts(received)
        assert received_body == body
        assert [line for line in lines if not line.startswith(b"Content-Length:")] == (
            CREATE_HEAD.split(b"\r\n")[:-1]
        )
        assert [line for line in lines if line.lower().startswith(b"content-length:")] == [
            b"Content-Length: %d" % len(body)
        ]


@pytest_twisted.ensureDeferred
async def test_a_hook_may_give_a_request_a_body_and_take_it_away(rig: Rig) -> None:
    """
    A body out of nothing is JSON; null empties one that the hook was shown.
    """
    adapter = KleinAdapter(changing(Body='{"a": 1}'))
    rig.hook("* /*", pre=[rig.serve(adapter)])
    start = b"POST /v1.41/containers/x/start HTTP/1.1\r\nHost: d\r\n"
    received, _ = await exchanged(rig, start + b"Content-Length: 0\r\n\r\n", OK)
    assert parts(received) == (
        [
            *start.split(b"\r\n")[:-1],
            b"Content-Length: 8",
            b"Content-Type: application/json",
        ],
        b'{"a": 1}',
    )
    adapter.answer = changing(Body=None)
    received, _ = await exchanged(rig, CREATE, OK)
    assert received == CREATE_HEAD + b"Content-Length: 0\r\n\r\n"


@pytest_twisted.ensureDeferred
async def test_a_hook_may_change_the_query(rig: Rig) -> None:
    """
    The path stays as the client spelled it.
    """
    rig.hook(
        "* /*", pre=[rig.serve(KleinAdapter(changing(Request="/v1.41/containers/create?name=y&z")))]
    )
    received, _ = await exchanged(rig, CREATE, OK)
    assert received == CREATE.replace(b"name=x", b"name=y&z")


@pytest.mark.parametrize(
    "members",
    [{"Method": "DELETE"}, {"Request": "/v1.41/info"}, {"Request": "/flocker-adapter"}],
    ids=["method", "path", "adapter's own URL"],
)
@pytest_twisted.ensureDeferred
async def test_a_hook_can_not_change_the_endpoint(rig: Rig, members: dict[str, str]) -> None:
    """
    Another method or path is left aside, with a warning: what matched is what runs.

    Traps: a pre-hook's answer that changes method or path.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter(changing(**members)))])
    received, _ = await exchanged(rig, CREATE, OK)
    assert received == CREATE
    assert any("is left aside" in line for line in rig.log_lines())


@pytest_twisted.ensureDeferred
async def test_hooks_are_a_chain(rig: Rig) -> None:
    """
    What one answers is what the next is shown, in the file's order, on each side.
    """

    def adding(name: str) -> Any:
        def answer(payload: dict[str, Any], request: Any) -> str:
            pre = payload["Type"] == "pre-hook"
            shown = payload["ClientRequest" if pre else "ServerResponse"]
            body = json.dumps([*json.loads(shown["Body"]), name])
            member = "ModifiedClientRequest" if pre else "ModifiedServerResponse"
            return modified(member, {**shown, "Body": body})

        return answer

    urls = [rig.serve(KleinAdapter(adding(name))) for name in "abc"]
    rig.hook("* /*", pre=urls, post=urls[::-1])
    received, answer = await exchanged(
        rig, post(b"[]"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
    )
    assert parts(received)[1] == b'["a", "b", "c"]'
    assert parts(answer)[1] == b'["c", "b", "a"]'


@pytest_twisted.ensureDeferred
async def test_a_post_hook_may_change_all_of_an_answer(rig: Rig) -> None:
    """
    Status, type and body, also of one that was chunked; every other field stays.
    """
    rig.hook(
        "* /*",
        post=[rig.serve(KleinAdapter(changing(Code=418, ContentType="text/x", Body="é")))],
    )
    for framing in [
        b"Content-Length: 2\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ]:
        _, answer = await exchanged(
            rig, CREATE, b"HTTP/1.1 200 OK\r\nX: 1\r\ncontent-type: a/b\r\nx: 2\r\n" + framing
        )
        lines, body = parts(answer)
        assert lines[0].startswith(b"HTTP/1.1 418 ")
        assert lines[1:4] == [b"X: 1", b"content-type: text/x", b"x: 2"]
        assert [line.lower() for line in lines[4:]] == [b"content-length: 2"]
        assert body == "é".encode()


@pytest_twisted.ensureDeferred
async def test_post_hooks_are_shown_errors_of_the_engine(rig: Rig) -> None:
    """
    And may turn them.
    """
    adapter = KleinAdapter(changing(Code=200, Body="{}"))
    rig.hook("* /*", post=[rig.serve(adapter)])
    error = b'HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\n{"message":"no"}'
    _, answer = await exchanged(rig, CREATE, error)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert parts(answer)[1] == b"{}"
    assert adapter.payloads[0]["ServerResponse"] == {
        "ContentType": None,
        "Body": '{"message":"no"}',
        "Code": 404,
    }


@pytest_twisted.ensureDeferred
async def test_a_post_hook_is_shown_the_clients_own_request(rig: Rig) -> None:
    """
    Not what a pre-hook made of it.
    """
    audit = KleinAdapter()
    rig.configure(
        {"* /*": {"pre": ["change"], "post": ["audit"]}},
        {"change": rig.serve(KleinAdapter(changing(Body="{}"))), "audit": rig.serve(audit)},
    )
    await exchanged(rig, CREATE, CREATED)
    assert audit.payloads[0]["ClientRequest"]["Body"] == BODY.decode()


# Bodies that stream


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
@pytest_twisted.ensureDeferred
async def test_a_build_with_a_pre_hook_streams(rig: Rig, kind: str, framing: bytes) -> None:
    """
    The engine sees the first bytes before the client has sent the last; the hook sees null.

    Traps: Twisted hands a request over only when its whole body is in.
    """
    adapter = KleinAdapter()
    rig.hook("POST /*/build", pre=[rig.serve(adapter)])
    head = (
        b"POST /v1.41/build HTTP/1.1\r\nContent-Type: application/x-tar\r\n" + framing + b"\r\n\r\n"
    )
    client, engine = await rig.exchange(head, kind)
    assert adapter.bodies == [None]
    pieces = [b"123", b"456", b"789"]
    if b"chunked" in framing:
        pieces = [b"3\r\n%b\r\n" % piece for piece in pieces] + [b"0\r\n\r\n"]
    for piece in pieces:
        assert await carried(piece, client, engine) == piece
    await answered(client, engine)


@pytest_twisted.ensureDeferred
async def test_output_of_a_hooked_build_flows_while_it_uploads(rig: Rig) -> None:
    """
    Full duplex, with hooks on both sides.

    Traps: build: output flows while the context still uploads.
    """
    url = rig.serve(KleinAdapter())
    rig.hook("POST /*/build", pre=[url])
    head = b"POST /v1.41/build HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    client, engine = await rig.exchange(head)
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await answered(client, engine, answer)
    for piece in [b"3\r\nabc\r\n", b"0\r\n\r\n"]:
        assert await carried(piece, client, engine) == piece
        assert await carried(piece, engine, client) == piece


@pytest_twisted.ensureDeferred
async def test_big_bodies_stream_both_ways_past_hooks(rig: Rig, kind: str) -> None:
    """
    A load and its answer: not a byte is lost to an echoed null.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.hook("* /*", pre=[url], post=[url])
    size = 12_000_000
    head = b"POST /images/load HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
    client, engine = await rig.exchange(head, kind)
    sent, received = await gatherResults(
        [
            Deferred.fromCoroutine(client.send_bulk(size)),
            Deferred.fromCoroutine(engine.read_bulk(size)),
        ]
    )
    assert sent == received
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n" % size
    )
    await answered(client, engine, answer)
    sent, received = await gatherResults(
        [
            Deferred.fromCoroutine(engine.send_bulk(size)),
            Deferred.fromCoroutine(client.read_bulk(size)),
        ]
    )
    assert sent == received
    assert adapter.bodies == [None, None]
    await client.send(PING)
    assert await engine.read_exactly(len(PING)) == PING


@pytest_twisted.ensureDeferred
async def test_a_hook_can_not_replace_what_it_was_not_shown(rig: Rig) -> None:
    """
    A body in its answer is left aside, and what it was not shown goes on.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter(changing(Body="{}")))])
    upload = post(b"\x00\xfftar", b"POST /build HTTP/1.1\r\n")
    received, _ = await exchanged(rig, upload, OK)
    assert received == upload
    received, _ = await exchanged(rig, post(b"not JSON"), OK)
    assert received == post(b"not JSON")
    assert sum("is left aside" in line for line in rig.log_lines()) == 2


ENDLESS = {
    "wait": b"POST /v1.41/containers/x/wait?condition=next-exit",
    "logs": b"GET /v1.41/containers/x/logs?follow=1",
    "stats": b"GET /v1.41/containers/x/stats",
    "events": b"GET /v1.41/events",
    "export": b"GET /v1.41/containers/x/export",
    "archive": b"GET /v1.41/containers/x/archive?path=/",
    "save": b"GET /v1.41/images/get?names=x",
}


@pytest.mark.parametrize("request_line", ENDLESS.values(), ids=ENDLESS)
@pytest_twisted.ensureDeferred
async def test_an_answer_that_can_not_be_held_goes_on_when_its_post_hook_is_done(
    rig: Rig, request_line: bytes
) -> None:
    """
    The hook is told at once, with Body null; then the head is out, before a byte of the body.

    Traps: POST /containers/{id}/wait sends its head at once: docker run hangs if it is held.
    """
    adapter, url = rig.scripted_adapter()
    rig.hook("* /*", post=[url])
    client, engine = await rig.exchange(request_line + b" HTTP/1.1\r\nHost: d\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
    await engine.send(head)
    hook = await adapter.accept()
    assert b'"Body": null, "Code": 200' in await hook.read_until(b"}}")
    assert await client.has_nothing_to_read()
    reply = modified("ModifiedServerResponse", {"Body": None, "ContentType": "c/d"}).encode()
    await hook.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
    head = head.replace(b"a/b", b"c/d")
    assert await client.read_exactly(len(head)) == head
    for piece in [b"3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n"]:
        assert await carried(piece, engine, client) == piece


@pytest.mark.parametrize("ends", ["length", "chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_an_answer_over_the_bound_streams_on(rig: Rig, ends: str) -> None:
    """
    Its post-hook is told with Body null, and nothing of what was held is lost.
    """
    adapter = KleinAdapter(changing(Body="{}"))
    rig.hook("* /*", post=[rig.serve(adapter)], max_body=1000)
    body = bulk(3_000_000)
    if ends == "chunked":
        body = b"".join(
            b"%x\r\n%b\r\n" % (len(piece), piece)
            for piece in (body[start : start + 777] for start in range(0, len(body), 777))
        )
        body += b"0\r\n\r\n"
    framing = {
        "length": b"Content-Length: %d\r\n\r\n" % len(body),
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
        "close": b"\r\n",
    }[ends]
    client, engine = await rig.exchange(PING)
    answer = b"HTTP/1.1 200 OK\r\n" + framing + body
    assert await carried(answer, engine, client) == answer
    assert adapter.bodies == [None]
    if ends == "close":
        engine.close()
        assert await client.read() == b""


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest_twisted.ensureDeferred
async def test_the_bound_is_the_narrowest_adapters(rig: Rig, framing: str, over: int) -> None:
    """
    A body of just that many bytes is shown, one more is not.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.configure(
        {"* /*": {"post": ["wide", "narrow"]}},
        {"wide": url, "narrow": {"url": url, "max_body": 1000}},
    )
    body = b"x" * (1000 + over)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    if framing == "chunked":
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            len(body),
            body,
        )
    client, engine = await rig.exchange(PING)
    await answered(client, engine, answer)
    assert adapter.bodies == ([None] * 2 if over else [body.decode()] * 2)


# Bodies that are too large


@pytest_twisted.ensureDeferred
async def test_a_length_over_the_bound_is_refused_before_the_body_comes(
    rig: Rig, kind: str
) -> None:
    """
    413, instead of a 100 Continue as well; neither adapter nor engine sees the request.

    Traps: body larger than the bound: refuse, never skip the hook.
    """
    adapter = KleinAdapter()
    rig.hook("* /*", pre=[rig.serve(adapter)], max_body=1000)
    for expect in [b"", b"Expect: 100-continue\r\n"]:
        client = rig.connect(kind)
        await client.send(CREATE_HEAD + expect + b"Content-Length: 1001\r\n\r\n")
        answer = await client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert message_of(answer) == (
            "powerstrip: the request's body is over the 1000 bytes that adapter adapter0 is shown"
            " (max_body)"
        )
    assert adapter.payloads == []
    assert not rig.engine.is_waited_for


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["", "expect"])
@pytest_twisted.ensureDeferred
async def test_chunks_over_the_bound_are_refused_when_it_is_met(
    rig: Rig, kind: str, expect: bytes
) -> None:
    """
    413, behind a 100 Continue too, though the client may send on.
    """
    adapter = KleinAdapter()
    rig.hook("* /*", pre=[rig.serve(adapter)], max_body=1000)
    client = rig.connect(kind)
    await client.send(CREATE_HEAD + expect + b"Transfer-Encoding: chunked\r\n\r\n")
    if expect:
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert await client.has_nothing_to_read()
    await client.send(b"1\r\nx\r\n" + b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
    for _ in range(20):
        await client.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 413 ")
    assert adapter.payloads == []
    assert not rig.engine.is_waited_for


@pytest_twisted.ensureDeferred
async def test_chunks_that_are_nearly_all_framing_are_bounded_as_well(rig: Rig) -> None:
    """
    What stands between chunks is held with them.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter())], max_body=100_000)
    client = rig.connect()
    await client.send(CREATE_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"1;" + b"x" * 4000 + b"\r\nx\r\n"
    sent = await client.send_while_taken(chunk * 2000)
    assert sent < 8 * 1024 * 1024
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 413 ")


# Expect


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest_twisted.ensureDeferred
async def test_a_body_that_hooks_must_see_is_asked_for(rig: Rig, kind: str, framing: str) -> None:
    """
    The client is told to go on by powerstrip, so the engine is not asked again.

    Traps: Expect: 100-continue: decide first.
    """
    adapter = KleinAdapter()
    rig.hook("* /*", pre=[rig.serve(adapter)])
    framed = b"Content-Length: 2\r\n" if framing == "length" else b"Transfer-Encoding: chunked\r\n"
    body = b"{}" if framing == "length" else b"2\r\n{}\r\n0\r\n\r\n"
    client = rig.connect(kind)
    await client.send(CREATE_HEAD + b"expect: 100-Continue\r\n" + framed + b"\r\n")
    assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(body)
    engine = await rig.engine.accept()
    expected = CREATE_HEAD + framed + b"\r\n" + body
    assert await engine.read_exactly(len(expected)) == expected
    await answered(client, engine)


@pytest_twisted.ensureDeferred
async def test_a_body_that_streams_is_asked_for_by_the_engine(rig: Rig) -> None:
    """
    A build whose pre-hook has run is the engine's to accept.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter())])
    head = b"POST /build HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    client, engine = await rig.exchange(head)
    assert await client.has_nothing_to_read()
    await answered(client, engine, b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await carried(b"tar", client, engine) == b"tar"
    await answered(client, engine)


# Refusals and failures


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (403, "application/json", b'{"message": "not allowed"}'),
        (500, "text/html", b"<h1>caf\xe9</h1>"),
        (418, "text/plain; charset=utf-8", b""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_refusal_is_told_as_it_is(
    rig: Rig, kind: str, status: int, content_type: str, body: bytes
) -> None:
    """
    Status, content type and body are the adapter's; the next adapter and the engine see nothing.
    """
    after = KleinAdapter()
    rig.hook(
        "* /*",
        pre=[rig.serve(KleinAdapter(refusing(status, body, content_type))), rig.serve(after)],
    )
    client = rig.connect(kind)
    await client.send(CREATE)
    lines, received = parts(await client.read_to_end())
    assert lines[0].startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: " + content_type.encode() in lines
    assert b"Content-Length: %d" % len(body) in lines
    assert received == body
    assert after.payloads == []
    assert not rig.engine.is_waited_for
    assert f"pre:adapter0=refused-{status}/" in rig.exchange_lines()[0]


@pytest_twisted.ensureDeferred
async def test_a_refusal_of_a_head_request_has_no_body(rig: Rig) -> None:
    """
    Its length tells of the body that a GET would have.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter(refusing(403, b"no", "text/plain")))])
    client = rig.connect()
    await client.send(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    lines, body = parts(await client.read_to_end())
    assert lines[0] == b"HTTP/1.1 403 Forbidden"
    assert body == b""


@pytest_twisted.ensureDeferred
async def test_a_refusal_of_an_upload_reaches_a_client_that_sends_on(rig: Rig, kind: str) -> None:
    """
    A client that uploads before it reads is given the time to read.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter(refusing(403, b"no", "text/plain")))])
    client = rig.connect(kind)
    await client.send(b"POST /build HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n")
    await client.send_bulk(8_000_000)
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert not rig.engine.is_waited_for


@pytest_twisted.ensureDeferred
async def test_a_post_hook_may_refuse_what_the_engine_has_done(rig: Rig) -> None:
    """
    The client is told the adapter's answer instead of the engine's.
    """
    rig.hook("* /*", post=[rig.serve(KleinAdapter(refusing(409, b"no", "text/plain")))])
    client, engine = await rig.exchange(CREATE)
    await engine.send(CREATED)
    lines, body = parts(await client.read_to_end())
    assert (lines[0], body) == (b"HTTP/1.1 409 Conflict", b"no")
    assert await engine.sees_the_end()


LIMIT = 6 * 1000 + REPLY_OVERHEAD_BYTES
WRONG_REPLIES = {
    "HTML": (b"<html></html>", "answered what is not JSON"),
    "truncated JSON": (b'{"PowerstripProtocolVersion": 1', "answered what is not JSON"),
    "nothing": (b"", "answered what is not JSON"),
    "a list": (b"[]", "answered JSON that is not an object"),
    "deep": (b"[" * 50_000, "answered what is not JSON"),
    "the request": (b'{"ClientRequest": {"Body": null}}', "answered without ModifiedClientRequest"),
    "another shape": (b'{"ModifiedClientRequest": "x"}', "answered without ModifiedClientRequest"),
    "no body": (b'{"ModifiedClientRequest": {}}', "answered without a Body"),
    "an object as body": (
        b'{"ModifiedClientRequest": {"Body": {}}}',
        "answered a Body that is not a string",
    ),
    "another version": (
        b'{"PowerstripProtocolVersion": 2, "ModifiedClientRequest": {"Body": null}}',
        "answered in a protocol version other than 1",
    ),
    "a smuggled line": (
        b'{"ModifiedClientRequest": {"Body": null, "Request": "/v1.41/containers/create?x y"}}',
        "answered a Request that can't stand in a request line",
    ),
    "enormous": (b"x" * (LIMIT + 1), f"answered more than {LIMIT} bytes"),
}


@pytest.mark.parametrize(("reply", "sentence"), WRONG_REPLIES.values(), ids=WRONG_REPLIES)
@pytest.mark.parametrize("on_error", ["fail", "ignore"])
@pytest_twisted.ensureDeferred
async def test_a_reply_that_is_none_is_a_502_or_ignored(
    rig: Rig, reply: bytes, sentence: str, on_error: str
) -> None:
    """
    The engine sees the request as the client sent it, or not at all, and the log says why.

    Traps: a hook that answers nonsense: fail closed unless the operator said otherwise.
    """
    url = rig.serve(KleinAdapter(lambda payload, request: reply))
    rig.hook("* /*", pre=[url], on_error=on_error, max_body=1000)
    if on_error == "ignore":
        received, answer = await exchanged(rig, CREATE, OK)
        assert (received, answer) == (CREATE, OK)
    else:
        client = rig.connect()
        await client.send(CREATE)
        answer = await client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert message_of(answer) == f"powerstrip: adapter adapter0 ({url}) {sentence}"
        assert not rig.engine.is_waited_for
    verdict = "failed" if on_error == "fail" else "ignored"
    assert f"pre:adapter0={verdict}/" in rig.exchange_lines()[0]
    assert any(sentence in line for line in rig.log_lines())


@pytest.mark.parametrize("side", ["pre", "post"])
@pytest.mark.parametrize("on_error", ["fail", "ignore"])
@pytest.mark.parametrize("failure", ["not there", "closes", "hangs", "500", "redirect"])
@pytest_twisted.ensureDeferred
async def test_an_adapter_that_fails_is_told_or_ignored(
    rig: Rig, side: str, failure: str, on_error: str
) -> None:
    """
    502 and 504 name the adapter; ``ignore`` goes on as if it were not there, for its own 5xx too.
    """
    clocked = rig.use_clock() if failure == "hangs" else None
    adapter, url = rig.scripted_adapter()
    if failure == "not there":
        adapter.close()
    rig.hook("* /*", **{side: [url]}, on_error=on_error, timeout=2.5)  # type: ignore[arg-type]
    client = rig.connect()
    await client.send(CREATE)
    if side == "post":
        engine = await rig.engine.accept()
        await engine.read_exactly(len(CREATE))
        await engine.send(CREATED)
    if failure != "not there":
        hook = await adapter.accept()
        await hook.read_until(b"}}")
        if failure == "closes":
            hook.close()
        elif failure == "500":
            await hook.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops")
        elif clocked is not None:
            clocked.advance(2.5)
        elif failure == "redirect":
            await hook.send(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
    if on_error == "ignore":
        if side == "pre":
            engine = await rig.engine.accept()
            assert await engine.read_exactly(len(CREATE)) == CREATE
            await engine.send(CREATED)
        assert await client.read_exactly(len(CREATED)) == CREATED
        return
    answer = await client.read_to_end()
    status, sentence = {
        "not there": (502, "can't be reached: "),
        "closes": (502, "broke off: "),
        "hangs": (504, "timed out after 2.5 s"),
        "redirect": (502, "answered with status 302"),
        "500": (500, ""),
    }[failure]
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    if failure == "500":
        assert parts(answer)[1] == b"oops"
    else:
        assert message_of(answer).startswith(f"powerstrip: adapter adapter0 ({url}) {sentence}")
    assert side == "post" or not rig.engine.is_waited_for


@pytest.mark.parametrize("on_error", ["fail", "ignore"])
@pytest_twisted.ensureDeferred
async def test_a_refusal_stands_whatever_the_operator_ignores(rig: Rig, on_error: str) -> None:
    """
    A 4xx is a decision, and no failure.
    """
    url = rig.serve(KleinAdapter(refusing(403, b"no", "text/plain")))
    rig.hook("* /*", pre=[url], on_error=on_error)
    client = rig.connect()
    await client.send(CREATE)
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 403 ")
    assert not rig.engine.is_waited_for


# Requests that could be read in two ways


AMBIGUOUS = {
    "a key twice": post(b'{"Image": "a", "Image": "b"}'),
    "keys in two cases": post(b'{"HostConfig": {}, "hostconfig": {"Privileged": true}}'),
    "more behind it": post(b'{"Image": "a"} {"Image": "b"}'),
    "not UTF-8": post(b'{"Image": "\xff"}'),
    "a form": post(
        b"{}", b"POST /containers/create HTTP/1.1\r\nContent-Type: multipart/form-data\r\n"
    ),
}


@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest_twisted.ensureDeferred
async def test_what_the_engine_could_read_otherwise_is_refused(
    rig: Rig, request_bytes: bytes
) -> None:
    """
    400, and neither adapter nor engine sees it.

    Traps: JSON keys in another case, or twice; what the hook saw is what the engine does.
    """
    adapter = KleinAdapter()
    rig.hook("* /*", pre=[rig.serve(adapter)])
    client = rig.connect()
    await client.send(request_bytes)
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert adapter.payloads == []
    assert not rig.engine.is_waited_for


SPELLINGS = [
    b"/containers/create",
    b"/v1.41/containers/create",
    b"/v1.41/containers%2Fcreate",
    b"/v1.41/%63ontainers/create",
    b"//v1.41//containers/./create",
    b"/v1.41/x/../containers/create",
    b"http://docker/containers/create",
]


@pytest.mark.parametrize("target", SPELLINGS)
@pytest.mark.parametrize("content_type", [b"application/json; charset=utf-8", b"Text/JSON", b""])
@pytest_twisted.ensureDeferred
async def test_no_spelling_steps_past_a_hook(rig: Rig, target: bytes, content_type: bytes) -> None:
    """
    Every spelling that the engine routes to create is denied by an adapter that denies create.

    Traps: unversioned paths, escapes, //, absolute-form targets; Content-Type in other forms.
    """
    adapter = KleinAdapter(refusing(403, b"no", "text/plain"))
    rig.hook("POST /*/containers/create", pre=[rig.serve(adapter)])
    client = rig.connect()
    field = b"Content-Type: " + content_type + b"\r\n" if content_type else b""
    await client.send(post(b'{"Image": "x"}', b"POST " + target + b" HTTP/1.1\r\n" + field))
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 403 ")
    assert adapter.bodies == ['{"Image": "x"}']
    assert not rig.engine.is_waited_for


# Around the hooks


@pytest_twisted.ensureDeferred
async def test_connections_to_adapters_are_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One connection to each adapter serves a client after the other.
    """
    monkeypatch.setattr(hooks, "KEEP_ALIVE_SECONDS", 600)
    url, other = rig.serve(KleinAdapter()), rig.serve_unix(KleinAdapter())
    rig.hook("* /*", pre=[url, other], post=[url, other])
    for _ in range(5):
        client, engine = await rig.exchange(CREATE)
        await answered(client, engine, CREATED)
        client.close()
    assert rig.accepted == [1, 1]


@pytest_twisted.ensureDeferred
async def test_a_changed_configuration_applies_to_the_next_request(rig: Rig) -> None:
    """
    On a connection that is open, and not to a request that is under way.
    """
    first, second = KleinAdapter(), KleinAdapter()
    one, two = rig.serve(first), rig.serve(second)
    rig.hook("* /*", pre=[one], post=[one])
    client, engine = await rig.exchange(CREATE)
    rig.hook("* /*", pre=[two], post=[two])
    await answered(client, engine, CREATED)
    await client.send(CREATE)
    assert await engine.read_exactly(len(CREATE)) == CREATE
    rig.configure({}, {})
    await answered(client, engine, CREATED)
    await client.send(CREATE)
    assert await engine.read_exactly(len(CREATE)) == CREATE
    await answered(client, engine, CREATED)
    assert [len(adapter.payloads) for adapter in (first, second)] == [2, 2]


@pytest_twisted.ensureDeferred
async def test_lanes_alternate_on_a_connection(rig: Rig, kind: str) -> None:
    """
    One engine's connection serves hooked and passed requests in turn.
    """
    url = rig.serve(KleinAdapter())
    rig.hook("POST /*/containers/create", pre=[url], post=[url])
    client, engine = await rig.exchange(PING, kind)
    await answered(client, engine)
    for request in [CREATE, PING, CREATE, CREATE, PING]:
        await client.send(request)
        assert await engine.read_exactly(len(request)) == request
        await answered(client, engine, CREATED if request is CREATE else OK)
    assert not rig.engine.is_waited_for


@pytest_twisted.ensureDeferred
async def test_the_log_has_each_hooks_verdict_and_time(rig: Rig) -> None:
    """
    In the order in which they were called.
    """
    rig.configure(
        {"* /*": {"pre": ["same", "change"], "post": ["same"]}},
        {
            "same": rig.serve(KleinAdapter(unchanged)),
            "change": rig.serve(KleinAdapter(changing(Body="{}"))),
        },
    )
    await exchanged(rig, CREATE, CREATED)
    await settle()
    (line,) = rig.exchange_lines()
    assert line.startswith('"POST /v1.41/containers/create" lane=hook status=201 ')
    verdicts = [part.split("/")[0] for part in line.split() if part.startswith(("pre:", "post:"))]
    assert verdicts == ["pre:same=unchanged", "pre:change=changed", "post:same=unchanged"]


def test_the_resource_is_twisteds_reverse_proxy(rig: Rig) -> None:
    """
    A resource like any other, as far as Twisted can tell.
    """
    from twisted.web.proxy import ReverseProxyResource
    from twisted.web.resource import IResource

    assert isinstance(rig.proxy.resource, ReverseProxyResource)
    assert verifyObject(IResource, rig.proxy.resource)
