"""
Nodes in memory, each with the API that its operator's command asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from powerstrip_flocker.datasets.steps import At, Step, go_on
from powerstrip_flocker.interfaces import INodes
from powerstrip_flocker.operator_api import OperatorApi
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.adapters.flocker.datasets.cluster import Cluster, FakePeer, Host

JSON = "application/json"
NAMES = ("n1", "n2")


@implementer(INodes)
@define(eq=False)
class FakeNodes:
    """
    The addresses of some nodes.
    """

    addresses: dict[str, str] = field(factory=dict)

    async def announce(self, node: str, address: str) -> None:
        self.addresses[node] = address

    async def address(self, node: str) -> str | None:
        return self.addresses.get(node)

    async def all(self) -> Mapping[str, str]:
        return self.addresses


class Operated:
    """
    Two nodes that run, the first of which has the dataset data, which nothing uses.
    """

    def __init__(self) -> None:
        self.gates: dict[Step, Deferred[None]] = {}
        """A move waits for these before it takes the step."""
        self.cluster = Cluster(NAMES, at=self._at)
        self.cluster.start()
        self.host("n1").bring("data")
        self.cluster.stop_containers()
        self.cluster.write("n1", "data", b"hello")
        self.nodes = FakeNodes({name: f"192.0.2.{name[1]}:4523" for name in NAMES})

    def host(self, name: str) -> Host:
        return self.cluster.hosts[name]

    def move(self, name: str, to: str) -> None:
        """
        Move a dataset, and have nothing use it.
        """
        self.host(to).bring_by_hand(name)
        assert self.cluster.owner(name) == to

    def resource(self, name: str) -> Any:
        """
        A node's API.
        """
        process = self.host(name).process
        assert process is not None
        return OperatorApi(
            name,
            process.keeper,
            process.mover,
            self.nodes,
            lambda node: FakePeer(process, node),
            self.cluster.store.clock,
            "fake:flocker",
        ).app.resource()

    async def ask(
        self,
        node: str,
        method: str,
        path: str,
        data: bytes | None = None,
        content_type: str | None = JSON,
    ) -> tuple[int, Any]:
        """
        Status and JSON of an answer.
        """
        http: Any = StubTreq(self.resource(node))
        headers = {} if content_type is None else {"Content-Type": content_type}
        response = await http.request(method, f"http://x{path}", data=data, headers=headers)
        assert response.headers.getRawHeaders("content-type") == [JSON]
        return response.code, await response.json()

    async def get(self, node: str, path: str) -> Any:
        """
        The JSON of an answer that is no refusal.
        """
        code, answer = await self.ask(node, "GET", path)
        assert code == 200, answer
        return answer

    def _at(self, host: str) -> At:
        async def at(step: Step, name: str) -> None:
            if step in self.gates:
                await self.gates[step]
            await go_on(step, name)

        return at
