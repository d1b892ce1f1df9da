"""
Demos that run as a terminal would start them, and what they leave behind.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def running(
    *words: str, environment: Mapping[str, str] = os.environ
) -> Iterator[subprocess.Popen[str]]:
    """
    A demo in a process group of its own.

    Args:
        words: The module, and its arguments.
    """
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def read_up_to(process: subprocess.Popen[str], beginning: str) -> None:
    """
    Read what a demo prints until a line begins so.
    """
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(beginning):
            return
    pytest.fail(f"no line begins with {beginning!r}:\n{''.join(lines)}")


def what_is_left(name: str, *programs: str) -> list[str]:
    """
    The traces of a demo on this machine: directories, namespaces, cgroups, mounts, files that are
    disks, and processes.

    Args:
        name: The demo's.
        programs: Of its processes, beside those that name something of the demo.
    """
    traces = re.compile(rf"powerstrip-{name}\b")
    places = ("/var/lib", "/run/netns", "/sys/fs/cgroup", "/sys/fs/cgroup/*")
    paths = [path for place in places for path in Path("/").glob(f"{place[1:]}/powerstrip-{name}*")]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    disks = _contents("/sys/block/loop*/loop/backing_file")
    commands = _contents("/proc/[0-9]*/cmdline")
    of_processes = re.compile("|".join([traces.pattern, *programs]))
    return [
        *(str(path) for path in paths if traces.search(str(path))),
        *(line for line in [*mounts, *disks] if traces.search(line)),
        *(command for command in commands if of_processes.search(command)),
    ]


def readme_excerpt(beginning: str) -> str:
    """
    The excerpt of the README that begins so.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    excerpts: list[str] = re.findall(r"^```text\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    (excerpt,) = [each for each in excerpts if each.startswith(beginning)]
    return excerpt


def _contents(paths: str) -> Iterator[str]:
    """
    What is in files that may go at any moment.
    """
    for path in Path("/").glob(paths[1:]):
        try:
            yield path.read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue
