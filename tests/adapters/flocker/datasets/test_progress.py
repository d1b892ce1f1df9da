"""
What is told of a move while it goes on.
"""

from __future__ import annotations

from attrs import evolve
from powerstrip_flocker.datasets.progress import PhaseLog, Progress
from twisted.logger import LogEvent, capturedLogs, formatEvent

from tests.adapters.flocker.datasets.cluster import Cluster

START = Progress("data", "n1", "n2", 1, 0, 1000, 0.0)


def test_the_log_is_told_now_and_then() -> None:
    """
    However often a phase reports, there is one line in five seconds at most.
    """
    said: list[str] = []
    log = PhaseLog(said.append)
    for tenths in range(121):
        log.goes_on(evolve(START, sent_bytes=tenths * 5, elapsed_seconds=tenths / 10))
    what = "data: n1 -> n2, phase 1 of 2: "
    assert said == [
        f"{what}250 B of about 1000 B, 50 B/s, 0:15 to go",
        f"{what}500 B of about 1000 B, 50 B/s, 0:10 to go",
    ]


def test_a_phase_without_an_end_in_sight_has_none() -> None:
    """
    Neither before a byte has come, nor where nobody knows how many there will be.
    """
    assert START.remaining_seconds is None
    assert (
        evolve(START, sent_bytes=5, elapsed_seconds=1.0, expected_bytes=None).remaining_seconds
        is None
    )
    assert evolve(START, sent_bytes=2000, elapsed_seconds=1.0).remaining_seconds == 0


def info_lines(events: list[LogEvent]) -> list[str]:
    return [formatEvent(it) for it in events if it["log_level"].name == "info"]


def test_each_phase_of_a_move_ends_with_a_line() -> None:
    """
    It says how much has come.
    """
    cluster = Cluster()
    cluster.start()
    cluster.hosts["n1"].bring("data")
    cluster.stop_containers()
    with capturedLogs() as events:
        cluster.hosts["n2"].bring("data")
    assert cluster.owner("data") == "n2"
    sizes = cluster.sent_bytes
    assert info_lines(events) == [
        f"data: n1 -> n2, phase 1 of 2: {sizes[0]} B in 0.0 s, 0 B/s",
        f"data: n1 -> n2, phase 2 of 2: {sizes[1]} B in 0.0 s, 0 B/s",
    ]
