"""
The demo: a database moves to another host, with its address and its data.

It makes the machines, and has ``run.sh`` tell the story on them. All of it goes when it ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from demo.cluster import why_not
from demo.machines import DEFAULT_NAME, FAILURES, environment, machines
from demo.stage import ROOT


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.strip().splitlines()[0])
    parser.add_argument("--name", default=DEFAULT_NAME, help="for a demo beside others")
    options = parser.parse_args(words)
    reason = why_not()
    if reason is not None:
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    print("Three machines are made, each node with an engine and adapters …", flush=True)
    began = time.monotonic()
    try:
        with machines(options.name) as cluster:
            print(f"They are ready after {time.monotonic() - began:.0f} s.\n", flush=True)
            story = subprocess.run(
                ["./run.sh", "demo"], cwd=ROOT, env={**environment(cluster), "TEST_MODE": "1"}
            )
    except FAILURES as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted, and cleaned up", file=sys.stderr)
        return 130
    return story.returncode


if __name__ == "__main__":
    sys.exit(main())
