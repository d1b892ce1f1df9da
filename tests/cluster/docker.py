"""
The plain docker client, as a user has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

LIMIT_SECONDS = 60


@frozen
class Outcome:
    """
    All that a user sees of a command.
    """

    status: int
    stdout: str
    stderr: str


@frozen
class Docker:
    """
    A docker client that speaks to one host, and reads nobody's settings.
    """

    host: str
    config: Path

    def __call__(self, *arguments: str) -> Outcome:
        """
        Run a command to its end.
        """
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str) -> str:
        """
        What a command prints, which has to succeed.
        """
        outcome = self(*arguments)
        assert outcome.status == 0, f"docker {' '.join(arguments)}: {outcome}"
        return outcome.stdout.strip()

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """
        Start a command.
        """
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str) -> list[str]:
        """
        The command line.
        """
        return [client(), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """
        What programs have to know to speak to this host.
        """
        others = {name: value for name, value in os.environ.items() if "DOCKER_" not in name}
        settings = {"DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.config)}
        # The old builder is part of each client.
        return {**others, **settings, "DOCKER_BUILDKIT": "0"}

    def pid(self, container: str) -> int:
        """
        The process id of a container's process 1; 0 where it doesn't run.
        """
        return int(self.must("inspect", "--format", "{{.State.Pid}}", container))


def client() -> str:
    """
    The docker client: the distribution's first, if ``POWERSTRIP_TEST_DOCKER`` names no other.
    """
    named = os.environ.get("POWERSTRIP_TEST_DOCKER")
    found = named or shutil.which("docker", path="/usr/bin") or shutil.which("docker")
    assert found is not None
    return found
