"""
What the operator sees of exchanges, and what nobody may see.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from powerstrip.net.exchange_log import ExchangeLog
from powerstrip.net.turn import Turn
from tests.net.adapters import KleinAdapter, changing
from tests.net.harness import OK, PING, Rig
from tests.net.peers import settle

SECRET = "hunter2"
SECRET_64 = base64.b64encode(b'{"password":"hunter2"}').decode()

SECRET_REQUESTS = {
    "X-Registry-Auth": f"POST /images/create?fromImage=x HTTP/1.1\r\nX-Registry-Auth: {SECRET_64}",
    "X-Registry-Config": f"POST /build HTTP/1.1\r\nx-registry-config: {SECRET_64}",
    "Authorization": f"GET /info HTTP/1.1\r\nAUTHORIZATION: Bearer {SECRET}",
    "Proxy-Authorization": f"GET /info HTTP/1.1\r\nProxy-Authorization: Basic {SECRET}",
    "Cookie": f"GET /info HTTP/1.1\r\nCookie: session={SECRET}",
    "a password in the query": f"POST /build?remote=https://u:{SECRET}@h/x HTTP/1.1\r\nHost: d",
}


@pytest.mark.parametrize("lane", ["pass", "hook"])
@pytest.mark.parametrize("head", SECRET_REQUESTS.values(), ids=SECRET_REQUESTS)
@pytest_twisted.ensureDeferred
async def test_a_secret_in_a_head_is_the_engines_alone(rig: Rig, lane: str, head: str) -> None:
    """
    It goes to the engine, and to neither log (with every head traced) nor adapter.

    Traps: X-Registry-Auth, X-Registry-Config, Authorization: never to an adapter or a log.
    """
    adapter = KleinAdapter()
    if lane == "hook":
        url = rig.serve(adapter)
        rig.hook("* /*", pre=[url], post=[url])
    client, engine = await rig.exchange(head.encode() + b"\r\nContent-Length: 0\r\n\r\n")
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nContent-Length: 0\r\n\r\n" % SECRET.encode()
    await engine.send(answer)
    assert await client.read_exactly(len(answer)) == answer
    await settle()
    seen = "\n".join(rig.log_lines())
    assert "HTTP/1.1 200 OK" in seen  # heads are traced
    assert SECRET not in seen
    assert SECRET_64 not in seen
    if "remote=" not in head:  # a query is shown to hooks, which may need it
        told = json.dumps([*adapter.payloads, *(str(headers) for headers in adapter.headers)])
        assert SECRET not in told
        assert SECRET_64 not in told


@pytest_twisted.ensureDeferred
async def test_credentials_of_a_login_are_the_engines_alone(rig: Rig) -> None:
    """
    The body of /auth is not shown, nor the token in its answer, and both go through.

    Traps: the body of /auth: to the engine only.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.hook("* /*", pre=[url], post=[url])
    body = b'{"username": "u", "password": "hunter2"}'
    request = b"POST /v1.41/auth HTTP/1.1\r\nContent-Type: application/json\r\n"
    request += b"Content-Length: %d\r\n\r\n" % len(body) + body
    client, engine = await rig.exchange(request)
    token = b'{"IdentityToken": "hunter2"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(token) + token
    await engine.send(answer)
    assert await client.read_exactly(len(answer)) == answer
    assert adapter.bodies == [None, None]
    assert SECRET not in "\n".join(rig.log_lines())


@pytest_twisted.ensureDeferred
async def test_secrets_that_a_hook_changes_are_hidden(rig: Rig) -> None:
    """
    The trace tells which members a hook has changed, and no value that looks like a secret.
    """
    changed = '{"Image": "b", "Env": ["DB_PASSWORD=hunter2", "A=1"]}'
    rig.hook("* /*", pre=[rig.serve(KleinAdapter(changing(Body=changed)))])
    body = b'{"Image": "a", "Env": ["DB_PASSWORD=old-hunter2"]}'
    client = rig.connect()
    await client.send(
        b"POST /containers/create HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    engine = await rig.engine.accept()
    assert (await engine.read_until(b"}")).endswith(changed.encode())
    await engine.send(OK)
    await client.read_exactly(len(OK))
    seen = "\n".join(rig.log_lines())
    assert 'Image: "a" -> "b"' in seen
    assert "DB_PASSWORD" in seen
    assert SECRET not in seen


@pytest_twisted.ensureDeferred
async def test_a_client_can_not_forge_a_line_of_the_log(rig: Rig) -> None:
    """
    What it sends stays in the line that tells of it.
    """
    client, engine = await rig.exchange(
        b"GET /x%0a1.2.3.4%20forged%1b[31m HTTP/1.1\r\nX: \xe2\x80\xa8forged\xc2\x85\r\n\r\n"
    )
    await engine.send(OK)
    await client.read_exactly(len(OK))
    for line in "\n".join(rig.log_lines()).splitlines():
        assert not line.startswith(("1.2.3.4", "forged"))
        assert line.isprintable()


@pytest_twisted.ensureDeferred
async def test_clients_are_named(rig: Rig) -> None:
    """
    By their address, or over a UNIX socket by their process.
    """
    for kind, name in [("unix", f"uid={os.getuid()},pid={os.getpid()}"), ("tcp", "127.0.0.1:")]:
        rig.events.clear()
        client, engine = await rig.exchange(PING, kind)
        await engine.send(OK)
        await client.read_exactly(len(OK))
        await settle()
        assert [line.startswith(name) for line in rig.log_lines()] == [True] * 3


@pytest_twisted.ensureDeferred
async def test_what_is_no_request_has_a_line_too(rig: Rig) -> None:
    """
    With the status that the client was told.
    """
    client = rig.connect("tcp")
    await client.send(b"nonsense\r\n\r\n")
    await client.read_to_end()
    assert rig.log_lines()[-1].endswith(" status=400 error=malformed HTTP request line")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("client", "status=- in=0 out=0"),
        ("engine", "status=502 in=0 out=85"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_exchange_that_is_broken_off_has_its_line(rig: Rig, end: str, said: str) -> None:
    """
    With the reason.
    """
    client, engine = await rig.exchange(PING)
    if end == "client":
        client.close()
        assert await engine.sees_the_end()
    else:
        engine.close()
        await client.read_to_end()
    await settle()
    (line,) = rig.exchange_lines()
    assert line.startswith(f'"GET /_ping" lane=pass {said} ms=')
    assert " error=" in line


def write_past_the_log(
    rig: Rig, written: list[str], *, fails: bool = False
) -> tuple[Clock, ExchangeLog]:
    """
    Have the exchanges' lines written past the log, at the ends of turns that the test ends.
    """

    def write(lines: Sequence[str]) -> None:
        if fails:
            raise BrokenPipeError
        written.extend(lines)

    clock = Clock()
    rig.proxy.log = ExchangeLog(clock, Turn(clock), traces=False, write_lines=write)
    return clock, rig.proxy.log


async def ping(rig: Rig) -> None:
    """
    Have one exchange.
    """
    client, engine = await rig.exchange(PING)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    client.close()
    assert await engine.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_the_lines_of_a_turn_are_written_at_its_end(rig: Rig) -> None:
    """
    All of them, in order, and past the log.
    """
    written: list[str] = []
    clock, _ = write_past_the_log(rig, written)
    await ping(rig)
    await ping(rig)
    assert written == []
    clock.advance(0)
    assert [line.split(" ", 1)[1].partition(" ms=")[0] for line in written] == [
        '"GET /_ping" lane=pass status=200 in=0 out=2',
        '"GET /_ping" lane=pass status=200 in=0 out=2',
    ]
    assert rig.exchange_lines() == []


@pytest_twisted.ensureDeferred
async def test_lines_that_wait_for_the_end_of_a_turn_are_not_lost_at_the_end_of_all(
    rig: Rig,
) -> None:
    """
    What ends the process has them written first, and once.
    """
    written: list[str] = []
    clock, log = write_past_the_log(rig, written)
    await ping(rig)
    log.flush()
    assert len(written) == 1
    clock.advance(0)
    assert len(written) == 1


@pytest_twisted.ensureDeferred
async def test_lines_that_can_not_be_written_go_to_the_log(rig: Rig) -> None:
    """
    A standard output that nobody reads any more breaks no exchange, and loses no line.
    """
    clock, _ = write_past_the_log(rig, [], fails=True)
    await ping(rig)
    clock.advance(0)
    (line,) = rig.exchange_lines()
    assert line.startswith('"GET /_ping" lane=pass status=200')
