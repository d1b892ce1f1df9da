"""
One host of a cluster: its engine, Powerstrip before that, and adapters beside it.

I/O: starts all of them in the host's network namespace. Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Interface
from pathlib import Path
from socket import AF_UNIX
from urllib.parse import quote

from demo.engine import PrivateEngine
from demo.stage import Program, ignore, listens

__all__ = ["Node"]

HOOKS = """\
version: 1
endpoints:
  "POST /*/containers/create":
    pre: [weave]
  "POST /*/containers/*/start":
    post: [weave]
  "POST /*/containers/*/restart":
    post: [weave]
adapters:
  weave: {weave}
"""


class Node:
    """
    A host, which is a network namespace. Everything of it lies below ``directory``.

    Args:
        parent: Short, and existing: a socket's path has 107 characters at most.
        name: Of the namespace, behind ``powerstrip-``, and of the directory.
        address: The host's own, by which the other hosts know it.
        dockerd: The command that becomes dockerd.
        arguments: More options of dockerd, as in ``("--label", "storage=disk")``.
    """

    def __init__(
        self,
        parent: Path,
        name: str,
        address: IPv4Interface,
        *,
        dockerd: Sequence[str] = ("dockerd",),
        arguments: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.address = address
        self.engine = PrivateEngine(parent, name, dockerd=dockerd, arguments=arguments)
        self.namespace = self.engine.namespace
        self.directory = self.engine.directory
        self.docker_host = f"unix://{self.directory / 'powerstrip.sock'}"
        """Powerstrip's: where clients of this node come in."""

        self._programs: dict[str, Program] = {}

    def stop(self) -> None:
        """
        End all that runs on it and remove what was its own, a killed run's too.
        """
        with ExitStack() as stack:
            stack.callback(self.engine.stop)
            for name in list(self._programs):
                stack.callback(self.stop_program, name)

    def start_weave(self, peers: Iterable[str]) -> None:
        """
        Start the weave adapter, and wait until it answers.

        Args:
            peers: The addresses of all nodes; this one's may be among them.
        """
        options = ["--listen", f"unix://{self._socket('weave')}"]
        options += ["--docker", self.engine.docker_host]
        options += ["--wait-directory", str(self.directory / "wait")]
        for peer in peers:
            options += ["--peer", peer]
        self.start_program("weave", [*twistd("powerstrip-weave"), *options])

    def start_powerstrip(self, config: str | None = None) -> None:
        """
        Start Powerstrip before the engine, and wait until it answers.

        Args:
            config: The text of its ``adapters.yml``, if not that for the weave adapter alone.
        """
        file = self.directory / "adapters.yml"
        file.write_text(config or HOOKS.format(weave=self.adapter_url("weave", "/extension")))
        options = ["--config", str(file), "--docker", self.engine.docker_host]
        options += ["--listen", self.docker_host]
        self.start_program("powerstrip", [*twistd("powerstrip"), *options])

    def adapter_url(self, name: str, path: str) -> str:
        """
        Where Powerstrip finds an adapter of this node.
        """
        return f"http+unix://{quote(str(self._socket(name)), safe='')}{path}"

    def start_program(self, name: str, command: Sequence[str]) -> Program:
        """
        Start something in the host's network, and wait until it listens on ``NAME.sock``.
        """
        # nsenter is replaced by the command: the process keeps its id.
        program = Program(name, ["nsenter", f"--net={self.namespace}", *command], ignore)
        self._programs[name] = program
        program.wait_for(lambda: listens(AF_UNIX, str(self._socket(name))))
        return program

    def stop_program(self, name: str) -> None:
        self._programs.pop(name).stop()

    def kill_program(self, name: str) -> None:
        """
        End something by SIGKILL.
        """
        self._programs.pop(name).kill()

    def program_log(self, name: str) -> str:
        """
        All that a running program has printed.
        """
        return "\n".join(self._programs[name].lines)

    def run(self, *command: str) -> str:
        """
        What a command prints that runs in the host's network.
        """
        inside = ["nsenter", f"--net={self.namespace}", *command]
        return subprocess.run(inside, check=True, capture_output=True, text=True).stdout

    def _socket(self, name: str) -> Path:
        return self.directory / f"{name}.sock"


def twistd(plugin: str) -> list[str]:
    """
    The beginning of a command that runs a service of this Python's environment.
    """
    program = Path(sys.executable).with_name("twistd")
    return [str(program), "--nodaemon", "--pidfile=", plugin]
