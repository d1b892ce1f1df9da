"""
What a demo stands on: an engine, adapters and a powerstrip of its own, and their end.

I/O: starts processes and follows what they print. Standard library only.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.engine import PrivateEngine
from demo.place import end_quietly, own_place

__all__ = ["Program", "Stage", "StageError", "free_port", "ignore", "listens"]

ROOT = Path(__file__).parents[1]


OnLine = Callable[[str, str], None]
"""Given a program's name and a line that it has printed."""


def ignore(name: str, line: str) -> None:
    """
    Does nothing with a line.
    """


class StageError(Exception):
    """
    Something that the demo needs did not come up; the text says what it said.
    """


class Program:
    """
    A process beside the demo, whose lines are kept and handed on as they come.

    It gets SIGTERM when the demo dies, even by SIGKILL.

    Args:
        log: A file for its lines, behind what is in it.
    """

    def __init__(
        self, name: str, command: list[str], on_line: OnLine, log: Path | None = None
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self._on_line = on_line
        self._log = log
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is for us
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, holds: Callable[[], bool], timeout_seconds: float = 20) -> None:
        """
        Wait until the program does what it was started for.

        Raises:
            StageError: It ended, or did not in time; with what it printed.
        """
        deadline = time.monotonic() + timeout_seconds
        while not holds():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"{self.name} did not start:\n" + "\n".join(self.lines[-20:]))
            time.sleep(0.02)

    def stop(self) -> None:
        """
        End it; what it prints while it ends is of no interest.
        """
        self._on_line = ignore
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def kill(self) -> None:
        """
        End it as the machine's end would, in the middle of whatever it does.
        """
        self._on_line = ignore
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, (self._log or Path(os.devnull)).open("a") as log:
            for line in lines:
                print(line, end="", file=log, flush=True)
                self.lines.append(line.rstrip("\n"))
                self._on_line(self.name, line.rstrip("\n"))


class Stage:
    """
    One directory with an engine, and the programs around it; all go with the stage.

    A stage that was killed leaves its engine behind, which the next one of this
    name removes.

    Args:
        name: Of the directory, the network namespace and the engine.
    """

    def __init__(self, name: str) -> None:
        self.directory = Path(f"/var/lib/powerstrip-{name}")
        self.engine = PrivateEngine(self.directory, name)
        self.powerstrip_host = f"unix://{self.directory / 'powerstrip.sock'}"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(own_place(self.directory))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end_quietly()
        self._stack.close()

    def start_engine(self) -> None:
        """
        Start the engine, with the image ``busybox``.
        """
        self._stack.callback(self.engine.stop)
        self.engine.start()
        self.engine.import_busybox()

    def start_adapter(self, name: str, command: list[str], port: int, on_line: OnLine) -> None:
        """
        Start an adapter, and wait until it listens.
        """
        program = Program(name, command, on_line)
        self._stack.callback(program.stop)
        program.wait_for(lambda: listens(socket.AF_INET, ("127.0.0.1", port)))

    def start_powerstrip(self, config: str, on_line: OnLine) -> Program:
        """
        Start powerstrip with ``--trace`` before the engine, and wait until it listens.
        """
        (self.directory / "adapters.yml").write_text(config)
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "--nodaemon", "--pidfile=", "powerstrip", "--trace"]
        for name, value in self.powerstrip_options().items():
            command += [name, value]
        program = Program("powerstrip", command, on_line)
        self._stack.callback(program.stop)
        path = self.powerstrip_host.removeprefix("unix://")
        program.wait_for(lambda: listens(socket.AF_UNIX, path))
        return program

    def powerstrip_options(self) -> dict[str, str]:
        return {
            "--config": str(self.directory / "adapters.yml"),
            "--docker": self.engine.docker_host,
            "--listen": self.powerstrip_host,
        }

    def environment(self, docker_host: str) -> dict[str, str]:
        """
        The environment of a docker client that speaks to this host and reads nobody's settings.
        """
        others = {name: value for name, value in os.environ.items() if "DOCKER_" not in name}
        config = str(self.directory / "client")
        return {**others, "DOCKER_HOST": docker_host, "DOCKER_CONFIG": config}


def free_port() -> int:
    """
    A TCP port of the loopback interface that nothing listens on now.
    """
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
    return port


def listens(family: socket.AddressFamily, address: tuple[str, int] | str) -> bool:
    """
    Whether somebody takes connections there.
    """
    with closing(socket.socket(family)) as client:
        return client.connect_ex(address) == 0
