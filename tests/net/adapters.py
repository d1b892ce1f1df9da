"""
An adapter that a test writes in a line: Klein on a real socket, and what it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from klein import Klein
from twisted.internet.interfaces import IAddress
from twisted.web.iweb import IRequest
from twisted.web.server import Site

Payload = dict[str, Any]
Answer = Callable[[Payload, IRequest], Any]
"""Makes of a payload what Klein takes: text, bytes, or a Deferred of either."""


def unchanged(payload: Payload, request: IRequest) -> str:
    """
    Answer what was shown.
    """
    if payload["Type"] == "pre-hook":
        return modified("ModifiedClientRequest", payload["ClientRequest"])
    return modified("ModifiedServerResponse", payload["ServerResponse"])


def changing(**members: Any) -> Answer:
    """
    Answer what was shown, but for some members: ``changing(Body="{}")``.
    """

    def answer(payload: Payload, request: IRequest) -> str:
        if payload["Type"] == "pre-hook":
            return modified("ModifiedClientRequest", {**payload["ClientRequest"], **members})
        return modified("ModifiedServerResponse", {**payload["ServerResponse"], **members})

    return answer


def refusing(status: int, body: bytes, content_type: str) -> Answer:
    """
    Answer with an HTTP error.
    """

    def answer(payload: Payload, request: IRequest) -> bytes:
        request.setResponseCode(status)
        request.setHeader("Content-Type", content_type)
        return body

    return answer


def modified(name: str, members: Payload) -> str:
    """
    A reply of the hook protocol.
    """
    return json.dumps({"PowerstripProtocolVersion": 1, name: members})


class KleinAdapter:
    """
    An adapter on ``/hook``, which keeps what it is sent.
    """

    app = Klein()

    def __init__(self, answer: Answer = unchanged) -> None:
        self.answer = answer
        self.payloads: list[Payload] = []
        self.headers: list[dict[bytes, list[bytes]]] = []

    @app.route("/hook", methods=["POST"])
    def hook(self, request: IRequest) -> Any:
        payload = json.load(request.content)
        self.payloads.append(payload)
        self.headers.append(dict(request.requestHeaders.getAllRawHeaders()))
        return self.answer(payload, request)

    @property
    def bodies(self) -> list[str | None]:
        """
        The body that each call was shown: of the request, or of the engine's answer.
        """
        return [
            payload["ServerResponse" if "ServerResponse" in payload else "ClientRequest"]["Body"]
            for payload in self.payloads
        ]


class AdapterSite(Site):
    """
    Serves an adapter, and keeps count of who connects.
    """

    noisy = False

    def __init__(self, adapter: KleinAdapter) -> None:
        super().__init__(adapter.app.resource())
        self.displayTracebacks = False
        self.accepted = 0

    def buildProtocol(self, addr: IAddress) -> Any:
        self.accepted += 1
        return super().buildProtocol(addr)

    def log(self, request: IRequest) -> None:
        """
        Say nothing: what powerstrip logs is what counts.
        """
