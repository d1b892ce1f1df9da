"""
The log of workers: what they write, and what their parent makes of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher

from powerstrip import worker_log
from powerstrip.worker_log import ERRORS, OUTPUT, OutputLog, ParentLog, WorkerOutput


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """
    What is read here was written to a worker's standard output.
    """
    read_end, write_end = os.pipe()
    monkeypatch.setattr(worker_log, "OUTPUT", write_end)
    yield read_end
    os.close(read_end)
    os.close(write_end)


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """
    What is logged in this process.
    """
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def told(events: list[LogEvent]) -> list[tuple[str, str, str]]:
    """
    The level, the system and the text of each event.
    """
    return [(e["log_level"].name, e["log_system"], str(formatEvent(e))) for e in events]


def test_a_worker_writes_as_twistd_does(pipe: int) -> None:
    """
    With its name in front of who speaks.
    """
    log = OutputLog("worker 3")
    logger = Logger(namespace="powerstrip", observer=log)
    logger.warn("one\ntwo")
    logger.info("{x}", x="three", log_system="-")
    text = os.read(pipe, 1000).decode()
    assert re.sub(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", "NOW", text) == (
        "NOW [worker 3 powerstrip#warn] one\n\ttwo\nNOW [worker 3 -] three\n"
    )


def test_an_event_without_a_text_is_not_written(pipe: int) -> None:
    """
    Twisted has such ones.
    """
    OutputLog("worker 3")({})
    ParentLog()({})
    os.set_blocking(pipe, False)
    with pytest.raises(BlockingIOError):
        os.read(pipe, 1)


def test_what_goes_through_the_parent_arrives_whole(pipe: int, events: list[LogEvent]) -> None:
    """
    Its level, who speaks, and all its lines, however the pipe cuts them.
    """
    logger = Logger(namespace="powerstrip", observer=ParentLog())
    logger.warn("one\n  two: {x}", x="\u00fc{y}")
    try:
        raise RuntimeError("three")
    except RuntimeError:
        logger.failure("so")
    output = WorkerOutput("worker 2")
    for byte in os.read(pipe, 10_000):
        output.take(worker_log.OUTPUT, bytes([byte]))
    first, second = told(events)
    assert first == ("warn", "worker 2 powerstrip#warn", "one\n  two: \u00fc{y}")
    assert second[:2] == ("critical", "worker 2 powerstrip#critical")
    assert second[2].startswith("so\nTraceback (most recent call last):\n")
    assert second[2].rstrip().endswith("RuntimeError: three")


def test_what_python_says_itself_is_an_error(events: list[LogEvent]) -> None:
    """
    On the standard error; and half a line is told at the end.
    """
    output = WorkerOutput("worker 2")
    output.take(ERRORS, b"Fatal Python error\n  \xff")
    output.take(OUTPUT, b'["info", "powerstr')
    output.end()
    assert told(events) == [
        ("error", "worker 2 stderr", "Fatal Python error"),
        ("error", "worker 2 stderr", "  \\xff"),
        ("error", "worker 2 -", '["info", "powerstr'),
    ]
    assert events[0]["log_level"] is LogLevel.error
