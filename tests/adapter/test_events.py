"""
The events of an engine that comes and goes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import formatEvent, globalLogPublisher

from demo.engine import PrivateEngine
from powerstrip.adapter.engine import Event, connect_engine
from powerstrip.adapter.errors import EngineUnreachable
from powerstrip.adapter.events import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, EventFollower
from powerstrip.adapter.testing import FakeEngine
from powerstrip.core.addresses import UnixAddress
from powerstrip.net.reactor import Reactor
from tests.adapter.conftest import ENGINES
from tests.net.harness import until
from tests.net.peers import reactor

ACTIONS = ("start", "die", "destroy")


class Follower:
    """
    A follower of a fake engine, and what it tells, in order.
    """

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.told: list[str] = []
        self.connected: list[Any] = []
        """What the next connections do before they are up."""

        self.follower = EventFollower(
            self.engine.client, self.engine.clock, ACTIONS, self._connect, self._happened
        )
        self.following: Deferred[Any] = Deferred()

    def start(self) -> None:
        """
        Begin.
        """
        self.following = Deferred.fromCoroutine(self.follower.follow())

    async def _connect(self) -> None:
        running = [it.name for it in self.engine.containers.values() if it.pid]
        self.told.append(f"connected {' '.join(running)}".strip())
        if self.connected:
            await self.connected.pop(0)

    def _happened(self, event: Event) -> None:
        self.told.append(f"{event.action} {event.attributes['name']}")


@pytest.fixture
def rig() -> Iterator[Follower]:
    """
    A follower that has not begun.
    """
    follower = Follower()
    yield follower
    follower.following.addErrback(lambda failure: failure.trap(CancelledError))
    follower.following.cancel()


def test_it_looks_at_what_runs_and_tells_what_happens_then(rig: Follower) -> None:
    """
    In order.
    """
    rig.engine.run("old")
    rig.engine.clock.advance(5)
    rig.start()
    rig.engine.run("new")
    rig.engine.die("new")
    rig.engine.remove("new")
    assert rig.told == ["connected old", "start new", "die new", "destroy new"]
    assert rig.follower.problem is None


def test_what_happens_while_it_looks_is_told_when_it_has_looked(rig: Follower) -> None:
    """
    It listens first.
    """
    looking: Deferred[None] = Deferred()
    rig.connected.append(looking)
    rig.start()
    rig.engine.run("new")
    assert rig.told == ["connected"]
    assert rig.follower.problem is not None
    looking.callback(None)
    assert rig.told == ["connected", "start new"]


def test_what_happened_in_the_second_before_is_told(rig: Follower) -> None:
    """
    The engine answers before it listens, so it is asked about the moment before.
    """
    rig.engine.run("just-now")
    rig.start()
    assert rig.told == ["connected just-now", "start just-now"]


def test_it_tells_what_happened_while_the_connection_was_lost(rig: Follower) -> None:
    """
    Once each, and looks at what runs again.
    """
    rig.start()
    rig.engine.run("one")
    rig.engine.hang_up()
    rig.engine.run("two")
    rig.engine.die("one")
    assert rig.told == ["connected", "start one"]
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    assert rig.told[2:] == ["connected two", "start two", "die one"]


def test_events_of_one_moment_are_told_once_each(rig: Follower) -> None:
    """
    Also where the connection is lost between them.
    """
    rig.start()
    rig.engine.run("one")
    rig.engine.run("two")
    for event in rig.engine._events:
        event["timeNano"] = rig.engine._events[0]["timeNano"]
    rig.follower._newest = []
    rig.engine.hang_up()
    rig.told.clear()
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    assert rig.told == ["connected one two", "start one", "start two"]
    rig.engine.hang_up()
    rig.told.clear()
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    assert rig.told == ["connected one two"]


def test_an_engine_that_has_forgotten_is_followed_on(rig: Follower) -> None:
    """
    As one that was restarted: what runs is looked at.
    """
    rig.start()
    rig.engine.run("one")
    rig.engine.hang_up()
    rig.engine.run("two")
    rig.engine.forget_events()
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    rig.engine.run("three")
    assert rig.told == ["connected", "start one", "connected one two", "start three"]


def test_it_waits_longer_each_time_for_an_engine_that_is_down(rig: Follower) -> None:
    """
    Up to a bound, and is quick again at the next time.
    """
    rig.engine.is_up = False
    rig.start()
    waits = []
    for _ in range(8):
        (call,) = rig.engine.clock.getDelayedCalls()
        waits.append(call.getTime() - rig.engine.clock.seconds())
        rig.engine.clock.advance(waits[-1])
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])
    assert "can't be reached" in str(rig.follower.problem)
    rig.engine.is_up = True
    rig.engine.clock.advance(LONGEST_WAIT_SECONDS)
    assert rig.told == ["connected"]
    rig.engine.hang_up()
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    assert rig.told == ["connected", "connected"]


def test_an_outage_is_logged_once(rig: Follower) -> None:
    """
    Not at each try.
    """
    lines: list[Any] = []
    globalLogPublisher.addObserver(lines.append)
    rig.engine.is_up = False
    rig.start()
    rig.engine.clock.pump([LONGEST_WAIT_SECONDS] * 5)
    globalLogPublisher.removeObserver(lines.append)
    texts = [str(formatEvent(line)) for line in lines]
    assert len([text for text in texts if "trying until it is back" in text]) == 1


def test_a_look_that_fails_is_another_try(rig: Follower) -> None:
    """
    The engine may have gone while it looked.
    """
    failing: Deferred[None] = Deferred()
    rig.connected.append(failing)
    rig.start()
    failing.errback(EngineUnreachable("gone"))
    assert rig.follower.problem == "gone"
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    rig.engine.run("one")
    assert rig.told == ["connected", "connected", "start one"]
    assert len(rig.engine._listeners) == 1


def test_when_it_is_cancelled_it_hangs_up(rig: Follower) -> None:
    """
    And does nothing more.
    """
    rig.start()
    rig.following.addErrback(lambda failure: failure.trap(CancelledError))
    rig.following.cancel()
    rig.engine.run("one")
    assert rig.told == ["connected"]
    assert rig.engine.clock.getDelayedCalls() == []


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_a_restarted_engine_is_followed_on(private_engine: PrivateEngine) -> None:
    """
    A real one, with a container that it starts with itself.
    """
    told: list[str] = []
    with PrivateEngine(ENGINES, f"kit2-{os.getpid()}") as own:
        own.import_busybox()
        client = connect_engine(cast(Reactor, reactor), UnixAddress(str(own.socket)))

        async def connected() -> None:
            told.append(f"connected to {len(await client.container_ids())}")

        def happened(event: Event) -> None:
            told.append(f"{event.action} {event.attributes['name']}")

        follower = EventFollower(client, cast(Reactor, reactor), ("start",), connected, happened)
        following = Deferred.fromCoroutine(follower.follow())
        following.addErrback(lambda failure: failure.trap(CancelledError))
        await until(lambda: told == ["connected to 0"], "it follows")
        policy = {"RestartPolicy": {"Name": "always"}}
        body: dict[str, Any] = {"Image": "busybox", "Cmd": ["sleep", "1000"]}
        body |= {"StopSignal": "SIGKILL", "HostConfig": policy}
        container_id = await client.create_container("always", body)
        await client.request("POST", f"/containers/{container_id}/start")
        await until(lambda: told[1:] == ["start always"], "the start is told")
        own.restart()
        await until(lambda: told[2:3] == ["connected to 1"], "it follows again")
        following.cancel()
