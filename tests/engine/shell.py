"""
The shell that runs command lines of the conformance table.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from demo.engine import PrivateEngine
from tests.engine.commands import Command
from tests.engine.terminal import run_on_terminal

HERE = Path(__file__).parent
LIMIT_SECONDS = 60
LISTS = {
    "containers": ("/containers/json?all=1", "Names"),
    "networks": ("/networks", "Name"),
    "volumes": ("/volumes", "Name"),
    "images": ("/images/json", "RepoTags"),
}
"""Where the engine lists each kind of thing, and where the name is."""

HIDDEN = (
    (r"\b(sha256:)?([0-9a-f]{64}|[0-9a-f]{12})\b", "ID"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?( UTC| \+0000)*", "TIME"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "TIME"),
    (r"(About an?|Less than an?|\d+) (second|minute|hour)s?( ago)?", "AGO"),
    (r"\b172\.\d+\.\d+\.\d+\b", "ADDRESS"),
    (r"\b02:42(:[0-9a-f]{2}){4}\b", "MAC"),
    (r"(127\.0\.0\.1|\[::1\]):\d{5}\b", "PORT"),
    (r"line 1: +\d+ Killed", "Killed"),
    (r" {2,}", "  "),
)
"""What differs from run to run in any output: identities, times, widths of columns."""


@frozen
class Outcome:
    """
    All that a user sees of a command.
    """

    status: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"{self.stdout}--- stderr:\n{self.stderr}--- exit status: {self.status}"


class Shell:
    """
    Runs command lines of the table against one address, and forgets what they made.
    """

    def __init__(
        self, engine: PrivateEngine, docker_host: str, prefix: str, big_image: Path, bin_: Path
    ) -> None:
        self._engine = engine
        self._prefix = prefix
        self._docker_host = docker_host
        self._environment = {
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "N": prefix,
            "BIG": str(big_image),
            "ENGINE": engine.docker_host,
            "PYTHON": sys.executable,
            "HERE": str(HERE),
        }

    def run(self, command: Command) -> Outcome:
        """
        The outcome of one row, with what differs from run to run hidden.
        """
        with tempfile.TemporaryDirectory(prefix="ps-work-") as work:
            try:
                self.must(command.setup, Path(work))
                outcome = self._bash(command, Path(work))
            finally:
                self._forget()
        return Outcome(
            outcome.status,
            self._hide(outcome.stdout, command, work),
            self._hide(outcome.stderr, command, work),
        )

    def must(self, line: str, work: Path) -> None:
        """
        Run a line past any proxy that only makes ready.
        """
        environment = self._places(self._engine.docker_host, work)
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"

    def _places(self, docker_host: str, work: Path) -> dict[str, str]:
        home = {"HOME": f"{work}/.home", "DOCKER_CONFIG": f"{work}/.home"}
        return self._environment | home | {"DOCKER_HOST": docker_host}

    def _bash(self, command: Command, work: Path) -> Outcome:
        environment = self._places(self._docker_host, work)
        if command.typed:
            status, written = run_on_terminal(command.line, command.typed, work, environment)
            return Outcome(status, written.decode(errors="replace"), "")
        done = subprocess.run(
            ["bash", "-c", command.line],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_SECONDS,
        )
        texts = (output.decode(errors="replace") for output in (done.stdout, done.stderr))
        return Outcome(done.returncode, *texts)

    def _hide(self, text: str, command: Command, work: str) -> str:
        for given, stand_in in (
            (self._prefix, "N"),
            (work, "WORK"),
            (self._docker_host, "HOST"),
            (self._docker_host.removeprefix("unix://"), "HOST"),
        ):
            text = text.replace(given, stand_in)
        for pattern, stand_in in (*command.hides, *HIDDEN):
            text = re.sub(pattern, stand_in, text, flags=re.MULTILINE)
        return text

    def _forget(self) -> None:
        """
        Remove from the engine what has this shell's prefix in its name.
        """
        for kind, (target, key) in LISTS.items():
            found = json.loads(self._engine.request("GET", target)[1])
            for thing in (found["Volumes"] or ()) if kind == "volumes" else found:
                names = [thing[key]] if isinstance(thing[key], str) else thing[key] or ()
                for name in names:
                    if name.removeprefix("/").startswith(self._prefix):
                        target = f"/{kind}/{quote(name.removeprefix('/'))}?force=1&v=1"
                        self._engine.request("DELETE", target)
