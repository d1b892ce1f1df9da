"""
JSON that has one reading only, and JSON that has two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.endpoints import RoutedPath
from powerstrip.core.members import BODIES, STRUCTS, check_members
from powerstrip.errors import DownstreamProtocolError

CREATE = RoutedPath.parse(b"/v1.41/containers/create")
SERVICE = RoutedPath.parse(b"/v1.41/services/create")
NETWORK = RoutedPath.parse(b"/v1.41/networks/create")
UNKNOWN = RoutedPath.parse(b"/v1.99/novelties/create")

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "client_bodies.jsonl")
    .read_text()
    .splitlines()
]
"""What clients sent with about every option that they have."""


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda r: f"{r['client']} {r['target']}")
def test_what_clients_send_is_never_refused(recorded: dict[str, Any]) -> None:
    """
    The docker command, Docker's SDK for Python and dockerode go through, names of their own too.
    """
    path = RoutedPath.parse(recorded["target"].encode())
    check_members(json.dumps(recorded["body"]), path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (CREATE, '{"Labels": {"A": "", "a": "", "hostconfig": "", "Privileged": ""}}'),
        (
            CREATE,
            '{"HostConfig": {"LogConfig": {"type": "x", "config": {"Type": "", "type": ""}}}}',
        ),
        (CREATE, '{"HostConfig": {"Ulimits": [{"name": "nofile", "soft": 1, "hard": 2}]}}'),
        (CREATE, '{"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}}}'),
        (
            CREATE,
            '{"NetworkingConfig": {"EndpointsConfig": {"links": {"Links": []}, "Links": {}}}}',
        ),
        (CREATE, '{"Image": "x", "name": "x", "platform": "", "_query": {}}'),
        (CREATE, ' \t\r\n{"Image": "x"}\n'),
        (CREATE, '{"\\u0048ostConfig": {}}'),
        (CREATE, '{"Labels": {"x": "\\ud83d\\ude00 \\\\ud800"}}'),
        (SERVICE, '{"Mode": {"replicated": {"Replicas": 1}}}'),
        (SERVICE, '{"TaskTemplate": {"ContainerSpec": {"TTY": true, "HealthCheck": {}}}}'),
        (SERVICE, '{"TaskTemplate": {"PluginSpec": {"name": "x", "privileges": [{"name": ""}]}}}'),
        (RoutedPath.parse(b"/commit"), '{"container": "x", "comment": "y"}'),
        (RoutedPath.parse(b"/containers/x/rename"), '{"name": "y"}'),
        (RoutedPath.parse(b"/plugins/pull"), '[{"Name": "network", "Value": ["host"]}]'),
        (UNKNOWN, '{"name": "x", "Name2": "y", "Labels": {"a": "", "A": ""}}'),
        (CREATE, ""),
        (CREATE, "null"),
        (CREATE, '"hostconfig"'),
        (CREATE, "\ufeff{]"),
        (CREATE, "hostconfig=x"),
    ],
)
def test_text_with_one_reading_goes_on(path: RoutedPath, text: str) -> None:
    """
    The keys of maps are free, and what the engine does not read at all is no matter.
    """
    check_members(text, path)


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        (
            CREATE,
            '{"hostconfig": {}}',
            "the member hostconfig of the body must be spelled HostConfig",
        ),
        (CREATE, '{"HOSTCONFIG": {}}', "HOSTCONFIG of the body must be spelled HostConfig"),
        (
            CREATE,
            '{"Ho\u017ftConfig": {}}',
            r"Ho\u017ftConfig of the body must be spelled HostConfig",
        ),
        (CREATE, '{"Ho\\u017ftConfig": {}}', r"Ho\u017ftConfig of the body must be"),
        (
            CREATE,
            '{"HostConfig": {"privileged": true}}',
            "HostConfig.privileged of the body must be",
        ),
        (
            CREATE,
            '{"HostConfig": {"Lin\u212as": []}}',
            r"HostConfig.Lin\u212as of the body must be",
        ),
        (CREATE, '{"HostConfig": {"Mounts": [{}, {"source": ""}]}}', "HostConfig.Mounts[1].source"),
        (CREATE, '{"binds": []}', "binds of the body must be spelled Binds"),
        (
            CREATE,
            '{"HostConfig": {"Mounts": [{"VolumeOptions": {"DriverConfig": {"options": {}}}}]}}',
            "HostConfig.Mounts[0].VolumeOptions.DriverConfig.options",
        ),
        (
            CREATE,
            '{"NetworkingConfig": {"EndpointsConfig": {"net": {"ipamconfig": {}}}}}',
            "NetworkingConfig.EndpointsConfig.net.ipamconfig",
        ),
        (
            CREATE,
            '{"HostConfig": {"PortBindings": {"80/tcp": [{"hostport": "1"}]}}}',
            "HostConfig.PortBindings.80/tcp[0].hostport",
        ),
        (CREATE, '{"HostConfig": {}, "HostConfig": {}}', "HostConfig of the body comes twice"),
        (CREATE, '{"Labels": {"a": "", "a": ""}}', "Labels.a of the body comes twice"),
        (CREATE, '{"Labels": {"a": "", "\\u0061": ""}}', "Labels.a of the body comes twice"),
        (CREATE, '{"New": {"Allow": 1, "allow": 2}}', "New.allow of the body is Allow in another"),
        (SERVICE, '{"Mode": {"Global": {}, "global": {}}}', "Mode.global of the body is Global in"),
        (SERVICE, '{"TaskTemplate": {"ContainerSpec": {"Tty": true}}}', "must be spelled TTY"),
        (NETWORK, '{"name": "x"}', "name of the body must be spelled Name"),
        (NETWORK, '{"IPAM": {"Config": [{"subnet": ""}]}}', "IPAM.Config[0].subnet"),
        (RoutedPath.parse(b"/containers/x/start"), '{"binds": []}', "must be spelled Binds"),
        (RoutedPath.parse(b"/exec/x/start"), '{"tty": true}', "must be spelled Tty"),
        (RoutedPath.parse(b"/plugins/pull"), '[{"name": ""}]', "[0].name of the body"),
        (UNKNOWN, '{"a": 1, "A": 2}', "A of the body is a in another case"),
        (UNKNOWN, '[{"a": [{"b": 1, "b": 2}]}]', "[0].a[0].b of the body comes twice"),
        (CREATE, '{"Image": "x"} {}', "not one JSON value"),
        (CREATE, '{"Image": "x"}x', "not one JSON value"),
        (CREATE, '{"Image": "x"', "not one JSON value"),
        (CREATE, '{"Image": "x",}', "not one JSON value"),
        (CREATE, "{'Image': 'x'}", "not one JSON value"),
        (CREATE, '{"Image": "x\ny"}', "not one JSON value"),
        (CREATE, '{"Memory": NaN}', "not one JSON value: NaN"),
        (CREATE, '{"Memory": -Infinity}', "not one JSON value: -Infinity"),
        (CREATE, '{"Memory": 01}', "not one JSON value"),
        (CREATE, '{"Memory": %s}' % ("1" * 5000), "too long a number"),
        (CREATE, '{"Labels": {"x": "\\ud800"}}', "half a surrogate pair"),
        (CREATE, '{"Labels": {"\\uDC00": ""}}', "half a surrogate pair"),
        (CREATE, "[" * 100_000, "nested too deep"),
        (CREATE, '{"a":' * 100_000, "nested too deep"),
        (CREATE, '{"%s": {"a": 1, "a": 2}}' % ("x" * 500), "the member …xxx"),
    ],
)
def test_text_with_two_readings_is_refused(path: RoutedPath, text: str, sentence: str) -> None:
    """
    The sentence names the member and where it stands.
    """
    with pytest.raises(DownstreamProtocolError) as caught:
        check_members(text, path)
    assert sentence in str(caught.value)


def test_the_table_of_structs_is_whole() -> None:
    """
    Each struct that is named is there, and each is reached from the body of some request.
    """
    structs = dict(line.split(":", 1) for line in STRUCTS.replace("\n ", " ").split("\n") if line)
    reached = {struct for _, struct in BODIES} | {"Unknown"}
    for words in structs.values():
        for word in words.split():
            _, mark, inner = word.rstrip("}").replace("{", "=").replace("+", "=").partition("=")
            reached |= {inner} if mark and inner else set()
    assert reached == set(structs)


NAMES = st.sampled_from(
    ["HostConfig", "hostconfig", "Labels", "labels", "Binds", "a", "A", "LABEL\u017f"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def _go_reads(value: object, free: bool = False) -> object:
    """
    What Go makes of a body: members under the name that they fold to, the last one wins.
    """
    if isinstance(value, list):
        return [_go_reads(element) for element in value]
    if not isinstance(value, dict):
        return value
    return {
        name if free else name.replace("\u017f", "s").lower(): _go_reads(
            element, name == "Labels" and isinstance(element, dict)
        )
        for name, element in value.items()
    }


def _size(value: object) -> int:
    if isinstance(value, list):
        return sum(map(_size, value)) + 1
    if isinstance(value, dict):
        return sum(map(_size, value.values())) + len(value) + 1
    return 1


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_goes_on_is_one_to_go_and_to_others(body: dict[str, object]) -> None:
    """
    No member that a Python program sees is lost, merged or overridden when Go reads it.
    """
    try:
        check_members(json.dumps(body), UNKNOWN)
    except DownstreamProtocolError:
        return
    assert _size(_go_reads(body)) == _size(body)


@given(st.text(max_size=30))
def test_any_text_is_taken_or_refused(text: str) -> None:
    """
    Nothing else is ever raised.
    """
    for opened in (text, "{" + text, "[" + text, '{"' + text + '": 1}'):
        try:
            check_members(opened, CREATE)
        except DownstreamProtocolError:
            continue


def test_a_body_of_very_many_parts_is_refused_at_once() -> None:
    """
    All other clients would wait while it is read.
    """
    path = RoutedPath.parse(b"/containers/create")
    check_members("[" + "{}," * 90_000 + "{}]", path)
    with pytest.raises(DownstreamProtocolError, match="too many parts"):
        check_members("[" + "{}," * 100_000 + "{}]", path)
