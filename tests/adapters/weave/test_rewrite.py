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
from powerstrip_weave.errors import AddressError, RequestError
from powerstrip_weave.rewrite import (
    WAIT_PROGRAM,
    ImageDefaults,
    WaitBind,
    WaitVolume,
    image_of,
    wait_for_network,
)

from powerstrip.adapter.json_text import Json, JsonObject, Number, dump, load

BIND = WaitBind("/opt/wait")
OURS = "/opt/wait:/.powerstrip-weave:ro"
ADDRESS = "WEAVE_CIDR=10.255.0.51/8"
IMAGE = ImageDefaults(("/entry",), ("x",), ("PATH=/bin",))
NO_IMAGE = ImageDefaults()

RECORDED = [
    recorded["body"]
    for recorded in map(
        json.loads,
        (Path(__file__).parents[2] / "data" / "client_bodies.jsonl").read_text().splitlines(),
    )
    if "/containers/create" in recorded["target"]
]
"""What clients sent with about every option that they have."""


def rewritten(body: str | dict[str, Any], image: ImageDefaults = IMAGE) -> dict[str, Any]:
    """
    What the engine gets of a body.
    """
    text = body if isinstance(body, str) else json.dumps(body)
    members: dict[str, Any] = json.loads(wait_for_network(text, image, BIND))
    return members


def test_a_command_waits_for_its_address() -> None:
    """
    Where WEAVE_CIDR says an address, the program is mounted and runs entry point and command.
    """
    body = {"Image": "i", "Env": [ADDRESS], "Cmd": ["c"], "HostConfig": {"Init": True}}

    assert {
        **body,
        "Entrypoint": [WAIT_PROGRAM, "/entry"],
        "HostConfig": {"Init": True, "Binds": [OURS]},
    } == rewritten(body)


def test_the_command_of_the_image_is_kept() -> None:
    """
    The engine drops the image's command where a request has an entry point, so it is written down.
    """
    wanted = rewritten({"Env": [ADDRESS]})

    assert wanted["Entrypoint"] == [WAIT_PROGRAM, "/entry"]
    assert wanted["Cmd"] == ["x"]


def test_an_address_may_be_the_image_s() -> None:
    """
    WEAVE_CIDR counts from the image's environment too, unless the request has its own.
    """
    image = ImageDefaults(("/entry",), (), (ADDRESS,))

    assert rewritten({"Image": "i"}, image)["Entrypoint"] == [WAIT_PROGRAM, "/entry"]
    for own in ("WEAVE_CIDR", "WEAVE_CIDR=none"):
        assert {"Env": [own]} == rewritten({"Env": [own]}, image)


def test_the_program_comes_from_a_volume_where_it_is_in_one() -> None:
    """
    The other way to mount is a container's volumes, read-only.
    """
    body = dump({"Env": [ADDRESS]})

    assert json.loads(wait_for_network(body, IMAGE, WaitVolume("w")))["HostConfig"] == {
        "VolumesFrom": ["w:ro"]
    }


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "5",
        "{",
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "Cmd": NaN}',
        '{"Image": "i"}',
        '{"Image" : "i", "Env": null, "HostConfig": {"NetworkMode": "host"}}',
        '{"Image": "i", "Env": ["WEAVE_CIDR=none"]}',
        '{"Env": "WEAVE_CIDR=10.0.0.1/8"}',
        '{"Env": {}}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8", 1]}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "Cmd": 1}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "Cmd": [["x"]]}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "Entrypoint": true}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "HostConfig": []}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "HostConfig": {"NetworkMode": 1}}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "HostConfig": {"Binds": "x"}}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "HostConfig": {"Binds": [1]}}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "HostConfig": {"VolumesFrom": {}}}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "HostConfig": {"Mounts": ["x"]}}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "HostConfig": {"Mounts": [{"Target": 1}]}}',
        '{"Env": ["WEAVE_CIDR=10.0.0.1/8"], "Entrypoint": [""], "Cmd": []}',
    ],
)
def test_what_the_engine_answers_itself_is_left_alone(body: str) -> None:
    """
    A body with nothing to wait for, with nothing to run or that is none is the same text as before.
    """
    assert body == wait_for_network(body, IMAGE, BIND)


def test_a_container_with_nothing_to_run_gets_the_engine_s_error() -> None:
    """
    The wait program is no command where neither image nor request has one.
    """
    body = dump({"Env": [ADDRESS]})

    assert body == wait_for_network(body, NO_IMAGE, BIND)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"Env": ["WEAVE_CIDR=10.0.0.1"]}, AddressError),
        ({"Env": ["WEAVE_CIDR="]}, AddressError),
        ({"Env": [ADDRESS], "HostConfig": {"NetworkMode": "host"}}, RequestError),
        ({"Env": [ADDRESS], "HostConfig": {"NetworkMode": "container:x"}}, RequestError),
        ({"Env": [ADDRESS], "NetworkMode": "host"}, RequestError),
    ],
)
def test_what_can_t_be_is_refused(body: dict[str, Any], error: type[Exception]) -> None:
    """
    A container is not created rather than without its address.
    """
    with pytest.raises(error):
        rewritten(body)


def test_a_body_that_is_too_deep_to_be_read_is_refused() -> None:
    """
    The engine could read it, and would create a container whose command does not wait.
    """
    deep = "[" * 100_000 + "]" * 100_000
    body = f'{{"Env": ["{ADDRESS}"], "x": {deep}}}'

    with pytest.raises(RequestError, match="the JSON is nested too deep"):
        wait_for_network(body, IMAGE, BIND)
    with pytest.raises(RequestError, match="the JSON is nested too deep"):
        image_of(body)


@pytest.mark.parametrize("body", RECORDED)
def test_a_body_is_wrapped_once(body: dict[str, Any]) -> None:
    """
    What has been wrapped is the same text when it comes again, as tools send it that make anew.
    """
    once = wait_for_network(dump_of(with_address(body)), IMAGE, BIND)

    assert WAIT_PROGRAM in once
    assert once == wait_for_network(once, IMAGE, BIND)


def test_a_committed_image_is_wrapped_once() -> None:
    """
    An image that runs the program already is taken for one with its own entry point.
    """
    committed = ImageDefaults((WAIT_PROGRAM, "/entry"), ("x",), (ADDRESS,))
    wanted = rewritten({"Image": "committed"}, committed)

    assert wanted["Entrypoint"] == [WAIT_PROGRAM, "/entry"]
    assert wanted["Cmd"] == ["x"]
    assert wanted["HostConfig"] == {"Binds": [OURS]}


@pytest.mark.parametrize("own", ["WEAVE_CIDR", "WEAVE_CIDR=none"])
@pytest.mark.parametrize(("entry", "entrypoint"), [((), [""]), (("/entry", "y"), ["/entry", "y"])])
def test_a_committed_image_without_an_address_is_unwrapped(
    own: str, entry: tuple[str, ...], entrypoint: list[str]
) -> None:
    """
    The program would not be there; the entry point that docker commands send for none is ``[""]``.
    """
    committed = ImageDefaults((WAIT_PROGRAM, *entry), ("x",), (ADDRESS,))

    assert {"Env": [own], "Entrypoint": entrypoint, "Cmd": ["x"]} == rewritten(
        {"Env": [own]}, committed
    )


def test_a_container_that_is_made_anew_without_its_address_is_unwrapped() -> None:
    """
    Then mount and program go, and what the user had beside them stays.
    """
    wrapped = rewritten({"Env": [ADDRESS], "HostConfig": {"Binds": ["/a:/b"]}})

    assert rewritten({**wrapped, "Env": []}) == {
        "Env": [],
        "Entrypoint": ["/entry"],
        "Cmd": ["x"],
        "HostConfig": {"Binds": ["/a:/b"]},
    }


def test_the_line_of_a_wrapped_container_as_a_command_is_unwrapped() -> None:
    """
    Tools that read only path and arguments of a container give them to a new one as its command.
    """
    body = {"Env": [ADDRESS], "Entrypoint": [""], "Cmd": [WAIT_PROGRAM, "/entry", "x"]}
    wanted = rewritten(body)

    assert wanted["Entrypoint"] == [WAIT_PROGRAM]
    assert wanted["Cmd"] == ["/entry", "x"]


def test_a_wrapped_container_with_nothing_to_run_gets_the_engine_s_error() -> None:
    """
    The program goes even where nothing is left then.
    """
    wanted = rewritten({"Env": [ADDRESS], "Entrypoint": [WAIT_PROGRAM]}, NO_IMAGE)

    assert wanted == {"Env": [ADDRESS], "Entrypoint": [""]}


def test_members_keep_their_places() -> None:
    """
    What is changed is changed where it stands, and what is added comes last.
    """
    body = (
        '{"Cmd":"c","HostConfig":{"Binds":null,"Memory":1e3},'
        '"Env":["WEAVE_CIDR=10.0.0.1/8"],"Z":-0}'
    )

    assert wait_for_network(body, IMAGE, BIND) == (
        '{"Cmd":"c","HostConfig":{"Binds":["/opt/wait:/.powerstrip-weave:ro"],"Memory":1e3},'
        '"Env":["WEAVE_CIDR=10.0.0.1/8"],"Z":-0,'
        '"Entrypoint":["/.powerstrip-weave/wait-for-weave","/entry"]}'
    )


@pytest.mark.parametrize("body", RECORDED)
def test_all_else_that_clients_send_stays(body: dict[str, Any]) -> None:
    """
    Only entry point, command and mount are changed: health check, init and terminal are not.
    """
    before, after = with_address(body), rewritten(with_address(body))

    assert others(before) == others(after)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.sampled_from(["-0.0", "1.0", "1e3", "9" * 40]).map(Number),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
CHANGED = ("Entrypoint", "Cmd", "Binds", "VolumesFrom", "Mounts")
READ = (*CHANGED, "Env", "Image", "HostConfig", "NetworkMode")
WORDS = st.lists(st.sampled_from(["", "a", "b c", WAIT_PROGRAM]), max_size=3)
LINES: st.SearchStrategy[Json] = st.none() | st.text() | WORDS.map(lambda words: [*words])


def unread(*names: str) -> st.SearchStrategy[JsonObject]:
    """
    Members that the adapter does not know.
    """
    any_name = st.sampled_from(names) | st.text().filter(lambda name: name not in READ)
    return st.dictionaries(any_name, JSON, max_size=5)


@st.composite
def bodies(draw: st.DrawFn) -> JsonObject:
    """
    Bodies that the engine can read, their members in any order.
    """
    host_config = draw(unread("Init", "CapAdd")) | draw(
        chosen({"Binds": st.just([OURS]) | st.just(["/a:/b"])})
    )
    read = {
        "Entrypoint": LINES,
        "Cmd": LINES,
        "Env": st.sampled_from([None, [], [ADDRESS], ["A=b", "WEAVE_CIDR=none"], ["WEAVE_CIDR"]]),
        "HostConfig": st.just(host_config),
    }
    members = draw(unread("Healthcheck", "Tty", "Labels", "Memory")) | draw(chosen(read))
    return dict(draw(st.permutations(list(members.items()))))


def chosen(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[JsonObject]:
    """
    Some of the members.
    """
    return st.fixed_dictionaries({}, optional=members)


IMAGES = st.builds(
    ImageDefaults,
    entrypoint=WORDS.map(tuple),
    cmd=WORDS.map(tuple),
    environment=st.sampled_from([(), (ADDRESS,)]),
)


@settings(deadline=None)
@given(bodies(), IMAGES, st.sampled_from([BIND, WaitVolume("w")]))
def test_everything_else_stays(
    before: JsonObject, image: ImageDefaults, mount: WaitBind | WaitVolume
) -> None:
    """
    No other member is changed, added, lost or moved, in the body or in its HostConfig.
    """
    text = dump(before)
    after = load(wait_for_network(text, image, mount))

    assert isinstance(after, dict)
    assert others(before) == others(after)
    assert list(before) == [name for name in after if name in before]


@settings(deadline=None)
@given(bodies(), IMAGES, st.sampled_from([BIND, WaitVolume("w")]))
def test_nothing_is_wrapped_twice(
    body: JsonObject, image: ImageDefaults, mount: WaitBind | WaitVolume
) -> None:
    """
    The answer is final: given once more, it is the same text. No line runs the program twice.
    """
    once = wait_for_network(dump(body), image, mount)
    members = json.loads(once)

    assert once == wait_for_network(once, image, mount)
    assert once.count(OURS) <= 1
    if members.get("Entrypoint"):
        line = [*members["Entrypoint"], *(members.get("Cmd") or [])]
        assert line[:2] != [WAIT_PROGRAM, WAIT_PROGRAM]


def others(body: JsonObject) -> list[tuple[str, Json]]:
    """
    The members in their order that are not to be changed.
    """
    members: list[tuple[str, Json]] = []
    for name, member in body.items():
        if name == "HostConfig" and isinstance(member, dict):
            members += others(member)
        elif name not in CHANGED:
            members.append((name, member))
    return members


def with_address(body: dict[str, Any]) -> dict[str, Any]:
    """
    The same with a WEAVE_CIDR.
    """
    return {**body, "Env": [*(body.get("Env") or []), ADDRESS]}


def dump_of(body: dict[str, Any]) -> str:
    """
    The body as clients in Go write it.
    """
    return json.dumps(body, separators=(",", ":"))


@pytest.mark.parametrize(
    ("body", "image"),
    [
        ('{"Image": "busybox:1"}', "busybox:1"),
        ('{"Image": ""}', None),
        ('{"Image": null}', None),
        ('{"Image": 5}', None),
        ("{}", None),
        ("null", None),
        ("[]", None),
        ("", None),
    ],
)
def test_the_image_is_named_where_there_is_one(body: str, image: str | None) -> None:
    """
    A body without an image, and what is no body, is the engine's to answer.
    """
    assert image == image_of(body)


@pytest.mark.parametrize(
    ("config", "defaults"),
    [
        (
            {"Entrypoint": ["/entry"], "Cmd": ["x"], "Env": ["PATH=/bin"]},
            ImageDefaults(("/entry",), ("x",), ("PATH=/bin",)),
        ),
        ({"Entrypoint": None, "Cmd": None, "Env": None}, ImageDefaults()),
        ({"Entrypoint": [""], "Cmd": []}, ImageDefaults(("",))),
        ({}, ImageDefaults()),
        (None, ImageDefaults()),
    ],
)
def test_an_image_is_read_from_the_engine_s_answer(
    config: dict[str, Any] | None, defaults: ImageDefaults
) -> None:
    """
    What the image's configuration has counts, not that of the container that it was made of.
    """
    answer = {"Id": "sha256:1", "Config": config, "ContainerConfig": {"Cmd": ["y"]}, "Size": 1.0}

    assert defaults == ImageDefaults.from_json(json.dumps(answer))


@pytest.mark.parametrize("answer", ["", "null", "[]", '{"Config": {"Cmd": 5}}'])
def test_another_answer_is_an_error(answer: str) -> None:
    """
    Nonsense from the engine is not taken for an image without a command.
    """
    with pytest.raises(ValueError, match=r"."):
        ImageDefaults.from_json(answer)
