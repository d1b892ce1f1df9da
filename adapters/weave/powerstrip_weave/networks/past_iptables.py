"""
Takes the network's frames past the host's iptables, which aren't touched.

I/O: the bpf(2) system call.

The hazard: where the kernel's ``br_netfilter`` is loaded, every IP packet that crosses any bridge
goes through iptables' FORWARD chain, and Docker makes DROP its policy. Docker loaded it on every
host until 27 (moby/moby#48511), Kubernetes needs it. Nothing that the network carries would arrive.

The choice: ``br_netfilter`` leaves frames with a VLAN tag alone (the kernel's ``ip-sysctl``:
``bridge-nf-filter-vlan-tagged``, off by default), and the VLAN 0 is none: a tag with it says
something of priority only (IEEE 802.1Q), and the kernel takes it off before a packet gets where it
goes. So each frame that comes into the bridge gets such a tag, in the packet's description, not
in its bytes; and it loses it again at the tunnel, where it would become bytes.

Not chosen: ``nf_call_iptables`` of the bridge can turn this filter on, but not off where it is on
for all (moby/moby#47127). The sysctl is the host's, and Docker's own networks may need it. A rule
in iptables would be the second hand in Docker's chains. The bridge in a namespace of its own would
end with the adapter's container, which alone would hold it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
from pathlib import Path

from powerstrip_weave.networks.links import Links
from powerstrip_weave.networks.namespaces import Namespace

INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
"""tc's two points of an interface (linux/pkt_sched.h: TC_H_MAKE of clsact and min-ingress, …)."""

_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
_BPF_PROG_LOAD = 5
_BPF_PROG_TYPE_SCHED_CLS = 3
_SKB_VLAN_PUSH, _SKB_VLAN_POP = 18, 19
_TC_ACT_UNSPEC = -1  # go on, with other filters where there are some


def _instruction(code: int, register: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, register, 0, value)


def _set(register: int, value: int) -> bytes:
    return _instruction(0xB7, register, value)  # BPF_ALU64 | BPF_MOV | BPF_K


def _call(helper: int) -> bytes:
    return _instruction(0x85, value=helper)  # BPF_JMP | BPF_CALL


_END = _set(0, _TC_ACT_UNSPEC) + _instruction(0x95)  # BPF_JMP | BPF_EXIT
_TAG = (
    # The first argument, the packet, is where a program finds it. The second is the protocol,
    # 802.1Q, as it is on the wire; the third the VLAN.
    _set(2, socket.htons(0x8100)) + _set(3, 0) + _call(_SKB_VLAN_PUSH) + _END
)
_UNTAG = _call(_SKB_VLAN_POP) + _END


class PastIptables:
    """
    The two programs that tag frames, and take tags off.
    """

    def __init__(self) -> None:
        """
        Raises:
            OSError: the kernel takes no such programs.
        """
        self._tag = _load(_TAG)
        try:
            self._untag = _load(_UNTAG)
        except OSError:
            os.close(self._tag)
            raise

    def close(self) -> None:
        """
        Let go of the programs. Where they run already they stay.
        """
        os.close(self._tag)
        os.close(self._untag)

    def take_port(self, links: Links, index: int) -> None:
        """
        Have a port of the bridge tag what comes in.
        """
        links.add_filter(index, INGRESS, self._tag, "weave-tag")

    def take_tunnel(self, links: Links, index: int) -> None:
        """
        Have a tunnel tag what comes in, and take off the tags of what goes out.
        """
        self.take_port(links, index)
        links.add_filter(index, EGRESS, self._untag, "weave-untag")


def _load(program: bytes) -> int:
    machine = platform.machine()
    if machine not in _BPF_SYSCALL:
        raise OSError(f"no bpf(2) is known for {machine}")
    instructions = ctypes.create_string_buffer(program)
    license_name = ctypes.create_string_buffer(b"Apache-2.0")
    # union bpf_attr of linux/bpf.h, up to log_level, log_size, log_buf and kern_version: none.
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "=IIQQIIQI",
            _BPF_PROG_TYPE_SCHED_CLS,
            len(program) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(license_name),
            0,
            0,
            0,
            0,
        )
    )
    libc = ctypes.CDLL(None, use_errno=True)
    size = len(attributes) - 1  # without the zero that ctypes adds
    fd: int = libc.syscall(_BPF_SYSCALL[machine], _BPF_PROG_LOAD, attributes, size)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def filters_bridges(host: Namespace) -> bool:
    """
    Whether the kernel takes what crosses the host's bridges through iptables.
    """
    return host.within(lambda: _is_set("bridge-nf-call-iptables"))


def filters_tagged_frames(host: Namespace) -> bool:
    """
    Whether it does so with frames that have a VLAN tag as well.
    """
    return host.within(lambda: _is_set("bridge-nf-filter-vlan-tagged"))


def _is_set(sysctl: str) -> bool:
    try:
        return Path("/proc/sys/net/bridge", sysctl).read_text().strip() == "1"
    except FileNotFoundError:  # br_netfilter isn't loaded
        return False
