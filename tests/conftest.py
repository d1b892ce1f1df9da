"""
What every test has: the reactor, a place for sockets, and a watch on Twisted's log.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.interfaces import IReactorCore
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.figures import write_figures


@implementer(ILogObserver)
class LoggedFailures:
    """
    The failures that a test has logged and not yet owned up to.
    """

    def __init__(self) -> None:
        self._failures: list[Failure] = []

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            self._failures.append(failure)

    def flush(self, *kinds: type[BaseException]) -> list[Failure]:
        """
        Take out the failures of these kinds, all where none is named: the test expects them.
        """
        gc.collect()
        wanted = [f for f in self._failures if not kinds or f.check(*kinds)]
        self._failures = [f for f in self._failures if f not in wanted]
        return wanted


def pytest_collection_finish(session: pytest.Session) -> None:
    """
    What has been imported is left out of the collections between tests, which are then cheap.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    What was measured.
    """
    write_figures(terminalreporter)


@pytest.fixture(autouse=True)
def logged_failures() -> Iterator[LoggedFailures]:
    """
    A failure in Twisted's log fails the test, unless it was flushed.

    pytest-twisted lets such a test pass: an error in a callback that nobody waits
    for shows nowhere else. A failed Deferred is logged when it is collected.
    """
    failures = LoggedFailures()
    globalLogPublisher.addObserver(failures)
    yield failures
    gc.collect()
    globalLogPublisher.removeObserver(failures)
    left = failures.flush()
    if left:
        pytest.fail("logged: " + "\n".join(f.getTraceback() for f in left), pytrace=False)


@pytest.fixture(scope="session")
def reactor() -> IReactorCore:
    """
    The reactor that pytest-twisted runs.
    """
    from twisted.internet import reactor

    return reactor


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """
    A directory for sockets: pytest's ``tmp_path`` can be longer than a socket's 107 characters.
    """
    with tempfile.TemporaryDirectory(prefix="ps-", dir="/tmp") as directory:
        yield Path(directory)
