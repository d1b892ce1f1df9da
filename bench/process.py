"""
One process that is measured, or that measures: where it runs, what it costs.

I/O: starts a process on some of the machine's CPUs and reads ``/proc`` about it. Linux only.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 15
LOG_TAIL_LINES = 15


class BenchError(Exception):
    """
    Something that is needed did not work; the text says what it said.
    """


class Process:
    """
    A process, with those that it forks.

    It gets SIGTERM when this one dies, even by SIGKILL.

    Args:
        cpus: Where it may run.
        log: A file that gets what it prints.
    """

    def __init__(self, command: Sequence[str], cpus: Sequence[int], log: Path) -> None:
        self.log = log
        places = ",".join(map(str, cpus))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list", places, *command],
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is for us
            )
        self.pid = self._process.pid

    def wait_for(self, holds: Callable[[], bool], timeout_seconds: float = 30) -> None:
        """
        Wait until it does what it was started for.

        Raises:
            BenchError: It ended, or did not in time; with what it printed.
        """
        deadline = time.monotonic() + timeout_seconds
        while not holds():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.log.stem} did not start:\n{self.log_tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """
        End it, and what it has forked.
        """
        if self._process.poll() is not None:
            return
        os.killpg(self.pid, signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def log_tail(self) -> str:
        """
        The last lines that it printed.
        """
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def tree(self) -> list[int]:
        """
        The process, and those below it.
        """
        pids = [self.pid]
        for pid in pids:
            pids += [int(child) for child in _read(f"{pid}/task/{pid}/children").split()]
        return pids

    def cpu_seconds(self) -> float:
        """
        The time that it and its children have had so far, to a hundredth.
        """
        ticks = 0
        for pid in self.tree():
            fields = _read(f"{pid}/stat").rpartition(")")[2].split()
            # utime and stime, and those of children that have ended: proc(5), from the 14th on.
            ticks += sum(map(int, fields[11:15]))
        return ticks / CLOCK_TICKS

    def memory_kib(self) -> int:
        """
        The memory of it and its children, where what several share is counted once.
        """
        return sum(_kib(f"{pid}/smaps_rollup", "Pss") for pid in self.tree())

    def forget_peak(self) -> None:
        """
        Let the peak be what its memory is now (proc(5), ``clear_refs``).
        """
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def resident_kib(self) -> int:
        """
        The resident memory of the process alone.
        """
        return _kib(f"{self.pid}/status", "VmRSS")

    def peak_kib(self) -> int:
        """
        The most that `resident_kib` has been.
        """
        return _kib(f"{self.pid}/status", "VmHWM")


def listens(address: str) -> bool:
    """
    Whether somebody takes connections at a socket's path, or at a port of 127.0.0.1.
    """
    if address.startswith("/"):
        with closing(socket.socket(socket.AF_UNIX)) as client:
            return client.connect_ex(address) == 0
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", int(address))) == 0


def free_port() -> str:
    """
    A port of 127.0.0.1 that nothing listens on now.
    """
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return str(listener.getsockname()[1])


def _read(file: str) -> str:
    """
    A file of ``/proc``, empty when the process has gone.
    """
    try:
        return Path("/proc", file).read_text(errors="replace")
    except OSError:
        return ""


def _kib(file: str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", _read(file), re.MULTILINE)
    return int(found[1]) if found else 0
