"""
What a run of the tests has measured and counted, printed below it.

A test records a ``figure`` as a property of its own.
"""

from __future__ import annotations

import pytest

COUNTED = {
    "conformance, plain": "test_conformance.py::test_as_without_proxy[plain",
    "conformance, hooked": "test_conformance.py::test_as_without_proxy[hooked",
    "weave: recoveries survived": "test_weave_recoveries.py",
    "flocker: broken moves that left one owner with all data": "crashes/test_crashes.py",
}
"""What is counted, and what is in the names of its tests."""


def write_figures(reporter: pytest.TerminalReporter) -> None:
    """
    Write how many of the counted tests have passed, and all figures.
    """
    passed: list[pytest.TestReport] = reporter.stats.get("passed", [])
    failed: list[pytest.TestReport] = reporter.stats.get("failed", [])
    for what, part in COUNTED.items():
        held, broken = (sum(part in it.nodeid for it in reports) for reports in (passed, failed))
        if held or broken:
            reporter.write_line(f"{what}: {held} of {held + broken}")
    for report in passed + failed:
        for name, value in report.user_properties:
            if name == "figure":
                reporter.write_line(str(value))
