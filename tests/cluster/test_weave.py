"""
Addresses of the weave adapter on two hosts.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from ipaddress import IPv4Interface

import pytest

from tests.cluster.asking import asking_all_the_time, longest_silence
from tests.cluster.hosts import SERVE, SHOW, Host, Observer, until

NewAddress = Callable[[], IPv4Interface]
RecordProperty = Callable[[str, object], None]


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

    assert (pinged.status, pinged.stderr) == (0, "")


def test_containers_of_one_host_reach_each_other(host1: Host, new_address: NewAddress) -> None:
    """
    A command that is a ping of another container of the same host succeeds on its first try.
    """
    there, here = new_address(), new_address()
    host1.serve(there)

    ping = ("ping", "-c", "1", "-W", "1", str(there.ip))
    pinged = host1.docker("run", "--rm", "-e", f"WEAVE_CIDR={here}", "busybox", *ping)

    assert (pinged.status, pinged.stderr) == (0, "")


def test_big_packets_arrive(host1: Host, observer: Observer, address: IPv4Interface) -> None:
    """
    What is longer than a packet on the tunnel crosses it, both ways.
    """
    # With -e the command has the connection to itself: nc alone may end with bytes in its hands.
    serve = "nc -l -p 9 -e wc -c & nc -l -p 10 -e head -c 1000000 /dev/zero; wait"
    host1.run(address, "busybox", "sh", "-c", serve)

    connect = "busybox nc -w 5 {} {}; do sleep 0.05; done"
    send = "until head -c 1000000 /dev/zero | " + connect.format(address.ip, 9)
    receive = "until </dev/null " + connect.format(address.ip, 10) + " | wc -c"

    assert [_said(observer, send), _said(observer, receive)] == ["1000000", "1000000"]


def _said(observer: Observer, command: str) -> str:
    done = subprocess.run(
        ["nsenter", f"--net={observer.namespace}", "sh", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # until the container listens, it says that it can't connect
        text=True,
        timeout=20,
    )
    return done.stdout.strip()


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
        said = observer.answer_of(address)
        until(lambda: time.monotonic() > started + 0.5)

    last_of_old = max(answer.at_seconds for answer in answers if answer.said != said)
    first_of_new = min(answer.at_seconds for answer in answers if answer.said == said)
    gap = first_of_new - last_of_old
    record_property(
        "figure",
        f"weave: moved address: silent for {gap:.2f} s, of which docker stop took"
        f" {stopped - began:.2f} s and docker run {started - stopped:.2f} s; answers"
        f" {1000 * (first_of_new - started):+.0f} ms after docker run has ended",
    )
    assert first_of_new < started + 1
    assert gap < 2
    assert new


@pytest.mark.parametrize("where", ["host1", "host2"])
def test_an_address_in_use_is_refused(
    host1: Host, host2: Host, observer: Observer, address: IPv4Interface, where: str
) -> None:
    """
    Who runs a second container with an address, on the same host or another, is told that it is
    in use and by whom; the second one does not run on, and the first one keeps working.
    """
    first = host1.serve(address)
    said = observer.answer_of(address)
    other = {"host1": host1, "host2": host2}[where].docker

    with asking_all_the_time(observer, address) as answers:
        environment = ("-e", f"WEAVE_CIDR={address}")
        refused = other("run", "-d", "--name", "second", *environment, "busybox", "sleep", "600")

    sentence = f"weave: the address {address.ip} is in use on the network by "
    holder = f"(the container {first[:10]})"
    assert refused.status == 125
    assert sentence in refused.stderr
    assert holder in refused.stderr
    until(lambda: other.pid("second") == 0, timeout_seconds=2)
    assert {answer.said for answer in answers} == {said}
    assert longest_silence(answers) < 0.5
    assert observer.asks(address) == said


def test_a_refused_container_can_be_started_later(
    host1: Host, host2: Host, observer: Observer, address: IPv4Interface
) -> None:
    """
    A container whose address was in use gets it, by docker start, once that is free.
    """
    first = host1.serve(address)
    environment = ("-e", f"WEAVE_CIDR={address}")
    host2.docker("run", "-d", "--name", "second", *environment, "busybox", "sh", "-c", SERVE)
    said = observer.answer_of(address)

    host1.docker.must("rm", "--force", first)
    host2.docker.must("start", "second")

    assert observer.answer_of(address, but=said)


def test_a_crowd_of_containers_starts_at_once(
    host1: Host,
    host2: Host,
    observer: Observer,
    new_address: NewAddress,
    record_property: RecordProperty,
) -> None:
    """
    Each of twenty containers that are started at the same time, on two hosts, has its address
    when its command begins.
    """
    ping = ("ping", "-c", "1", "-W", "2", str(observer.address.ip))
    began = time.monotonic()
    runs = [
        (
            new,
            host.docker.begin("run", "-e", f"WEAVE_CIDR={new}", "busybox", "sh", "-c", SHOW, *ping),
        )
        for host in (host1, host2)
        for new in (new_address() for _ in range(10))
    ]
    outcomes = [(new, *run.communicate(timeout=60), run.returncode) for new, run in runs]
    took = time.monotonic() - began

    assert [(str(new), "", 0) for new, _ in runs] == [
        (out.splitlines()[0], err, status) for _, out, err, status in outcomes
    ]
    record_property("figure", f"weave: 20 containers at once: all have pinged after {took:.1f} s")
