"""
Which datasets a container has, and which of them may be taken away.
"""

from __future__ import annotations

from typing import Any

import pytest
from powerstrip_flocker.in_use import datasets_in_use, datasets_of, is_in_use

from powerstrip.adapter.errors import EngineProtocolError

MOUNTED = {"a": "/pool/a", "b": "/pool/b", "ab": "/pool/ab"}
NEVER = "0001-01-01T00:00:00Z"
ONCE = "2026-11-22T21:00:00.123456789Z"


def container(
    running: bool = True,
    started_at: str = ONCE,
    mounts: list[dict[str, Any]] | None = None,
    **host_config: Any,
) -> dict[str, Any]:
    """
    What the engine says of a container, as far as it matters.
    """
    return {
        "State": {"Running": running, "Pid": 5, "StartedAt": started_at},
        "Mounts": mounts,
        "HostConfig": host_config,
    }


@pytest.mark.parametrize(
    ("inspected", "datasets"),
    [
        (container(), ()),
        (container(mounts=[{"Type": "bind", "Source": "/pool/a"}]), ("a",)),
        (container(mounts=[{"Type": "bind", "Source": "/pool/b/sub"}]), ("b",)),
        (container(mounts=[{"Source": "/pool/ab"}, {"Source": "/pool/a"}]), ("a", "ab")),
        (container(mounts=[{"Type": "bind", "Source": "/pool/abc"}]), ()),
        (container(mounts=[{"Type": "bind", "Source": "/pool"}, {"Source": "/"}]), ()),
        (container(mounts=[{"Type": "tmpfs", "Destination": "/pool/a"}]), ()),
        (container(mounts=[{"Type": "volume", "Name": "a", "Source": "/var/v/_data"}]), ()),
        (container(Binds=["/pool/a/x:/data:ro", "/pool/b:/data:ro,rslave"]), ("a", "b")),
        (container(Binds=["/srv:/pool/a", "a:/pool/a", "/pool/a"]), ()),
        (container(Mounts=[{"Type": "bind", "Source": "//pool/./a/"}]), ("a",)),
        (
            container(
                Mounts=[
                    {
                        "Type": "volume",
                        "VolumeOptions": {
                            "DriverConfig": {"Options": {"o": "bind", "device": "/pool/b"}}
                        },
                    }
                ]
            ),
            ("b",),
        ),
        ({"State": {"Running": True}, "Mounts": [], "HostConfig": None}, ()),
    ],
)
def test_the_datasets_of_a_container_are_those_it_mounts(
    inspected: dict[str, Any], datasets: tuple[str, ...]
) -> None:
    """
    Whether the engine says that it mounts them, or only that it was asked to.
    """
    assert datasets == datasets_of(inspected, MOUNTED)


@pytest.mark.parametrize(
    ("running", "started_at", "counts"),
    [(True, ONCE, True), (False, NEVER, True), (False, ONCE, False)],
)
def test_a_dataset_is_in_use_until_its_container_has_ended(
    running: bool, started_at: str, counts: bool
) -> None:
    """
    A container that was created and not started yet refers to it.
    """
    inspected = container(running, started_at, [{"Type": "bind", "Source": "/pool/a"}])

    assert counts is is_in_use(inspected)
    assert (("a",) if counts else ()) == datasets_in_use(inspected, MOUNTED)


@pytest.mark.parametrize(
    "inspected",
    [
        {},
        {"State": None},
        {"State": {"Running": False}},
        {"State": {"Running": False, "StartedAt": None}},
        container(mounts=[5]),  # type: ignore[list-item]
        container(Binds={}),
        container(Mounts=[{"Type": "bind", "Source": 5}]),
    ],
)
def test_nonsense_is_not_taken_for_a_container_without_datasets(inspected: dict[str, Any]) -> None:
    """
    A dataset could be moved from under a container that is not understood.
    """
    with pytest.raises(EngineProtocolError, match="the engine answered what is no container"):
        datasets_in_use(inspected, MOUNTED)
