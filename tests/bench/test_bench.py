"""
The benchmark: what it makes of figures, and that it runs. How fast anything is, no test says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench.measures import MEASURES
from bench.plot import plot
from bench.report import counted, table
from bench.results import Results, Row, at_least, at_most

ROOT = Path(__file__).parents[2]
TOOLS = ("haproxy", "socat", "gcc")

RATE = Row("rate", "requests", "1/s", (at_least(1.0, "haproxy"), at_least(1.5, "socat")))
MEMORY = Row("grown", "memory", "+MiB", (at_most(8.0),), compared=False)
ROWS = (("ping", RATE), ("bulk", MEMORY))


def results() -> Results:
    """
    Three rounds, on a machine that became slower, and one of which HAProxy did not live through.
    """
    results = Results()
    for own, other in ((1200.0, 1000.0), (500.0, None), (220.0, 200.0)):
        results.add("ping", "powerstrip", {"rate": own})
        results.add("ping", "haproxy", other and {"rate": other})
        results.add("bulk", "powerstrip", {"grown": 0.5})
    return results


def test_proxies_are_compared_within_a_round() -> None:
    """
    A ratio is that of two figures of the same round, and a round without both is left out.
    """
    expected = (1.2, 1.1)

    ratio = results().ratio("ping", "haproxy", "rate")

    assert ratio is not None
    assert expected == ratio.values


def test_failures_are_counted() -> None:
    """
    A measure that failed does not go by in silence.
    """
    expected = 1

    assert expected == results().failures


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (at_least(1.5), 1.5, True),
        (at_least(1.5), 1.4, False),
        (at_most(8.0), 8.0, True),
        (at_most(8.0), 9.0, False),
    ],
)
def test_a_bound_is_within_the_target(target: Any, value: float, met: bool) -> None:
    """
    What is just as good as the target meets it.
    """
    assert met == target.is_met(value)
    assert met == (target.margin(value) >= 1)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    """
    A target against a proxy that is not there does not count.
    """
    expected = (2, 2)

    assert expected == counted(ROWS, results())


def test_table_gives_each_row_its_verdicts() -> None:
    """
    A row has the medians, the spread of the ratios, and what became of its targets.
    """
    verdicts = "≥ 1 HAProxy: met, ≥ 1.5 socat: not measured"
    expected = [
        ["", "", "Powerstrip", "HAProxy", "to HAProxy", "target"],
        ["requests", "1/s", "500", "600", "1.15 (1.10-1.20)", verdicts],
        ["memory", "+MiB", "0.50", "", "", "≤ 8: met"],
    ]

    head, _rule, *lines = table(ROWS, results()).splitlines()

    assert expected == [
        [cell.strip() for cell in line.strip("|").split("|")] for line in [head, *lines]
    ]


def test_plot_has_a_bar_for_each_target_that_was_measured() -> None:
    """
    The picture is well-formed, and its bars are those of the table's verdicts.
    """
    expected = 2

    picture = ET.fromstring(plot(ROWS, results(), "a < b"))

    bars = [it for it in picture if it.tag.endswith("rect") and it.get("x")]
    assert expected == len(bars)


def left_behind() -> set[str]:
    """
    The directories and processes of benchmarks that are on this machine.
    """
    directories = {str(path) for path in Path("/tmp").glob("psb-*")}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_text(errors="replace").replace("\0", " ")
        except OSError:  # it has ended
            continue
        if "/tmp/psb-" in command:
            directories.add(command)
    return directories


@pytest.mark.slow
def test_benchmark_measures_everything_and_leaves_nothing(tmp_path: Path) -> None:
    """
    A quick run has figures of every measure, a table, a picture, and takes all away that it made.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        pytest.skip(f"not installed, and can't be: {', '.join(missing)}")
    before = left_behind()
    kept, picture = tmp_path / "run.json", tmp_path / "run.svg"

    done = subprocess.run(
        [ROOT / "scripts" / "bench", "--quick", "--json", kept, "--plot", picture],
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    samples = json.loads(kept.read_text())["samples"]
    assert {measure.name for measure in MEASURES} == set(samples)
    assert all(samples[measure.name]["powerstrip"] for measure in MEASURES)
    assert " targets met; 1 rounds in " in done.stdout
    ET.parse(picture)
    assert set() == left_behind() - before


def test_kept_run_is_shown_again(tmp_path: Path) -> None:
    """
    The table can be printed later, of what ``--json`` has kept.
    """
    kept = tmp_path / "run.json"
    kept.write_text(json.dumps(KEPT))

    done = subprocess.run(
        [ROOT / "scripts" / "bench", "--show", kept], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert "| ping, 8 connections | 1/s |       20.0 |    10.0 |" in done.stdout


KEPT = {
    "machine": {"cpus": 2, "cpu": "a CPU", "kernel": "6", "python": "3"},
    "versions": {"powerstrip": "", "haproxy": "2.6"},
    "settings": {
        "rounds": 1,
        "seconds": 1,
        "idle_streams": 10,
        "cpus": {"proxies": [0], "others": [1]},
    },
    "samples": {"ping-8": {"powerstrip": [{"rate": 20.0}], "haproxy": [{"rate": 10.0}]}},
}
