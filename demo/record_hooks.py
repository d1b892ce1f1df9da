"""
Records the examples of ``docs/hook-protocol.md`` on a real engine, and writes them into it.

Each example stands between ``<!-- recorded: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing

from demo.engine import why_not
from demo.recorder import RecordedHook, Recorder
from demo.stage import ROOT, Stage, ignore

__all__ = ["DOCUMENT", "EXAMPLE", "record"]

DOCUMENT = ROOT / "docs" / "hook-protocol.md"

EXAMPLE = re.compile(
    r"(?P<begin><!-- recorded: (?P<name>[a-z-]+) -->\n)(?P<text>.*?)(?P<end><!-- end -->)",
    re.DOTALL,
)

CONFIG = """\
endpoints:
  "POST /*/containers/create":
    pre: [label]
    post: [note]
  "POST /*/containers/*/start":
    post: [note]
  "GET /*/containers/*/logs":
    post: [note]
  "POST /*/build":
    pre: [label]
  "DELETE /*/containers/*":
    pre: [refuse]
adapters:
  label: URL/label
  note: URL/note
  refuse: URL/refuse
"""

API = "/v1.41"


class Client:
    """
    Sends requests through powerstrip, and gives the hooks that each has caused.
    """

    def __init__(self, docker_host: str, hooks: list[RecordedHook]) -> None:
        self.answer = ""
        """The last answer: its status line and its body."""

        self._path = docker_host.removeprefix("unix://")
        self._hooks = hooks

    def send(
        self, method: str, target: str, body: bytes = b"", content_type: str = "application/json"
    ) -> list[RecordedHook]:
        before = len(self._hooks)
        with closing(http.client.HTTPConnection("docker", timeout=60)) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self._path)
            connection.request(method, API + target, body, {"Content-Type": content_type})
            response = connection.getresponse()
            text = response.read().decode(errors="replace").strip()
            self.answer = f"HTTP/1.1 {response.status} {response.reason}\n\n{text}"
        return self._hooks[before:]


def record() -> dict[str, str]:
    """
    Run all examples.

    Returns:
        Each example's text, by its name.
    """
    with Stage("record") as stage, Recorder() as recorder:
        stage.start_engine()
        stage.start_powerstrip(CONFIG.replace("URL", recorder.url), ignore)
        return dict(_examples(Client(stage.powerstrip_host, recorder.hooks)))


def _examples(client: Client) -> Iterator[tuple[str, str]]:
    """
    The exchanges, in an order in which each finds what it needs.
    """
    container = b'{"Image":"busybox","Cmd":["echo","hello"]}'
    pre, post = client.send("POST", "/containers/create?name=example", container)
    yield "pre-hook", _message(pre.request_head, pre.payload)
    yield "pre-hook-reply", _message(pre.response_head, pre.reply)
    yield "post-hook", _message(post.request_head, post.payload)
    yield "post-hook-reply", _message(post.response_head, post.reply)
    yield "created", _block("http", client.answer)

    (post,) = client.send("POST", "/containers/example/start")
    yield "post-hook-no-content", _json(post.payload)

    (post,) = client.send("GET", "/containers/example/logs?stdout=1")
    yield "post-hook-not-held", _json(post.payload)

    _, post = client.send("POST", "/containers/create", b'{"Image":"nowhere"}')
    yield "post-hook-error", _json(post.payload)

    (pre,) = client.send("POST", "/build", _build_context(), "application/x-tar")
    yield "pre-hook-not-shown", _json(pre.payload)

    (pre,) = client.send("DELETE", "/containers/example?force=1")
    yield "refusal", _message(pre.response_head, pre.reply)
    yield "refused", _block("http", client.answer)


def _build_context() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as context:
        dockerfile = b"FROM busybox\n"
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        context.addfile(entry, io.BytesIO(dockerfile))
    return buffer.getvalue()


def _message(head: str, body: bytes) -> str:
    lines = head.replace("\r\n", "\n").strip()
    return _block("http", f"{lines}\n\n{json.dumps(json.loads(body), indent=2)}")


def _json(body: bytes) -> str:
    return _block("json", json.dumps(json.loads(body), indent=2))


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


def main() -> int:
    reason = why_not()
    if reason is not None:
        print(f"record-hooks: {reason}", file=sys.stderr)
        return 1
    examples = record()
    before = DOCUMENT.read_text(encoding="utf-8")
    after = EXAMPLE.sub(lambda it: it["begin"] + examples[it["name"]] + it["end"], before)
    DOCUMENT.write_text(after, encoding="utf-8")
    print(f"record-hooks: {len(EXAMPLE.findall(after))} examples written into {DOCUMENT.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
