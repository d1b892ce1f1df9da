"""
How long moves take: of phase two, and beside the bare commands of the file system.

``POWERSTRIP_BIG_MIB`` is how large the larger dataset is; the figures in the documentation are of
2048.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from demo.pool import why_not
from tests.adapters.flocker.crashes.gate import Asked
from tests.adapters.flocker.crashes.rig import NODES, Rig
from tests.adapters.flocker.crashes.test_crashes import RIGS, hook

SMALL_MIB = 64
BIG_MIB = int(os.environ.get("POWERSTRIP_BIG_MIB", "256"))
CHANGED_MIB = 5
ROUNDS = 3

OLD, NEW = NODES
RecordProperty = Callable[[str, object], None]


class Times:
    """
    When each step of a move was reached.
    """

    def __init__(self, before: Callable[[Asked], None] = lambda asked: None) -> None:
        self.of: dict[str, float] = {}
        self._before = before

    def __call__(self, asked: Asked) -> None:
        self._before(asked)
        self.of[asked.step] = time.monotonic()

    def between(self, first: str, last: str) -> float:
        return self.of[last] - self.of[first]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """
    Two nodes with ZFS.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    RIGS.mkdir(exist_ok=True)
    with Rig(RIGS, f"{os.getpid()}speed", "zfs") as rig:
        yield rig


def make(rig: Rig, name: str, mib: int) -> None:
    """
    Make a dataset on the first node with so much in it that nothing compresses.
    """
    made = rig.nodes[OLD].ask("POST", "/flocker-adapter", hook(name))
    assert made.status == 200, made
    fill(rig, name, "big", mib)


def fill(rig: Rig, name: str, file: str, mib: int) -> None:
    path = rig.nodes[OLD].pool.mount_point / name / file
    rig.nodes[OLD].run("dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={mib}", "conv=fsync")


def move(rig: Rig, name: str, times: Times) -> None:
    rig.arrived = times
    moved = rig.nodes[NEW].ask("POST", f"/datasets/{name}/move", {"to": NEW})
    rig.arrived = lambda asked: None
    assert moved.status == 200, moved


def remove(rig: Rig, name: str) -> None:
    gone = rig.nodes[NEW].ask("DELETE", f"/datasets/{name}")
    assert gone.status == 200, gone


def test_phase_two_is_as_long_for_a_big_dataset(rig: Rig, record_property: RecordProperty) -> None:
    """
    Its length is that of what has changed since phase one, not that of the dataset.
    """
    seconds: dict[int, list[float]] = {SMALL_MIB: [], BIG_MIB: []}
    for number in range(ROUNDS):
        for mib, found in seconds.items():
            name = f"two-{mib}-{number}"
            make(rig, name, mib)

            def change(asked: Asked, name: str = name) -> None:
                if asked.step == "fence":
                    fill(rig, name, "changed", CHANGED_MIB)

            times = Times(change)
            move(rig, name, times)
            found.append(times.between("fence", "writable"))
            remove(rig, name)
    small, big = (sorted(seconds[mib])[ROUNDS // 2] for mib in (SMALL_MIB, BIG_MIB))
    record_property(
        "figure",
        f"flocker: phase two with {CHANGED_MIB} MiB changed: {small:.2f} s for {SMALL_MIB} MiB,"
        f" {big:.2f} s for {BIG_MIB} MiB",
    )
    assert big < 2 * small + 0.5


def test_a_move_is_about_as_fast_as_the_bare_commands(
    rig: Rig, record_property: RecordProperty
) -> None:
    """
    Phase one, through TLS and a checksum, beside ``zfs send | zfs receive``.
    """
    rates = []
    for number in range(ROUNDS):
        name = f"fast-{number}"
        make(rig, name, BIG_MIB)
        bare = bare_seconds(rig, name)
        times = Times()
        move(rig, name, times)
        rates.append(bare / times.between("send", "record"))
        remove(rig, name)
    found = sorted(rates)[ROUNDS // 2]
    record_property(
        "figure",
        f"flocker: a move of {BIG_MIB} MiB at {found:.2f} of zfs send | zfs receive"
        f" ({min(rates):.2f} to {max(rates):.2f})",
    )
    assert found > 0.2


def bare_seconds(rig: Rig, name: str) -> float:
    """
    How long the bare commands take from one pool to the other.
    """
    old, new = rig.nodes[OLD], rig.nodes[NEW]
    old.run("zfs", "snapshot", f"flocker/{name}@bare")
    began = time.monotonic()
    with subprocess.Popen(
        [*old.enter, "zfs", "send", f"flocker/{name}@bare"], stdout=subprocess.PIPE
    ) as sending:
        subprocess.run(
            [*new.enter, "zfs", "receive", "-u", "flocker/bare"], stdin=sending.stdout, check=True
        )
    seconds = time.monotonic() - began
    new.run("zfs", "destroy", "-r", "flocker/bare")
    old.run("zfs", "destroy", f"flocker/{name}@bare")
    return seconds
