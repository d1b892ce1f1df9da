"""
``make bench``: Powerstrip beside other proxies, over the same stand-in for an engine.

I/O: prints one table; what is going on is told on standard error.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from bench.candidates import CANDIDATES
from bench.measures import MEASURES
from bench.plot import plot
from bench.process import BenchError
from bench.real_engine import ROWS as ENGINE_ROWS
from bench.report import MeasuredRow, counted, preface, table
from bench.results import Results
from bench.run import Run, Settings
from demo.engine import EngineError

ROWS: tuple[MeasuredRow, ...] = (
    *((measure.name, row) for measure in MEASURES for row in measure.rows),
    *ENGINE_ROWS.items(),
)
NAMES = tuple(candidate.name for candidate in CANDIDATES)


def main() -> int:
    """
    Measure, or show what was measured before.

    Returns:
        The status of the process: 1 if something could not be measured. A missed target is none.
    """
    options = _options()
    signal.signal(signal.SIGTERM, _end)
    try:
        if options.show:
            kept = json.loads(Path(options.show).read_text(encoding="utf-8"))
        else:
            kept = Run(_settings(options)).run()
    except (BenchError, EngineError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _tell(kept, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Compare Powerstrip's speed."
    )
    parser.add_argument("--quick", action="store_true", help="one round of little: does it work?")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many rounds (5)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a measure, or a pattern of them: {', '.join(it.name for it in MEASURES)}",
    )
    parser.add_argument(
        "--candidates",
        type=lambda text: text.split(","),
        default=[it.name for it in CANDIDATES if it.workers == 1],
        metavar="NAMES",
        help=f"some of {','.join(NAMES)} (all with one process)",
    )
    parser.add_argument("--engine", action="store_true", help="a real engine as well (root)")
    parser.add_argument("--json", metavar="FILE", help="keep all that was measured")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw how far the targets are met")
    parser.add_argument("--show", metavar="FILE", help="measure nothing: show what --json kept")
    return parser.parse_args()


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        rounds=options.rounds or (1 if options.quick else 5),
        quick=options.quick,
        only=tuple(options.only or ["*"]),
        candidates=tuple(options.candidates),
        engine=options.engine,
    )


def _tell(kept: dict[str, Any], options: argparse.Namespace) -> int:
    results, settings = Results(kept["samples"]), kept["settings"]
    met, of = counted(ROWS, results)
    print(preface(kept), table(ROWS, results), sep="\n\n")
    print(f"\n{met} of {of} targets met; {settings['rounds']} rounds in {settings['seconds']} s")
    if options.json:
        Path(options.json).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        title = f"How many times as good as its target Powerstrip is: {met} of {of} targets met"
        Path(options.plot).write_text(plot(ROWS, results, title), encoding="utf-8")
    return 1 if results.failures else 0


def _end(signal_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


if __name__ == "__main__":
    sys.exit(main())
