"""
What keeps containers attached, with an engine and a network in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface
from typing import Any

import pytest
from powerstrip_weave.attachments import (
    ACTIONS,
    REMEMBERED_SECONDS,
    RETRY_SECONDS,
    Attachments,
    wanted_addresses,
)
from powerstrip_weave.errors import AddressError, AddressInUse, NetworkError
from powerstrip_weave.testing import FakeNetwork
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from powerstrip.adapter.engine import Container
from powerstrip.adapter.errors import EngineUnreachable
from powerstrip.adapter.events import FIRST_WAIT_SECONDS, EventFollower
from powerstrip.adapter.testing import FakeEngine
from tests.conftest import LoggedFailures

CIDR = "WEAVE_CIDR=10.255.0.51/8"
ADDRESSES = (IPv4Interface("10.255.0.51/8"),)
STRANGER = "3e:1f:00:aa:10:02"


class Rig:
    """
    An engine, a network, and an adapter between them, which can be killed and started again.
    """

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.network = FakeNetwork()
        self.lines: list[LogEvent] = []
        globalLogPublisher.addObserver(self.lines.append)
        self.adapter = self._new_adapter()
        self.following: Deferred[Any] = succeed(None)

    def _new_adapter(self) -> Attachments:
        return Attachments(self.engine.client, self.network, self.engine.clock)

    def follow(self) -> None:
        """
        Let the adapter hear of events.
        """
        follower = EventFollower(
            self.engine.client,
            self.engine.clock,
            ACTIONS,
            self.adapter.look_at_all,
            self.adapter.happened,
        )
        self.following = Deferred.fromCoroutine(follower.follow())

    def kill_adapter(self) -> None:
        """
        It knows nothing any more, and whatever it did is left undone.
        """
        self.following.addErrback(lambda failure: failure.trap(CancelledError))
        self.following.cancel()
        for work in list(self.adapter._work):
            work.cancel()
        self.network.attach_gate = None
        self.adapter = self._new_adapter()

    def ensure(self, reference: str) -> Deferred[None]:
        """
        What the hook after a start does.
        """
        return Deferred.fromCoroutine(self.adapter.ensure(reference))

    def attach_count(self) -> int:
        """
        How often the network was asked to attach something.
        """
        return len(self.network.attach_calls)

    def log(self) -> str:
        """
        What was logged.
        """
        return "\n".join(str(formatEvent(line)) for line in self.lines)


@pytest.fixture
def rig() -> Iterator[Rig]:
    """
    An engine with nothing in it, and an adapter that does not follow it yet.
    """
    rig = Rig()
    yield rig
    rig.following.addErrback(lambda failure: failure.trap(CancelledError))
    rig.following.cancel()
    globalLogPublisher.removeObserver(rig.lines.append)


def result_of(doing: Deferred[None]) -> Any:
    """
    What has become of something: None, or the error.
    """
    results: list[Any] = []
    doing.addBoth(results.append)
    assert results, "it still waits"
    return None if results[0] is None else results[0].value


# Which addresses


def container(environment: tuple[str, ...], network_mode: str = "default") -> Container:
    """
    A running one.
    """
    return Container("1" * 64, "box", 7, "now", environment, network_mode, {})


@pytest.mark.parametrize("mode", ["default", "bridge", "none", "my-net", "hostile"])
def test_a_container_with_a_network_of_its_own_has_its_addresses(mode: str) -> None:
    """
    Whichever of the engine's networks it is in.
    """
    assert wanted_addresses(container(("A=b", CIDR), mode)) == ADDRESSES


@pytest.mark.parametrize("environment", [(), ("A=b",), ("WEAVE_CIDR=none",), ("XWEAVE_CIDR=x",)])
def test_one_that_asks_for_none_has_none(environment: tuple[str, ...]) -> None:
    """
    It is left alone.
    """
    assert wanted_addresses(container(environment)) == ()


@pytest.mark.parametrize("mode", ["host", "container:" + "2" * 64])
def test_one_that_has_anothers_network_gets_nothing_there(mode: str) -> None:
    """
    The address would be the host's.
    """
    assert wanted_addresses(container((CIDR,), mode)) == ()


def test_what_says_no_address_is_an_error() -> None:
    """
    As at create.
    """
    with pytest.raises(AddressError):
        wanted_addresses(container(("WEAVE_CIDR=x",)))


# Hooks


@pytest.mark.parametrize("named_by", ["id", "part", "name"])
def test_a_started_container_is_attached(rig: Rig, named_by: str) -> None:
    """
    By whatever the client called it.
    """
    container_id = rig.engine.run("box", CIDR)
    references = {"id": container_id, "part": container_id[:10], "name": "box"}
    assert result_of(rig.ensure(references[named_by])) is None
    assert rig.network.attached == {container_id: ADDRESSES}
    ((attached, _),) = rig.network.attach_calls
    assert attached.pid == rig.engine.containers[container_id].pid


def test_a_container_that_asks_for_none_is_looked_at_and_left(rig: Rig) -> None:
    """
    Once; the network is not asked.
    """
    rig.engine.run("box", "A=b")
    assert result_of(rig.ensure("box")) is None
    assert rig.engine.requests == ["GET /containers/box/json"]
    assert rig.attach_count() == 0


def test_a_hook_waits_until_the_container_is_attached(rig: Rig) -> None:
    """
    Its client has the address when it has the answer.
    """
    rig.network.attach_gate = Deferred()
    rig.engine.run("box", CIDR)
    hook = rig.ensure("box")
    assert not hook.called
    rig.network.attach_gate.callback(None)
    assert result_of(hook) is None


@pytest.mark.parametrize("hooks", [1, 3])
def test_a_hook_and_an_event_of_one_start_attach_once(rig: Rig, hooks: int) -> None:
    """
    All of them wait for it.
    """
    rig.follow()
    rig.network.attach_gate = Deferred()
    rig.engine.run("box", CIDR)
    waiting = [rig.ensure("box") for _ in range(hooks)]
    assert rig.attach_count() == 1
    assert not any(hook.called for hook in waiting)
    asked = len(rig.engine.requests)
    rig.network.attach_gate.callback(None)
    assert [result_of(hook) for hook in waiting] == [None] * hooks
    assert rig.attach_count() == 1
    assert len(rig.engine.requests) == asked


def test_a_start_that_is_told_again_changes_nothing(rig: Rig) -> None:
    """
    ``docker start`` of what runs already, which the engine answers with 304.
    """
    rig.follow()
    rig.engine.run("box", CIDR)
    assert result_of(rig.ensure("box")) is None
    assert rig.attach_count() == 1


def test_a_hook_of_a_container_that_has_ended_is_no_error(rig: Rig) -> None:
    """
    Somebody has killed it in the meantime; the engine's own answer says that it was started.
    """
    container_id = rig.engine.run("box", CIDR)
    rig.engine.die("box")
    assert result_of(rig.ensure("box")) is None
    rig.engine.remove("box")
    assert result_of(rig.ensure(container_id)) is None
    assert rig.attach_count() == 0


def test_a_container_that_ends_while_it_is_attached_is_no_error(rig: Rig) -> None:
    """
    Its network goes with it.
    """
    rig.network.attach_gate = Deferred()
    rig.engine.run("box", CIDR)
    hook = rig.ensure("box")
    ((attached, _),) = rig.network.attach_calls
    rig.engine.die("box")
    rig.network.end(attached)
    rig.network.attach_gate.callback(None)
    assert result_of(hook) is None
    assert rig.network.attached == {}
    assert rig.adapter.stopped == ()


def test_a_hook_whose_client_leaves_is_seen_to_all_the_same(rig: Rig) -> None:
    """
    The container was started, and waits.
    """
    rig.network.attach_gate = Deferred()
    container_id = rig.engine.run("box", CIDR)
    hook = rig.ensure("box")
    hook.cancel()
    assert isinstance(result_of(hook), CancelledError)
    rig.network.attach_gate.callback(None)
    assert rig.network.attached == {container_id: ADDRESSES}


def test_an_engine_that_is_gone_is_said_so(rig: Rig) -> None:
    """
    To the client.
    """
    rig.engine.is_up = False
    assert isinstance(result_of(rig.ensure("box")), EngineUnreachable)


# Failures


def test_a_container_that_cant_be_attached_is_stopped_and_its_client_told(rig: Rig) -> None:
    """
    It must not run on without its network.
    """
    rig.network.wire.holders[ADDRESSES[0].ip] = STRANGER
    container_id = rig.engine.run("box", CIDR)
    error = result_of(rig.ensure("box"))
    assert isinstance(error, AddressInUse)
    assert not rig.engine.containers[container_id].pid
    assert rig.engine.requests[-1] == f"POST /containers/{container_id}/kill"
    sentence = f"box ({container_id[:12]}) is stopped: {error}"
    assert rig.log().count(sentence) == 1


@pytest.mark.parametrize("order", ["event first", "hook first"])
@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("named_by", ["name", "id"])
def test_the_client_is_told_whoever_was_first(
    rig: Rig, order: str, removed: bool, named_by: str
) -> None:
    """
    The event's attempt may have failed, and a container of ``docker run --rm`` be gone already.
    """
    rig.network.wire.holders[ADDRESSES[0].ip] = STRANGER
    if order == "event first":
        rig.follow()
    container_id = rig.engine.run("box", CIDR, AutoRemove=removed)
    error = result_of(rig.ensure("box" if named_by == "name" else container_id))
    assert isinstance(error, AddressInUse)
    assert rig.attach_count() == 1
    assert (container_id in rig.engine.containers) is not removed


def test_a_failure_is_told_to_all_who_wait(rig: Rig) -> None:
    """
    One attempt, two hooks.
    """
    rig.network.wire.holders[ADDRESSES[0].ip] = STRANGER
    rig.network.attach_gate = Deferred()
    rig.engine.run("box", CIDR)
    first, second = rig.ensure("box"), rig.ensure("box")
    rig.network.attach_gate.callback(None)
    assert isinstance(result_of(first), AddressInUse)
    assert isinstance(result_of(second), AddressInUse)
    assert rig.attach_count() == 1


def test_a_container_that_was_stopped_may_be_started_again(rig: Rig) -> None:
    """
    Once the address is free.
    """
    rig.follow()
    rig.network.wire.holders[ADDRESSES[0].ip] = STRANGER
    rig.engine.run("box", CIDR)
    assert isinstance(result_of(rig.ensure("box")), AddressInUse)
    assert [stopped.container.name for stopped in rig.adapter.stopped] == ["box"]
    rig.network.wire.holders.clear()
    rig.engine.start("box")
    assert result_of(rig.ensure("box")) is None
    assert rig.adapter.stopped == ()


def test_an_earlier_failure_is_not_told_of_a_later_start(rig: Rig) -> None:
    """
    Which has ended by itself before it was seen to.
    """
    rig.network.wire.holders[ADDRESSES[0].ip] = STRANGER
    rig.engine.run("box", CIDR)
    assert isinstance(result_of(rig.ensure("box")), AddressInUse)
    rig.engine.start("box")
    rig.engine.die("box")
    assert result_of(rig.ensure("box")) is None


def test_why_a_container_was_stopped_is_forgotten_in_time(rig: Rig) -> None:
    """
    After ten minutes.
    """
    rig.network.failure = NetworkError("no")
    rig.engine.run("box", CIDR)
    result_of(rig.ensure("box"))
    rig.engine.clock.advance(REMEMBERED_SECONDS - 1)
    (stopped,) = rig.adapter.stopped
    assert rig.adapter.seconds_since(stopped) == REMEMBERED_SECONDS - 1
    rig.engine.clock.advance(1)
    assert rig.adapter.stopped == ()


def test_a_malformed_address_stops_the_container(rig: Rig) -> None:
    """
    One that was not made through Powerstrip, which would have refused it.
    """
    rig.follow()
    container_id = rig.engine.run("box", "WEAVE_CIDR=x")
    assert not rig.engine.containers[container_id].pid
    assert isinstance(result_of(rig.ensure("box")), AddressError)


def test_a_network_that_breaks_stops_the_container_too(
    rig: Rig, logged_failures: LoggedFailures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With a traceback in the log, for whoever has written it.
    """

    async def attach(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FakeNetwork, "attach", attach)
    container_id = rig.engine.run("box", CIDR)
    error = result_of(rig.ensure("box"))
    assert str(error) == "the network failed: ZeroDivisionError()"
    assert not rig.engine.containers[container_id].pid
    assert len(logged_failures.flush(ZeroDivisionError)) == 1


def test_a_container_that_cant_be_stopped_is_logged(rig: Rig) -> None:
    """
    The engine has gone in the meantime. The client is told why there are no addresses.
    """
    rig.network.failure = NetworkError("no")
    rig.network.attach_gate = Deferred()
    rig.engine.run("box", CIDR)
    hook = rig.ensure("box")
    rig.engine.is_up = False
    rig.network.attach_gate.callback(None)
    assert str(result_of(hook)) == "no"
    assert "runs on: the Docker Engine at unix:///fake.sock can't be reached" in rig.log()


def test_nothing_of_an_environment_is_logged_but_the_address(rig: Rig) -> None:
    """
    There may be secrets in it.
    """
    rig.follow()
    rig.engine.run("one", CIDR, "TOKEN=hush")
    rig.engine.run("two", CIDR, "TOKEN=hush")
    rig.engine.run("three", "WEAVE_CIDR=x", "TOKEN=hush")
    assert "one" in rig.log()
    assert "two" in rig.log()
    assert "three" in rig.log()
    assert "hush" not in rig.log()


# Events


def test_a_container_that_starts_by_itself_is_attached(rig: Rig) -> None:
    """
    At every start: its restart policy has begun it, or a client beside Powerstrip.
    """
    rig.follow()
    container_id = rig.engine.run("box", CIDR)
    assert rig.network.attached == {container_id: ADDRESSES}
    for starts in (2, 3):
        rig.engine.die("box")
        assert rig.network.attached == {}
        rig.engine.start("box")
        assert rig.network.attached == {container_id: ADDRESSES}
        assert rig.attach_count() == starts


def test_a_container_that_ends_and_starts_again_at_once_is_attached(rig: Rig) -> None:
    """
    Though it is seen to only after both.
    """
    rig.follow()
    rig.network.attach_gate = Deferred()
    container_id = rig.engine.run("box", CIDR)
    rig.engine.die("box")
    rig.engine.start("box")
    rig.network.attach_gate.callback(None)
    assert rig.network.attached == {container_id: ADDRESSES}
    last, _ = rig.network.attach_calls[-1]
    assert last.pid == rig.engine.containers[container_id].pid
    rig.engine.die("box")
    assert rig.network.attached == {}


def test_a_removed_container_leaves_nothing(rig: Rig) -> None:
    """
    Killed and gone.
    """
    rig.follow()
    rig.engine.run("box", CIDR)
    rig.engine.remove("box")
    assert rig.network.attached == {}
    assert rig.network.wire.holders == {}


def test_a_container_of_which_the_engine_did_not_answer_is_looked_at_again(rig: Rig) -> None:
    """
    Until it answers, though the connection for events is there all the time.
    """
    rig.follow()
    rig.engine.is_up = False
    container_id = rig.engine.run("box", CIDR)
    assert "a container was not looked at: the Docker Engine at" in rig.log()
    rig.engine.clock.advance(RETRY_SECONDS)
    rig.engine.is_up = True
    assert rig.network.attached == {}
    rig.engine.clock.advance(RETRY_SECONDS)
    assert rig.network.attached == {container_id: ADDRESSES}
    assert rig.engine.clock.getDelayedCalls() == []


def test_what_cant_be_removed_is_logged(rig: Rig) -> None:
    """
    It stays until all is looked at again.
    """
    rig.follow()
    container_id = rig.engine.run("box", CIDR)
    rig.network.failure = NetworkError("no")
    rig.engine.die("box")
    assert f"what the ended container {container_id[:12]} has left stays: no" in rig.log()
    rig.network.failure = None
    rig.engine.hang_up()
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    assert rig.network.attached == {}


# All at once


def test_twenty_containers_do_not_wait_for_one_another(rig: Rig) -> None:
    """
    All attachments run at the same time.
    """
    rig.follow()
    rig.network.attach_gate = Deferred()
    for number in range(20):
        rig.engine.run(f"box-{number}", f"WEAVE_CIDR=10.0.0.{number + 1}/24")
    hooks = [rig.ensure(f"box-{number}") for number in range(20)]
    assert rig.attach_count() == 20
    rig.network.attach_gate.callback(None)
    assert [result_of(hook) for hook in hooks] == [None] * 20
    assert len(rig.network.attached) == 20
    assert rig.attach_count() == 20


def test_nothing_is_kept_of_containers_that_are_gone(rig: Rig) -> None:
    """
    An adapter runs for years.
    """
    rig.follow()
    for number in range(20):
        rig.engine.run(f"box-{number}", f"WEAVE_CIDR=10.0.0.{number + 1}/24")
        rig.engine.remove(f"box-{number}")
    assert rig.adapter._attached == {}
    assert rig.adapter._locks == {}
    assert rig.adapter._work == []


# The adapter's own starts


def test_what_runs_when_the_adapter_starts_is_attached(rig: Rig) -> None:
    """
    And nothing else is.
    """
    running = rig.engine.run("running", CIDR)
    rig.engine.run("other")
    rig.engine.run("ended", "WEAVE_CIDR=10.255.0.52/8")
    rig.engine.die("ended")
    rig.engine.clock.advance(60)
    rig.follow()
    assert rig.network.attached == {running: ADDRESSES}


def test_what_an_ended_container_has_left_is_removed_at_the_start(rig: Rig) -> None:
    """
    It ended while no adapter ran.
    """
    rig.follow()
    rig.engine.run("box", CIDR)
    rig.kill_adapter()
    rig.engine.die("box")
    rig.follow()
    assert rig.network.attached == {}


def test_what_is_attached_stays_so_over_the_adapters_restart(rig: Rig) -> None:
    """
    It keeps its address all the time.
    """
    rig.follow()
    container_id = rig.engine.run("box", CIDR)
    rig.kill_adapter()
    assert rig.network.attached == {container_id: ADDRESSES}
    rig.engine.clock.advance(60)
    rig.follow()
    assert rig.network.attached == {container_id: ADDRESSES}
    assert rig.adapter.stopped == ()


def test_an_adapter_that_is_killed_in_the_middle_of_an_attachment_ends_it_next_time(
    rig: Rig,
) -> None:
    """
    The container still waits.
    """
    rig.follow()
    rig.network.attach_gate = Deferred()
    container_id = rig.engine.run("box", CIDR)
    rig.kill_adapter()
    assert rig.network.attached == {}
    rig.follow()
    assert rig.network.attached == {container_id: ADDRESSES}


def test_a_container_that_ran_before_is_not_stopped_for_the_networks_trouble(rig: Rig) -> None:
    """
    It may have run for days.
    """
    container_id = rig.engine.run("box", CIDR)
    rig.engine.clock.advance(60)
    rig.network.failure = NetworkError("no")
    rig.follow()
    assert rig.engine.containers[container_id].pid
    assert f"box ({container_id[:12]}) goes without its addresses: no" in rig.log()
    assert "what ended containers have left stays: no" in rig.log()


def test_a_restarted_engine_has_its_containers_attached(rig: Rig) -> None:
    """
    Those that it has started itself, before it could be asked.
    """
    rig.follow()
    container_id = rig.engine.run("box", CIDR)
    rig.engine.run("other", "WEAVE_CIDR=10.255.0.52/8")
    rig.engine.is_up = False
    rig.engine.hang_up()
    rig.engine.die("box")
    rig.engine.die("other")
    rig.engine.start("box")
    rig.engine.forget_events()
    rig.engine.is_up = True
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    assert rig.network.attached == {container_id: ADDRESSES}
    last, _ = rig.network.attach_calls[-1]
    assert last.pid == rig.engine.containers[container_id].pid


def test_an_engine_with_live_restore_disturbs_nothing(rig: Rig) -> None:
    """
    Its containers run on, and are not attached again.
    """
    rig.follow()
    container_id = rig.engine.run("box", CIDR)
    rig.engine.hang_up()
    rig.engine.clock.advance(FIRST_WAIT_SECONDS)
    assert rig.network.attached == {container_id: ADDRESSES}
    assert rig.attach_count() == 1


def test_what_was_attached_while_all_were_listed_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The list is older than the container.
    """
    container_id = rig.engine.run("box", CIDR)
    result_of(rig.ensure("box"))

    async def container_ids() -> tuple[str, ...]:
        return ()

    monkeypatch.setattr(rig.engine.client, "container_ids", container_ids)
    assert result_of(Deferred.fromCoroutine(rig.adapter.look_at_all())) is None
    assert rig.network.attached == {container_id: ADDRESSES}
    assert rig.attach_count() == 1


# The end


def test_the_end_waits_for_what_is_being_done(rig: Rig) -> None:
    """
    Nothing is left halfway.
    """
    rig.network.attach_gate = Deferred()
    rig.engine.run("one", CIDR)
    rig.ensure("one")
    finishing = Deferred.fromCoroutine(rig.adapter.finish())
    assert not finishing.called
    rig.network.attach_gate.callback(None)
    assert result_of(finishing) is None
    assert len(rig.network.attached) == 1


def test_what_takes_too_long_at_the_end_is_given_up(rig: Rig) -> None:
    """
    With all that waits for it; the next adapter ends it.
    """
    rig.follow()
    rig.network.attach_gate = Deferred()
    rig.engine.run("one", CIDR)
    hook = rig.ensure("one")
    finishing = Deferred.fromCoroutine(rig.adapter.finish())
    finishing.cancel()
    assert result_of(finishing) is None
    assert isinstance(result_of(hook), CancelledError)
    assert rig.adapter._work == []
    assert rig.adapter._locks == {}


def test_the_end_waits_for_nothing_where_nothing_is_done(rig: Rig) -> None:
    """
    It comes at once.
    """
    assert result_of(Deferred.fromCoroutine(rig.adapter.finish())) is None
