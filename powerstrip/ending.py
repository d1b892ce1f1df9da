"""
The regular end of the process, which SIGTERM brings about as well.

I/O: a signal handler.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType

from twisted.internet.error import ReactorNotRunning

from powerstrip.net.reactor import Reactor


def stop(reactor: Reactor) -> None:
    """
    Stop the reactor, unless it stops already.
    """
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def stop_at_sigterm(reactor: Reactor) -> None:
    """
    Have SIGTERM stop the reactor: Twisted would end the process by the signal itself, and not with
    status 0.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(stop, reactor)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handle)
