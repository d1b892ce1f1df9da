"""
An adapter that keeps what it is sent and what it answers, as it went over the wire.

I/O: listens on a port of its own, in a thread. Standard library only.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["RecordedHook", "Recorder"]


@dataclass(frozen=True)
class RecordedHook:
    """
    One hook: both heads, and the JSON after each.
    """

    request_head: str
    payload: bytes
    response_head: str
    reply: bytes


class Recorder:
    """
    Answers hooks at three paths, and keeps all of them.

    ``/label`` adds a label to a container, ``/refuse`` refuses, and ``/note`` adds a
    warning to the answer to a create. What they do not know they leave as it is.
    """

    def __init__(self) -> None:
        self.hooks: list[RecordedHook] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hooks = self.hooks

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers["Content-Length"]))
                status, value = _answer(self.path, json.loads(payload))
                reply = json.dumps(value).encode()
                response_head = (
                    f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
                    "Content-Type: application/json\r\n"
                    f"Content-Length: {len(reply)}\r\n\r\n"
                )
                request_head = f"{self.requestline}\r\n{self.headers.as_string()}"
                hooks.append(RecordedHook(request_head, payload, response_head, reply))
                self.wfile.write(response_head.encode() + reply)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """
                Logs nothing: all is kept.
                """

        return Handler


def _answer(path: str, hook: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    if path == "/refuse":
        return 403, {"message": "no container today"}
    if hook["Type"] == "pre-hook":
        return 200, {
            "PowerstripProtocolVersion": 1,
            "ModifiedClientRequest": _labelled(hook["ClientRequest"]),
        }
    return 200, {
        "PowerstripProtocolVersion": 1,
        "ModifiedServerResponse": _noted(hook["ServerResponse"]),
    }


def _labelled(request: dict[str, Any]) -> dict[str, Any]:
    if request["Body"] is None:
        return request
    container = json.loads(request["Body"])
    container["Labels"] = {"via": "powerstrip"}
    return {**request, "Body": json.dumps(container)}


def _noted(response: dict[str, Any]) -> dict[str, Any]:
    if response["Code"] != 201:
        return response
    created = json.loads(response["Body"])
    created["Warnings"] = ["seen by a post-hook"]
    return {**response, "Body": json.dumps(created)}
