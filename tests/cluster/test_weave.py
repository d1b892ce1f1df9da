"""
Addresses of the weave adapter on two hosts.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path

from attrs import frozen

from tests.cluster.hosts import SERVE, Host, Observer, until

NewAddress = Callable[[], IPv4Interface]
RecordProperty = Callable[[str, object], None]

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


def test_containers_reach_each_other_across_hosts(
    host1: Host, host2: Host, new_address: NewAddress
) -> None:
    """
    A command that is a ping of a container on another host succeeds on its first try.
    """
    there, here = new_address(), new_address()
    host1.serve(there)

    ping = ("ping", "-c", "1", "-W", "1", str(there.ip))
    pinged = host2.docker("run", "--rm", "-e", f"WEAVE_CIDR={here}", "busybox", *ping)

    assert (0, "") == (pinged.status, pinged.stderr)


def test_containers_of_one_host_reach_each_other(host1: Host, new_address: NewAddress) -> None:
    """
    A command that is a ping of another container of the same host succeeds on its first try.
    """
    there, here = new_address(), new_address()
    host1.serve(there)

    ping = ("ping", "-c", "1", "-W", "1", str(there.ip))
    pinged = host1.docker("run", "--rm", "-e", f"WEAVE_CIDR={here}", "busybox", *ping)

    assert (0, "") == (pinged.status, pinged.stderr)


def test_big_packets_arrive(host1: Host, observer: Observer, address: IPv4Interface) -> None:
    """
    What is longer than a packet on the tunnel crosses it, both ways.
    """
    count = "head -c 1000000 /dev/zero | nc -l -p 9 | wc -c"
    host1.run(address, "--name", "big", "busybox", "sh", "-c", count)

    sent = "head -c 1000000 /dev/zero | busybox nc -w 5 {} 9 | wc -c"
    received = subprocess.run(
        ["nsenter", f"--net={observer.namespace}", "sh", "-c", sent.format(address.ip)],
        capture_output=True,
        text=True,
    )

    assert "1000000" == received.stdout.strip()
    assert "0" == host1.docker.must("wait", "big")
    assert "1000000" == host1.docker.must("logs", "big")


def test_an_address_moves_with_its_container(
    host1: Host,
    host2: Host,
    observer: Observer,
    address: IPv4Interface,
    record_property: RecordProperty,
) -> None:
    """
    Clients see a container again, within two seconds, that has been moved to another host.
    """
    old = host1.serve(address)
    observer.answer_of(address)

    with asking_all_the_time(observer, address) as answers:
        began = time.monotonic()
        host1.docker.must("stop", old)
        stopped = time.monotonic()
        new = host2.serve(address)
        started = time.monotonic()
        said = observer.answer_of(address).strip()
        until(lambda: time.monotonic() > started + 0.5)

    last_of_old = max(answer.at_seconds for answer in answers if answer.said != said)
    first_of_new = min(answer.at_seconds for answer in answers if answer.said == said)
    gap = first_of_new - last_of_old
    record_property(
        "cluster figure",
        f"moved address: silent for {gap:.2f} s, of which docker stop took"
        f" {stopped - began:.2f} s and docker run {started - stopped:.2f} s; answers"
        f" {1000 * (first_of_new - started):+.0f} ms after docker run has ended",
    )
    assert first_of_new < started + 1
    assert gap < 2
    assert new
