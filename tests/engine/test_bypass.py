"""
Whether any spelling of a request gets past its hooks: each is tried on the engine and on the proxy.

The corpus is ``tests/data/spellings.py``. One adapter refuses whatever it is asked. Another refuses
only what it can see to be banned, and is as careless as an adapter can be: so what the engine
does must be what it was shown.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from demo.engine import PrivateEngine
from tests.data.spellings import (
    MAX_BODY_BYTES,
    RUNNER,
    Effect,
    Spelling,
    marked,
    message,
    spellings,
)
from tests.engine.conftest import StartPowerstrip
from tests.engine.proxy import Proxy

SPELLINGS = spellings()
AT_ONCE = 32
IDLE_SECONDS = 0.25
"""So long an answer may pause; the engine's work goes on when the client has left."""

MOST_SECONDS = 2.0
PAUSE_SECONDS = 0.1

IDLE_DESCRIPTORS = 20
"""What a powerstrip holds for itself, a few pipes among it."""

GONE_SECONDS = 10.0

SEEN = {Effect.BANNED, Effect.RENAMED}
"""What depends on what the hook saw: for these, requests that are not banned are let through."""

DENY = """
endpoints:
  "POST /*/containers/create": {{pre: [guard]}}
  "POST /*/containers/*/exec": {{pre: [guard]}}
  "POST /*/containers/*/start": {{pre: [guard]}}
  "GET /*/containers/json": {{pre: [guard]}}
adapters:
  guard: {{url: "http://127.0.0.1:{port}/deny", max_body: {max_body}}}
"""
LOOK = """
endpoints:
  "POST /*/containers/create": {{pre: [guard]}}
  "POST /*/containers/*/rename": {{pre: [guard]}}
adapters:
  guard: {{url: "http://127.0.0.1:{port}/look", max_body: {max_body}}}
"""


class Guard(BaseHTTPRequestHandler):
    """
    Both adapters.
    """

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["ClientRequest"]
        if self.path == "/deny" or _looks_banned(request):
            self._answer(403, {"message": "the guard says no"})
        else:
            self._answer(200, {"PowerstripProtocolVersion": 1, "ModifiedClientRequest": request})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """
        Nothing: BaseHTTPRequestHandler would write each request to stderr.
        """

    def _answer(self, status: int, answer: Mapping[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _looks_banned(request: Mapping[str, Any]) -> bool:
    """
    What a careless adapter sees: it lets through all that it can't read.
    """
    url = urlsplit(request["Request"])
    if url.path.endswith("/rename"):
        return any(name.startswith("banned") for name in parse_qs(url.query).get("name", ()))
    try:
        body = json.loads(request["Body"])
        labels, host = body.get("Labels") or {}, body.get("HostConfig") or {}
        return bool("banned" in labels or host.get("Privileged"))
    except (TypeError, ValueError, AttributeError):
        return False


@pytest.fixture(scope="module")
def guard() -> Iterator[int]:
    """
    The port of the two adapters.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), Guard) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def proxies(powerstrip: StartPowerstrip, guard: int) -> tuple[Proxy, Proxy]:
    """
    One that denies, and one that looks.
    """
    deny, look = (
        powerstrip(config.format(port=guard, max_body=MAX_BODY_BYTES)) for config in (DENY, LOOK)
    )
    return deny, look


@pytest.fixture(scope="module")
def bench(engine: PrivateEngine) -> PrivateEngine:
    """
    The engine with the containers that the spellings are about.
    """
    runner = {"Image": "busybox", "Cmd": ["sleep", "600"], "OpenStdin": True}
    _ask(engine, "POST", f"/containers/create?name={RUNNER}", runner)
    _ask(engine, "POST", f"/containers/{RUNNER}/start")
    for index, spelling in enumerate(SPELLINGS):
        if spelling.effect in (Effect.STARTED, Effect.RENAMED):
            for run in "dp":
                own = {"Image": "busybox", "Cmd": ["true"]}
                _ask(engine, "POST", f"/containers/create?name={run}{index:05}", own)
    return engine


def test_no_spelling_gets_past_a_hook(
    bench: PrivateEngine,
    proxies: tuple[Proxy, Proxy],
    record_property: pytest.RecordProperty,
) -> None:
    """
    Nothing shows on the engine that a hook did not allow, and the corpus would show it if it did.
    """
    deny, look = (proxy.socket for proxy in proxies)
    reached = _try_all(bench, "d", dict.fromkeys(Effect, bench.socket))
    passed = _try_all(bench, "p", {effect: look if effect in SEEN else deny for effect in Effect})
    record_property(
        "figure",
        f"bypasses: {len(passed)} of {len(SPELLINGS)} spellings "
        f"({len(reached)} of them reach the engine when nothing is in front of it)",
    )
    assert passed == []
    assert len(reached) > len(SPELLINGS) / 4
    assert {s.effect for s in SPELLINGS if s.name in reached} == set(Effect)


def test_the_proxies_have_taken_no_harm(proxies: tuple[Proxy, Proxy]) -> None:
    """
    They still answer, have logged no failure, and hold no connection whose client has gone.
    """
    for proxy in proxies:
        answer = _converse(proxy.socket, [message("GET /_ping HTTP/1.1")])
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        _, found, traceback = proxy.log_text().partition("Traceback")
        assert found + traceback[:3000] == ""
        assert _fewest_descriptors(proxy) <= IDLE_DESCRIPTORS


def _fewest_descriptors(proxy: Proxy) -> int:
    """
    How many descriptors are left when connections have had their time to go.
    """
    until = time.monotonic() + GONE_SECONDS
    while True:
        count = len(list(Path(f"/proc/{proxy.pid}/fd").iterdir()))
        if count <= IDLE_DESCRIPTORS or time.monotonic() > until:
            return count
        time.sleep(0.1)


def _try_all(engine: PrivateEngine, run: str, sockets: Mapping[Effect, Path]) -> list[str]:
    """
    The names of those spellings that had their effect.
    """

    def try_one(numbered: tuple[int, Spelling]) -> bytes:
        index, spelling = numbered
        return _converse(sockets[spelling.effect], marked(spelling.segments, f"{run}{index:05}"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(try_one, enumerate(SPELLINGS)))
    shown = _shown(engine)
    return [
        spelling.name
        for index, (spelling, answer) in enumerate(zip(SPELLINGS, answers, strict=True))
        if (
            f'"/{RUNNER}"'.encode() in answer
            if spelling.effect is Effect.LISTED
            else (spelling.effect, f"{run}{index:05}") in shown
        )
    ]


def _converse(path: Path, segments: Sequence[bytes]) -> bytes:
    """
    Sends each segment, or half-closes for an empty one, and gives what comes back until it pauses.
    """
    answer = b""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(MOST_SECONDS)
        client.connect(str(path))
        for position, segment in enumerate(segments):
            if position:
                time.sleep(PAUSE_SECONDS)
            if segment:
                client.sendall(segment)
            else:
                client.shutdown(socket.SHUT_WR)
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until:
            received = client.recv(65536)
            if not received:
                break
            answer += received
            client.settimeout(IDLE_SECONDS)
    return answer


def _shown(engine: PrivateEngine) -> set[tuple[Effect, str]]:
    """
    What can be seen on the engine: each effect, with the mark of the request that it is from.
    """
    shown = set()
    for container in _ask(engine, "GET", "/containers/json?all=1"):
        name, labels = container["Names"][0][1:], container["Labels"]
        shown |= {(Effect.CREATED, name), (Effect.CREATED, labels.get("spelling", ""))}
        if container["State"] != "created":
            shown.add((Effect.STARTED, name))
        if name.startswith("banned-"):
            shown.add((Effect.RENAMED, name.removeprefix("banned-")))
        details = _ask(engine, "GET", f"/containers/{container['Id']}/json")
        if "banned" in labels or details["HostConfig"]["Privileged"]:
            shown.add((Effect.BANNED, name))
    for exec_id in _ask(engine, "GET", f"/containers/{RUNNER}/json")["ExecIDs"] or ():
        for argument in _ask(engine, "GET", f"/exec/{exec_id}/json")["ProcessConfig"]["arguments"]:
            shown.add((Effect.EXECUTED, argument))
    return shown


def _ask(engine: PrivateEngine, method: str, path: str, body: object = None) -> Any:
    """
    One exchange with the engine itself.
    """
    sent = b"" if body is None else json.dumps(body).encode()
    fields = ("Content-Type: application/json", "Connection: close")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        client.sendall(message(f"{method} /v1.41{path} HTTP/1.0", *fields, body=sent))
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.split()[1][:1] in b"23", answer
    return json.loads(text) if text else None
