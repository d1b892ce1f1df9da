"""
What the adapter's image starts.

Powerstrip reaches a container by its name only in a network that both have, while bridge, tunnel
and containers are the host's. So port 80 is opened in the container's own network, and the adapter
goes on in the host's: a socket stays where it was opened. And a container that was given no more
than the engine's socket starts another one, with the rights that this takes.

I/O: becomes ``twistd``; asks the engine.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

PROGRAM = ("twistd", "--nodaemon", "--pidfile=", "powerstrip-weave")
ENTER = "--enter-network"
LAUNCH = "launch"
ENGINE = "/var/run/docker.sock"
PORT = 80
GIVEN = 3
"""The first descriptor that systemd would give, see sd_listen_fds(3)."""

CAPABILITIES = ("NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE")
LAUNCHED_BY = "POWERSTRIP_LAUNCHED_BY"


def main(words: Sequence[str]) -> None:
    """
    Become the adapter, or start the container that does.

    Raises:
        SystemExit: always where it could not be done, with a sentence.
    """
    if words[:1] == [LAUNCH]:
        _launch(*_process(words[1:]))
    _end_with(os.environ.get(LAUNCHED_BY))
    if words[:1] == [ENTER]:
        _become_in_network(*_process(words))
    os.execvp(PROGRAM[0], [*PROGRAM, *words])  # noqa: S606 - no shell is wanted


def _process(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """
    The process whose network is the host's, and the other words.
    """
    if words[:1] != [ENTER]:
        return "1", words
    if len(words) < 2 or not re.fullmatch("[1-9][0-9]*", words[1]):
        raise SystemExit(f"powerstrip-weave: {ENTER} takes a process of the host, normally 1")
    return words[1], words[2:]


def _become_in_network(process: str, words: Sequence[str]) -> NoReturn:
    listening = socket.create_server(("", PORT))
    os.dup2(listening.fileno(), GIVEN)
    os.set_inheritable(GIVEN, True)  # which dup2 leaves alone where the two are one
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "hooks"}
    enter = ("nsenter", f"--net=/proc/{process}/ns/net")
    given = ("--listen", "systemd:domain=INET:name=hooks")
    os.execvp(enter[0], [*enter, *PROGRAM, *given, *words])  # noqa: S606


def _end_with(pid: str | None) -> None:
    """
    Have this process told to end when another one has ended, however that comes about.
    """
    if pid is None:
        return
    adapter = os.getpid()
    launcher = os.pidfd_open(int(pid))
    if os.fork() == 0:
        select.select([launcher], [], [])
        os.kill(adapter, signal.SIGTERM)
        os._exit(0)
    os.close(launcher)


def _launch(process: str, words: Sequence[str]) -> NoReturn:
    """
    Run the adapter in a container beside this one, in this one's network, until either ends.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # which process 1 would ignore
    own = json.loads(_ask("GET", f"/containers/{_own_id()}/json"))
    own_name = own["Name"].removeprefix("/")
    name = f"{own_name}-host"
    _ask("DELETE", f"/containers/{name}?force=1", missing_is_fine=True)
    body = {
        "Image": own["Image"],
        "Cmd": [ENTER, process, "--wait-container", f"{own_name}-wait", *words],
        "Env": [f"{LAUNCHED_BY}={own['State']['Pid']}"],
        "Tty": True,
        "HostConfig": {
            "AutoRemove": True,
            "Binds": own["HostConfig"]["Binds"],
            "Mounts": own["HostConfig"].get("Mounts") or [],
            "CapAdd": CAPABILITIES,
            "NetworkMode": f"container:{own['Id']}",
            "PidMode": "host",
        },
    }
    launched = json.loads(_ask("POST", f"/containers/create?name={name}", body))["Id"]
    _ask("POST", f"/containers/{launched}/start")
    _ask("GET", f"/containers/{launched}/logs?follow=1&stdout=1&stderr=1", copy=True)
    raise SystemExit("powerstrip-weave: the launched container has ended")


def _own_id() -> str:
    # The engine mounts the files that it makes for a container: /etc/hostname and others.
    found = re.search(r"/containers/([0-9a-f]{64})/", Path("/proc/self/mountinfo").read_text())
    if found is None:
        raise SystemExit(f"powerstrip-weave: {LAUNCH} is for a container of the engine's")
    return found[1]


def _ask(
    method: str,
    target: str,
    body: dict[str, Any] | None = None,
    *,
    copy: bool = False,
    missing_is_fine: bool = False,
) -> bytes:
    """
    What the engine answers, or nothing where that is copied to the standard output as it comes.
    """
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(ENGINE)
        headers = {"Content-Type": "application/json"}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        while copy and (some := response.read1(65536)):
            sys.stdout.buffer.write(some)
            sys.stdout.buffer.flush()
        answer = response.read()
    except OSError as error:
        raise SystemExit(f"powerstrip-weave: the engine at {ENGINE}: {error.strerror}") from None
    finally:
        connection.close()
    if response.status >= 400 and not (missing_is_fine and response.status == 404):
        raise SystemExit(f"powerstrip-weave: the engine: {json.loads(answer)['message']}")
    return answer


if __name__ == "__main__":
    main(sys.argv[1:])
