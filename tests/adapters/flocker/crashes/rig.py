"""
Two nodes with real pools and adapters, and an etcd, on a cable of their own: to be broken.

I/O: namespaces, processes, file systems.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, Self

from attrs import frozen
from powerstrip_flocker.peers.keys import make_keys

from demo.machine import Machine
from demo.master import Master
from demo.pool import BtrfsPool, Pool, ZfsFusePool
from demo.stage import listens
from demo.underlay import Underlay
from tests.adapters.flocker.crashes.gate import Asked, Gate

__all__ = ["NODES", "Rig", "until"]

NODES = ("n1", "n2")
FIRST_ADDRESS = IPv4Address("192.0.2.1")
PEER_PORT = 4523
POOL_BYTES = 8 * 2**30
SETTLE_SECONDS = 40.0
ANSWER_SECONDS = 60.0
LOG_LINES = 30

POOLS: dict[str, type[ZfsFusePool | BtrfsPool]] = {"zfs": ZfsFusePool, "btrfs": BtrfsPool}


@frozen
class Answer:
    """
    What an adapter answered; status 0 where it broke off.
    """

    status: int
    body: str


class StorageNode(Machine):
    """
    A machine with a pool and an adapter.
    """

    def __init__(self, parent: Path, name: str, host: str, address: IPv4Interface, kind: str):
        super().__init__(parent, name, address)
        self.host = host
        self.pool: Pool = POOLS[kind](self.directory / "pool", self.mounts, POOL_BYTES)

    def start_adapter(self, gate: Path, etcd_url: str, keys: Path) -> None:
        """
        Start the adapter, and wait until it answers.
        """
        command = [sys.executable, "-m", "tests.adapters.flocker.crashes.stepping", str(gate)]
        command += ["--listen", f"unix://{self._socket}", "--node", self.host]
        command += ["--storage", self.pool.storage, "--etcd", etcd_url]
        command += ["--peer-listen", f"{self.address.ip}:{PEER_PORT}"]
        for kind in ("ca", "cert", "key"):
            command += [f"--tls-{kind}", str(keys / self.host / f"{kind}.pem")]
        self.start_program("flocker", command, lambda: listens(socket.AF_UNIX, str(self._socket)))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """
        Ask the adapter.
        """
        connection = http.client.HTTPConnection("adapter", timeout=ANSWER_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        with closing(connection):
            try:
                connection.sock.settimeout(ANSWER_SECONDS)
                connection.sock.connect(str(self._socket))
                text = json.dumps(body or {})
                connection.request(method, path, text, {"Content-Type": "application/json"})
                response = connection.getresponse()
                return Answer(response.status, response.read().decode())
            except (OSError, http.client.HTTPException) as error:
                return Answer(0, repr(error))

    def write(self, name: str, file: str, content: str) -> None:
        """
        Write a file into a dataset, as a container would that has it mounted.
        """
        path = self.pool.mount_point / name / file
        self.run("sh", "-c", f"cat >{path} && sync {path}", input_text=content)

    def has(self, name: str, file: str, content: str) -> bool:
        """
        Whether a dataset has a file with this content.
        """
        return self.run("cat", str(self.pool.mount_point / name / file)) == content

    def is_open(self, name: str) -> bool:
        """
        Whether a dataset can be written here, as the kernel says it.
        """
        path = self.pool.mount_point / name
        return self.succeeds("sh", "-c", f"touch {path}/.probe && rm {path}/.probe")

    @property
    def _socket(self) -> Path:
        return self.directory / "a.sock"


class Rig:
    """
    The whole; it goes when it is left.

    Args:
        kind: ``zfs`` or ``btrfs``.
    """

    def __init__(self, parent: Path, name: str, kind: str) -> None:
        self.directory = parent / name
        self.kind = kind
        self.underlay = Underlay(f"{name}-cable")
        self._interfaces = {
            host: IPv4Interface((FIRST_ADDRESS + number, 24))
            for number, host in enumerate(("master", *NODES))
        }
        self.master = Master(self.directory, f"{name}-m", self._interfaces["master"])
        self.nodes = {
            host: StorageNode(self.directory, f"{name}-{host}", host, self._interfaces[host], kind)
            for host in NODES
        }
        self.arrived: Callable[[Asked], None] = lambda asked: None
        """What is to be done before a step is taken."""

        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def _keys(self) -> Path:
        return self.directory / "keys"

    @property
    def _gate_path(self) -> Path:
        return self.directory / "gate"

    def _start(self) -> None:
        self.directory.mkdir(parents=True)
        self._stack.callback(shutil.rmtree, self.directory)
        make_keys(self._keys, list(NODES))
        gate = Gate(self._gate_path, lambda asked: self.arrived(asked))
        self._stack.callback(gate.close)
        self._stack.callback(self.underlay.stop)
        self.underlay.start()
        for machine in (self.master, *self.nodes.values()):
            self._stack.callback(machine.stop)
            machine.start()
            self.underlay.connect(machine.namespace.name, machine.address)
        self.master.start_etcd()
        for node in self.nodes.values():
            self._stack.callback(node.pool.stop)
            node.pool.start()
        for host in NODES:
            self.start(host)

    def start(self, host: str) -> None:
        """
        Start the adapter of a node.
        """
        self.nodes[host].start_adapter(self._gate_path, self.master.etcd_url, self._keys)

    def cut(self) -> None:
        """
        Cut the two nodes off from each other; etcd is reached by both.
        """
        for node, other in (("n1", "n2"), ("n2", "n1")):
            route = ("blackhole", f"{self.nodes[other].address.ip}/32")
            self.nodes[node].run("ip", "route", "add", *route)

    def heal(self) -> None:
        """
        End all cuts.
        """
        for node, other in (("n1", "n2"), ("n2", "n1")):
            route = ("blackhole", f"{self.nodes[other].address.ip}/32")
            self.nodes[node].succeeds("ip", "route", "del", *route)
            self.underlay.plug(self.nodes[node].namespace.name)

    def isolate(self, host: str) -> None:
        """
        Cut a node off from all others.
        """
        self.underlay.pull(self.nodes[host].namespace.name)

    def logs(self) -> str:
        """
        The last lines of both adapters.
        """
        tails = (
            (host, node.log("flocker").read_text().splitlines()[-LOG_LINES:])
            for host, node in self.nodes.items()
        )
        return "\n".join(f"{host}: {line}" for host, lines in tails for line in lines)

    def owner(self, name: str) -> str | None:
        """
        Who owns a dataset, as any node says it.
        """
        for node in self.nodes.values():
            answer = node.ask("GET", f"/datasets/{name}")
            if answer.status == 200:
                owner: str = json.loads(answer.body)["owner"]
                return owner
        return None


def kill_commands(pid: int, word: str) -> bool:
    """
    Kill, by SIGKILL, the commands below a process that have a word in their command line.
    """
    found = False
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ProcessLookupError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            command = (path.parent / "cmdline").read_bytes().split(b"\0")
            if parent == pid and word.encode() in command:
                os.kill(int(path.parent.name), signal.SIGKILL)
                found = True
    return found


def until(holds: Callable[[], object], what: str, timeout_seconds: float = SETTLE_SECONDS) -> None:
    """
    Wait until something holds.
    """
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not come to be: {what}"
        time.sleep(0.1)
