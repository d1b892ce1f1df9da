"""
Who uses a dataset, with an engine in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.interfaces import IRequests, IUses
from powerstrip_flocker.uses import EXPECTED, EXPECTED_SECONDS, EngineUses
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from powerstrip.adapter.engine import Event
from powerstrip.adapter.testing import FakeEngine


class Rig:
    """
    An engine, and who uses its datasets.
    """

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.uses = EngineUses(self.engine.client, self._mount_point, self.engine.clock)

    async def _mount_point(self, name: str) -> Path | None:
        return None if name == "never-here" else Path("/pool", name)

    def create(self, name: str, *binds: str) -> str:
        """
        Make a container, whose event is told.
        """
        config = {"Image": "busybox", "HostConfig": {"Binds": list(binds)}}
        container_id = self.engine._create(name, config)
        self.tell("create", container_id)
        return container_id

    def start(self, container_id: str) -> None:
        """
        Start it, and tell so.
        """
        self.engine.start(container_id)
        self.tell("start", container_id)

    def expect_start(self, container_id: str, *names: str) -> None:
        """
        Have a hook before its start.
        """
        for name in names:
            self.uses.expect(name)
        self.uses.starting(container_id, names)

    def tell(self, action: str, container_id: str) -> None:
        """
        Tell of an event.
        """
        self.uses.happened(Event(action, container_id, 1, {}))

    def users(self, name: str = "a") -> Sequence[str]:
        """
        The containers that use a dataset.
        """
        return now(self.uses.containers(name))


def now(doing: Any) -> Any:
    """
    What a coroutine returns that does not have to wait.
    """
    result: list[Any] = []
    Deferred.fromCoroutine(doing).addBoth(result.append)
    (value,) = result
    if hasattr(value, "raiseException"):
        value.raiseException()
    return value


@pytest.fixture
def rig() -> Rig:
    """
    No containers.
    """
    return Rig()


def test_it_is_what_keepers_ask(rig: Rig) -> None:
    """
    The interface is there as it is said.
    """
    assert verifyObject(IUses, rig.uses)
    assert verifyObject(IRequests, rig.uses)


def test_containers_use_a_dataset_from_their_creation_to_their_end(rig: Rig) -> None:
    """
    And again when they are started again.
    """
    box = rig.create("box", "/pool/a/sub:/x")
    assert rig.users() == ["box"]
    rig.start(box)
    assert rig.users() == ["box"]
    assert rig.users("b") == []
    rig.engine.die(box)
    assert rig.users() == []
    rig.start(box)
    assert rig.users() == ["box"]


def test_a_dataset_that_was_never_here_is_used_by_nobody(rig: Rig) -> None:
    """
    It has no place where it could be mounted.
    """
    rig.create("box", "/:/x")
    assert rig.users("never-here") == []


def test_an_expected_container_counts_until_it_is_created(rig: Rig) -> None:
    """
    Then it counts itself: once, and no longer than it is there.
    """
    rig.uses.expect("a")
    assert rig.users() == [EXPECTED]
    assert rig.users("b") == []
    box = rig.create("box", "/pool/a:/x")
    assert rig.users() == ["box"]
    rig.engine.remove(box)
    assert rig.users() == []


def test_one_that_does_not_come_counts_for_a_while(rig: Rig) -> None:
    """
    Its request may have been refused.
    """
    rig.uses.expect("a")
    rig.engine.clock.advance(EXPECTED_SECONDS - 1)
    assert rig.users() == [EXPECTED]
    rig.engine.clock.advance(1)
    assert rig.users() == []


def test_a_container_ends_the_expectation_of_one(rig: Rig) -> None:
    """
    Two requests may be under way: the second container is still to come when the first has ended.
    """
    rig.uses.expect("a")
    rig.uses.expect("a")
    one = rig.create("one", "/pool/a:/x")
    rig.start(one)
    rig.engine.remove(one)
    rig.tell("destroy", one)
    assert rig.users() == [EXPECTED]
    rig.engine.remove(rig.create("two", "/pool/a:/x"))
    assert rig.users() == []


def test_another_container_ends_no_expectation(rig: Rig) -> None:
    """
    One without the dataset, and one that is gone before it was looked at.
    """
    rig.uses.expect("a")
    rig.create("other", "/pool/b:/x")
    rig.tell("create", "0" * 64)
    assert rig.users() == [EXPECTED]


def test_a_container_that_starts_again_is_expected_too(rig: Rig) -> None:
    """
    Its start is what comes.
    """
    box = rig.create("box", "/pool/a:/x")
    rig.start(box)
    rig.engine.die(box)
    rig.expect_start(box, "a")
    assert rig.users() == [EXPECTED]
    rig.start(box)
    rig.engine.die(box)
    assert rig.users() == []


def test_a_first_start_that_was_asked_for_is_expected_by_itself(rig: Rig) -> None:
    """
    Where starts have a pre-hook too, each container is expected twice, and comes twice.
    """
    rig.uses.expect("a")
    box = rig.create("box", "/pool/a:/x")
    rig.expect_start(box, "a")
    assert rig.users() == ["box", EXPECTED]
    rig.start(box)
    assert rig.users() == ["box"]
    rig.engine.remove(box)
    assert rig.users() == []


@pytest.mark.parametrize("how", ["destroy", "not started", "started"])
def test_a_start_ends_what_was_expected_with_it(rig: Rig, how: str) -> None:
    """
    Once, and nothing that is expected of others: not even where it is told twice.
    """
    box = rig.create("box", "/pool/a:/x", "/pool/b:/y")
    rig.start(box)
    rig.engine.die(box)
    rig.uses.expect("a")
    rig.expect_start(box, "a", "b")
    assert [len(rig.uses._expected[it]) for it in "ab"] == [2, 1]
    for _ in range(2):
        if how == "destroy":
            rig.tell("destroy", box)
        elif how == "not started":
            rig.uses.not_started(box)
        else:
            rig.start(box)
            rig.engine.die(box)
        assert (rig.users("a"), rig.users("b")) == ([EXPECTED], [])


def test_a_start_that_fails_leaves_another_one_expected(rig: Rig) -> None:
    """
    Of the same container; when it is gone, neither comes.
    """
    box = rig.create("box", "/pool/a:/x")
    rig.start(box)
    rig.engine.die(box)
    for _ in range(3):
        rig.expect_start(box, "a")
    rig.uses.not_started(box)
    assert rig.users() == [EXPECTED]
    rig.tell("destroy", box)
    assert rig.users() == []


def test_a_start_that_is_over_by_time_ends_nothing(rig: Rig) -> None:
    """
    What was expected with it is over as well.
    """
    box = rig.create("box", "/pool/a:/x")
    rig.start(box)
    rig.engine.die(box)
    rig.expect_start(box, "a")
    rig.engine.clock.advance(EXPECTED_SECONDS)
    assert rig.users() == []
    rig.uses.expect("a")
    rig.uses.not_started(box)
    assert rig.users() == [EXPECTED]


def test_a_container_that_is_not_created_is_expected_no_more(rig: Rig) -> None:
    """
    Another one of the same dataset still is.
    """
    for name in ("a", "a", "b"):
        rig.uses.expect(name)
    rig.uses.not_created(["a", "b"])
    assert (rig.users("a"), rig.users("b")) == ([EXPECTED], [])
    rig.uses.not_created(["a", "b"])
    assert rig.users("a") == []
    rig.uses.not_created(["a"])
    rig.uses.expect("a")
    assert rig.users("a") == [EXPECTED]


def test_one_that_comes_while_the_list_is_made_is_not_overlooked(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is in no list of before, and not expected any more.
    """
    rig.uses.expect("a")
    container_ids = rig.engine.client.container_ids

    async def and_then(**more: bool) -> tuple[str, ...]:
        found = await container_ids(**more)
        if not rig.engine.containers:
            rig.create("box", "/pool/a:/x")
        return found

    monkeypatch.setattr(rig.engine.client, "container_ids", and_then)
    assert rig.users() == ["box"]


def test_a_container_that_goes_while_it_is_looked_at_uses_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is in the list, and not there any more.
    """
    rig.create("box", "/pool/a:/x")

    async def container_ids(*, stopped: bool) -> tuple[str, ...]:
        return (*rig.engine.containers, "0" * 64)

    monkeypatch.setattr(rig.engine.client, "container_ids", container_ids)
    assert rig.users() == ["box"]


def test_what_cant_be_asked_is_not_taken_for_unused(rig: Rig) -> None:
    """
    The engine's trouble is the adapter's.
    """
    rig.engine.is_up = False
    with pytest.raises(FlockerError, match="what uses a can't be said: the Docker Engine at unix:"):
        rig.users()


def test_a_look_that_fails_leaves_the_container_expected(rig: Rig) -> None:
    """
    Nobody waits for it; it is in the log.
    """
    rig.uses.expect("a")
    rig.engine.is_up = False
    rig.tell("create", "0" * 64)
    rig.engine.is_up = True
    assert rig.users() == [EXPECTED]


def test_a_look_is_given_up_at_the_end(rig: Rig) -> None:
    """
    Of an engine that does not answer.
    """
    rig.uses.expect("a")
    rig.engine.is_silent = True
    rig.tell("create", "0" * 64)
    rig.uses.stop()
    assert not rig.engine.clock.getDelayedCalls()
