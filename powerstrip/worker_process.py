"""
A process that is a worker: ``python -m powerstrip.worker_process``, as its parent starts it.

I/O: chooses the reactor, which must be there before anything else asks for one.
"""

from __future__ import annotations

import signal
from typing import ClassVar, cast

from twisted.python.reflect import namedAny

from powerstrip.net.reactor import Reactor
from powerstrip.options import Options


class WorkerOptions(Options):
    """
    What the parent says.
    """

    optParameters: ClassVar = [
        ["number", None, None, "Which of the workers this is.", int],
        ["sockets", None, None, "How many sockets there are.", int],
        ["reactor", None, None, "The module of the reactor."],
    ]
    optFlags: ClassVar = [["parent-logs", None, "The parent writes the log."]]


def main() -> None:
    """
    Be a worker.
    """
    options = WorkerOptions()
    options.parseOptions()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which tells us
    namedAny(f"{options['reactor']}.install")()
    from twisted.internet import reactor

    from powerstrip.worker import run

    run(options, cast(Reactor, reactor))


if __name__ == "__main__":
    main()
