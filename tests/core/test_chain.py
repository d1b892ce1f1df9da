"""
Hooks in order: what each is sent, what its answer changes, and what ends the chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.chain import Chain, HookKind, HookReport
from powerstrip.core.config import Adapter, OnError
from powerstrip.core.payloads import (
    ClientRequest,
    ServerResponse,
    encode_post_hook,
    encode_pre_hook,
)
from powerstrip.errors import (
    HookConnectError,
    HookError,
    HookRefused,
    HookReplyError,
    HookTimeout,
)
from tests.helpers import run

ONE = Adapter("one", "http://one/hook")
TWO = Adapter("two", "http://two/hook")
LAX = Adapter("lax", "http://lax/hook", on_error=OnError.IGNORE)

CREATE = ClientRequest("POST", "/v1.41/containers/create?name=x", '{"Image": "a"}')
START = ClientRequest("POST", "/containers/x/start", None)
CREATED = ServerResponse("application/json", '{"Id": "1"}', 201)
STARTED = ServerResponse(None, "", 204)
TAR = ServerResponse("application/x-tar", None, 200)

Payload = dict[str, object]
Answer = Callable[[Payload], object]
"""Makes an adapter's answer of what it is sent: JSON, bytes as they are, or an error."""


@define
class Adapters:
    """
    Adapters that answer as they are told, each after a second.
    """

    answers: dict[str, Answer | Exception]
    calls: list[tuple[str, bytes]] = field(factory=list)
    reports: list[HookReport] = field(factory=list)
    seconds: float = 1000.0

    @property
    def chain(self) -> Chain:
        return Chain(self.call, self.reports.append, lambda: self.seconds)

    async def call(self, adapter: Adapter, payload: bytes) -> bytes:
        self.calls.append((adapter.name, payload))
        self.seconds += 1.0
        answer = self.answers[adapter.name]
        if isinstance(answer, Exception):
            raise answer
        reply = answer(json.loads(payload))
        return reply if isinstance(reply, bytes) else json.dumps(reply).encode()

    def before(
        self, *adapters: Adapter, request: ClientRequest = CREATE, streams: bool = False
    ) -> ClientRequest:
        return run(self.chain.before(adapters, request, streams=streams))

    def after(self, *adapters: Adapter, response: ServerResponse = CREATED) -> ServerResponse:
        return run(self.chain.after(adapters, CREATE, response))

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        return [(report.adapter, report.verdict) for report in self.reports]

    @property
    def remarks(self) -> list[str]:
        return [remark for report in self.reports for remark in report.remarks]


def echo(payload: Payload) -> Payload:
    """
    Answer with what was sent.
    """
    if payload["Type"] == "pre-hook":
        return {"ModifiedClientRequest": payload["ClientRequest"]}
    return {"ModifiedServerResponse": payload["ServerResponse"]}


def says(**members: object) -> Answer:
    """
    An adapter that answers with some members of its own, and with the body that was sent.
    """

    def answer(payload: Payload) -> Payload:
        ((name, shown),) = echo(payload).items()
        assert isinstance(shown, dict)
        return {name: {"Body": shown["Body"], **members}}

    return answer


def appends(text: str) -> Answer:
    """
    An adapter that writes something behind the body.
    """

    def answer(payload: Payload) -> Payload:
        replied = echo(payload)
        (modified,) = replied.values()
        assert isinstance(modified, dict)
        modified["Body"] += text
        return replied

    return answer


# -- order -------------------------------------------------------------------------------------


def test_the_answer_of_one_pre_hook_is_the_input_of_the_next() -> None:
    """
    In the order of the list, and the last answer goes to the engine.
    """
    adapters = Adapters({"one": appends("1"), "two": appends("2")})
    assert adapters.before(TWO, ONE) == evolve(CREATE, body='{"Image": "a"}21')
    assert adapters.calls == [
        ("two", encode_pre_hook(CREATE)),
        ("one", encode_pre_hook(evolve(CREATE, body='{"Image": "a"}2'))),
    ]


def test_the_answer_of_one_post_hook_is_the_input_of_the_next() -> None:
    """
    With the client's own request beside it, each time.
    """
    adapters = Adapters({"one": says(Code=500, ContentType="a/b"), "two": appends("2")})
    changed = ServerResponse("a/b", '{"Id": "1"}', 500)
    assert adapters.after(ONE, TWO) == evolve(changed, body='{"Id": "1"}2')
    assert adapters.calls == [
        ("one", encode_post_hook(CREATE, CREATED)),
        ("two", encode_post_hook(CREATE, changed)),
    ]


def test_a_chain_of_no_hooks_changes_nothing() -> None:
    """
    And calls and reports none.
    """
    adapters = Adapters({})
    assert adapters.before() == CREATE
    assert adapters.after() == CREATED
    assert (adapters.calls, adapters.reports) == ([], [])


# -- what ends a chain -------------------------------------------------------------------------


def refusal(adapter: Adapter, status: int) -> HookRefused:
    return HookRefused(adapter.name, adapter.display_url, status, "text/plain", b"no")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (refusal(ONE, 403), "refused 403"),
        (refusal(ONE, 500), "refused 500"),
        (HookTimeout("one", "http://one/hook", "timed out after 60 s"), "failed"),
        (HookConnectError("one", "http://one/hook", "can't be reached"), "failed"),
    ],
)
def test_an_error_ends_the_chain(error: HookError, verdict: str) -> None:
    """
    No adapter after it is called, on either side of the engine.
    """
    for go in (Adapters.before, Adapters.after):
        adapters = Adapters({"one": error, "two": echo})
        with pytest.raises(HookError) as caught:
            go(adapters, ONE, TWO)
        assert caught.value is error
        assert [name for name, _ in adapters.calls] == ["one"]
        assert adapters.verdicts == [("one", verdict)]
        assert adapters.remarks == [str(error)]
        assert adapters.reports[0].after is None


def test_nonsense_for_an_answer_is_an_error_of_that_adapter() -> None:
    """
    Its sentence names the adapter and its URL, as those of all others do.
    """
    sentence = r"^adapter one \(http://one/hook\) answered what is not JSON$"
    for go in (Adapters.before, Adapters.after):
        adapters = Adapters({"one": lambda _: b"<html>", "two": echo})
        with pytest.raises(HookReplyError, match=sentence) as caught:
            go(adapters, ONE, TWO)
        assert caught.value.status == 502
        assert adapters.verdicts == [("one", "failed")]


@pytest.mark.parametrize(
    "answer",
    [
        HookTimeout("lax", "http://lax/hook", "timed out after 60 s"),
        HookConnectError("lax", "http://lax/hook", "can't be reached"),
        HookReplyError("lax", "http://lax/hook", "answered more than 1 bytes"),
        refusal(LAX, 500),
        refusal(LAX, 599),
        lambda _: b"<html>",
    ],
)
def test_an_adapter_that_fails_is_stepped_over_where_that_is_configured(
    answer: Answer | Exception,
) -> None:
    """
    The next is sent what it was sent, and the log is told.
    """
    adapters = Adapters({"one": appends("1"), "lax": answer, "two": appends("2")})
    assert adapters.before(ONE, LAX, TWO) == evolve(CREATE, body='{"Image": "a"}12')
    assert adapters.verdicts == [("one", "changed"), ("lax", "ignored"), ("two", "changed")]
    (remark,) = adapters.remarks
    assert remark.startswith("adapter lax (http://lax/hook) ")
    report = adapters.reports[1]
    assert report.before == report.after == evolve(CREATE, body='{"Image": "a"}1')

    adapters = Adapters({"lax": answer})
    assert adapters.after(LAX) == CREATED
    assert adapters.verdicts == [("lax", "ignored")]


@pytest.mark.parametrize("status", [400, 403, 499])
def test_a_refusal_stands_whatever_is_configured(status: int) -> None:
    """
    It is a decision and no failure.
    """
    for go in (Adapters.before, Adapters.after):
        adapters = Adapters({"lax": refusal(LAX, status), "two": echo})
        with pytest.raises(HookRefused):
            go(adapters, LAX, TWO)
        assert adapters.verdicts == [("lax", f"refused {status}")]


def test_what_is_no_hook_error_goes_through() -> None:
    """
    Such as the cancellation when a client leaves, which no configuration ignores.
    """
    adapters = Adapters({"lax": KeyError("cancelled")})
    with pytest.raises(KeyError):
        adapters.before(LAX)
    assert adapters.reports == []


# -- what a pre-hook may change ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (says(Body="{}"), "{}"),
        (says(Body=None), None),
        (says(Body=""), None),
        (says(Body="\U0001f433\0"), "\U0001f433\0"),
    ],
)
def test_a_body_that_a_pre_hook_was_shown_is_what_it_says(answer: Answer, body: str | None) -> None:
    """
    Null and an empty text both empty it.
    """
    adapters = Adapters({"one": answer})
    assert adapters.before(ONE) == evolve(CREATE, body=body)
    assert adapters.verdicts == [("one", "changed")]
    assert adapters.remarks == []


@pytest.mark.parametrize("body", [None, ""])
def test_a_body_that_is_not_there_stays_away(body: str | None) -> None:
    """
    Whichever way an adapter writes that there is none.
    """
    adapters = Adapters({"one": says(Body=body)})
    assert adapters.before(ONE, request=START) == START
    assert adapters.verdicts == [("one", "unchanged")]


def test_a_body_can_be_put_where_there_is_none() -> None:
    """
    It is sent on like any other.
    """
    adapters = Adapters({"one": says(Body="{}")})
    assert adapters.before(ONE, request=START) == evolve(START, body="{}")
    assert adapters.verdicts == [("one", "changed")]


@pytest.mark.parametrize(
    ("body", "remarks"),
    [
        (None, []),
        ("", []),
        ("{}", ["a Body in the answer is left aside: the client's streams on"]),
    ],
)
def test_a_body_that_streams_is_left_alone(body: str | None, remarks: list[str]) -> None:
    """
    Whatever a pre-hook says of it, and the operator is told where it said something.
    """
    adapters = Adapters({"one": says(Body=body)})
    assert adapters.before(ONE, request=START, streams=True) == START
    assert adapters.verdicts == [("one", "unchanged")]
    assert adapters.remarks == remarks


@pytest.mark.parametrize(
    "target",
    [
        "/v1.41/containers/create",
        "/v1.41/containers/create?",
        "/v1.41/containers/create?name=y&platform=a%20b",
        "/v1.41/containers/create?name=/x?y",
    ],
)
def test_the_query_is_what_a_pre_hook_says(target: str) -> None:
    """
    All of it, and none where it says none.
    """
    adapters = Adapters({"one": says(Request=target), "two": echo})
    assert adapters.before(ONE, TWO) == evolve(CREATE, request=target)
    assert adapters.verdicts == [("one", "changed"), ("two", "unchanged")]
    assert adapters.remarks == []


@pytest.mark.parametrize(
    "target",
    [
        "/v1.41/containers/create?name=a b",
        "/v1.41/containers/create?name=x HTTP/1.1\r\nX: y",
        "/v1.41/containers/create?name=x\n",
        "/v1.41/containers/create?\0",
        "/v1.41/containers/create?\x7f",
        "/v1.41/containers/create?name=é",
        "/v1.41/containers/create?\udcff",
        "/v1.41/containers/create?name=y#z",
    ],
)
def test_a_query_that_cannot_stand_in_a_request_line_is_an_error(target: str) -> None:
    """
    It could make two requests of one.
    """
    adapters = Adapters({"one": says(Request=target)})
    with pytest.raises(HookReplyError, match="answered a Request that can't stand in a request"):
        adapters.before(ONE)
    assert adapters.verdicts == [("one", "failed")]


@pytest.mark.parametrize(
    ("answer", "remark"),
    [
        (says(Method="DELETE"), 'another method in the answer is left aside: "DELETE"'),
        (says(Method="post"), 'another method in the answer is left aside: "post"'),
        (
            says(Request="/flocker-adapter"),
            'another path in the answer is left aside: "/flocker-adapter"',
        ),
        (
            says(Request="/containers/create?name=x"),
            'another path in the answer is left aside: "/containers/create"',
        ),
        (
            says(Request="/v1.41/containers/create/?name=y\r\n"),
            'another path in the answer is left aside: "/v1.41/containers/create/"',
        ),
        (says(Request=""), 'another path in the answer is left aside: ""'),
    ],
)
def test_another_method_or_path_is_left_aside(answer: Answer, remark: str) -> None:
    """
    The endpoint that matched is the one that runs, and the operator is told.
    """
    adapters = Adapters({"one": answer})
    assert adapters.before(ONE) == CREATE
    assert adapters.verdicts == [("one", "unchanged")]
    assert adapters.remarks == [remark]


def test_what_is_left_aside_does_not_keep_the_rest_from_changing() -> None:
    """
    All remarks are made.
    """
    adapters = Adapters({"one": says(Method="GET", Request="/x", Body="{}")})
    assert adapters.before(ONE) == evolve(CREATE, body="{}")
    assert adapters.verdicts == [("one", "changed")]
    assert len(adapters.remarks) == 2


# -- what a post-hook may change ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "answer", "expected"),
    [
        (CREATED, says(Body="{}"), evolve(CREATED, body="{}")),
        (CREATED, says(Body=None), evolve(CREATED, body="")),
        (CREATED, says(Body=""), evolve(CREATED, body="")),
        (CREATED, says(Code=409), evolve(CREATED, code=409)),
        (CREATED, says(Code=204), evolve(CREATED, code=204)),
        (CREATED, says(Code=200), evolve(CREATED, code=200)),
        (CREATED, says(ContentType="text/plain"), evolve(CREATED, content_type="text/plain")),
        (STARTED, says(Body="x", Code=200), evolve(STARTED, body="x", code=200)),
        (STARTED, says(ContentType="a/b"), evolve(STARTED, content_type="a/b")),
        (TAR, says(Code=500, ContentType="a/b"), ServerResponse("a/b", None, 500)),
    ],
)
def test_an_answer_is_what_a_post_hook_says(
    response: ServerResponse, answer: Answer, expected: ServerResponse
) -> None:
    """
    Its body, its type and its status.
    """
    adapters = Adapters({"one": answer})
    assert adapters.after(ONE, response=response) == expected
    assert adapters.verdicts == [("one", "changed")]
    assert adapters.remarks == []


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (CREATED, says()),
        (CREATED, says(ContentType=None, Code=None)),
        (STARTED, says(Body=None)),
        (TAR, says(Body="")),
        (TAR, says(Body=None)),
        (ServerResponse(None, "", 101), says(Code=101)),
        (ServerResponse("text/plain;\tx=é", "", 200), says(ContentType="text/plain;\tx=é")),
    ],
)
def test_what_a_post_hook_does_not_say_stays(response: ServerResponse, answer: Answer) -> None:
    """
    Nor is what it says again an error, whatever it is.
    """
    adapters = Adapters({"one": answer})
    assert adapters.after(ONE, response=response) == response
    assert adapters.verdicts == [("one", "unchanged")]
    assert adapters.remarks == []


def test_an_answer_that_is_not_held_keeps_its_body() -> None:
    """
    And the operator is told that a hook wanted another.
    """
    adapters = Adapters({"one": says(Body="x")})
    assert adapters.after(ONE, response=TAR) == TAR
    assert adapters.remarks == ["a Body in the answer is left aside: the engine's is not held"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (says(Code=100), "answered 100 as the Code of a last answer"),
        (says(Code=101), "answered 101 as the Code of a last answer"),
        (says(Code=199), "answered 199 as the Code of a last answer"),
        (says(ContentType="a/b\r\nX: y"), "answered a ContentType that can't stand in a header"),
        (says(ContentType="a/b\0"), "answered a ContentType that can't stand in a header"),
        (says(ContentType="a/\x7f"), "answered a ContentType that can't stand in a header"),
        (says(ContentType="a/é"), "answered a ContentType that can't stand in a header"),
        (says(ContentType="a/\ud83d"), "answered a ContentType that can't stand in a header"),
    ],
)
def test_an_answer_that_would_break_the_exchange_is_an_error(answer: Answer, sentence: str) -> None:
    """
    A status after which another head follows, a type that would make a second field.
    """
    adapters = Adapters({"one": answer})
    with pytest.raises(HookReplyError, match=sentence):
        adapters.after(ONE)
    assert adapters.verdicts == [("one", "failed")]


# -- reports -----------------------------------------------------------------------------------


def test_each_hook_is_reported_when_it_has_ended() -> None:
    """
    What it was, how long it took, what it was sent and what it made of it.
    """
    adapters = Adapters({"one": appends("1"), "two": echo})
    adapters.before(ONE, TWO)
    changed = evolve(CREATE, body='{"Image": "a"}1')
    assert adapters.reports == [
        HookReport(HookKind.PRE, "one", "changed", 1.0, CREATE, changed, ()),
        HookReport(HookKind.PRE, "two", "unchanged", 1.0, changed, changed, ()),
    ]

    adapters = Adapters({"one": refusal(ONE, 418)})
    with pytest.raises(HookRefused):
        adapters.after(ONE)
    sentence = "adapter one (http://one/hook) refused with status 418"
    assert adapters.reports == [
        HookReport(HookKind.POST, "one", "refused 418", 1.0, CREATED, None, (sentence,))
    ]


# -- echoes ------------------------------------------------------------------------------------

TEXTS = st.text() | st.sampled_from(["\0", '{"x": "\\u0000\\ud83d\\udc33\\ud800"}', "\U0001f433"])
TARGETS = st.binary().map(lambda raw: "/" + raw.decode("utf-8", "surrogateescape"))
SHOWN = st.one_of(st.none(), TEXTS.filter(bool))
CHAINS = st.lists(st.sampled_from([ONE, TWO, LAX]), max_size=3)
CONTENT_TYPES = st.none() | st.binary().map(lambda raw: raw.decode("latin-1"))


@given(TARGETS, SHOWN, CHAINS)
def test_pre_hooks_that_echo_change_nothing(
    target: str, body: str | None, chain: list[Adapter]
) -> None:
    """
    Whatever the client has sent, shown or not.
    """
    request = ClientRequest("POST", target, body)
    for streams in (False, True) if body is None else (False,):
        adapters = Adapters({"one": echo, "two": echo, "lax": echo})
        assert adapters.before(*chain, request=request, streams=streams) == request
        assert adapters.verdicts == [(adapter.name, "unchanged") for adapter in chain]
        assert adapters.remarks == []


@given(CONTENT_TYPES, st.none() | TEXTS, st.integers(100, 599), CHAINS)
def test_post_hooks_that_echo_change_nothing(
    content_type: str | None, body: str | None, code: int, chain: list[Adapter]
) -> None:
    """
    Whatever the engine has answered, held or not.
    """
    response = ServerResponse(content_type, body, code)
    adapters = Adapters({"one": echo, "two": echo, "lax": echo})
    assert adapters.after(*chain, response=response) == response
    assert adapters.verdicts == [(adapter.name, "unchanged") for adapter in chain]
    assert adapters.remarks == []
