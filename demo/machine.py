"""
A machine of a cluster: its network, its mounts, and the programs that run on it.

I/O: namespaces and processes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Interface
from pathlib import Path

from pyroute2 import netns  # type: ignore[import-untyped]

from demo.mounts import MountNamespace
from demo.stage import Program, ignore

__all__ = ["Machine", "twistd"]


class Machine:
    """
    A network and a mount namespace. Everything of it lies below ``directory``, but for the mount
    namespace's own ``directory.mounts``.

    Args:
        parent: Existing.
        name: Of the network namespace, behind ``powerstrip-``, and of the directory.
        address: By which the other machines know it.
    """

    def __init__(self, parent: Path, name: str, address: IPv4Interface) -> None:
        self.address = address
        self.directory = parent / name
        self.namespace = Path("/run/netns", f"powerstrip-{name}")
        self.mounts = MountNamespace(parent / f"{name}.mounts")
        self._programs: dict[str, Program] = {}

    @property
    def enter(self) -> tuple[str, ...]:
        """
        What stands before a command that is to run on it.
        """
        # nsenter is replaced by the command: the process keeps its id.
        return ("nsenter", f"--net={self.namespace}", f"--mount={self.mounts.path}")

    def start(self) -> None:
        """
        Make the machine; what a killed run has left of it is removed first.
        """
        self.stop()
        self.directory.mkdir(parents=True)
        self.mounts.start()
        netns.create(self.namespace.name)
        self.run("ip", "link", "set", "lo", "up")

    def stop(self) -> None:
        """
        End all that runs on it and remove what was its own.
        """
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            stack.callback(self._remove_namespaces)
            for name in list(self._programs):
                stack.callback(self.stop_program, name)

    def start_program(
        self, name: str, command: Sequence[str], is_ready: Callable[[], bool]
    ) -> Program:
        """
        Start something, and wait until it is ready.
        """
        program = Program(name, [*self.enter, *command], ignore, self.log(name))
        self._programs[name] = program
        program.wait_for(is_ready)
        return program

    def log(self, name: str) -> Path:
        """
        A file with all that a program has printed, in all its lives.
        """
        return self.directory / f"{name}.log"

    def stop_program(self, name: str) -> None:
        self._programs.pop(name).stop()

    def kill_program(self, name: str) -> None:
        """
        End something by SIGKILL.
        """
        self._programs.pop(name).kill()

    def program_pid(self, name: str) -> int:
        """
        The process id of a running program.
        """
        return self._programs[name].pid

    def program_log(self, name: str) -> str:
        """
        All that a running program has printed.
        """
        return "\n".join(self._programs[name].lines)

    def run(self, *command: str, input_text: str | None = None) -> str:
        """
        What a command prints that runs on it.
        """
        inside = [*self.enter, *command]
        done = subprocess.run(inside, check=True, capture_output=True, text=True, input=input_text)
        return done.stdout

    def succeeds(self, *command: str) -> bool:
        """
        Whether a command that runs on it ends with status 0.
        """
        return subprocess.run([*self.enter, *command], capture_output=True).returncode == 0

    def _remove_namespaces(self) -> None:
        self.mounts.stop()
        if self.namespace.exists():
            netns.remove(self.namespace.name)


def twistd(plugin: str) -> list[str]:
    """
    The beginning of a command that runs a service of this Python's environment.
    """
    program = Path(sys.executable).with_name("twistd")
    return [str(program), "--nodaemon", "--pidfile=", plugin]
