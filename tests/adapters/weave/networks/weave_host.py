"""
A host for the fake ``weave`` command: a network namespace, and others in it that are containers.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, cast

from powerstrip_weave.interfaces import RunningContainer
from powerstrip_weave.networks.command import CommandReactor
from powerstrip_weave.networks.weave import WeaveNetwork
from twisted.internet import reactor

FAKE = Path(__file__).parent.parent / "fake_weave.py"


class WeaveHost:
    """
    A host on which Weave Net is launched.

    Args:
        directory: For what the engine and the router know.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = ExitStack()
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._host = self._new_namespace()
        (directory / "containers").mkdir()
        self.say("router", "running")

    def network(self, **options: Any) -> WeaveNetwork:
        """
        The driver, with the fake command.
        """
        environment = {"PATH": os.environ["PATH"], "FAKE_WEAVE": str(self.directory)}
        nsenter = ("nsenter", f"--net=/proc/{self._host.pid}/ns/net")
        command = (*nsenter, sys.executable, str(FAKE))
        return WeaveNetwork(cast(CommandReactor, reactor), environment, command, **options)

    def say(self, name: str, text: str) -> None:
        """
        Write what the fake command reads.
        """
        (self.directory / name).write_text(text)

    def asked(self) -> list[str]:
        """
        What the command was asked, without what follows the verb.
        """
        log = self.directory / "log"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def container(self, container_id: str | None = None) -> RunningContainer:
        """
        Start a container, or start it again.
        """
        container_id = container_id or secrets.token_hex(32)
        process = self._processes[container_id] = self._new_namespace()
        self.say(f"containers/{container_id}", str(process.pid))
        return RunningContainer(container_id, process.pid)

    def end(self, container: RunningContainer) -> None:
        """
        End a container.
        """
        _end(self._processes[container.id])

    def addresses(self, container: RunningContainer | None = None) -> list[IPv4Interface]:
        """
        What addresses a container has, or the host on its bridge.
        """
        pid, name = (container.pid, "ethwe") if container else (self._host.pid, "weave")
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-json", "-4", "address"]
        links = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return [
            IPv4Interface(f"{entry['local']}/{entry['prefixlen']}")
            for link in links
            if link["ifname"] == name
            for entry in link["addr_info"]
        ]

    def stop(self) -> None:
        """
        Remove it. With its processes go the namespaces, and all that is in them.
        """
        self._stack.close()

    def _new_namespace(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        process.stdout.readline()
        return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
