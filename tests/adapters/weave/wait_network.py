"""
Network namespaces with ``wait-for-weave`` in them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LIMIT_SECONDS = 20
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = Path(__file__).parents[3] / "adapters/weave/powerstrip_weave/programs"
TWO = "10.255.0.51/8,10.254.0.1/16"
MADE = "link add ethwe type veth peer name other"
OTHER_UP = "link set other up"
UP = "link set ethwe up"
FIRST = "addr add 10.255.0.51/8 dev ethwe"
SECOND = "addr add 10.254.0.1/16 dev ethwe"
THIRD = "addr add fd00::1/64 dev ethwe"
MADE_AS_WAIT0 = MADE.replace("ethwe", "wait0")
SHOW = ("ip", "-oneline", "addr", "show", "dev", "ethwe")


def why_no_namespaces() -> str | None:
    """
    The reason why the program can't be given a network here, or None where it can.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    missing = [tool for tool in ("ip", "nsenter", "unshare", "busybox") if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if subprocess.run(["unshare", "--net", "--pid", "--fork", "true"]).returncode != 0:
        return "root can't make namespaces here"
    return None


def built_for(machine: str) -> Path:
    """
    Where the program for a kind of machine is, whether it was built or not.
    """
    return PROGRAMS / f"wait-for-weave-{machine}"


class Network:
    """
    A network namespace, and the program in it.
    """

    def __init__(self, name: str, program: Sequence[str]) -> None:
        self.name = name
        self._program = program
        self._started: list[subprocess.Popen[str]] = []
        subprocess.run(["ip", "netns", "add", name], check=True)

    def remove(self) -> None:
        """
        End what runs in it, and take it away.
        """
        for process in self._started:
            process.kill()
            process.communicate()
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def ip(self, *lines: str) -> str:
        """
        Run ``ip`` with the words of each line, and say what it printed.
        """
        command = ["ip", "-netns", self.name]
        return "".join(
            subprocess.run(
                [*command, *line.split()], check=True, text=True, stdout=subprocess.PIPE
            ).stdout
            for line in lines
        )

    def check_addresses_slowly(self) -> None:
        """
        Have the kernel take half a minute for the check of each IPv6 address of new links.
        """
        setting = "/proc/sys/net/ipv6/conf/default/dad_transmits"
        command = ["nsenter", f"--net=/run/netns/{self.name}", "tee", setting]
        subprocess.run(command, input="30", check=True, text=True, stdout=subprocess.DEVNULL)

    def start(
        self,
        *command: str,
        environment: Mapping[str, str],
        before: Sequence[str] = (),
        prepare: Callable[[], None] | None = None,
    ) -> subprocess.Popen[str]:
        """
        Start the program with a command.

        Args:
            before: What becomes the program, such as unshare and its options.
            prepare: Called in the new process.
        """
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.name}", *before, *self._program, *command],
            env={"PATH": PATH, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )
        self._started.append(process)
        return process

    def run(self, *command: str, environment: Mapping[str, str]) -> tuple[int, str, str]:
        """
        The status, output and messages of the program with a command.
        """
        return ended(self.start(*command, environment=environment))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """
    A process's status, output and messages when it has ended.
    """
    output, messages = process.communicate(timeout=LIMIT_SECONDS)
    return process.returncode, output, messages


def until(holds: Callable[[], bool]) -> None:
    """
    Wait until something holds, which is certain to come.
    """
    deadline = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.002)


def child(process: subprocess.Popen[str]) -> int:
    """
    The process 1 that an unshare has made.
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: bool(children.read_text()))
    return int(children.read_text())


def timer(pid: int) -> Path | None:
    """
    What /proc says of a process's timer, if it has one.
    """
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if descriptor.readlink().name == "anon_inode:[timerfd]":
                return Path(f"/proc/{pid}/fdinfo/{descriptor.name}")
    return None


def switches(pid: int) -> int:
    """
    How often a process has gone to sleep.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def sleep_begins(pid: int) -> None:
    """
    Wait until the program waits: its timer is made last, just before the first look.
    """
    until(lambda: timer(pid) is not None)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")


def waits_on(process: subprocess.Popen[str]) -> bool:
    """
    Whether the program still waits when it has had the time to see the last change.
    """
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.05)
    return process.poll() is None
