"""
An adapter whose hooks change nothing: each answers with what it was given.

I/O: run as a program, it serves on a port of its own choice and prints that.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from urllib.request import urlopen

from klein import Klein
from twisted.internet import reactor
from twisted.web.iweb import IRequest
from twisted.web.server import Site

app = Klein()
calls: Counter[str] = Counter()


@app.route("/hook", methods=["POST"])
def hook(request: IRequest) -> bytes:
    """
    One pre-hook or post-hook.
    """
    payload = json.load(request.content)
    calls[payload["Type"]] += 1
    changed, given = {
        "pre-hook": ("ModifiedClientRequest", "ClientRequest"),
        "post-hook": ("ModifiedServerResponse", "ServerResponse"),
    }[payload["Type"]]
    request.setHeader("Content-Type", "application/json")
    return json.dumps({"PowerstripProtocolVersion": 1, changed: payload[given]}).encode()


@app.route("/calls", methods=["GET"])
def count(request: IRequest) -> bytes:
    """
    How many hooks of each type have come so far.
    """
    return json.dumps(calls).encode()


class NoopAdapter:
    """
    The adapter as its tests see it.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self._calls_url = f"http://127.0.0.1:{port}/calls"

    def on_everything(self) -> str:
        """
        A configuration with this adapter before and after each request.
        """
        return (
            'version: 1\nendpoints: {"* /*": {pre: [noop], post: [noop]}}\n'
            f"adapters: {{noop: {self.url}}}\n"
        )

    def calls(self) -> dict[str, int]:
        """
        How many hooks of each type have come so far.
        """
        with urlopen(self._calls_url) as answer:
            return {"pre-hook": 0, "post-hook": 0} | json.load(answer)


if __name__ == "__main__":
    port = reactor.listenTCP(0, Site(app.resource()), interface="127.0.0.1")
    sys.stdout.write(f"{port.getHost().port}\n")
    sys.stdout.flush()
    reactor.run()
