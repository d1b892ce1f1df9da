"""
Somebody who asks a server all the time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Interface
from itertools import pairwise
from pathlib import Path

from attrs import frozen

from tests.cluster.hosts import Observer

HERE = Path(__file__).parent


@frozen
class Answer:
    """
    One answer of a server.
    """

    at_seconds: float
    said: str

    @classmethod
    def parse(cls, line: str) -> Answer:
        at_seconds, said = line.split()
        return cls(float(at_seconds), said)


@contextmanager
def asking_all_the_time(observer: Observer, address: IPv4Interface) -> Iterator[list[Answer]]:
    """
    An open loop of requests from the observer. The answers are there when it has ended.
    """
    command = [sys.executable, str(HERE / "open_loop.py"), str(address.ip)]
    answers: list[Answer] = []
    with subprocess.Popen(
        ["nsenter", f"--net={observer.namespace}", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as loop:
        assert loop.stdout is not None
        answers.append(Answer.parse(loop.stdout.readline()))
        yield answers
        answers += map(Answer.parse, loop.communicate()[0].splitlines())


def longest_silence(answers: Sequence[Answer]) -> float:
    """
    The most seconds between two answers.
    """
    times = sorted(answer.at_seconds for answer in answers)
    return max(later - earlier for earlier, later in pairwise(times))
