"""
A host for the fake ``weave`` command: a network namespace, and others in it that are containers.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Set
from contextlib import ExitStack
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, cast

from powerstrip_weave.interfaces import RunningContainer
from powerstrip_weave.networks.command import CommandReactor
from powerstrip_weave.networks.weave import WeaveNetwork
from twisted.internet import reactor

PEER = "7a:0c:76:06:37:d8(node2)"
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
        self.network = self.new_network()

    def new_network(self, **options: Any) -> WeaveNetwork:
        """
        Another driver, as that of an adapter that was restarted.
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

    def run(self) -> RunningContainer:
        """
        Start a container.
        """
        return self._start(secrets.token_hex(32))

    def end(self, container: RunningContainer) -> None:
        """
        End a container's process.
        """
        _end(self._processes[container.id])

    def restart(self, container: RunningContainer) -> RunningContainer:
        """
        End a container's process and start it again.
        """
        self.end(container)
        return self._start(container.id)

    def addresses(self, container: RunningContainer) -> Set[IPv4Interface]:
        """
        What a container sees on its interface, where that is there and up.
        """
        return _addresses(container.pid, "ethwe")

    def own_addresses(self) -> Set[IPv4Interface]:
        """
        What the host has on the network.
        """
        return _addresses(self._host.pid, "weave")

    def use_elsewhere(self, address: IPv4Interface) -> None:
        """
        Have another node hold an address.
        """
        self.say("held", f"{address.ip} {PEER}\n")

    def stop(self) -> None:
        """
        Remove it. With its processes go the namespaces, and all that is in them.
        """
        self._stack.close()

    def _start(self, container_id: str) -> RunningContainer:
        process = self._processes[container_id] = self._new_namespace()
        self.say(f"containers/{container_id}", str(process.pid))
        return RunningContainer(container_id, process.pid)

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


def _addresses(pid: int, interface: str) -> Set[IPv4Interface]:
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-json", "-4", "address"]
    links = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {
        IPv4Interface(f"{entry['local']}/{entry['prefixlen']}")
        for link in links
        if link["ifname"] == interface and "UP" in link["flags"]
        for entry in link["addr_info"]
    }


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
