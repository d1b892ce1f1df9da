"""
The parent of workers: when it starts them again, and how it ends them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from powerstrip.net.reactor import Reactor
from powerstrip.supervisor import Worker, WorkerCommand

KILLED = ProcessTerminated(None, signal.SIGKILL, signal.SIGKILL)
FAILED = ProcessTerminated(1, None, 256)
DONE = ProcessDone(0)


class FakeProcess:
    """
    A process of which a test says when it ends.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.done: list[str] = []

    def closeStdin(self) -> None:
        self.done.append("closed")

    def signalProcess(self, name: str) -> None:
        self.done.append(name)


class FakeCommand:
    """
    Notes when a worker was started.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.starts: list[float] = []
        self.problem: OSError | None = None

    def spawn(self, _reactor: Any, protocol: Worker, _number: int, _sockets: Sequence[int]) -> None:
        self.starts.append(self.clock.seconds())
        if self.problem is not None:
            raise self.problem
        protocol.makeConnection(cast(Any, FakeProcess(100 + len(self.starts))))


class Scene:
    """
    A worker whose time and processes are in the test's hands.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.command = FakeCommand(self.clock)
        command, reactor = cast(WorkerCommand, self.command), cast(Reactor, self.clock)
        self.worker = Worker(1, command, [], reactor)
        self.events: list[LogEvent] = []

    @property
    def process(self) -> FakeProcess:
        """
        The one that there is.
        """
        return cast(FakeProcess, self.worker.transport)

    def end(self, reason: Exception) -> None:
        """
        Have the process end.
        """
        self.worker.processEnded(Failure(reason))

    def log(self) -> list[str]:
        """
        What was logged of ends.
        """
        lines = [str(formatEvent(event)) for event in self.events]
        return [line for line in lines if "the next one" in line or "killed" in line]


@pytest.fixture
def scene() -> Any:
    """
    A worker that was started, and a log.
    """
    scene = Scene()
    globalLogPublisher.addObserver(scene.events.append)
    scene.worker.start()
    yield scene
    globalLogPublisher.removeObserver(scene.events.append)


def test_a_worker_that_dies_at_once_is_started_less_and_less_often(scene: Scene) -> None:
    """
    At once, then after 1, 2, 4, ... seconds, and at last every 30.
    """
    for wait in (0, 1, 2, 4, 8, 16, 30, 30, 30):
        scene.end(FAILED)
        assert scene.log()[-1].endswith(f" in {wait} s" if wait else " now")
        starts = len(scene.command.starts)
        scene.clock.advance(wait)
        assert len(scene.command.starts) == starts + 1


def test_the_wait_is_as_long_as_is_told(scene: Scene) -> None:
    """
    Not a moment less.
    """
    scene.end(FAILED)
    scene.clock.advance(0)
    scene.end(FAILED)
    scene.clock.advance(0.99)
    assert len(scene.command.starts) == 2
    scene.clock.advance(0.01)
    assert len(scene.command.starts) == 3


def test_a_worker_that_has_worked_is_started_at_once(scene: Scene) -> None:
    """
    However often those before it have died.
    """
    for _ in range(4):
        scene.end(FAILED)
        scene.clock.advance(10)
    scene.clock.advance(10)
    scene.end(KILLED)
    assert scene.log()[-1] == "worker 1 was killed by SIGKILL; the next one is started now"


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        (KILLED, "was killed by SIGKILL"),
        (ProcessTerminated(None, 50, 50), "was killed by signal 50"),
        (FAILED, "ended with status 1"),
        (DONE, "ended with status 0"),
    ],
)
def test_the_log_says_how_a_worker_died(scene: Scene, reason: Exception, what: str) -> None:
    """
    By a signal, or by itself.
    """
    scene.end(reason)
    assert scene.log() == [f"worker 1 {what}; the next one is started now"]


def test_a_process_that_can_not_be_made_is_tried_again(scene: Scene) -> None:
    """
    As one that dies at once.
    """
    scene.command.problem = OSError(11, "Resource temporarily unavailable")
    scene.end(KILLED)
    scene.clock.advance(0)
    scene.command.problem = None
    scene.clock.advance(1)
    assert scene.command.starts == [0, 0, 1]
    assert scene.log()[1] == (
        "worker 1 can't be started: Resource temporarily unavailable; the next one is started"
        " in 1 s"
    )


def test_a_worker_is_told_to_stop_and_waited_for(scene: Scene) -> None:
    """
    Nobody comes after it.
    """
    stopped = Deferred.fromCoroutine(scene.worker.stop(10))
    assert scene.process.done == ["closed"]
    assert not stopped.called
    scene.end(DONE)
    assert stopped.called
    scene.clock.advance(100)
    assert scene.clock.getDelayedCalls() == []
    assert len(scene.command.starts) == 1


def test_a_worker_that_does_not_stop_is_killed(scene: Scene) -> None:
    """
    When its time is over.
    """
    stopped = Deferred.fromCoroutine(scene.worker.stop(10))
    process = scene.process
    scene.clock.advance(9.9)
    assert process.done == ["closed"]
    scene.clock.advance(0.1)
    assert process.done == ["closed", "KILL"]
    assert not stopped.called
    scene.end(KILLED)
    assert stopped.called
    assert scene.log() == ["worker 1 does not stop, and is killed"]


def test_a_worker_that_waits_for_its_start_is_not_started(scene: Scene) -> None:
    """
    Once it is told to stop.
    """
    scene.end(KILLED)
    stopped = Deferred.fromCoroutine(scene.worker.stop(10))
    assert stopped.called
    scene.clock.advance(100)
    assert len(scene.command.starts) == 1


def test_workers_find_the_same_modules_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    ``twistd --rundir`` changes the directory, and a directory is no place for modules.
    """
    reactor = cast(Reactor, Clock())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", ["", "here", "/there"])
        command = WorkerCommand.of(["--trace"], {"A": "b"}, reactor, logs_to_output=False)
    assert command.words == (
        *(sys.executable, "-P", "-m", "powerstrip.worker_process", "--trace"),
        *("--reactor=twisted.internet.task", "--parent-logs"),
    )
    assert command.environment == {"A": "b", "PYTHONPATH": f"{os.getcwd()}/here:/there"}
