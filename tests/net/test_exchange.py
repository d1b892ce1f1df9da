"""
One request and its answer, when either side does not behave as in a textbook.
"""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.net.adapters import KleinAdapter
from tests.net.harness import OK, PING, Rig


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


# A client that half-closes


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes_behind_its_request_is_answered(
    rig: Rig, kind: str
) -> None:
    """
    ``printf 'GET …' | socat - UNIX:powerstrip.sock`` works, and the engine sees the half-close.
    """
    client = rig.connect(kind)
    client.send_now(PING)
    client.half_close()
    engine = await rig.engine.accept()
    assert await engine.read_to_end() == PING
    await engine.send(OK)
    assert await client.read_to_end() == OK


@pytest_twisted.ensureDeferred
async def test_requests_in_front_of_a_half_close_are_all_answered(rig: Rig, kind: str) -> None:
    """
    The half-close goes on behind the last of them.
    """
    client = rig.connect(kind)
    client.send_now(PING * 3)
    client.half_close()
    engine = await rig.engine.accept()
    for _ in range(2):
        assert await engine.read_head() == PING
        assert await engine.has_nothing_to_read()
        await engine.send(OK)
    assert await engine.read_to_end() == PING
    await engine.send(OK)
    assert await client.read_to_end() == OK * 3


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes_while_hooks_are_at_work_is_answered(rig: Rig) -> None:
    """
    A half-close over a UNIX socket is no close.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.hook("* /*", pre=[url], post=[url])
    client = rig.connect()
    client.send_now(PING)
    client.half_close()
    engine = await rig.engine.accept()
    assert await engine.read_to_end() == PING
    await engine.send(OK)
    assert await client.read_to_end() == OK
