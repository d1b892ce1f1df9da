"""
A machine with an engine, Powerstrip before that, and adapters beside it.

I/O: starts all of them in the machine's namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Interface
from pathlib import Path
from socket import AF_UNIX
from urllib.parse import quote

from demo.engine import PrivateEngine
from demo.machine import Machine, twistd
from demo.pool import NewPool, new_pool
from demo.stage import Program, listens

__all__ = ["Node"]

HOOKS = """\
version: 1
endpoints:
  "POST /*/containers/create":
    pre: [flocker, weave]
    post: [flocker]
  "POST /*/containers/*/start":
    pre: [flocker]
    post: [weave, flocker]
  "POST /*/containers/*/restart":
    pre: [flocker]
    post: [weave, flocker]
adapters:
  flocker:
    url: {flocker}
    timeout: 86400
  weave: {weave}
"""

PEER_PORT = 4523
"""Where the flocker adapters let each other in."""

POOL_BYTES = 8 * 2**30
"""Of its file; only what is written takes room."""


class Node(Machine):
    """
    A machine for containers.

    Args:
        parent: Short, and existing: a socket's path has 107 characters at most.
        host: What the flocker adapters call it.
        name: As a `Machine`'s.
        dockerd: The command that becomes dockerd.
        arguments: More options of dockerd, as in ``("--label", "storage=disk")``.
        new_pool: What makes its pool.
    """

    def __init__(
        self,
        parent: Path,
        host: str,
        name: str,
        address: IPv4Interface,
        *,
        dockerd: Sequence[str] = ("dockerd",),
        arguments: Sequence[str] = (),
        new_pool: NewPool = new_pool,
    ) -> None:
        super().__init__(parent, name, address)
        self.host = host
        inside = ("nsenter", f"--mount={self.mounts.path}", *dockerd)
        self.engine = PrivateEngine(parent, name, dockerd=inside, arguments=arguments)
        self.pool = new_pool(self.directory / "pool", self.mounts, POOL_BYTES)
        self.docker_host = f"unix://{self.directory / 'powerstrip.sock'}"
        """Powerstrip's: where clients of this node come in."""

    def start(self) -> None:
        """
        Make the machine, with a running engine that has the image ``busybox``.
        """
        self.mounts.start()
        self.engine.start()  # makes the directory and the network namespace
        self.engine.import_busybox()

    def stop(self) -> None:
        """
        End all that runs on it and remove what was its own, a killed run's too.
        """
        with ExitStack() as stack:
            stack.callback(super().stop)
            stack.callback(self.engine.stop)
            stack.callback(self.pool.stop)
            for name in list(self._programs):
                stack.callback(self.stop_program, name)

    def start_flocker(self, etcd_url: str, keys: Path) -> None:
        """
        Start the flocker adapter, and wait until it answers.

        Args:
            keys: What ``powerstrip-flocker keys`` has made.
        """
        options = ["--node", self.host, "--storage", self.pool.storage, "--etcd", etcd_url]
        options += ["--peer-listen", f"{self.address.ip}:{PEER_PORT}"]
        for kind in ("ca", "cert", "key"):
            options += [f"--tls-{kind}", str(keys / self.host / f"{kind}.pem")]
        self._start_adapter("flocker", options)

    def start_weave(self, peers: Iterable[str]) -> None:
        """
        Start the weave adapter, and wait until it answers.

        Args:
            peers: The addresses of all nodes; this one's may be among them.
        """
        options = ["--wait-directory", str(self.directory / "wait")]
        for peer in peers:
            options += ["--peer", peer]
        self._start_adapter("weave", options)

    def start_powerstrip(self, config: str | None = None) -> None:
        """
        Start Powerstrip before the engine, and wait until it answers.

        Args:
            config: The text of its ``adapters.yml``, if not that for both adapters.
        """
        file = self.directory / "adapters.yml"
        file.write_text(config or self.hooks)
        options = ["--config", str(file), "--docker", self.engine.docker_host]
        options += ["--listen", self.docker_host]
        self.start_listener("powerstrip", [*twistd("powerstrip"), *options])

    @property
    def hooks(self) -> str:
        """
        The text of an ``adapters.yml`` for both adapters.
        """
        return HOOKS.format(
            flocker=self.adapter_url("flocker", "/flocker-adapter"),
            weave=self.adapter_url("weave", "/extension"),
        )

    def adapter_url(self, name: str, path: str) -> str:
        """
        Where Powerstrip finds an adapter of this node.
        """
        return f"http+unix://{quote(str(self.socket(name)), safe='')}{path}"

    def start_listener(self, name: str, command: Sequence[str]) -> Program:
        """
        Start something, and wait until it listens on ``NAME.sock``.
        """
        return self.start_program(name, command, lambda: listens(AF_UNIX, str(self.socket(name))))

    def socket(self, name: str) -> Path:
        """
        Where a program of this node listens.
        """
        return self.directory / f"{name}.sock"

    def _start_adapter(self, name: str, options: Sequence[str]) -> None:
        places = ["--listen", f"unix://{self.socket(name)}", "--docker", self.engine.docker_host]
        self.start_listener(name, [*twistd(f"powerstrip-{name}"), *places, *options])
