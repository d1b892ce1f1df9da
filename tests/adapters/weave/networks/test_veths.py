"""
When a container's interface runs, which its command waits for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import pytest_twisted
from powerstrip_weave.networks.links import Links
from powerstrip_weave.networks.namespaces import namespace_of
from twisted.internet.defer import Deferred

from tests.adapters.weave.networks.contract import A
from tests.adapters.weave.networks.kernel_hosts import Cable, KernelHost, why_not
from tests.adapters.weave.networks.test_vxlan import started

SETTLED_SECONDS = 0.3
"""More than the kernel takes to make an interface run that is up."""


@pytest.fixture
def host() -> Iterator[KernelHost]:
    if reason := why_not():
        pytest.skip(reason)
    cable = Cable(1)
    started(cable.hosts)
    yield cable.hosts[0]
    cable.close()


@pytest_twisted.ensureDeferred
async def test_an_interface_does_not_run_before_the_bridge_was_looked_at(
    host: KernelHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The kernel alone would have it run as soon as it is up, and may tell the bridge of it later: a
    first ping was lost then. It stays dormant until the bridge was seen to take its frames.
    """
    container = host.run()
    change = Links.change
    was_running: list[bool] = []

    def change_and_look(links: Links, index: int, **changes: object) -> None:
        change(links, index, **changes)
        if changes == {"state": "up"}:
            time.sleep(SETTLED_SECONDS)
            with namespace_of(container) as namespace, Links(namespace) as inside:
                if (ethwe := inside.find("ethwe")) is not None and ethwe.is_up:
                    was_running.append(ethwe.is_running)

    monkeypatch.setattr(Links, "change", change_and_look)
    await Deferred.fromCoroutine(host.network.attach(container, (A,)))
    assert was_running == [False]
    assert host.ethwe(container).is_running
