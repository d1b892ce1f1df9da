"""
What moves came to that were broken, and how long others took.
"""

from __future__ import annotations

from collections import Counter

import pytest

HERE = "tests/adapters/flocker/crashes/"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    The number of crash points by their outcome, and the figures.
    """
    properties = [
        (name, value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith(HERE)
        for name, value in report.user_properties
    ]
    owners = Counter(value for name, value in properties if name == "crash point")
    if owners:
        terminalreporter.write_line(
            f"flocker: {owners.total()} broken moves, one owner with all data after each:"
            f" {owners['n1']} undone, {owners['n2']} done"
        )
    for name, value in properties:
        if name == "flocker figure":
            terminalreporter.write_line(f"flocker: {value}")
