"""
Starts the network of a host, and says what is in the way.
"""

from pathlib import Path

from powerstrip_weave.errors import NetworkError
from powerstrip_weave.networks.arp import ProbeTimes
from powerstrip_weave.networks.node import Node
from powerstrip_weave.networks.overlay import Overlay
from powerstrip_weave.networks.peers import PeerList

try:
    Node(PeerList(), Overlay(), ProbeTimes(), Path("/proc/self/ns/net")).start()
except NetworkError as error:
    print(error)
