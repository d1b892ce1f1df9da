"""
What of a reactor is needed to speak to other nodes.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorProcess

from powerstrip.net.reactor import Reactor


class PeerReactor(Reactor, IReactorProcess):
    """
    Sockets, time, and processes.
    """
