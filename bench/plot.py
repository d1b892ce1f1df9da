"""
A picture of a run: how far each target is met.

Sans-I/O: results in, SVG out.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from attrs import frozen

from bench.report import MeasuredRow, bound, number
from bench.results import Results, Row, Spread, Target

WIDTH = 960
BARS_FROM, BARS_TO = 470, 820
LINE_HEIGHT = 24
TOP = 56
MOST = 3.0
"""Where a bar ends at the latest: so much better than its target is well enough."""

FONT = 'font-family="sans-serif" font-size="13"'
MET, MISSED, FAINT, INK = "#2166ac", "#d95f02", "#dddddd", "#222222"


@frozen
class _Bar:
    row: Row
    target: Target
    spread: Spread

    def svg(self, y: int) -> str:
        margins = [self.target.margin(value) for value in self.spread.values]
        middle = self.target.margin(self.spread.median)
        colour = MET if self.target.is_met(self.spread.median) else MISSED
        width = _x(middle) - BARS_FROM
        label = f"{escape(self.row.title)}: {escape(bound(self.target))}"
        unit = self.row.unit if self.target.against is None else "x"
        low, high = _x(min(margins)), _x(max(margins))
        return "\n".join(
            [
                _text(BARS_FROM - 10, y + 13, label, "end"),
                f'<rect x="{BARS_FROM}" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>',
                f'<path d="M{low:.1f} {y + 8}H{high:.1f}" stroke="{INK}" stroke-width="2"/>',
                _text(BARS_TO + 10, y + 13, f"{number(self.spread.median)} {unit}", "start"),
            ]
        )


def plot(rows: Iterable[MeasuredRow], results: Results, title: str) -> str:
    """
    A bar for each target: those that reach the line at 1 are met.
    """
    bars = [
        _Bar(row, target, spread)
        for measure, row in rows
        for target in row.targets
        if (spread := results.held_against(measure, row.figure, target))
    ]
    height = TOP + LINE_HEIGHT * len(bars) + 30
    marks = [mark / 2 for mark in range(int(2 * MOST) + 1)]
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="20" y="24" font-size="16" fill="{INK}">{escape(title)}</text>',
            *(_mark(mark, height) for mark in marks),
            *(bar.svg(TOP + LINE_HEIGHT * place) for place, bar in enumerate(bars)),
            "</svg>",
            "",
        ]
    )


def _x(margin: float) -> float:
    return BARS_FROM + (BARS_TO - BARS_FROM) * min(margin, MOST) / MOST


def _mark(margin: float, height: int) -> str:
    is_target = margin == 1
    x = _x(margin)
    name = "target" if is_target else f"{margin:g}"
    stroke = f'stroke="{INK if is_target else FAINT}"'
    line = f'<path d="M{x:.1f} {TOP - 6}V{height - 24}" {stroke}/>'
    return line + _text(x, height - 8, name, "middle")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{text}</text>'
