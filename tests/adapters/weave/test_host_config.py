"""
How the wait program gets into a container, and which containers can't have it.
"""

from __future__ import annotations

import pytest
from powerstrip_weave.errors import RequestError
from powerstrip_weave.host_config import WaitBind, WaitVolume, check_host_config, set_mount

from powerstrip.adapter.json_text import JsonObject

BIND = WaitBind("/opt/wait")
VOLUME = WaitVolume("weave-wait")
OTHERS_NETWORK = "a container with another one's network can't have a WEAVE_CIDR too"
OURS = "/opt/wait:/.powerstrip-weave:ro"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"Binds": [OURS]}),
        ({"Binds": None}, {"Binds": [OURS]}),
        ({"Binds": ["/a:/b", "n:/c:ro"]}, {"Binds": ["/a:/b", "n:/c:ro", OURS]}),
        ({"Binds": [OURS, "/a:/b"]}, {"Binds": [OURS, "/a:/b"]}),
        ({"Binds": ["/old:/.powerstrip-weave:ro", "/a:/b"]}, {"Binds": ["/a:/b", OURS]}),
        ({"Binds": ["/opt/wait:/.powerstrip-weave"]}, {"Binds": [OURS]}),
        ({"Binds": ["/opt/wait:/x/..//.powerstrip-weave/:rw"]}, {"Binds": [OURS]}),
        ({"Binds": ["/.powerstrip-weave"]}, {"Binds": [OURS]}),
        (
            {"Binds": ["/.powerstrip-weave:/x", "/x:/.powerstrip-weaver"]},
            {"Binds": ["/.powerstrip-weave:/x", "/x:/.powerstrip-weaver", OURS]},
        ),
        (
            {"Mounts": [{"Target": "/.powerstrip-weave/", "Type": "volume"}, {"Target": "/x"}]},
            {"Mounts": [{"Target": "/x"}], "Binds": [OURS]},
        ),
        ({"VolumesFrom": ["weave-wait"]}, {"VolumesFrom": ["weave-wait"], "Binds": [OURS]}),
    ],
)
def test_a_bind_is_there_once(before: JsonObject, after: JsonObject) -> None:
    """
    What else has the program's place gives way to it, and nothing else does.
    """
    assert after == set_mount(before, BIND, wanted=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"VolumesFrom": ["weave-wait:ro"]}),
        ({"VolumesFrom": ["data:rw"]}, {"VolumesFrom": ["data:rw", "weave-wait:ro"]}),
        ({"VolumesFrom": ["weave-wait:ro", "d"]}, {"VolumesFrom": ["weave-wait:ro", "d"]}),
        ({"VolumesFrom": ["weave-wait", "d"]}, {"VolumesFrom": ["d", "weave-wait:ro"]}),
        ({"VolumesFrom": ["weave-wait:rw"]}, {"VolumesFrom": ["weave-wait:ro"]}),
        ({"Binds": [OURS]}, {"Binds": [], "VolumesFrom": ["weave-wait:ro"]}),
    ],
)
def test_volumes_come_from_a_container_once(before: JsonObject, after: JsonObject) -> None:
    """
    The volumes of the program's container are read-only; a bind at its place would hide them.
    """
    assert after == set_mount(before, VOLUME, wanted=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"Binds": None, "Mounts": []}, {"Binds": None, "Mounts": []}),
        ({"Binds": ["/a:/b", "/old:/.powerstrip-weave:ro"]}, {"Binds": ["/a:/b"]}),
        ({"VolumesFrom": ["weave-wait:ro", "d"]}, {"VolumesFrom": ["d"]}),
    ],
)
def test_a_container_that_does_not_wait_needs_no_mount(
    before: JsonObject, after: JsonObject
) -> None:
    """
    The mount of a container that is made anew without an address goes.
    """
    assert after == set_mount(before, VOLUME, wanted=False)


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"HostConfig": None},
        {"HostConfig": {}, "NetworkDisabled": True},
        *({"HostConfig": {"NetworkMode": m}} for m in ("", None, "default", "bridge", "none", "x")),
        {"HostConfig": {"NetworkMode": "hosts"}},
        {"HostConfig": {"NetworkMode": "container"}},
        {"HostConfig": {}, "NetworkMode": "host"},
        {"VolumesFrom": [], "Dns": None, "CpuShares": "5"},
    ],
)
def test_a_container_with_a_network_of_its_own_can_have_an_address(
    request_body: JsonObject,
) -> None:
    """
    The engine gives a network namespace to each of these, though some have nothing in it.
    """
    check_host_config(request_body)


@pytest.mark.parametrize(
    ("request_body", "sentence"),
    [
        (
            {"HostConfig": {"NetworkMode": "host"}},
            "a container with the host's network can't have a WEAVE_CIDR too",
        ),
        (
            {"HostConfig": {"NetworkMode": "container:db"}},
            f"{OTHERS_NETWORK}: give it to the other one",
        ),
        ({"NetworkMode": "host"}, "NetworkMode must be in HostConfig where there is a WEAVE_CIDR"),
        (
            {"HostConfig": None, "Binds": ["/a:/b"]},
            "Binds must be in HostConfig where there is a WEAVE_CIDR",
        ),
    ],
)
def test_a_container_that_can_have_no_address_is_refused(
    request_body: JsonObject, sentence: str
) -> None:
    """
    The sentence says what stands against it.
    """
    with pytest.raises(RequestError) as refused:
        check_host_config(request_body)

    assert sentence == str(refused.value)
