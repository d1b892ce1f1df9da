"""
Two hosts with real engines, Powerstrip and both adapters.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from itertools import count
from pathlib import Path

import pytest

from demo.cluster import Cluster
from demo.cluster import why_not as why_no_cluster
from tests.adapters.weave.networks.kernel_hosts import why_not as why_no_network
from tests.cluster.hosts import Host, Observer

HERE = Path(__file__).parent
CLUSTERS = Path("/tmp/powerstrip-cluster")
"""Not below pytest's own directory: a socket's path has 107 characters at most."""

HOSTS: dict[str, tuple[str, ...]] = {
    "node1": ("--label", "storage=disk"),
    "node2": ("--label", "storage=ssd"),
}
OBSERVER = "observer"
NETWORK = IPv4Interface("10.255.0.0/16")

_hosts_numbers = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Everything in this directory needs engines and is marked so.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """
    The cluster of this test session.

    ``POWERSTRIP_TEST_DOCKERD`` is the command of another dockerd to run.
    """
    reason = why_no_cluster() or why_no_network()
    if reason is not None:
        pytest.skip(reason)
    _remove_clusters_of_dead_sessions()
    dockerd = shlex.split(os.environ.get("POWERSTRIP_TEST_DOCKERD", "dockerd"))
    with Cluster(CLUSTERS, f"c{os.getpid()}", HOSTS, dockerd=dockerd) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def hosts(cluster: Cluster) -> list[Host]:
    """
    The two hosts.
    """
    return [Host(cluster, node) for node in cluster.nodes.values()]


@pytest.fixture
def host1(hosts: list[Host], observer: Observer) -> Iterator[Host]:
    """
    The host on which most happens. Containers go with the test.
    """
    yield hosts[0]
    hosts[0].remove_containers()


@pytest.fixture
def host2(hosts: list[Host], observer: Observer) -> Iterator[Host]:
    """
    The other host, where the observer is. Containers go with the test.
    """
    yield hosts[1]
    hosts[1].remove_containers(OBSERVER)


@pytest.fixture(scope="session")
def observer(hosts: list[Host]) -> Observer:
    """
    A container on the second host, from which others are looked at.
    """
    address = IPv4Interface((NETWORK.network.broadcast_address - 1, NETWORK.network.prefixlen))
    hosts[1].serve(address, "--name", OBSERVER)
    return Observer(
        Path(f"/proc/{hosts[1].docker.pid(OBSERVER)}/ns/net"),
        address,
        hosts[1].docker.must("exec", OBSERVER, "cat", "/www/index.html"),
    )


@pytest.fixture
def new_address() -> Callable[[], IPv4Interface]:
    """
    A function that gives an address which no test has had. All are on the observer's network.
    """

    def give() -> IPv4Interface:
        number = IPv4Address(int(NETWORK.ip) + next(_hosts_numbers))
        return IPv4Interface((number, NETWORK.network.prefixlen))

    return give


@pytest.fixture
def address(new_address: Callable[[], IPv4Interface]) -> IPv4Interface:
    """
    An address that no test has had.
    """
    return new_address()


def _remove_clusters_of_dead_sessions() -> None:
    for left in CLUSTERS.glob("c*"):
        if not Path("/proc", left.name.removeprefix("c")).exists():
            Cluster(CLUSTERS, left.name, HOSTS).stop()
