"""
The service of a node whose datasets Flocker's control service has: all its parts put together.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import treq
from powerstrip_flocker.control_service.datasets import identity_of
from powerstrip_flocker.service import Options, ServiceReactor, make_service
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.web.client import Agent
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.server import Site
from zope.interface import implementer

from powerstrip.adapter.testing import FakeEngine
from powerstrip.core.payloads import ClientRequest, encode_pre_hook
from tests.adapters.flocker.control_service.keys import Cluster
from tests.adapters.flocker.control_service.server import NODES, FakeHost
from tests.net.harness import until
from tests.net.peers import reactor

# Twisted's own, of a certificate that it shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@implementer(IAgentEndpointFactory)
class Endpoints:
    """
    Leads to a socket.
    """

    def __init__(self, path: Path) -> None:
        self._endpoint = UNIXClientEndpoint(reactor, str(path))

    def endpointForURI(self, uri: Any) -> Any:
        return self._endpoint


@pytest_twisted.ensureDeferred
async def test_a_bind_is_where_flocker_mounts_it(short_tmp: Path) -> None:
    """
    From the hook by TLS to the control service and back: the dataset is made, and has a lease as
    long as a container is expected.
    """
    usual = signal.getsignal(signal.SIGTERM)
    engine, engine_socket, socket = FakeEngine(), short_tmp / "e.sock", short_tmp / "a.sock"
    engine.add_image("busybox")
    site = Site(engine.app.resource())
    site.noisy = False
    engine_port = reactor.listenUNIX(str(engine_socket), site)
    cluster = Cluster.make(short_tmp / "keys")
    control = FakeHost.listen(reactor, cluster, reactor)
    control.service.lag_seconds = 0.1
    options = Options()
    files = {"ca": cluster.ca, "cert": cluster.cert("plugin"), "key": cluster.key("plugin")}
    options.parseOptions(
        [
            *("--docker", f"unix://{engine_socket}", "--listen", f"unix://{socket}"),
            *("--control-service", control.url, "--control-node", NODES[0]),
            *(word for name, file in files.items() for word in (f"--tls-{name}", str(file))),
        ]
    )
    service = make_service(options, cast(ServiceReactor, reactor))
    service.startService()
    await until(lambda: os.path.exists(socket), "it listens")
    http = treq.client.HTTPClient(Agent.usingEndpointFactory(reactor, cast(Any, Endpoints(socket))))
    body = json.dumps({"Image": "busybox", "HostConfig": {"Binds": ["/flocker/a:/x"]}})
    hook = encode_pre_hook(ClientRequest("POST", "/containers/create", body))
    answer = await http.post("http://flocker/flocker-adapter", data=hook)
    reply = await answer.json()
    assert answer.code == 200, reply
    made = json.loads(reply["ModifiedClientRequest"]["Body"])
    assert made["HostConfig"]["Binds"] == [f"/flocker/{identity_of('a')}:/x"]
    assert set(control.service.leases) == {identity_of("a")}
    await service.stopService()
    engine.hang_up()
    await engine_port.stopListening()
    await control.stop()
    signal.signal(signal.SIGTERM, usual)
