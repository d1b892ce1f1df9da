"""
Lines on the standard output, beside those of Twisted's log.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, formatEventAsClassicLogText

from powerstrip.net.line_writer import LineWriter, logs_to_standard_output


def test_lines_have_the_form_of_twisteds_own(tmp_path: Path) -> None:
    """
    A line looks as an event with the same text would in the log.
    """
    path, seconds = tmp_path / "log", 1_700_000_000.4
    events: list[LogEvent] = []
    Logger(namespace="powerstrip", observer=events.append).info("one")
    with path.open("wb") as file:
        LineWriter(file.fileno(), lambda: seconds).write(["one", "two"])
    text = formatEventAsClassicLogText({**events[0], "log_time": int(seconds)})
    assert text is not None
    assert path.read_text() == text + text.replace("one", "two")


def test_lines_of_another_second_say_so(tmp_path: Path) -> None:
    """
    The time before a line is that of its writing, to the second.
    """
    path, clock = tmp_path / "log", Clock()
    with path.open("wb") as file:
        writer = LineWriter(file.fileno(), clock.seconds)
        for _ in range(3):
            writer.write(["line"])
            clock.advance(0.5)
    stamps = re.findall(r"T\d\d:\d\d:(\d\d)", path.read_text())
    assert stamps == ["00", "00", "01"]


def test_a_pipe_that_is_full_loses_nothing() -> None:
    """
    Many lines reach a slow reader whole.
    """
    reading, writing = os.pipe()
    lines = [f"line {number}" for number in range(20_000)]
    thread = threading.Thread(target=lambda: LineWriter(writing, lambda: 0).write(lines))
    thread.start()
    text = b""
    while text.count(b"\n") < len(lines):
        text += os.read(reading, 1000)
    thread.join()
    os.close(reading)
    os.close(writing)
    assert [line.partition("] ")[2] for line in text.decode().splitlines()] == lines


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"nodaemon": 1, "logfile": None}, True),
        ({"nodaemon": 1, "logfile": "-"}, True),
        ({"nodaemon": 0, "logfile": None}, False),
        ({"nodaemon": 1, "logfile": "twistd.log"}, False),
        ({"nodaemon": 1, "logfile": None, "syslog": 1}, False),
        ({"nodaemon": 1, "logfile": None, "logger": print}, False),
    ],
)
def test_only_a_log_on_the_standard_output_is_written_past_twisted(
    options: dict[str, object], expected: bool
) -> None:
    """
    A log file is Twisted's to rotate, and syslog and other loggers have forms of their own.
    """
    assert logs_to_standard_output(options) == expected
