"""
Makes the network and attaches a container, and is killed in the middle, at each of its messages to
the kernel in turn; after each the container is attached once more, which must do, and detached.

Says how many of these attaches did, and how many messages there are.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from powerstrip_weave.interfaces import RunningContainer
from powerstrip_weave.networks.node import Node
from powerstrip_weave.networks.overlay import Overlay
from powerstrip_weave.networks.peers import PeerList
from pyroute2.netlink.nlsocket import NetlinkRequest  # type: ignore[import-untyped]

from tests.adapters.weave.networks.kernel_hosts import QUICK


def in_child(work: Callable[[], None]) -> bool:
    """
    Do something in a process of its own. Whether it came to its end.
    """
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def die_before_message(number: int) -> None:
    """
    Have this process be killed before it sends this message to the kernel.
    """
    send, sent = NetlinkRequest.send, 0

    async def count(self: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent > number:
            os.kill(os.getpid(), signal.SIGKILL)
        return await send(self)

    NetlinkRequest.send = count


def main(host: str, container_id: str, pid: str, address: str) -> None:
    container, addresses = RunningContainer(container_id, int(pid)), (IPv4Interface(address),)

    def attach() -> None:
        node = Node(PeerList(), Overlay(), QUICK, Path(host))
        node.start()
        node.attach(container, addresses)
        assert {container_id: addresses} == node.attachments()
        node.detach(container_id)

    def start_and_die(number: int) -> None:
        node = Node(PeerList(["192.0.2.1"]), Overlay(), QUICK, Path(host))
        node.reset()
        die_before_message(number)
        node.start()

    def attach_and_die(number: int) -> None:
        node = Node(PeerList(), Overlay(), QUICK, Path(host))
        node.start()
        die_before_message(number)
        node.attach(container, addresses)

    survived = steps = 0
    for work in (start_and_die, attach_and_die):
        number = 0
        while not in_child(partial(work, number)):
            survived += in_child(attach)
            number += 1
        in_child(attach)
        steps += number
    print(survived, steps)


main(*sys.argv[1:])
