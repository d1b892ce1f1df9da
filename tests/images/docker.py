"""
The docker client, beside images and containers that are looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

CLIENT = shutil.which("docker", path=f"/usr/bin:{os.environ['PATH']}") or "docker"
"""The distribution's, as it is in the other tests."""


class HasSocket(Protocol):
    """
    An engine, or a powerstrip in front of one.
    """

    @property
    def docker_host(self) -> str: ...


def docker(engine: HasSocket, *arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Run the docker client.
    """
    command = [CLIENT, "--host", engine.docker_host, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def wait_for(holds: Callable[[], bool], explanation: Callable[[], str]) -> None:
    """
    Wait until something holds, or fail with an explanation.
    """
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, explanation()
        time.sleep(0.05)
