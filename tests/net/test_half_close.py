"""
A client that half-closes on a UNIX socket, and what can't come any more after that.
"""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from powerstrip.net.downstream import WATCH_SECONDS
from tests.net.harness import Rig, until
from tests.net.peers import settle

EVENTS = b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n"
ATTACH = (
    b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


@pytest.mark.parametrize(
    "cut_short",
    [b'Content-Length: 7\r\n\r\n{"a":', b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"],
)
@pytest_twisted.ensureDeferred
async def test_a_body_that_ends_early_is_answered_where_hooks_wait_for_it(
    rig: Rig, cut_short: bytes
) -> None:
    """
    What was to be shown to hooks can't come any more, so neither hooks nor engine see the request.
    """
    rig.hook("POST /*/containers/create", pre=["http://127.0.0.1:9/hook"])
    client = rig.connect()
    client.send_now(b"POST /containers/create HTTP/1.1\r\nHost: d\r\n" + cut_short)
    client.half_close()

    head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body) == {"message": "powerstrip: the request's body ended early"}


@pytest.mark.parametrize(("request_head", "answer"), [(EVENTS, STREAM), (ATTACH, UPGRADED)])
@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_after_its_half_close_is_noticed(
    rig: Rig, request_head: bytes, answer: bytes
) -> None:
    """
    The socket has told its end and tells nothing more, so it is looked at now and then.
    """
    clock = rig.use_clock()
    client, engine = await rig.exchange(request_head)
    await engine.send(answer)
    await client.read_exactly(len(answer))
    client.half_close()
    assert await engine.read_to_end() == b""
    clock.advance(WATCH_SECONDS)
    await settle()
    assert rig.exchange_lines() == []

    client.close()
    clock.advance(WATCH_SECONDS)

    await until(lambda: rig.exchange_lines() != [], "the exchange ends")
