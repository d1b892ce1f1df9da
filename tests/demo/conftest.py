"""
The figures that tests of the demo have recorded.
"""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    Print them below the tests.
    """
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith("tests/demo/")
    ]
    for report in reports:
        for name, value in report.user_properties:
            if name == "demo figure":
                terminalreporter.write_line(f"demo: {value}")
