"""
The configuration: what a file says, and what is said about a file that is wrong.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.config import (
    NO_HOOKS,
    Adapter,
    Config,
    Endpoint,
    Hooks,
    OnError,
)
from powerstrip.core.endpoints import EndpointPattern
from powerstrip.errors import ConfigError, DownstreamProtocolError

DATA = Path(__file__).parent.parent / "data"

WEAVE = Adapter("weave", "http://weave/extension")
FLOCKER = Adapter("flocker", "http://flocker/flocker-adapter")

ORIGINAL = """
endpoints:
  "POST /*/containers/create":
    pre: [flocker, weave]
  "POST /*/containers/*/start":
    post: [weave]
adapters:
  weave: http://weave/extension
  flocker: http://flocker/flocker-adapter
"""


def parse(text: str) -> Config:
    return Config.parse(text, "adapters.yml")


def problems(text: str) -> list[str]:
    """
    What is wrong with a file, without its name.
    """
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert all(problem.startswith("adapters.yml") for problem in caught.value.problems)
    return [re.sub(r"^adapters.yml(, |: )", "", problem) for problem in caught.value.problems]


@pytest.mark.parametrize("version", ["", "version: 1\n", 'version: "1"\n', "---\nversion: 1"])
def test_a_file_of_the_original_works_unchanged(version: str) -> None:
    """
    With a version and without one.
    """
    expected = Config(
        endpoints=(
            Endpoint(EndpointPattern.parse("POST /*/containers/create"), pre=(FLOCKER, WEAVE)),
            Endpoint(EndpointPattern.parse("POST /*/containers/*/start"), post=(WEAVE,)),
        ),
        adapters=(WEAVE, FLOCKER),
    )
    assert parse(version + ORIGINAL) == expected


def test_an_adapter_has_settings() -> None:
    """
    Each in its own unit; what is left out has its default.
    """
    config = parse("""
        endpoints: {"* /*": {pre: [a, b, c]}}
        adapters:
          a: {url: "http+unix://%2Frun%2Fa.sock/x", timeout: 2.5, on_error: ignore, max_body: 1_000}
          b: {url: https://b, timeout: 90, on_error: fail}
          c: {url: http://c}
        """)
    assert config.adapters == (
        Adapter("a", "http+unix://%2Frun%2Fa.sock/x", 2.5, OnError.IGNORE, 1000),
        Adapter("b", "https://b", 90.0, OnError.FAIL, 4 * 1024 * 1024),
        Adapter("c", "http://c", 60.0, OnError.FAIL, 4 * 1024 * 1024),
    )


def test_no_endpoints_make_a_plain_proxy() -> None:
    """
    Two empty mappings are a configuration.
    """
    config = parse("endpoints: {}\nadapters: {}")
    assert config == Config((), ())
    assert not config.hooks_for("POST", b"/containers/create").are_wanted


def test_aliases_work() -> None:
    """
    A chain can be written once and used twice.
    """
    config = parse("""
        endpoints:
          POST /a: {pre: &chain [weave]}
          POST /b: {post: *chain}
        adapters: {weave: &url http://weave/extension}
        """)
    assert [(it.pre, it.post) for it in config.endpoints] == [((WEAVE,), ()), ((), (WEAVE,))]


def test_a_name_may_look_like_another_type() -> None:
    """
    YAML takes ``on`` for true and ``1`` for a number; here both are names.
    """
    config = parse("endpoints: {GET /: {pre: [on, 1]}}\nadapters: {on: http://a, 1: http://b}")
    assert [adapter.name for adapter in config.adapters] == ["on", "1"]


DOCUMENTED = re.findall(
    r"^```yaml\n(.*?)^```",
    (DATA.parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("text", DOCUMENTED)
def test_the_documented_files_work(text: str) -> None:
    """
    Whoever copies an example has a good file.
    """
    assert parse(text)


def test_the_documented_order_is_the_order() -> None:
    """
    The example of two patterns that match says in which order adapters are called.
    """
    (text,) = [text for text in DOCUMENTED if "policy" in text]
    hooks = parse(text).hooks_for("POST", b"/v1.41/containers/create")
    assert [adapter.name for adapter in hooks.pre + hooks.post] == ["policy", "weave", "audit"]


def mistakes() -> list[ParameterSet]:
    """
    The cases of a data file: a title, the lines of a file, the sentences.
    """
    cases = (DATA / "config-mistakes.txt").read_text(encoding="utf-8").split("\n\n")[1:]
    return [
        pytest.param(
            re.findall(r"^\| ?(.*)", case, re.MULTILINE),
            re.findall(r"^> (.*)", case, re.MULTILINE),
            id=case.strip().partition("\n")[0],
        )
        for case in cases
    ]


@pytest.mark.parametrize(("lines", "expected"), mistakes())
def test_every_mistake_is_a_sentence(lines: list[str], expected: list[str]) -> None:
    """
    All mistakes of a file are told at once, in the order of their lines.
    """
    assert problems("\n".join(lines)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\x07", "line 2: not YAML: it has the character 0x7 in it"),
        ('"\\UFFFFFFFF"', "not YAML: Python int too large to convert to C int"),
        ("[" * 5000, "line 1: not YAML: more than 20 levels deep"),
        (" " * 300_000, "the file has more than 262144 characters"),
        (
            f"endpoints:\n  GET /{'x' * 1000}: {{pre: []}}\nadapters: {{}}",
            f'line 2, "endpoints": "GET /{"x" * 74}…" is longer than 500 characters',
        ),
    ],
    ids=["control character", "bad escape", "depth", "length", "long pattern"],
)
def test_what_no_configuration_needs_is_a_mistake(text: str, expected: str) -> None:
    """
    PyYAML would end in other exceptions, or not end in a reasonable time.
    """
    assert problems(text) == [expected]


def test_a_long_chain_of_problems_is_cut() -> None:
    """
    A hundred sentences are enough.
    """
    found = problems("endpoints: {}\nadapters: {" + ", ".join(f"a{n}: x" for n in range(75)) + "}")
    assert (len(found), found[-1]) == (101, "there are 50 problems more")


def test_a_chain_has_a_bound() -> None:
    """
    A small file can't make a proxy that calls an adapter for every name in it, over and over.
    """
    names = [f"a{number}" for number in range(101)]
    chain = ", ".join(names)
    adapters = ", ".join(f"{name}: http://a" for name in names[:100])
    found = problems(f"endpoints: {{GET /: {{pre: [{chain}]}}}}\nadapters: {{{adapters}}}")
    assert found == ['line 1, "endpoints" > "GET /" > "pre": has more than 100 adapters']


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@weave/extension",
        "http://secret@weave/extension",
        "ftp://me:secret@weave/extension",
        "http://me:secret/more@weave",
        "http://me: secret@weave",
        "//me:secret@weave",
        "me:secret@weave",
        "ftp://weave/?token=secret",
        "http://weave/#?secret",
        "http://we ave/?secret",
    ],
)
@pytest.mark.parametrize(
    "form", ['"{}"', '{{url: "{}"}}', '["{}"]', '{{"{}": x}}', '{{timeout: "{}"}}']
)
def test_no_sentence_tells_a_password(form: str, url: str) -> None:
    """
    Neither the password nor the query of a URL, wherever in the file it is.
    """
    text = "endpoints: {GET /: {pre: [a]}}\nadapters: {a: " + form.format(url) + "}"
    assert "secret" not in "\n".join(problems(text))


def test_the_repr_of_an_adapter_tells_no_query() -> None:
    """
    A query may hold a token, and what is frozen is easily logged.
    """
    adapter = Adapter("a", "http://a/x?token=secret")
    assert "secret" not in repr(adapter)
    assert adapter.display_url == "http://a/x?…"


def test_all_matching_patterns_count() -> None:
    """
    Adapters run in the order of the file, each at most once per side.
    """
    config = parse("""
        endpoints:
          "POST /*/create": {pre: [b, a], post: [c]}
          "* /*": {pre: [c, a], post: [b, c]}
          "GET /*": {pre: [d]}
        adapters: {a: http://a, b: http://b, c: http://c, d: http://d}
        """)
    hooks = config.hooks_for("POST", b"/v1.41/containers/create?name=x")
    names = ["".join(adapter.name for adapter in side) for side in (hooks.pre, hooks.post)]
    assert (hooks.are_wanted, names) == (True, ["bac", "cb"])


def test_requests_that_no_pattern_selects_have_no_hooks() -> None:
    """
    One value says so for all of them.
    """
    config = parse(ORIGINAL)
    assert config.hooks_for("GET", b"/containers/create") is NO_HOOKS
    assert Hooks((), ()) == NO_HOOKS


def test_a_request_is_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The answer for a method and a path is kept, whatever the query.
    """
    calls = []
    matches = EndpointPattern.matches
    monkeypatch.setattr(
        EndpointPattern, "matches", lambda *args: calls.append(args) or matches(*args)
    )
    config = parse("endpoints: {POST /*/create: {pre: [a]}}\nadapters: {a: http://a}")
    found = [config.hooks_for("POST", b"/containers/create?name=%d" % n) for n in range(9)]
    assert (len(calls), {hooks.are_wanted for hooks in found}) == (1, {True})


def test_a_long_target_is_matched_as_well() -> None:
    """
    What is too long for the cache has its hooks too.
    """
    config = parse(ORIGINAL)
    target = b"/containers/" + b"./" * 1000 + b"create"
    assert config.hooks_for("POST", target).pre == (FLOCKER, WEAVE)


@pytest.mark.parametrize("target", [b"/containers/create#x", b"/containers/create?a#b", b"*"])
def test_what_can_be_read_in_two_ways_is_refused(target: bytes) -> None:
    """
    On a cold cache and on a warm one.
    """
    config = parse(ORIGINAL)
    config.hooks_for("POST", b"/containers/create")
    for _ in range(2):
        with pytest.raises(DownstreamProtocolError):
            config.hooks_for("POST", target)


def test_two_configurations_share_no_cache() -> None:
    """
    A changed file has its own answers at once.
    """
    first, second = parse(ORIGINAL), parse("endpoints: {}\nadapters: {}")
    assert [it.hooks_for("POST", b"/containers/create").are_wanted for it in (first, second)] == [
        True,
        False,
    ]


def only_config_errors(text: str) -> None:
    try:
        parse(text)
    except ConfigError as exc:
        found = exc.problems
    else:
        return
    assert found
    assert all(re.match(r"adapters\.yml(, line \d+.*)?: .+\Z", problem) for problem in found)


@given(st.text())
def test_any_text_is_read_or_told_about(text: str) -> None:
    """
    No text raises anything else, and each sentence is one line that names the file.
    """
    only_config_errors(text)


WORDS = [
    "endpoints",
    "adapters",
    "version",
    "pre",
    "post",
    "url",
    "timeout",
    "max_body",
    "on_error",
]
YAML_PIECES = st.sampled_from(
    [*WORDS, "a", "1", "GET /*", "http://a", *"\n\n:{}[],-?&*!|>'\"%@`#~ ", ": ", "- ", "\n  ",
     "&a ", "*a", "<<", "!!int ", "!!float ", "!!python/name:x ", "0x", "1:60", "1e9", ".nan",
     "---\n", "...", "%YAML 1.1\n", "\\x", "\u2028", "\ufeff", "\x85", "9" * 5000]
)  # fmt: skip


@given(st.lists(YAML_PIECES, max_size=40).map("".join))
def test_any_yaml_is_read_or_told_about(text: str) -> None:
    """
    The same, for texts that come nearer to YAML.
    """
    only_config_errors(text)


def trees(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*WORDS, "a", "GET /*"]), inner, max_size=4)
        ),
        max_leaves=12,
    )


@given(
    st.dictionaries(
        st.sampled_from(["endpoints", "adapters", "version"]),
        trees(st.sampled_from(["a", "http://a", "", 1, 1.5, True, None, float("nan"), 10**400])),
    )
)
def test_any_tree_is_read_or_told_about(tree: object) -> None:
    """
    The same, for values of the wrong kinds in the right places.
    """
    only_config_errors(json.dumps(tree).replace("NaN", ".nan"))


@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True, min_size=1), min_size=1, max_size=5))
def test_hooks_keep_the_order_of_first_mention(chains: list[list[str]]) -> None:
    """
    Joining the chains of all patterns that match never reorders one, and never repeats an adapter.
    """
    text = "endpoints:\n"
    text += "".join(
        f'  "GET /{"?" * n}*": {{pre: [{", ".join(chain)}]}}\n' for n, chain in enumerate(chains)
    )
    used = sorted({name for chain in chains for name in chain})
    text += "adapters: {" + ", ".join(f"{name}: http://{name}" for name in used) + "}"
    hooks = parse(text).hooks_for("GET", b"/12345678")
    joined = [name for chain in chains for name in chain]
    assert [adapter.name for adapter in hooks.pre] == list(dict.fromkeys(joined))
