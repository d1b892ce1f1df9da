"""
The demo of the talk, run for real, and its machines as a user explores them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.cluster import why_not
from demo.machines import new_cluster, place
from tests.cluster.hosts import until
from tests.demo.running import ROOT, readme_excerpt, running, what_is_left

NAME = "test"
"""Of a demo that is nobody's."""

DEMO = ("demo.migration", "--name", NAME)
ENGINE = place(NAME) / NAME / f"{NAME}-node1" / "docker.sock"
MACHINES = ("demo.machines", "--name", NAME)

PROVED = re.compile(
    r"Proved: count (\d+), then (\d+), at 10\.255\.0\.10; [\d.]+ KiB moved, ([\d.]+) s silent\."
)

EXPLORE = """
docker run --rm -v /flocker/explored:/data busybox sh -c 'hostname >>/data/log; cat /data/log'
powerstrip-flocker list
powerstrip-weave status
"""

BROKEN_ENGINE = """\
#!/bin/sh
case $* in
*-node2*)
    echo 'this engine is broken' >&2
    exit 1
    ;;
esac
exec {dockerd} "$@"
"""

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(autouse=True, scope="module")
def _swept() -> Iterator[None]:
    """
    What a failed test leaves is no burden to others.
    """
    yield
    new_cluster(NAME).stop()
    shutil.rmtree(place(NAME), ignore_errors=True)


@pytest.fixture(scope="module")
def told() -> str:
    """
    What a demo prints that is started where another one was killed.
    """
    with running(*DEMO) as killed:
        until(ENGINE.exists)
        killed.kill()
    with running(*DEMO) as process:
        output, _ = process.communicate(timeout=120)
    return output


def test_demo_ends_with_what_was_proved(told: str) -> None:
    """
    The last line has the counts before and after, the address, what was moved and the silence.
    """
    proved = PROVED.fullmatch(told.splitlines()[-1])

    assert proved is not None, told
    assert int(proved[1]) < int(proved[2])
    assert float(proved[3]) > 0


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

    assert expected == what_is_left(NAME)


def test_readme_shows_what_the_demo_prints(told: str) -> None:
    """
    Each line of the README's excerpt is one that the demo prints, but for counts, amounts and ids.
    """

    def lines(text: str) -> list[str]:
        without_ids = re.sub(r"\b[0-9a-f]{64}\b", "ID", text)
        # Not those of an address, such as 10.255.0.10.
        without_numbers = re.sub(r"(?<![\w.])\d+(\.\d+)?(?![\d.]*\.\d)", "N", without_ids)
        return re.sub(r"\b[KM]?i?B\b", "BYTES", without_numbers).splitlines()

    expected: set[str] = set()
    assert expected == set(lines(readme_excerpt("A database moves"))) - set(lines(told))


@pytest.mark.parametrize("sign", [place(NAME), ENGINE], ids=["at once", "while engines start"])
def test_interrupted_demo_cleans_up(sign: Path) -> None:
    """
    Ctrl-C ends the demo, with a word, and nothing is left; whoever presses it twice has as much.
    """
    with running(*DEMO) as process:
        until(sign.exists)
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 130, output
    assert output.splitlines()[-1] == "demo: interrupted, and cleaned up"
    assert what_is_left(NAME) == []


def test_demo_without_an_engine_says_why(tmp_path: Path) -> None:
    """
    What the engine that does not start has said is told, and nothing is left of the other one.
    """
    broken = tmp_path / "dockerd"
    broken.write_text(BROKEN_ENGINE.format(dockerd=shutil.which("dockerd")))
    broken.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    with running(*MACHINES, "up", environment={**os.environ, "PATH": path}) as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "dockerd of test-node2 ended with status 1" in output
    assert output.splitlines()[-1] == "this engine is broken"
    assert what_is_left(NAME) == []


def test_machines_are_there_until_they_are_taken_down() -> None:
    """
    With btrfs in the place of ZFS: a shell has docker and both operators' commands, no second demo
    starts beside, and nothing is left in the end.
    """
    try:
        assert machines("up", "--btrfs").returncode == 0
        again = machines("up")
        first, second = (machines("shell", node, typed=EXPLORE) for node in ("node1", "node2"))
        master = machines("shell", "master", typed="./run.sh info\n")
    finally:
        down = machines("down")

    occupied = f"demo-up: another demo runs in {place(NAME)}: make demo-down ends it\n"
    assert (1, occupied) == (again.returncode, again.stderr)
    assert re.search(r"^explored +node1 ", first.stdout, re.MULTILINE), first
    assert re.search(r"^explored +node2 ", second.stdout, re.MULTILINE), second
    assert "storage=ssd" in master.stdout
    assert down.returncode == 0
    assert what_is_left(NAME) == []


def machines(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """
    Do something with the machines that are kept.
    """
    command = [sys.executable, "-m", *MACHINES, *words]
    return subprocess.run(
        command, cwd=ROOT, input=typed, capture_output=True, text=True, timeout=90
    )
