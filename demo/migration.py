"""
The demo: a database moves to another host, with its address and its data.

It makes the machines, and has ``run.sh`` tell the story on them. All of it goes when it ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from demo.cluster import why_not
from demo.engine import EngineError
from demo.machines import environment, machines
from demo.place import Occupied
from demo.stage import ROOT, StageError


def main() -> int:
    reason = why_not()
    if reason is not None:
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    # Also where a shell started this in the background, which has SIGINT ignored: POSIX, 2.11.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print("Making three machines, which takes some seconds …", flush=True)
    try:
        with machines() as cluster:
            story = subprocess.run(
                ["./run.sh", "demo"], cwd=ROOT, env={**environment(cluster), "TEST_MODE": "1"}
            )
    except (EngineError, Occupied, StageError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted, and cleaned up", file=sys.stderr)
        return 130
    return story.returncode


if __name__ == "__main__":
    sys.exit(main())
