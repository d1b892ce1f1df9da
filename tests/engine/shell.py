"""
The shell that runs command lines of the conformance table.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
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
    Runs lines of the table against one address, and forgets what they made.

    Args:
        docker_host: The engine, or a powerstrip before it.
        places: What the table's variables ``$BIG`` and the like stand for, and the ``PATH``.
    """

    _prefixes = itertools.count(100)

    def __init__(self, engine: PrivateEngine, docker_host: str, places: Mapping[str, str]) -> None:
        self._engine = engine
        self._docker_host = docker_host
        self._environment = {
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "ENGINE": engine.docker_host,
            "PYTHON": sys.executable,
            "HERE": str(HERE),
            **places,
        }

    def run(self, command: Command) -> Outcome:
        """
        The outcome of one row, with what differs from run to run hidden.
        """
        # All of one length, so that columns stay where they are.
        prefix = f"n{next(self._prefixes)}x"
        with tempfile.TemporaryDirectory(prefix="ps-work-") as work:
            environment = self._environment | {
                "N": prefix,
                "HOME": f"{work}/.home",
                "DOCKER_CONFIG": f"{work}/.home",
            }
            try:
                self.must(command.setup, Path(work), environment)
                environment["DOCKER_HOST"] = self._docker_host
                outcome = _bash(command, Path(work), environment)
            finally:
                self._forget(prefix)
        secrets = {prefix: "N", work: "WORK", self._docker_host.removeprefix("unix://"): "HOST"}
        return Outcome(
            outcome.status,
            _hide(outcome.stdout, command, secrets),
            _hide(outcome.stderr, command, secrets),
        )

    def must(self, line: str, work: Path, environment: Mapping[str, str] | None = None) -> None:
        """
        Run a line past any proxy that only makes ready.
        """
        environment = {
            **(environment or self._environment),
            "DOCKER_HOST": self._engine.docker_host,
        }
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"

    def _forget(self, prefix: str) -> None:
        """
        Remove from the engine what has a name with this prefix.
        """
        for kind, (target, key) in LISTS.items():
            found = json.loads(self._engine.request("GET", target)[1])
            for thing in (found["Volumes"] or ()) if kind == "volumes" else found:
                names = [thing[key]] if isinstance(thing[key], str) else thing[key] or ()
                for name in names:
                    if name.removeprefix("/").startswith(prefix):
                        target = f"/{kind}/{quote(name.removeprefix('/'))}?force=1&v=1"
                        self._engine.request("DELETE", target)


def _bash(command: Command, work: Path, environment: Mapping[str, str]) -> Outcome:
    """
    Run a row's line; one that does not end in time has an outcome as well.
    """
    if command.typed:
        status, written = run_on_terminal(command.line, command.typed, work, environment)
        return Outcome(status, written.decode(errors="replace"), "")
    with subprocess.Popen(
        ["bash", "-c", command.line],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=LIMIT_SECONDS)
            status = process.returncode
        except subprocess.TimeoutExpired:
            # With all that it has started: else these hold the pipes open.
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            status, stderr = -1, stderr + b"\nended after %d s\n" % LIMIT_SECONDS
    return Outcome(status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


def _hide(text: str, command: Command, secrets: Mapping[str, str]) -> str:
    """
    The text without what differs from run to run.
    """
    for given, stand_in in secrets.items():
        text = text.replace(given, stand_in)
    for pattern, stand_in in (*command.hides, *HIDDEN):
        text = re.sub(pattern, stand_in, text, flags=re.MULTILINE)
    return text
