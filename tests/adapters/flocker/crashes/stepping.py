"""
The flocker adapter as a program that says which step of a move it is about to take, and waits.

It is the adapter itself, with time-outs for the impatient and no engine that anybody could use a
dataset by. ``python -m … SOCKET OPTIONS``: at the socket there is `tests.….crashes.gate.Gate`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import cast

from powerstrip_flocker.datasets.steps import Step
from powerstrip_flocker.interfaces import IUses
from powerstrip_flocker.service import Conduct, Options, ServiceReactor, make_service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorCore
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure
from zope.interface import implementer

CLAIM_SECONDS = 2
"""etcd takes no less."""

SILENCE_SECONDS = 3.0


@implementer(IUses)
class NoUses:
    """
    No container ever uses anything.
    """

    async def containers(self, name: str) -> Sequence[str]:
        return ()

    def expect(self, name: str) -> None:
        pass


class _Asking(Protocol):
    """
    Waits until the connection is closed.
    """

    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)


class Steps:
    """
    Asks at each step.
    """

    def __init__(self, path: str, node: str) -> None:
        self._path = path
        self._node = node

    async def __call__(self, step: Step, name: str) -> None:
        said = {"node": self._node, "step": step.value, "name": name}
        asking = _Asking()
        try:
            endpoint = UNIXClientEndpoint(reactor, self._path)
            await connectProtocol(endpoint, asking)
        except ConnectError:
            return  # nobody is at the gate
        assert asking.transport is not None
        asking.transport.write(json.dumps(said).encode() + b"\n")
        await asking.closed


def main(path: str, *words: str) -> None:
    options = Options()
    options.parseOptions(words)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    conduct = Conduct(
        uses=NoUses(),
        at=Steps(path, options["node"]),
        claim_seconds=CLAIM_SECONDS,
        silence_seconds=SILENCE_SECONDS,
    )
    service = make_service(options, cast(ServiceReactor, reactor), conduct)
    service.startService()
    cast(IReactorCore, reactor).addSystemEventTrigger("before", "shutdown", service.stopService)
    cast(IReactorCore, reactor).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
