"""
The examples for orchestrators, as they are: addresses and datasets by nothing but their own files.
"""

from __future__ import annotations

from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.cluster.docker import client
from tests.cluster.hosts import Host, Observer, until
from tests.cluster.orchestrators import (
    COMPOSES,
    ORCHESTRATORS,
    Desk,
    Orchestrator,
)

ADDRESS = IPv4Interface("10.255.7.1/16")
"""That of the examples."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """
    A directory of the user's own.
    """
    return Desk(tmp_path)


def ready(orchestrator: Orchestrator, desk: Desk, *hosts: Host) -> None:
    """
    Do what its user does once.
    """
    if not orchestrator.needs.exists():
        pytest.skip(f"no {orchestrator.needs}: scripts/install-orchestrators")
    orchestrator.prepare(desk, hosts)


def starts(observer: Observer) -> list[str]:
    """
    What the example's page says: the container of each start, the first one first.
    """
    return observer.answer_of(ADDRESS).split()


def running(host: Host) -> list[str]:
    """
    The short ids of a host's running containers that are of an example.
    """
    return host.docker.must("ps", "--quiet", "--filter", "name=notes").split()


@pytest.mark.parametrize("name", ORCHESTRATORS)
def test_a_server_moves_with_its_address_and_its_data(
    host1: Host, host2: Host, observer: Observer, desk: Desk, name: str
) -> None:
    """
    On the other node it serves at its address, and has what it wrote on the first one; and where
    nothing is to be done, nothing is. The next orchestrator begins by moving it back.
    """
    orchestrator = ORCHESTRATORS[name]
    ready(orchestrator, desk, host1, host2)
    pages = []

    for here, elsewhere in ((host1, host2), (host2, host1)):
        orchestrator.put(desk, here, elsewhere)
        pages.append(starts(observer))
        assert [pages[-1][-1:], []] == [running(here), running(elsewhere)]

    first, second = pages
    assert first == second[:-1]
    if orchestrator.compares:
        orchestrator.put(desk, host2, host1)
        assert second == starts(observer)


@pytest.mark.parametrize("name", COMPOSES)
def test_compose_makes_a_container_again_or_says_why_it_can_not(
    host1: Host, host2: Host, observer: Observer, desk: Desk, name: str
) -> None:
    """
    It makes one of an older one, whose dataset has been on the other node in between; where a
    server still has it there, the user reads the adapter's sentence.
    """
    compose = COMPOSES[name]
    ready(compose, desk, host1, host2)
    again = compose.line(host1, "up", "--detach", "--force-recreate")
    compose.put(desk, host1, host2)
    first = starts(observer)

    desk(*again)
    second = starts(observer)
    desk(*compose.line(host1, "stop"))
    desk(*compose.line(host2, "up", "--detach"))
    third = starts(observer)
    user = host2.docker.must("ps", "--filter", "name=notes", "--format", "{{.Names}}")
    refused = desk.run(*again)
    desk(*compose.line(host2, "stop"))
    desk(*again)
    fourth = starts(observer)

    assert [first, second, third] == [second[:-1], third[:-1], fourth[:-1]]
    assert refused.status == 1
    assert f"flocker: notes is used by {user} on node2" in refused.stderr


def test_the_api_that_swarm_speaks_is_served(host1: Host, desk: Desk, observer: Observer) -> None:
    """
    Swarm as it was before it became part of the engine asks engines in API 1.25, and sends on what
    it doesn't know itself.
    """
    serve = "echo 1.25 >/data/index.html; exec httpd -f -h /data"
    swarm = {"DOCKER_HOST": host1.docker.host, "DOCKER_API_VERSION": "1.25"}
    both = ("-e", f"WEAVE_CIDR={ADDRESS}", "-v", "/flocker/by-swarm:/data")

    desk(client(), "run", "--detach", *both, "busybox", "sh", "-c", serve, **swarm)

    until(lambda: observer.asks(ADDRESS) == "1.25")
