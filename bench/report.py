"""
What a run says: one table, in Markdown that is aligned for a terminal.

Sans-I/O: results in, text out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.candidates import CANDIDATES
from bench.results import Results, Row, Spread, Target

TITLES = {candidate.name: candidate.title for candidate in CANDIDATES}
COMPARED = ("haproxy", "socat", "direct")

MeasuredRow = tuple[str, Row]
"""A row, with the name of its measure."""


def table(rows: Iterable[MeasuredRow], results: Results) -> str:
    """
    A line for each row that has figures.
    """
    head = ["", "", *TITLES.values(), *(f"to {TITLES[name]}" for name in COMPARED), "target"]
    lines = [
        [
            row.title,
            row.unit,
            *(_figure(results.spread(measure, name, row.figure)) for name in TITLES),
            *(_ratio(results, measure, row, name) for name in COMPARED),
            ", ".join(_verdict(results, measure, row, target) for target in row.targets),
        ]
        for measure, row in rows
        if results.spread(measure, "powerstrip", row.figure)
    ]
    return _aligned(head, lines)


def preface(kept: Mapping[str, Any]) -> str:
    """
    On what the figures were taken, and how to read them.
    """
    machine, settings = kept["machine"], kept["settings"]
    versions = [f"{TITLES[name]} {it}" for name, it in kept["versions"].items() if it]
    proxies, others = (
        ", ".join(map(str, settings["cpus"][part])) for part in ("proxies", "others")
    )
    names = kept["versions"]
    system = f"Linux {machine['kernel']}, Python {machine['python']}"
    return "\n".join(
        [
            f"{machine['cpus']} CPUs ({machine['cpu']}), {system}, {', '.join(versions)}.",
            f"Each proxy had CPU {proxies}; the stub, the adapters and clients had CPU {others}.",
            *(f"{it.title} had all." for it in CANDIDATES if it.workers > 1 and it.name in names),
            "Medians of all rounds; behind a ratio, its lowest and its highest in any round.",
            "For hooks, direct is a bare POST to the adapter.",
            f"Idle streams: {settings['idle_streams']:,}, fewer for some; the time is for 10,000.",
        ]
    )


def counted(rows: Iterable[MeasuredRow], results: Results) -> tuple[int, int]:
    """
    How many targets are met, and of how many.
    """
    verdicts = [
        target.is_met(spread.median)
        for measure, row in rows
        for target in row.targets
        if (spread := results.held_against(measure, row.figure, target))
    ]
    return sum(verdicts), len(verdicts)


def number(value: float) -> str:
    """
    A figure with about three digits that count.
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def bound(target: Target) -> str:
    """
    A target as the table shows it.
    """
    sign = "≥" if target.at_least else "≤"
    against = f" {TITLES[target.against]}" if target.against else ""
    return f"{sign} {target.bound:g}{against}"


def _figure(spread: Spread | None) -> str:
    return "" if spread is None else number(spread.median)


def _ratio(results: Results, measure: str, row: Row, against: str) -> str:
    # How far a proxy is from none is of interest only where something is promised about it.
    if against == "direct" and not any(target.against == "direct" for target in row.targets):
        return ""
    ratio = results.ratio(measure, against, row.figure)
    if ratio is None or not row.compared:
        return ""
    if len(ratio.values) == 1:
        return number(ratio.median)
    return f"{number(ratio.median)} ({number(ratio.lowest)}-{number(ratio.highest)})"


def _verdict(results: Results, measure: str, row: Row, target: Target) -> str:
    spread = results.held_against(measure, row.figure, target)
    if spread is None:
        return f"{bound(target)}: not measured"
    return f"{bound(target)}: {'met' if target.is_met(spread.median) else 'MISSED'}"


def _aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """
    A table without the columns that are empty.
    """
    used = [place for place in range(len(head)) if any(line[place] for line in lines)]
    widths = {place: max(len(line[place]) for line in [head, *lines]) for place in used}
    is_text = {0, 1, len(head) - 1}

    def cells(line: Sequence[str]) -> str:
        padded = [
            line[place].ljust(widths[place])
            if place in is_text
            else line[place].rjust(widths[place])
            for place in used
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * widths[place] if place in is_text else "-" * (widths[place] - 1) + ":"
        for place in used
    ]
    return "\n".join([cells(head), f"| {' | '.join(rule)} |", *map(cells, lines)])
