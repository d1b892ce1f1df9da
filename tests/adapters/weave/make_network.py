"""
Makes the network of the host that it runs on, and leaves it there.
"""

from typing import Any

from powerstrip_weave.networks.peers import PeerList
from powerstrip_weave.networks.vxlan import VxlanNetwork
from twisted.internet.task import react


async def make(reactor: Any) -> None:
    network = VxlanNetwork(reactor, reactor, PeerList())
    await network.start()
    await network.stop()


react(make)
