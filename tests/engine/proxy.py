"""
One powerstrip under test: a process of its own, as users run it.

I/O: starts ``twistd powerstrip`` and watches it from outside.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

TWISTD = Path(sys.executable).parent / "twistd"


class Proxy:
    """
    A powerstrip that listens on a socket in ``directory`` until it is stopped.

    Args:
        directory: Existing, empty and short (107 characters for the socket's path).
        docker_host: The engine behind it.
        config: The text of its ``adapters.yml``.
        options: More options of ``twistd powerstrip``.
    """

    def __init__(self, directory: Path, docker_host: str, config: str, *options: str) -> None:
        self.socket = directory / "p.sock"
        self.docker_host = f"unix://{self.socket}"
        self.config = directory / "adapters.yml"
        self.config.write_text(config)
        self._log = directory / "log"
        command = [str(TWISTD), "--nodaemon", "--pidfile=", "powerstrip"]
        command += ["--config", str(self.config), "--docker", docker_host]
        command += ["--listen", self.docker_host, *options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """
        The process id of twistd.
        """
        return self._process.pid

    def log_text(self) -> str:
        """
        All that it has logged.
        """
        return self._log.read_text(errors="replace")

    def rss_kib(self) -> int:
        """
        The memory that is its own now, in KiB.
        """
        return self._status("VmRSS")

    def peak_rss_kib(self) -> int:
        """
        The most memory that has been its own at one time, in KiB.
        """
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """
        Let the peak be what is its own now (proc(5), ``clear_refs``).
        """
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def unix_sockets(self) -> int:
        """
        How many UNIX sockets it holds: its own, its clients', and those to the engine.
        """
        table = Path("/proc/net/unix").read_text().splitlines()[1:]
        unix = {f"socket:[{line.split()[6]}]" for line in table}
        held = 0
        for fd in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed in the meantime
                held += os.readlink(fd) in unix
        return held

    def stop(self) -> None:
        """
        Ask it to end, once, and assert that it ends well and has logged no failure.
        """
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(timeout=20)
        finally:
            self.kill()
        assert status == 0, f"powerstrip ended with status {status}:\n{self.log_text()}"
        before, failure, after = self.log_text().partition("Traceback")
        assert not failure, f"powerstrip logged: {before[-200:]}{failure}{after[:2000]}"

    def kill(self) -> None:
        """
        End it at once, whatever it does.
        """
        self._process.kill()
        self._process.wait()

    def _status(self, field: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    def _wait_until_it_listens(self, timeout_seconds: float = 30) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not self._listens():
            assert self._process.poll() is None, f"powerstrip ended:\n{self.log_text()}"
            assert time.monotonic() < deadline, f"powerstrip does not listen:\n{self.log_text()}"
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0
