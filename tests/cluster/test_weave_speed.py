"""
How fast the network is, and what the adapter costs, beside the engine alone.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from statistics import median

import pytest
from attrs import frozen
from powerstrip_weave.networks.arp import ProbeTimes

from tests.cluster.hosts import Host

NewAddress = Callable[[], IPv4Interface]
RecordProperty = Callable[[str, object], None]

HERE = Path(__file__).parent
PORT = 9
ROUNDS = 3
SECONDS = "0.3"
RUNS = 5


@frozen
class Speed:
    """
    What a network does in one moment.
    """

    mib_per_second: float
    round_trip_us: float


@pytest.fixture(scope="module")
def link_speed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """
    The program that measures.
    """
    program = tmp_path_factory.mktemp("speed") / "link_speed"
    source = HERE / "link_speed.c"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, source], check=True)
    return str(program)


def test_the_network_is_about_as_fast_as_the_engines(
    host1: Host,
    host2: Host,
    new_address: NewAddress,
    link_speed: str,
    record_property: RecordProperty,
) -> None:
    """
    Between two hosts there is a good part of what the engine's own bridge does in one host.
    """
    idle = ("busybox", "sleep", "600")
    here, there = new_address(), new_address()
    near, client = (host1.docker.must("run", "-d", *idle) for _ in range(2))
    far, far_client = host2.run(there, *idle), host1.run(here, *idle)
    bridge = host1.docker.must("inspect", "--format", "{{.NetworkSettings.IPAddress}}", near)

    bridges, overlays = [], []
    with (
        serving(link_speed, host1.docker.pid(near)),
        serving(link_speed, host2.docker.pid(far)),
    ):
        for _ in range(ROUNDS):
            pid = host1.docker.pid(client)
            bridges.append(speed(link_speed, pid, IPv4Address(bridge)))
            pid = host1.docker.pid(far_client)
            overlays.append(speed(link_speed, pid, there.ip))

    of_bridge, of_overlay = middle(bridges), middle(overlays)
    throughput = of_overlay.mib_per_second / of_bridge.mib_per_second
    latency = of_overlay.round_trip_us / of_bridge.round_trip_us
    record_property(
        "figure",
        f"weave: between two hosts {of_overlay.mib_per_second:.0f} MiB/s and a round trip of"
        f" {of_overlay.round_trip_us:.0f} us; the engine's bridge in one"
        f" {of_bridge.mib_per_second:.0f} MiB/s and {of_bridge.round_trip_us:.0f} us:"
        f" throughput x{throughput:.2f}, latency x{latency:.2f}",
    )
    assert throughput > 0.2
    assert latency < 4


def test_the_adapter_adds_little_to_docker_run(
    host1: Host, new_address: NewAddress, record_property: RecordProperty
) -> None:
    """
    Beyond the time for asking whether the address is free, it adds under 150 ms.
    """
    with_address, without = [], []
    for _ in range(RUNS):
        without.append(seconds_to_run(host1))
        with_address.append(seconds_to_run(host1, "-e", f"WEAVE_CIDR={new_address()}"))

    times = ProbeTimes()
    check_ms = 1000 * times.count * times.interval_seconds
    added_ms = 1000 * (median(with_address) - median(without))
    record_property(
        "figure",
        f"weave: docker run ... true takes {1000 * median(without):.0f} ms, and"
        f" {added_ms:.0f} ms more with an address: {check_ms:.0f} ms for the address check and"
        f" {added_ms - check_ms:.0f} ms besides",
    )
    assert added_ms - check_ms < 150


def seconds_to_run(host: Host, *options: str) -> float:
    began = time.monotonic()
    host.docker.must("run", "--rm", *options, "busybox", "true")
    return time.monotonic() - began


@contextmanager
def serving(link_speed: str, pid: int) -> Iterator[None]:
    """
    The server of a measurement, in the network of a process.
    """
    with subprocess.Popen(
        inside(pid, link_speed, "serve", str(PORT)), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield
        server.kill()


def speed(link_speed: str, pid: int, server: IPv4Address) -> Speed:
    """
    Measure how fast a server is reached from the network of a process.
    """
    sent, asked = (
        subprocess.run(
            inside(pid, link_speed, what, str(server), str(PORT), SECONDS),
            check=True,
            capture_output=True,
            text=True,
        )
        for what in ("send", "ask")
    )
    return Speed(float(sent.stdout) / 2**20, 1e6 * float(asked.stdout))


def middle(speeds: list[Speed]) -> Speed:
    return Speed(
        median(it.mib_per_second for it in speeds), median(it.round_trip_us for it in speeds)
    )


def inside(pid: int, *command: str) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
