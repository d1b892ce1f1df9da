"""
The demo, run for real.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from demo.engine import PrivateEngine, why_not
from tests.demo.running import read_up_to, readme_excerpt, running, what_is_left

DIRECTORY = Path("/var/lib/powerstrip-hooks")

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


def running_demo() -> AbstractContextManager[subprocess.Popen[str]]:
    return running("demo.hooks")


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

    assert expected == what_is_left("hooks", "concierge")


def test_readme_shows_what_the_demo_prints(told: str) -> None:
    """
    Each line of the README's excerpt is one that the demo prints.

    Containers have other ids each time, engines speak other versions of the API, and older docker
    clients end a message with a full stop.
    """

    def lines(text: str) -> list[str]:
        plain = re.sub(r"/v1\.\d+/", "/API/", re.sub(r"\b[0-9a-f]{12}\b", "ID", text))
        return [line.removesuffix(".") for line in plain.splitlines()]

    expected: set[str] = set()
    assert expected == set(lines(readme_excerpt("4. A docker run"))) - set(lines(told))


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
    assert what_is_left("hooks", "concierge") == []
