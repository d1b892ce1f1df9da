"""
The kernel's own network, on hosts that are network namespaces.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
import pytest_twisted
from attrs import evolve
from powerstrip_weave.errors import AddressInUse, NetworkError, NotRunning
from powerstrip_weave.interfaces import RunningContainer
from powerstrip_weave.networks.arp import ProbeTimes
from powerstrip_weave.networks.namespaces import namespace_of
from powerstrip_weave.networks.peers import PeerList
from powerstrip_weave.networks.vxlan import ANNOUNCE_INTERVAL_SECONDS, BEAT_SECONDS
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from tests.adapters.weave.networks.contract import A, B, NetworkContract
from tests.adapters.weave.networks.kernel_hosts import (
    Cable,
    KernelHost,
    echoes_from,
    ip,
    reaches,
    why_not,
)

HERE = Path(__file__).parent
ANYONE = IPv4Interface("10.253.9.9/16")

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def cable() -> Iterator[Cable]:
    """
    Two hosts on one network.
    """
    cable = Cable(2)
    yield cable
    cable.close()


@pytest.fixture
def hosts(cable: Cable) -> list[KernelHost]:
    """
    Two hosts that have each other as peers.
    """
    started(cable.hosts)
    return cable.hosts


@pytest.fixture
def ipv6_hosts() -> Iterator[list[KernelHost]]:
    """
    Two hosts that have each other as peers, by IPv6.
    """
    cable = Cable(2, "2001:db8::")
    started(cable.hosts)
    yield cable.hosts
    cable.close()


def started(hosts: list[KernelHost]) -> None:
    """
    Start the network of hosts that all have the same list of peers, themselves in it.
    """
    for host in hosts:
        host.new_network(PeerList([host.own for host in hosts]))
        pytest_twisted.blockon(Deferred.fromCoroutine(host.network.start()))


async def pause(seconds: float) -> None:
    """
    Let the reactor run.
    """
    await deferLater(IReactorTime(reactor), seconds)


async def until(holds: Callable[[], bool], *hosts: KernelHost) -> None:
    """
    Wait until something holds, for ten seconds at most, while the hosts' time goes by.
    """
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        for host in hosts:
            host.clock.advance(BEAT_SECONDS)
        await pause(0.02)


class TestVxlanNetwork(NetworkContract):
    """
    The contract, on one host of the two.
    """

    @pytest.fixture
    def host(self, hosts: list[KernelHost]) -> KernelHost:
        return hosts[0]


class TestTwoHosts:
    """
    What is so across hosts.
    """

    @pytest_twisted.ensureDeferred
    async def test_the_first_ping_is_answered(self, hosts: list[KernelHost]) -> None:
        """
        On the same host and across hosts, with iptables set to drop all that is forwarded.
        """
        one, two, near = hosts[0].run(), hosts[1].run(), hosts[1].run()
        await hosts[0].network.attach(one, (A,))
        await hosts[1].network.attach(two, (B,))
        assert reaches(one, B)
        await hosts[1].network.attach(near, (ANYONE,))
        assert reaches(near, B)
        assert reaches(one, ANYONE)

    @pytest_twisted.ensureDeferred
    async def test_packets_go_past_iptables(self, hosts: list[KernelHost]) -> None:
        """
        Not one is counted, and without the filters that see to it iptables drops them.
        """
        if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
            pytest.skip("no br_netfilter")
        host = hosts[0]
        one, two = host.run(), host.run()
        await host.network.attach(one, (A,))
        await host.network.attach(two, (B,))
        assert reaches(one, B)
        assert "policy DROP 0 packets" in host.iptables("-L", "FORWARD", "-v")
        for name in host.links():
            if name.startswith("wv-"):
                subprocess.run(["tc", "-n", host.name, "qdisc", "del", "dev", name, "clsact"])
        assert not reaches(one, B)

    @pytest_twisted.ensureDeferred
    async def test_an_address_of_another_host_is_refused(self, hosts: list[KernelHost]) -> None:
        """
        The error says which container has it, and that one keeps it.
        """
        first, second, third = hosts[0].run(), hosts[1].run(), hosts[1].run()
        await hosts[0].network.attach(first, (A,))
        with pytest.raises(AddressInUse, match=f"{A.ip} is in use .*{first.id[:10]}"):
            await hosts[1].network.attach(second, (B, A))
        assert set() == hosts[1].addresses(second)
        await hosts[1].network.attach(third, (B,))
        assert reaches(third, A)

    @pytest.mark.parametrize("head_start_seconds", [0, 0.05, 0.15, 0.25, 0.29])
    @pytest_twisted.ensureDeferred
    async def test_one_of_two_at_the_same_time_wins(
        self, cable: Cable, head_start_seconds: float
    ) -> None:
        """
        However their probes overlap, exactly one of two containers gets the address.
        """
        for host in cable.hosts:
            host.new_network(PeerList([host.own for host in cable.hosts]), ProbeTimes())
            await host.network.start()
        containers = [host.run() for host in cable.hosts]

        async def attach(host: KernelHost, container: RunningContainer, later: float) -> None:
            await pause(later)
            await host.network.attach(container, (A,))

        outcomes = await DeferredList(
            [
                Deferred.fromCoroutine(attach(host, container, later))
                for host, container, later in zip(
                    cable.hosts, containers, (0, head_start_seconds), strict=True
                )
            ],
            consumeErrors=True,
        )
        assert sorted(success for success, _ in outcomes) == [False, True]
        assert [set(), {A}] == sorted(
            (host.addresses(c) for host, c in zip(cable.hosts, containers, strict=True)), key=len
        )
        assert all(success or outcome.check(AddressInUse) for success, outcome in outcomes)

    @pytest_twisted.ensureDeferred
    async def test_a_moved_address_answers_within_a_second(self, hosts: list[KernelHost]) -> None:
        """
        A third container that talks to it all the time sees it again.
        """
        old, new, third = hosts[0].run(), hosts[1].run(), hosts[0].run()
        await hosts[0].network.attach(old, (A,))
        await hosts[0].network.attach(third, (B,))
        with namespace_of(third) as namespace, echoes_from(namespace) as echoes:
            assert echoes.ask(A.ip)
            hosts[0].end(old)
            await hosts[0].network.detach(old.id)
            assert not echoes.ask(A.ip, 0.05)
            await hosts[1].network.attach(new, (A,))
            begin = time.monotonic()
            while not echoes.ask(A.ip, 0.02):
                assert time.monotonic() < begin + 1

    @pytest_twisted.ensureDeferred
    async def test_an_address_can_follow_a_container_at_once(self, cable: Cable) -> None:
        """
        The old container has ended but its namespace answers still: that is waited for.
        """
        for host in cable.hosts:
            host.new_network(PeerList([host.own for host in cable.hosts]), ProbeTimes())
            await host.network.start()
        old, new = cable.hosts[0].run(), cable.hosts[1].run()
        await cable.hosts[0].network.attach(old, (A,))
        cable.hosts[0].clock.advance(ANNOUNCE_INTERVAL_SECONDS)
        with namespace_of(old):  # as the kernel does, until it has taken it apart
            moving = Deferred.fromCoroutine(cable.hosts[1].network.attach(new, (A,)))
            cable.hosts[0].end(old)
            await pause(0.5)
            assert not moving.called
        await moving
        assert {A} == cable.hosts[1].addresses(new)

    @pytest_twisted.ensureDeferred
    async def test_neighbours_are_told_twice(self, hosts: list[KernelHost]) -> None:
        """
        Should the first announcement be lost, the second has them learn the new place.
        """
        old, new, third = hosts[0].run(), hosts[1].run(), hosts[0].run()
        await hosts[0].network.attach(old, (A,))
        await hosts[0].network.attach(third, (B,))
        assert reaches(third, A)
        await hosts[0].network.detach(old.id)
        ip("-n", hosts[1].name, "link", "set", "net0", "down")
        await hosts[1].network.attach(new, (A,))
        ip("-n", hosts[1].name, "link", "set", "net0", "up")
        assert not reaches(third, A)
        hosts[1].clock.advance(ANNOUNCE_INTERVAL_SECONDS)
        assert reaches(third, A)

    @pytest_twisted.ensureDeferred
    async def test_a_big_packet_of_the_mtu_arrives(self, hosts: list[KernelHost]) -> None:
        """
        Whole, through a tunnel below which 1500 bytes are the most; one byte more can't be sent.
        """
        one, two = hosts[0].run(), hosts[1].run()
        await hosts[0].network.attach(one, (A,))
        await hosts[1].network.attach(two, (B,))
        ping = ["nsenter", f"--net=/proc/{one.pid}/ns/net", sys.executable]
        script = str(HERE / "big_packet.py")
        sizes = [
            subprocess.run([*ping, script, str(B.ip), str(size)], capture_output=True).returncode
            for size in (1450, 1451)
        ]
        assert sizes == [0, 1]

    @pytest_twisted.ensureDeferred
    async def test_peers_over_ipv6(self, ipv6_hosts: list[KernelHost]) -> None:
        """
        The tunnel is as good, with 20 bytes less.
        """
        one, two = ipv6_hosts[0].run(), ipv6_hosts[1].run()
        await ipv6_hosts[0].network.attach(one, (A,))
        await ipv6_hosts[1].network.attach(two, (B,))
        assert reaches(one, B)
        assert ipv6_hosts[0].ethwe(one).mtu == 1430


class TestPeers:
    """
    Peers come and go.
    """

    @pytest_twisted.ensureDeferred
    async def test_the_file_is_read_again_when_it_changes(
        self, cable: Cable, tmp_path: Path
    ) -> None:
        """
        A new peer is reached, one that has gone is no more.
        """
        files = [tmp_path / host.name for host in cable.hosts]
        for file, host in zip(files, cable.hosts, strict=True):
            file.write_text("# nobody yet\n")
            host.new_network(PeerList(file=file))
            await host.network.start()
        one, two = cable.hosts[0].run(), cable.hosts[1].run()
        await cable.hosts[0].network.attach(one, (A,))
        await cable.hosts[1].network.attach(two, (B,))
        assert not reaches(one, B)
        for file in files:
            file.write_text("".join(f"{host.own}  # a host\n" for host in cable.hosts))
        await until(lambda: reaches(one, B), *cable.hosts)
        for file in files:
            file.write_text("")
        await until(lambda: not reaches(one, B), *cable.hosts)

    @pytest_twisted.ensureDeferred
    async def test_a_wrong_file_leaves_the_last_good_one_in_force(
        self, cable: Cable, tmp_path: Path
    ) -> None:
        """
        What is wrong is told with its line, and the peer is there still.
        """
        file = tmp_path / "peers"
        file.write_text(cable.hosts[1].own)
        host = cable.hosts[0]
        host.new_network(PeerList(file=file))
        await host.network.start()
        file.write_text("\nnode2\n")
        host.clock.advance(BEAT_SECONDS)
        await pause(0.1)
        health = await host.network.health()
        assert (f"{file}, line 2: 'node2' is not an IP address",) == health.problems
        assert [cable.hosts[1].own] == [peer.address for peer in health.peers]

    @pytest_twisted.ensureDeferred
    async def test_it_does_not_start_with_a_wrong_list(self, cable: Cable) -> None:
        """
        Of both versions of IP, for instance.
        """
        network = cable.hosts[0].new_network(PeerList(["192.0.2.2", "2001:db8::1"]))
        with pytest.raises(NetworkError, match="IPv6"):
            await network.start()

    @pytest_twisted.ensureDeferred
    async def test_peers_are_heard(self, hosts: list[KernelHost]) -> None:
        """
        The host itself is none of them, and one that is silent is told from one that is not.
        """
        for host in reversed(hosts):
            await host.network.health()  # which lets the others hear this one
        peers = (await hosts[0].network.health()).peers
        assert [hosts[1].own] == [peer.address for peer in peers]
        assert [peer.last_heard_seconds is not None for peer in peers] == [True]

    @pytest_twisted.ensureDeferred
    async def test_a_peer_that_is_not_there_is_not_heard(self, cable: Cable) -> None:
        """
        It is known, and that there is no way to it.
        """
        network = cable.hosts[0].new_network(PeerList(["192.0.2.2", "198.51.100.1"]))
        await network.start()
        health = await network.health()
        assert [peer.last_heard_seconds for peer in health.peers] == [None, None]
        assert health.problems == ("there is no route to the peer 198.51.100.1",)

    @pytest_twisted.ensureDeferred
    async def test_a_tunnel_that_is_down_is_told(self, hosts: list[KernelHost]) -> None:
        """
        The next look at the peers brings it up again, and they are heard again.
        """
        ip("-n", hosts[0].name, "link", "set", "weave-vxlan", "down")
        health = await hosts[0].network.health()
        assert health.problems == ("the interface weave-vxlan is down",)
        await until(lambda: hosts[0].link("weave-vxlan").is_up, hosts[0])
        before = time.monotonic()
        await hosts[1].network.health()
        (peer,) = (await hosts[0].network.health()).peers
        assert peer.last_heard_seconds is not None
        assert peer.last_heard_seconds < time.monotonic() - before

    @pytest_twisted.ensureDeferred
    async def test_no_container_sees_the_heartbeats(self, hosts: list[KernelHost]) -> None:
        """
        Its interface receives nothing by them.
        """
        container = hosts[0].run()
        await hosts[0].network.attach(container, (A,))
        with namespace_of(container) as inside:
            received = Path(f"/proc/{container.pid}/net/dev")
            before = received.read_text()
            for _ in range(3):
                await hosts[1].network.health()
            await hosts[0].network.health()
            assert before == received.read_text()
            assert inside.fileno() >= 0

    @pytest_twisted.ensureDeferred
    async def test_the_mtu_follows_the_ways_to_the_peers(self, hosts: list[KernelHost]) -> None:
        """
        The smallest counts, on all interfaces, also of containers that are attached already.
        """
        host = hosts[0]
        container = host.run()
        await host.network.attach(container, (A,))
        mtus = {host.link(name).mtu for name in host.links() if name.startswith("w")}
        assert ({1450}, 1450) == (mtus, host.ethwe(container).mtu)
        ip("-n", host.name, "route", "add", f"{hosts[1].own}/32", "dev", "net0", "mtu", "1400")
        await until(lambda: host.ethwe(container).mtu == 1350, host)
        mtus = {host.link(name).mtu for name in host.links() if name.startswith("w")}
        assert {1350} == mtus
        assert (await host.network.health()).mtu_bytes == 1350


class TestContainers:
    """
    What may happen to containers.
    """

    @pytest_twisted.ensureDeferred
    async def test_a_container_has_no_address_of_another_kind(
        self, hosts: list[KernelHost]
    ) -> None:
        """
        None that the kernel makes, which would be tentative for a while.
        """
        container = hosts[0].run()
        await hosts[0].network.attach(container, (A,))
        within = ("nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-o", "addr")
        told = subprocess.run([*within, "show", "dev", "ethwe"], capture_output=True, text=True)
        assert [str(A)] == [line.split()[3] for line in told.stdout.splitlines()]

    @pytest_twisted.ensureDeferred
    async def test_another_process_is_never_attached(self, hosts: list[KernelHost]) -> None:
        """
        Neither this one, on the host, nor another container, whose id it is not.
        """
        container, other = hosts[0].run(), hosts[0].run()
        for pid in (os.getpid(), other.pid, 2**22 + 1):
            with pytest.raises(NotRunning):
                await hosts[0].network.attach(evolve(container, pid=pid), (A,))
        assert set() == hosts[0].addresses(other)
        assert await hosts[0].network.attachments() == {}

    @pytest_twisted.ensureDeferred
    async def test_a_container_that_ends_during_attach(self, cable: Cable) -> None:
        """
        That is told, and nothing stays behind.
        """
        host = cable.hosts[0]
        host.new_network(PeerList(), ProbeTimes())
        await host.network.start()
        before = host.links()
        container = host.run()
        attaching = Deferred.fromCoroutine(host.network.attach(container, (A,)))
        await pause(0.1)
        assert len(before) < len(host.links())
        host.end(container)
        with pytest.raises(NotRunning):
            await attaching
        assert before == host.links()

    @pytest_twisted.ensureDeferred
    async def test_what_a_dead_container_leaves_is_removed(self, hosts: list[KernelHost]) -> None:
        """
        Its host end, where something holds its namespace.
        """
        host = hosts[0]
        before = host.links()
        container = host.run()
        await host.network.attach(container, (A,))
        with namespace_of(container):
            host.end(container)
            assert before != host.links()
            await host.network.keep_only(set())
            assert before == host.links()

    @pytest_twisted.ensureDeferred
    async def test_containers_that_are_being_attached_are_kept(self, cable: Cable) -> None:
        """
        A list that was made before knows nothing of them.
        """
        host = cable.hosts[0]
        host.new_network(PeerList(), ProbeTimes())
        await host.network.start()
        container = host.run()
        attaching = Deferred.fromCoroutine(host.network.attach(container, (A,)))
        await pause(0.1)
        await host.network.keep_only(set())
        await attaching
        assert {A} == host.addresses(container)

    @pytest_twisted.ensureDeferred
    async def test_a_foreign_ethwe_is_left_alone(self, hosts: list[KernelHost]) -> None:
        """
        It may be Weave Net's.
        """
        container = hosts[0].run()
        within = ("nsenter", f"--net=/proc/{container.pid}/ns/net")
        subprocess.run([*within, "ip", "link", "add", "ethwe", "type", "bridge"], check=True)
        before = hosts[0].links()
        with pytest.raises(NetworkError, match="has an interface ethwe"):
            await hosts[0].network.attach(container, (A,))
        assert hosts[0].ethwe(container).kind == "bridge"
        assert before == hosts[0].links()

    @pytest_twisted.ensureDeferred
    async def test_twenty_at_once(self, hosts: list[KernelHost]) -> None:
        """
        All of them are attached, and all are reached at the first try.
        """
        containers = {hosts[n % 2].run(): n for n in range(20)}

        def address(number: int) -> IPv4Interface:
            return IPv4Interface(f"10.253.3.{number}/16")

        await gatherResults(
            Deferred.fromCoroutine(hosts[n % 2].network.attach(container, (address(n),)))
            for container, n in containers.items()
        )
        first = next(iter(containers))
        assert [reaches(first, address(n)) for n in range(1, 20)] == [True] * 19

    @pytest_twisted.ensureDeferred
    async def test_a_successor_finds_all(self, hosts: list[KernelHost]) -> None:
        """
        A driver that has ended leaves the containers attached; the next one changes nothing.
        """
        host = hosts[0]
        container, other = host.run(), hosts[1].run()
        await host.network.attach(container, (A,))
        await hosts[1].network.attach(other, (B,))
        index = host.ethwe(container).index
        await host.network.stop()
        assert reaches(other, A)
        host.new_network(PeerList([hosts[1].own]))
        await host.network.start()
        assert {container.id: (A,)} == await host.network.attachments()
        await host.network.attach(container, (A,))
        assert index == host.ethwe(container).index
        assert reaches(other, A)

    @pytest_twisted.ensureDeferred
    async def test_containers_join_a_new_bridge(self, hosts: list[KernelHost]) -> None:
        """
        Somebody has deleted the old one: that is told, and mended at the next look.
        """
        one, two = hosts[0].run(), hosts[1].run()
        await hosts[0].network.attach(one, (A,))
        await hosts[1].network.attach(two, (B,))
        ip("-n", hosts[0].name, "link", "del", "weave")
        assert "the interface weave has gone" in (await hosts[0].network.health()).problems
        await until(lambda: reaches(one, B), hosts[0])


class TestTheHost:
    """
    What happens to the host.
    """

    @pytest_twisted.ensureDeferred
    async def test_a_reset_leaves_nothing(self, cable: Cable) -> None:
        """
        The interfaces and the rules are those of before.
        """
        host = cable.hosts[0]
        before = ip("-n", host.name, "-o", "link"), ip("-n", host.name, "addr")
        rules = host.iptables("-S")
        host.new_network(PeerList(["192.0.2.2"]))
        await host.network.start()
        container = host.run()
        await host.network.attach(container, (A,))
        await host.network.expose(B)
        assert rules == host.iptables("-S")
        await host.network.reset()
        assert before == (ip("-n", host.name, "-o", "link"), ip("-n", host.name, "addr"))
        assert rules == host.iptables("-S")

    @pytest_twisted.ensureDeferred
    async def test_its_own_addresses_are_in_use(self, hosts: list[KernelHost]) -> None:
        """
        Also those that it has on other networks, which the error says.
        """
        container, own = hosts[0].run(), IPv4Interface(f"{hosts[0].own}/24")
        with pytest.raises(AddressInUse):
            await hosts[0].network.attach(container, (own,))
        with pytest.raises(AddressInUse, match=r"this host \(net0\)"):
            await hosts[0].network.expose(own)

    @pytest_twisted.ensureDeferred
    async def test_containers_reach_an_exposed_address(self, hosts: list[KernelHost]) -> None:
        """
        From the host itself and from others.
        """
        near, far = hosts[0].run(), hosts[1].run()
        await hosts[0].network.expose(ANYONE)
        await hosts[0].network.attach(near, (A,))
        await hosts[1].network.attach(far, (B,))
        assert reaches(near, ANYONE)
        assert reaches(far, ANYONE)
        await hosts[0].network.hide(ANYONE)
        assert not reaches(far, ANYONE)

    @pytest_twisted.ensureDeferred
    async def test_a_bridge_of_somebody_else_is_left_alone(self, cable: Cable) -> None:
        """
        Weave Net's has the same name.
        """
        host = cable.hosts[0]
        ip("-n", host.name, "link", "add", "weave", "type", "bridge")
        before = ip("-n", host.name, "-o", "link")
        with pytest.raises(NetworkError, match="an interface weave that isn't this adapter's"):
            await host.network.start()
        await host.network.reset()
        assert before == ip("-n", host.name, "-o", "link")

    @pytest.mark.parametrize("capability", ["net_admin", "sys_admin", "net_raw"])
    def test_missing_rights_are_named(self, capability: str) -> None:
        """
        In one sentence, with what to do about it.
        """
        drop = ("setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}")
        done = subprocess.run(
            [*drop, sys.executable, str(HERE / "start_network.py")], capture_output=True, text=True
        )
        name = capability.upper()
        assert f"no right to make networks: CAP_{name} missing" in done.stdout
        assert f"--cap-add {name}" in done.stdout

    def test_an_attach_killed_at_any_step_is_finished_by_the_next(
        self, hosts: list[KernelHost]
    ) -> None:
        """
        With SIGKILL before each message to the kernel; nothing stays behind in the end.
        """
        host, container = hosts[0], hosts[0].run()
        before = host.links()
        done = subprocess.run(
            [
                *(sys.executable, str(HERE / "killed_attach.py")),
                *(str(host.path), container.id, str(container.pid), str(A)),
            ],
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        survived, steps = done.stdout.split()
        assert survived == steps
        assert int(steps) > 30
        assert before == host.links()
