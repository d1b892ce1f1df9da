"""
The demo, run for real.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.engine import PrivateEngine, why_not

ROOT = Path(__file__).parents[2]
DIRECTORY = Path("/var/lib/powerstrip-hooks")

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@contextmanager
def running_demo() -> Iterator[subprocess.Popen[str]]:
    """
    A demo in a process group of its own, as a terminal would start it.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "demo.hooks"],
        cwd=ROOT,
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


def what_is_left() -> list[str]:
    """
    The traces of a demo on this machine: directories, namespaces, cgroups, mounts, processes.
    """
    paths = [
        DIRECTORY,
        Path("/run/netns/powerstrip-hooks"),
        *Path("/sys/fs/cgroup").glob("powerstrip-hooks"),
        *Path("/sys/fs/cgroup").glob("*/powerstrip-hooks"),
    ]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [
        *(str(path) for path in paths if path.exists()),
        *(mount for mount in mounts if str(DIRECTORY) in mount),
        *(command for command in commands() if re.search(r"powerstrip-hooks|concierge", command)),
    ]


def commands() -> Iterator[str]:
    """
    The command lines of all processes.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            yield (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:  # it has ended
            continue


@pytest.fixture(scope="module")
def told() -> Iterator[str]:
    """
    What a demo prints that is started where another one was killed.
    """
    try:
        with running_demo() as killed:
            read_up_to(killed, "4.")
            killed.kill()
        with running_demo() as process:
            output, _ = process.communicate(timeout=120)
        yield output
    finally:
        PrivateEngine(DIRECTORY, "hooks").stop()


def test_demo_ends_with_what_was_proved(told: str) -> None:
    """
    All steps were checked, and the last line says so.
    """
    expected = "Proved: adapters changed, announced and refused what a plain docker asked for."

    assert expected == told.splitlines()[-1]


def test_demo_fits_a_terminal(told: str) -> None:
    """
    No line is wider than 80 columns.
    """
    expected: list[str] = []

    assert expected == [line for line in told.splitlines() if len(line) > 80]


def test_demo_leaves_nothing_behind(told: str) -> None:
    """
    Nothing of the demo's is on the machine when it has ended, nor of the one that was killed.
    """
    expected: list[str] = []

    assert expected == what_is_left()


def test_readme_shows_what_the_demo_prints(told: str) -> None:
    """
    Each line of the README's excerpt is one that the demo prints.

    Containers have other ids each time, engines speak other versions of the API, and older docker
    clients end a message with a full stop.
    """

    def lines(text: str) -> list[str]:
        plain = re.sub(r"/v1\.\d+/", "/API/", re.sub(r"\b[0-9a-f]{12}\b", "ID", text))
        return [line.removesuffix(".") for line in plain.splitlines()]

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (excerpt,) = re.findall(r"^```text\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)

    expected: set[str] = set()
    assert expected == set(lines(excerpt)) - set(lines(told))


def test_interrupted_demo_cleans_up() -> None:
    """
    Ctrl-C ends the demo, with a word, and nothing is left.
    """
    with running_demo() as process:
        read_up_to(process, "5.")
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    assert output.splitlines()[-1] == "demo-hooks: interrupted, and cleaned up"
    assert what_is_left() == []
