"""
The request that creates a container, before and after.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.places import Place
from powerstrip_flocker.rewrite import containers_in, datasets_in, places_in, rewritten

from powerstrip.adapter.json_text import Json, JsonObject, Number, dump

MOUNTED = {"a": "/pool/1f2e.a", "b.c": "/mnt/b.c"}

RECORDED = [
    json.dumps(recorded["body"])
    for recorded in map(
        json.loads,
        (Path(__file__).parents[2] / "data" / "client_bodies.jsonl").read_text().splitlines(),
    )
    if "/containers/create" in recorded["target"]
]
"""What clients sent with about every option that they have."""

BINDS = [
    ("/flocker/a:/data", "/pool/1f2e.a:/data"),
    ("/flocker/a:/data:ro", "/pool/1f2e.a:/data:ro"),
    ("/flocker/a:/data:ro,rslave,z", "/pool/1f2e.a:/data:ro,rslave,z"),
    ("/flocker/a/:/data", "/pool/1f2e.a:/data"),
    ("/flocker/a/sub/dir:/data:rw", "/pool/1f2e.a/sub/dir:/data:rw"),
    ("//flocker/./b.c//x/../y:/flocker/a", "/mnt/b.c/y:/flocker/a"),
    ("/flocker/a/../b.c:/data", "/mnt/b.c:/data"),
    ("/srv:/flocker/a", "/srv:/flocker/a"),
    ("/srv/../x//y:/data:ro", "/srv/../x//y:/data:ro"),
    ("/flockerx/a:/data", "/flockerx/a:/data"),
    ("flocker:/data", "flocker:/data"),
    ("flocker:/flocker/a:nocopy", "flocker:/flocker/a:nocopy"),
    ("/flocker/a", "/flocker/a"),  # a volume's target
    ("/flocker", "/flocker"),
    ("", ""),
    (":/flocker/a", ":/flocker/a"),
    ("C:\\flocker\\a:C:\\data", "C:\\flocker\\a:C:\\data"),
]
"""Entries of Binds, before and after."""

UNTOUCHED: list[JsonObject] = [
    {"Type": "bind", "Source": "/srv//x/", "Target": "/flocker/a"},
    {"Type": "bind", "Source": "flocker/a", "Target": "/data"},
    {"Type": "bind", "Target": "/flocker/a"},
    {"Type": "volume", "Source": "flocker", "Target": "/data"},
    {"Type": "volume", "Source": "/flocker/a", "Target": "/data"},
    {"Type": "tmpfs", "Target": "/flocker/a", "TmpfsOptions": {"Mode": Number("511")}},
    {"Source": "/flocker/a", "Target": "/data"},
    {"Type": "Bind", "Source": "/flocker/a", "Target": "/data"},
]

MOUNTS: list[tuple[JsonObject, JsonObject]] = [
    (
        {"Type": "bind", "Source": "/flocker/a", "Target": "/data"},
        {"Type": "bind", "Source": "/pool/1f2e.a", "Target": "/data"},
    ),
    (
        {
            "Target": "/data",
            "Source": "/flocker//b.c/sub/",
            "ReadOnly": True,
            "Type": "bind",
            "BindOptions": {
                "Propagation": "rslave",
                "CreateMountpoint": True,
                "New": Number("1.0"),
            },
            "Consistency": "cached",
        },
        {
            "Target": "/data",
            "Source": "/mnt/b.c/sub",
            "ReadOnly": True,
            "Type": "bind",
            "BindOptions": {
                "Propagation": "rslave",
                "CreateMountpoint": True,
                "New": Number("1.0"),
            },
            "Consistency": "cached",
        },
    ),
    *((mount, mount) for mount in UNTOUCHED),
]
"""Entries of Mounts, before and after."""


def create(**host_config: Any) -> str:
    """
    The body of a request with such a HostConfig.
    """
    return json.dumps({"Image": "i", "HostConfig": host_config})


def volume(**options: str) -> dict[str, Any]:
    """
    An entry of Mounts that makes a volume with such options of its driver.
    """
    return {
        "Type": "volume",
        "Source": "v",
        "Target": "/data",
        "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": options}},
    }


@pytest.mark.parametrize(("before", "after"), BINDS)
def test_a_bind_is_of_the_mounted_dataset(before: str, after: str) -> None:
    """
    Its source alone changes, and that of another bind does not.
    """
    body = dump({"Image": "i", "HostConfig": {"Binds": [before], "Init": True}})

    assert dump({"Image": "i", "HostConfig": {"Binds": [after], "Init": True}}) == rewritten(
        body, MOUNTED
    )


@pytest.mark.parametrize(("before", "after"), MOUNTS)
def test_a_mount_is_of_the_mounted_dataset(before: JsonObject, after: JsonObject) -> None:
    """
    Its other members stay as they are, in their order.
    """
    body = dump({"HostConfig": {"Mounts": [before]}})

    assert dump({"HostConfig": {"Mounts": [after]}}) == rewritten(body, MOUNTED)


VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.sampled_from(["-0", "1e20"]).map(Number),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
UNKNOWN = st.dictionaries(st.text().map(lambda name: f"x{name}"), VALUES, max_size=3)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(BINDS)),
    st.lists(st.sampled_from(MOUNTS)),
    st.lists(st.text()),
    UNKNOWN,
    UNKNOWN,
    st.booleans(),
)
def test_nothing_else_changes(
    binds: list[tuple[str, str]],
    mounts: list[tuple[JsonObject, JsonObject]],
    volumes_from: list[str],
    unknown: JsonObject,
    unknown_inside: JsonObject,
    is_host_config: bool,
) -> None:
    """
    Each source is replaced in its place, and all else comes out as it went in; where no source is a
    dataset's, the body is the same text.
    """

    def body(side: int) -> str:
        host_config: JsonObject = {
            "VolumesFrom": [*volumes_from],
            **unknown_inside,
            "Binds": [bind[side] for bind in binds],
            "Mounts": [mount[side] for mount in mounts],
            "Memory": Number("1e9"),
        }
        outside: JsonObject = {"HostConfig": None} | unknown
        if is_host_config:
            return dump(outside | host_config)
        return dump(outside | {"HostConfig": host_config, "Image": "/flocker/a:x"})

    before, after = body(0), body(1)

    assert after == rewritten(before, MOUNTED)
    assert after is rewritten(after, MOUNTED)
    if before == after:
        assert before is rewritten(before, MOUNTED)


@pytest.mark.parametrize(
    "body",
    [
        *RECORDED,
        "",
        "null",
        "[]",
        "5",
        "{",
        "{}",
        '{"HostConfig" : {"Binds": null, "Mounts": null}, "n": 1.0}',
        '{"HostConfig": null, "Volumes": {"/flocker/a": {}}}',
        '{"Volumes": {"/flocker/a": {}}, "HostConfig": {"Binds": []}}',
        '{"HostConfig": [{"Binds": ["/flocker/a:/data"]}]}',
        '{"HostConfig": {"Binds": "/flocker/a:/data"}}',
        '{"HostConfig": {"Binds": ["/flocker/a:/data", 1]}}',
        '{"HostConfig": {"Binds": ["/flocker/a:/data"], "Mounts": {}}}',
        '{"HostConfig": {"Mounts": [{"Type": "bind", "Source": ["/flocker/a"]}]}}',
        '{"HostConfig": {"Binds": ["/flocker/a:/data"], "Mounts": [{"VolumeOptions": 1}]}}',
        '{"HostConfig": {}, "Binds": ["/flocker/a:/data"]}',
        '{"HostConfig": {"HostConfig": {"Binds": ["/flocker/a:/data"]}}}',
    ],
)
def test_a_body_that_asks_for_nothing_is_the_same(body: str) -> None:
    """
    What mounts no dataset, and what the engine itself refuses, is left alone.
    """
    assert datasets_in(body) == ()
    assert body is rewritten(body, MOUNTED)


def test_datasets_are_asked_for_in_order_and_once() -> None:
    """
    Those of Binds come before those of Mounts, and each place of a dataset is told.
    """
    body = create(
        Mounts=[{"Type": "bind", "Source": "/flocker/c"}, {"Type": "bind", "Source": "/flocker/b"}],
        Binds=["/flocker/b:/1", "/srv:/2", "/flocker/a/x:/3", "/flocker/b/:/4", "/flocker/a:/5"],
    )

    assert datasets_in(body) == ("b", "a", "c")
    assert places_in(body) == (Place("b"), Place("a", "x"), Place("a"), Place("c"))


def test_a_body_without_a_host_config_is_one() -> None:
    """
    Up to Docker 24 the engine mounts what such a body says; later it doesn't look.
    """
    body = dump({"Binds": ["/flocker/a:/data"], "Image": "i"})

    assert datasets_in(body) == ("a",)
    assert dump({"Binds": ["/pool/1f2e.a:/data"], "Image": "i"}) == rewritten(body, MOUNTED)


def test_a_dataset_that_is_mounted_under_its_own_name_changes_nothing() -> None:
    """
    The storage may have it there; then the client's own text goes on.
    """
    body = create(Binds=["/flocker/a:/data"])

    assert datasets_in(body) == ("a",)
    assert body is rewritten(body, {"a": "/flocker/a"})


@pytest.mark.parametrize(
    "host_config",
    [
        {"Binds": ["/flocker:/data"]},
        {"Binds": ["/srv:/data", "/flocker/a/../../etc:/data:ro"]},
        {"Binds": ["/flocker/a b:/data"]},
        {"Mounts": [{"Type": "bind", "Source": "/flocker/"}]},
        {"Mounts": [{"Type": "bind", "Source": f"/flocker/{'x' * 65}"}]},
    ],
)
def test_what_is_no_dataset_is_refused(host_config: dict[str, Any]) -> None:
    """
    Neither is it made, nor goes the request on.
    """
    with pytest.raises(RequestError):
        datasets_in(create(**host_config))
    with pytest.raises(RequestError):
        rewritten(create(**host_config), MOUNTED)


@pytest.mark.parametrize(
    "options",
    [
        {"type": "none", "o": "bind", "device": "/flocker/a"},
        {"o": "rw,rbind", "device": "//flocker/./a/sub"},
        {"type": "overlay", "device": "overlay", "o": "lowerdir=/srv:/flocker/a,workdir=/w"},
        {"type": "overlay", "device": "overlay", "o": "lowerdir=/srv,upperdir=/flocker/a"},
        {"mountpoint": "/flocker/a"},
    ],
)
def test_no_volume_is_made_of_a_dataset(options: dict[str, str]) -> None:
    """
    The volume would stay when the dataset goes, and containers could mount it by its name alone.
    """
    with pytest.raises(RequestError, match=r"no volume can be made of '/+flocker/.*: bind it"):
        datasets_in(create(Mounts=[volume(**options)], Binds=["/flocker/a:/x"]))


@pytest.mark.parametrize(
    "options",
    [
        {"type": "none", "o": "bind", "device": "/srv"},
        {"type": "none", "o": "bind", "device": "/flockerx/a"},
        {"type": "nfs", "o": "addr=192.0.2.1,rw", "device": ":/flocker/a"},
        {"type": "cifs", "o": "username=x", "device": "//server/flocker/a"},
        {"type": "tmpfs", "o": "size=1m", "device": "tmpfs"},
    ],
)
def test_a_volume_of_something_else_is_made(options: dict[str, str]) -> None:
    """
    A path of another machine is none of ours, whatever it is called.
    """
    body = create(Mounts=[volume(**options)])

    assert body is rewritten(body, MOUNTED)


def test_a_body_that_is_too_deep_to_be_read_is_refused() -> None:
    """
    The engine could read it, and would make a directory where the dataset belongs.
    """
    deep = "[" * 100_000 + "]" * 100_000
    body = f'{{"HostConfig": {{"Binds": ["/flocker/a:/data"]}}, "x": {deep}}}'

    for read in (datasets_in, containers_in, lambda body: rewritten(body, MOUNTED)):
        with pytest.raises(RequestError, match="the JSON is nested too deep"):
            read(body)


@pytest.mark.parametrize(
    ("body", "containers"),
    [
        (create(VolumesFrom=["db", "web:ro", "db:rw", "x"]), ("db", "web", "x")),
        (create(VolumesFrom=None), ()),
        ('{"VolumesFrom": ["db"]}', ("db",)),
        ('{"VolumesFrom": ["db"], "HostConfig": {}}', ()),
        ('{"HostConfig": {"VolumesFrom": "db"}}', ()),
        ("", ()),
    ],
)
def test_the_containers_whose_mounts_are_taken_are_named(
    body: str, containers: tuple[str, ...]
) -> None:
    """
    Each once, without its mode.
    """
    assert containers == containers_in(body)


def test_the_json_of_a_client_is_kept_where_a_dataset_is_put_in() -> None:
    """
    What clients send with about every option that they have differs in the one source alone.
    """
    for recorded in RECORDED:
        before: Json = {"HostConfig": json.loads(recorded)["HostConfig"]}
        assert isinstance(before, dict)
        text = dump_of(before)
        asked = text.replace('"Source":"/tmp"', '"Source":"/flocker/a"', 1)

        assert text.replace('"Source":"/tmp"', '"Source":"/pool/1f2e.a"', 1) == rewritten(
            asked, MOUNTED
        )


def dump_of(value: object) -> str:
    """
    JSON with no space between its parts.
    """
    return json.dumps(value, separators=(",", ":"))
