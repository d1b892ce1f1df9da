"""
Exchanges with the engine byte by byte, for what no docker client lets one say.

I/O: run as ``raw.py [--exact] NAME`` it speaks to ``DOCKER_HOST`` and prints what
came back; without ``--exact`` leaving out how bodies are framed, since a hook that
has held a body may frame it anew.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable

FRAMING = frozenset({b"content-length", b"transfer-encoding"})
EXACT = "--exact" in sys.argv
NAME = f"{os.environ['N']}-raw"
CREATE = json.dumps({"Image": "busybox", "Cmd": ["true"]}).encode()


class Connection:
    """
    One connection to the engine.
    """

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
        self.file = self.socket.makefile("rb")

    def send(self, head: str, body: bytes = b"") -> None:
        """
        Send a request in one piece; of its head only what is not always the same is given.
        """
        lines = head.split("\n")
        self.socket.sendall("\r\n".join([lines[0], "Host: d", *lines[1:], "", ""]).encode() + body)

    def show_response(self, *, to_head: bool = False) -> bytes:
        """
        Print one response, and give its body.
        """
        status, headers = self.read_head()
        print(status.decode())
        for name, value in headers if EXACT else sorted(headers):
            if EXACT or name.lower() not in FRAMING:
                print(f"{(name if EXACT else name.lower()).decode()}: {value.decode()}")
        print()
        bodiless = to_head or status.split()[1] in (b"100", b"101", b"204", b"304")
        body = b"" if bodiless else self.read_body(headers)
        if body:
            print(body.decode(errors="replace"))
        return body

    def read_head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """
        One head: status line and headers.
        """
        status = self.file.readline().rstrip()
        headers = []
        while line := self.file.readline().rstrip():
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        return status, headers

    def read_body(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """
        The body that follows such headers.
        """
        framing = {name.lower(): value for name, value in headers}
        if framing.get(b"transfer-encoding") == b"chunked":
            return b"".join(iter(self.read_chunk, b""))
        if b"content-length" in framing:
            return self.file.read(int(framing[b"content-length"]))
        return self.file.read()

    def read_chunk(self) -> bytes:
        """
        One chunk's data, empty at the end.
        """
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.readline() == b"\r\n"
        return data

    def end_input(self) -> None:
        """
        Half-close.
        """
        self.socket.shutdown(socket.SHUT_WR)


def ask(head: str, body: bytes = b"") -> dict[str, str]:
    """
    An exchange on a connection of its own, of which only the JSON answer counts.
    """
    connection = Connection()
    if body:
        head += f"\nContent-Type: application/json\nContent-Length: {len(body)}"
    connection.send(head, body)
    status, headers = connection.read_head()
    return {} if status.split()[1] == b"204" else json.loads(connection.read_body(headers))


def chunks(*parts: bytes) -> list[bytes]:
    """
    The parts in chunked framing, the end with the last.
    """
    framed = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return [*framed[:-1], framed[-1] + b"0\r\n\r\n"]


def simple(*heads: str) -> Callable[[], None]:
    """
    One exchange after the other on one connection.
    """

    def run() -> None:
        connection = Connection()
        for head in heads:
            connection.send(head)
            connection.show_response(to_head=head.startswith("HEAD"))

    return run


def expect() -> None:
    """
    The client holds the body back until it is told to go on.
    """
    connection = Connection()
    connection.send(
        f"POST /v1.41/containers/create?name={NAME} HTTP/1.1\nContent-Type: application/json\n"
        f"Content-Length: {len(CREATE)}\nExpect: 100-continue"
    )
    connection.show_response()
    connection.socket.sendall(CREATE)
    connection.show_response()


def pipelined() -> None:
    """
    Three requests in one piece.
    """
    connection = Connection()
    targets = ("GET /_ping", "GET /v1.41/containers/still/json", "HEAD /_ping")
    heads = [f"{target} HTTP/1.1\r\nHost: d\r\n\r\n" for target in targets]
    connection.socket.sendall("".join(heads).encode())
    connection.show_response()
    connection.show_response()
    connection.show_response(to_head=True)


def chunked() -> None:
    """
    A create whose body has no length.
    """
    connection = Connection()
    connection.send(
        f"POST /v1.41/containers/create?name={NAME} HTTP/1.1\nContent-Type: application/json\n"
        "Transfer-Encoding: chunked",
        b"".join(chunks(CREATE[:7], CREATE[7:])),
    )
    connection.show_response()


def slow_writer() -> None:
    """
    A head and a chunked body that come in small pieces.
    """
    connection = Connection()
    head = (
        f"POST /v1.41/containers/create?name={NAME} HTTP/1.1\r\nHost: d\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    for piece in (head[:9], head[9:-3], head[-3:], *chunks(CREATE[:7], CREATE[7:9], CREATE[9:])):
        connection.socket.sendall(piece)
        time.sleep(0.03)
    connection.show_response()


def wait_head_first() -> None:
    """
    The head of a wait comes at once, its body when the container ends.
    """
    body = json.dumps({"Image": "busybox", "Cmd": ["sleep", "1000"]}).encode()
    ask(f"POST /v1.41/containers/create?name={NAME} HTTP/1.1", body)
    ask(f"POST /v1.41/containers/{NAME}/start HTTP/1.1\nContent-Length: 0")
    connection = Connection()
    connection.send(f"POST /v1.41/containers/{NAME}/wait HTTP/1.1\nContent-Length: 0")
    _, headers = connection.read_head()
    running = ask(f"GET /v1.41/containers/{NAME}/json HTTP/1.1")["State"]["Running"]
    print(f"head before the end: {running}")
    ask(f"POST /v1.41/containers/{NAME}/kill HTTP/1.1\nContent-Length: 0")
    print(connection.read_body(headers))


def attach(upgrade: str) -> Callable[[], None]:
    """
    An attach before the start: all of the output comes, then the end.
    """

    def run() -> None:
        command = "read x; echo $x; sleep 0.1; echo err >&2; exit 3"
        body = {"Image": "busybox", "Cmd": ["sh", "-c", command], "OpenStdin": True}
        ask(f"POST /v1.41/containers/create?name={NAME} HTTP/1.1", json.dumps(body).encode())
        connection = Connection()
        connection.send(
            f"POST /v1.41/containers/{NAME}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1"
            f"\nContent-Length: 0{upgrade}"
        )
        status, headers = connection.read_head()
        print(status.decode(), headers)
        ask(f"POST /v1.41/containers/{NAME}/start HTTP/1.1\nContent-Length: 0")
        connection.socket.sendall(b"typed\n")
        print(connection.file.read())

    return run


def execute(upgrade: str) -> Callable[[], None]:
    """
    An exec that is given its input, and no more: it has echoed it when it ends.
    """

    def run() -> None:
        body = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
        created = ask("POST /v1.41/containers/box/exec HTTP/1.1", json.dumps(body).encode())
        start = b'{"Detach": false, "Tty": false}'
        connection = Connection()
        connection.send(
            f"POST /v1.41/exec/{created['Id']}/start HTTP/1.1\nContent-Type: application/json\n"
            f"Content-Length: {len(start)}{upgrade}",
            start,
        )
        status, headers = connection.read_head()
        print(status.decode(), headers)
        # Not sooner: the engine loses what comes in one piece with the request.
        connection.socket.sendall(b"echoed\n")
        connection.end_input()
        print(connection.file.read())

    return run


UPGRADE = "\nConnection: Upgrade\nUpgrade: tcp"

EXCHANGES: dict[str, Callable[[], None]] = {
    "ping": simple("GET /_ping HTTP/1.1"),
    "head-ping": simple("HEAD /_ping HTTP/1.1"),
    "unversioned": simple("GET /containers/still/json HTTP/1.1"),
    "not-found": simple("GET /v1.41/nosuch HTTP/1.1", "GET /v1.41/containers/nosuch/json HTTP/1.1"),
    "bad-parameter": simple("GET /v1.41/containers/json?limit=x HTTP/1.1"),
    "not-modified": simple("POST /v1.41/containers/box/start HTTP/1.1\nContent-Length: 0"),
    "expect": expect,
    "http10": simple("GET /_ping HTTP/1.0"),
    "keep-alive": simple(
        "GET /_ping HTTP/1.1",
        "GET /v1.41/containers/still/json HTTP/1.1",
        "POST /v1.41/containers/box/start HTTP/1.1\nContent-Length: 0",
        "GET /v1.41/containers/nosuch/json HTTP/1.1",
        "HEAD /_ping HTTP/1.1",
        "GET /v1.41/version HTTP/1.1",
    ),
    "pipelined": pipelined,
    "close": simple("GET /_ping HTTP/1.1\nConnection: close"),
    "chunked": chunked,
    "empty-post": simple("POST /v1.41/containers/box/start HTTP/1.1"),
    "repeated-headers": simple("GET /_ping HTTP/1.1\nX-A: 1\nX-A: 2\nx-a: 3"),
    "archive-head": simple("HEAD /v1.41/containers/box/archive?path=/tree/sub HTTP/1.1"),
    "wait-head-first": wait_head_first,
    "attach-101": attach(UPGRADE),
    "attach-200": attach(""),
    "exec-101": execute(UPGRADE),
    "exec-200": execute(""),
    "slow-writer": slow_writer,
}

if __name__ == "__main__":
    EXCHANGES[sys.argv[-1]]()
