"""
What keeps the network's frames out of iptables, and what is told where nothing does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from powerstrip_weave.networks import node
from powerstrip_weave.networks.arp import ProbeTimes
from powerstrip_weave.networks.node import Node
from powerstrip_weave.networks.overlay import Overlay
from powerstrip_weave.networks.past_iptables import PastIptables
from powerstrip_weave.networks.peers import PeerList

from tests.adapters.weave.networks.kernel_hosts import Cable, KernelHost, why_not

SYSCTLS = Path("/proc/sys/net/bridge")

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(not SYSCTLS.exists(), reason="no br_netfilter"),
]


class NoPrograms(PastIptables):
    """
    A kernel that takes no BPF programs.
    """

    def __init__(self) -> None:
        raise OSError("no bpf(2) here")


@pytest.fixture
def host() -> Iterator[KernelHost]:
    """
    A host, and no other.
    """
    cable = Cable(1)
    yield cable.hosts[0]
    cable.close()


def problems(host: KernelHost) -> tuple[str, ...]:
    """
    What a node that starts on this host has to tell.
    """
    started = Node(PeerList(), Overlay(), ProbeTimes(), host.path)
    try:
        started.start()
        return started.health().problems
    finally:
        started.stop()


def set_sysctl(host: KernelHost, name: str, value: str) -> None:
    host.namespace.within(lambda: (SYSCTLS / name).write_text(value))


def test_there_is_no_problem(host: KernelHost) -> None:
    """
    The kernel filters bridges, and its frames are taken past that.
    """
    set_sysctl(host, "bridge-nf-call-iptables", "1")
    assert problems(host) == ()


def test_a_kernel_without_programs(host: KernelHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The network works, unless iptables drops its frames: that is told where it may.
    """
    monkeypatch.setattr(node, "PastIptables", NoPrograms)
    set_sysctl(host, "bridge-nf-call-iptables", "1")
    (problem,) = problems(host)
    assert "net.bridge.bridge-nf-call-iptables is 1" in problem
    assert "no bpf(2) here" in problem
    set_sysctl(host, "bridge-nf-call-iptables", "0")
    assert problems(host) == ()


def test_a_kernel_that_filters_tagged_frames(host: KernelHost) -> None:
    """
    That is off by default, and told where somebody has turned it on.
    """
    set_sysctl(host, "bridge-nf-call-iptables", "1")
    set_sysctl(host, "bridge-nf-filter-vlan-tagged", "1")
    (problem,) = problems(host)
    assert "net.bridge.bridge-nf-filter-vlan-tagged is 1" in problem
