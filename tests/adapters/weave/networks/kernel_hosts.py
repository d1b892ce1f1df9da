"""
Hosts in the kernel: network namespaces on one cable, and others in them that are containers.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Set
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest_twisted
from attrs import define, evolve
from powerstrip_weave.errors import NetworkError
from powerstrip_weave.interfaces import RunningContainer
from powerstrip_weave.networks.arp import ProbeTimes
from powerstrip_weave.networks.links import Link, Links
from powerstrip_weave.networks.namespaces import Namespace, namespace_of
from powerstrip_weave.networks.peers import PeerList
from powerstrip_weave.networks.vxlan import VxlanNetwork
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

QUICK = ProbeTimes(count=2, interval_seconds=0.02, patience_seconds=0.05)
"""Between namespaces answers come within some 0.1 ms, and no other host is slow here."""

STRANGER = "76:0e:15:e4:e4:e4"

_CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/systemd"))
_ECHO_REQUEST, _ECHO_REPLY = 8, 0


def why_not() -> str | None:
    """
    The reason why there can be no such hosts here, or None.
    """
    if os.geteuid() != 0:
        return "hosts as network namespaces need root"
    probe = ["unshare", "--net", "ip", "link", "add", "psw0", "type", "vxlan", "id", "1"]
    done = subprocess.run([*probe, "dstport", "4789"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"no VXLAN here: {done.stderr.strip()}"


def ip(*arguments: str | Path) -> str:
    """
    What `ip` says.
    """
    return _run("ip", *map(str, arguments))


class Cable:
    """
    Some hosts on one network, numbered from 1.

    Args:
        prefix: Of the hosts' addresses, up to their number.
    """

    def __init__(self, count: int, prefix: str = "192.0.2.") -> None:
        self._stack = ExitStack()
        self._tag = f"psw-{secrets.token_hex(3)}"
        self.prefix = prefix
        switch = self._new_namespace(f"{self._tag}-0")
        ip("-n", switch, "link", "add", "cable", "type", "bridge")
        ip("-n", switch, "link", "set", "cable", "up")
        self.hosts = [self._new_host(switch, number) for number in range(1, count + 1)]

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self._stack.close()

    def _new_host(self, switch: str, number: int) -> KernelHost:
        name = self._new_namespace(f"{self._tag}-{number}")
        ip("-n", name, "link", "add", "net0", "type", "veth", "peer", f"p{number}", "netns", switch)
        ip("-n", switch, "link", "set", f"p{number}", "master", "cable", "up")
        length = "24" if "." in self.prefix else "64"
        nodad = () if "." in self.prefix else ("nodad",)
        own = f"{self.prefix}{number}"
        ip("-n", name, "addr", "add", f"{own}/{length}", "dev", "net0", *nodad)
        ip("-n", name, "link", "set", "net0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        host = KernelHost(name, own)
        host.iptables("-P", "FORWARD", "DROP")  # Docker's policy
        return host

    def _new_namespace(self, name: str) -> str:
        ip("netns", "add", name)
        self._stack.callback(ip, "netns", "del", name)
        return name


class KernelHost:
    """
    One host, and its containers.
    """

    def __init__(self, name: str, own: str) -> None:
        self.name = name
        self.own = own
        self.path = Path("/run/netns", name)
        self.namespace = Namespace(self.path)
        self.clock = Clock()
        self._stack = ExitStack()
        self._stack.enter_context(self.namespace)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.network = self.new_network(PeerList())

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._stack.close()

    def new_network(
        self, peers: PeerList, times: ProbeTimes = QUICK, clock: Clock | None = None
    ) -> VxlanNetwork:
        """
        A driver for this host, which is stopped with it.
        """
        self.network = VxlanNetwork(
            reactor,  # type: ignore[arg-type]
            clock or self.clock,
            peers,
            times=times,
            host=self.path,
        )
        self._stack.callback(_stop, self.network)
        return self.network

    def run(self) -> RunningContainer:
        """
        Start a container: a process with a network of its own, in a cgroup that says whose it is.
        """
        return self._start(RunningContainer(secrets.token_hex(32), 0))

    def end(self, container: RunningContainer) -> None:
        process = self._processes.pop(container.pid)
        process.kill()
        process.wait()

    def restart(self, container: RunningContainer) -> RunningContainer:
        self.end(container)
        return self._start(container)

    def addresses(self, container: RunningContainer) -> Set[IPv4Interface]:
        with suppress(NetworkError), namespace_of(container) as inside, Links(inside) as links:
            ethwe = links.find("ethwe")
            if ethwe is not None and ethwe.is_up:
                return {address for _, address in links.addresses(ethwe.index)}
        return set()

    def ethwe(self, container: RunningContainer) -> Link:
        """
        A container's interface.
        """
        with namespace_of(container) as inside, Links(inside) as links:
            found = links.find("ethwe")
        assert found is not None
        return found

    def use_elsewhere(self, address: IPv4Interface) -> None:
        """
        Put a stranger on this host's bridge.
        """
        stranger = self.run()
        with namespace_of(stranger) as inside:
            ip(
                *("-n", self.name, "link", "add", "stranger", "master", "weave", "type", "veth"),
                *("peer", "name", "eth0", "address", STRANGER, "netns", str(stranger.pid)),
            )
            ip("-n", self.name, "link", "set", "stranger", "up")
            within = ("nsenter", f"--net=/proc/{stranger.pid}/ns/net", "ip")
            _run(*within, "addr", "add", str(address), "dev", "eth0")
            _run(*within, "link", "set", "eth0", "up")
            with Links(inside) as links:
                eth0 = links.find("eth0")
                assert eth0 is not None
                assert links.wait_until(eth0.index, lambda link: link.is_running)

    def links(self) -> list[str]:
        """
        The names of the host's interfaces.
        """
        with Links(self.namespace) as links:
            return sorted(link.name for link in links.all())

    def link(self, name: str) -> Link:
        with Links(self.namespace) as links:
            found = links.find(name)
        assert found is not None
        return found

    def iptables(self, *arguments: str) -> str:
        return _run("nsenter", f"--net={self.path}", "iptables", *arguments)

    def _start(self, container: RunningContainer) -> RunningContainer:
        process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        self._processes[process.pid] = process
        self._put_into_cgroup(container.id, process.pid)
        return evolve(container, pid=process.pid)

    def _put_into_cgroup(self, container_id: str, pid: int) -> None:
        root = next(path for path in _CGROUPS if (path / "cgroup.procs").exists())
        cgroup = root / f"psw-{container_id}"
        if not cgroup.exists():
            cgroup.mkdir()
            self._stack.callback(_remove_cgroup, cgroup)
        (cgroup / "cgroup.procs").write_text(str(pid))


@define
class Echoes:
    """
    Pings from a namespace.
    """

    _socket: socket.socket
    _sent: int = 0

    def ask(self, address: IPv4Address, within_seconds: float = 1.0) -> bool:
        """
        Whether one echo request is answered, the first try.
        """
        self._sent += 1
        wanted = self.send(address, self._sent)
        deadline = time.monotonic() + within_seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                packet = self._socket.recv(2048)
            except TimeoutError:
                return False
            if packet[20] == _ECHO_REPLY and packet[24:28] == wanted:
                return True
        return False

    def send(self, address: IPv4Address, number: int, size: int = 0) -> bytes:
        """
        Send an echo request, and return what tells its answer from others.
        """
        which = struct.pack("!HH", os.getpid() & 0xFFFF, number & 0xFFFF)
        body = which + bytes(size + size % 2)
        words = struct.unpack(f"!{len(body) // 2}H", body)
        total = sum(words, _ECHO_REQUEST << 8)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        packet = struct.pack("!BBH", _ECHO_REQUEST, 0, ~total & 0xFFFF) + body
        with suppress(OSError):  # nobody there: the kernel says so with the next packet
            self._socket.sendto(packet, (str(address), 0))
        return which


@contextmanager
def echoes_from(namespace: Namespace) -> Iterator[Echoes]:
    """
    Pings from a namespace.
    """
    with closing(
        namespace.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    ) as raw:
        yield Echoes(raw)


def reaches(container: RunningContainer, address: IPv4Interface) -> bool:
    """
    Whether a container's first ping of an address is answered.
    """
    with namespace_of(container) as namespace, echoes_from(namespace) as echoes:
        return echoes.ask(address.ip)


def _stop(network: VxlanNetwork) -> None:
    pytest_twisted.blockon(Deferred.fromCoroutine(network.stop()))


def _remove_cgroup(cgroup: Path) -> None:
    for _ in range(100):
        try:
            cgroup.rmdir()
        except OSError:  # a process that has ended leaves its cgroup a moment later
            time.sleep(0.01)
        else:
            return


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
