"""
The trace: what a hook changed, without what must stay secret.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.changes import (
    MAX_ITEMS,
    MAX_LINES,
    MAX_VALUE_CHARACTERS,
    changed_members,
    redacted_head,
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        (
            {"HostConfig": {"Binds": ["/flocker/test1:/data", "/b:/b"]}},
            {"HostConfig": {"Binds": ["/flocker/mnt:/data", "/b:/b"]}},
            ['HostConfig.Binds[0]: "/flocker/test1:/data" -> "/flocker/mnt:/data"'],
        ),
        ({"Labels": {}}, {"Labels": {"owner": "me"}}, ['Labels.owner: (none) -> "me"']),
        ({"Labels": {"a": None}}, {"Labels": {}}, ["Labels.a: null -> (none)"]),
        ({}, {"Labels": {"a": [1, {}]}}, ['Labels: (none) -> {"a": [1, {}]}']),
        ({"com.x": {"a b": 1}}, {"com.x": {"a b": 2}}, ['["com.x"]["a b"]: 1 -> 2']),
        ([{"a": 1}], [{"a": 2}], ["[0].a: 1 -> 2"]),
        ({"E": ["a", "b"]}, {"E": ["new", "a", "b", "x"]}, [
            'E[0]: (none) -> "new"',
            'E[3]: (none) -> "x"',
        ]),
        ({"E": ["a", "b", "c", "d"]}, {"E": ["a", "d"]}, [
            'E[1]: "b" -> (none)',
            'E[2]: "c" -> (none)',
        ]),
        ({"E": ["a", "b"]}, {"E": ["c"]}, ['E[0]: "a" -> "c"', 'E[1]: "b" -> (none)']),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": 1}, {"a": 1.0}, ["a: 1 -> 1.0"]),
        ({"a": {}}, {"a": []}, ["a: {} -> []"]),
        ({"a": "é\n"}, {"a": "\x1b[1m"}, ['a: "é\\n" -> "\\u001b[1m"']),
        ({"a": "x" * 300}, {"a": 1}, [f'a: "{"x" * 198}… -> 1']),
        ({"n" * 300: 1}, {"n" * 300: 2}, [f'["{"n" * 79}…"]: 1 -> 2']),
        ([0] * MAX_ITEMS, [0] * (MAX_ITEMS + 1), [f": {MAX_ITEMS} items -> {MAX_ITEMS + 1} items"]),
    ],
)  # fmt: skip
def test_each_member_that_differs_has_a_line(
    before: object, after: object, expected: list[str]
) -> None:
    """
    With its path, what it was and what it is.
    """
    assert changed_members(json.dumps(before), json.dumps(after)) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, []),
        ("not JSON", "not JSON", []),
        (None, '{"a": "é"}', ["the body: none -> 11 bytes"]),
        ("not JSON", "", ["the body: 8 bytes -> 0 bytes"]),
        ("1", "2", ["the body: 1 bytes -> 1 bytes"]),
        ("{}", "[]", ["the body: 2 bytes -> 2 bytes"]),
        ('{"a":1}', '{ "a": 1 }', ["no member, only how the JSON is written"]),
        ("[" * 10**5, "{}", ["the body: too deep to be compared"]),
        (f'{{"a": {"9" * 5000}}}', "{}", ["the body: 5007 bytes -> 2 bytes"]),
    ],
)
def test_bodies_that_have_no_members_in_common_have_a_sentence(
    before: str | None, after: str | None, expected: list[str]
) -> None:
    """
    What is no JSON object or list is told by its size.
    """
    assert changed_members(before, after) == expected


def test_the_lines_have_a_bound() -> None:
    """
    A hook that changes everything is told about in fifty lines.
    """
    before = json.dumps({f"a{number}": 1 for number in range(MAX_LINES + 9)})
    lines = changed_members(before, "{}")
    assert (len(lines), lines[-1]) == (MAX_LINES + 1, "and more")


SECRETS = [
    {"Env": ["A=1", "DB_PASSWORD=secr1t"]},
    {"Env": ["MYSQL_ROOT_PASS=secr1t and more secr1t"]},
    {"Env": ["api.key=\nsecr1t"]},
    {"Env": ["DATABASE_URL=postgres://me:secr1t@host/db"]},
    {"Env": ['CONFIG={"apiToken" : "secr1t"}']},
    {"Env": ['CONFIG={\\"password\\": \\"secr1t\\"}']},
    {"Cmd": ["mysql", "--password", "secr1t"]},
    {"Cmd": ["mysql", "--password=secr1t"]},
    {"Cmd": ["sh", "-c", "curl --auth-token secr1t http://x"]},
    {"Cmd": ["curl", "-H", "Authorization: Bearer secr1t"]},
    {"username": "me", "password": "secr1t", "serveraddress": "x"},
    {"identitytoken": "secr1t"},
    {"registrytoken": "secr1t"},
    {"AuthConfig": {"x": {"y": ["secr1t"]}}},
    {"Name": "x", "Data": "secr1t"},
    {"data": "secr1t"},
    {"JoinTokens": {"Worker": "secr1t", "Manager": "secr1t"}},
    {"UnlockKey": "secr1t"},
    {"Spec": {"PASSWD": 1, "X-Registry-Auth": "secr1t"}},
    {"Labels": {"com.x.credentials": "secr1t"}},
]


@pytest.mark.parametrize("value", SECRETS)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"In": [value]}])
def test_no_secret_is_shown(value: object, wrap: object) -> None:
    """
    Neither where it changes, nor where it comes or goes, nor inside what comes or goes.
    """
    assert callable(wrap)
    before = json.dumps(wrap(value))
    for after in (before.replace("secr1t", "n3w"), json.dumps(wrap({})), "{}"):
        for lines in (changed_members(before, after), changed_members(after, before)):
            assert lines
            assert "secr1t" not in "\n".join(lines)
            assert "n3w" not in "\n".join(lines)


def test_that_a_secret_changed_is_shown() -> None:
    """
    Its name and place are no secret.
    """
    before = {"Env": ["A=1", "DB_PASSWORD=a"], "Cmd": ["--token", "a"], "Data": "a"}
    after = {"Env": ["A=1", "DB_PASSWORD=b"], "Cmd": ["--token", "b"], "Data": "b"}
    assert changed_members(json.dumps(before), json.dumps(after)) == [
        'Env[1]: "DB_PASSWORD=***" -> "DB_PASSWORD=***"',
        "Cmd[1]: *** -> ***",
        "Data: *** -> ***",
    ]


def test_what_is_no_secret_is_shown() -> None:
    """
    A name on the left of another word hides nothing.
    """
    before = {"Env": [], "Cmd": ["sh"]}
    after = {"Env": ["A=token"], "Cmd": ["sh", "-c", "cat key | wc"]}
    assert changed_members(json.dumps(before), json.dumps(after)) == [
        'Env[0]: (none) -> "A=token"',
        'Cmd[1]: (none) -> "-c"',
        'Cmd[2]: (none) -> "cat key | wc"',
    ]


HEAD = b"""\
POST /v1.41/build?buildargs=%7B%22A%22%3A%22secr1t%22%7D&t=x%3A1&q&remote=REMOTE HTTP/1.1
Host: docker
X-Registry-Auth: secr1t
x-registry-config:secr1t
AUTHORIZATION: Basic secr1t
Proxy-Authorization: Basic secr1t
Cookie: a=secr1t
Set-Cookie: a=secr1t; HttpOnly
X-Auth-Token: secr1t
Location: http://me:secr1t@host/x?api_key=secr1t&y=1
Accept: */*; q=1\x1b
Content-Length: 6
""".replace(b"\n", b"\r\n").replace(b"REMOTE", b"https%3A%2F%2Fme%3Asecr1t%40git%2Fx")


def test_a_head_is_shown_without_its_secrets() -> None:
    """
    Neither in headers nor in the query, and nothing of the body.
    """
    assert redacted_head(HEAD + b"\r\nsecr1t\r\n\r\n") == (
        "POST /v1.41/build?buildargs=***&t=x%3A1&q&remote=*** HTTP/1.1\n"
        "Host: docker\n"
        "X-Registry-Auth: ***\n"
        "x-registry-config: ***\n"
        "AUTHORIZATION: ***\n"
        "Proxy-Authorization: ***\n"
        "Cookie: ***\n"
        "Set-Cookie: ***\n"
        "X-Auth-Token: ***\n"
        "Location: http://***@host/x?api_key=***&y=1\n"
        "Accept: */*; q=1\\x1b\n"
        "Content-Length: 6"
    )


@pytest.mark.parametrize(
    "target",
    [
        "/build?%62uildargs=secr1t",
        "/commit?changes=ENV%20PASSWORD%3Dsecr1t",
        "/commit?changes=ENV+PASSWORD=secr1t",
        "/images/json?filters={%22label%22:[%22token=secr1t%22]}",
        "/images/create?fromSrc=http://me:secr1t@x/",
        "/x?a=1;key=secr1t",
        "http://me:secr1t@host/info",
    ],
)
def test_no_secret_of_a_query_is_shown(target: str) -> None:
    """
    However the client writes it.
    """
    assert "secr1t" not in redacted_head(f"GET {target} HTTP/1.1\r\n\r\n".encode())


def test_a_line_of_a_head_is_cut() -> None:
    """
    A head may have a megabyte.
    """
    line = redacted_head(b"GET /" + b"x" * 10**6 + b" HTTP/1.1\r\n\r\n")
    assert (len(line), line[-1]) == (1000, "…")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(JSON, JSON)
def test_any_two_bodies_are_compared(before: object, after: object) -> None:
    """
    Each line can be printed and is bounded; there is none if and only if the texts are the same.
    """
    texts = json.dumps(before), json.dumps(after)
    lines = changed_members(*texts)
    assert bool(lines) == (texts[0] != texts[1])
    assert all(line.isprintable() for line in lines)
    assert all(len(line) < 2 * MAX_VALUE_CHARACTERS + 1000 for line in lines)


@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode))
def test_any_head_is_shown(head: bytes) -> None:
    """
    Whatever the bytes are, each line can be printed.
    """
    assert all(line.isprintable() for line in redacted_head(head).split("\n"))
