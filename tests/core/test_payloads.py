"""
What adapters are sent, byte for byte, and what they may answer.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.payloads import (
    ClientRequest,
    ReplyError,
    RequestReply,
    ResponseReply,
    ServerResponse,
    decode_post_reply,
    decode_pre_reply,
    encode_post_hook,
    encode_pre_hook,
)

CREATE = ClientRequest("POST", "/v1.16/containers/create?name=x", '{"Image": "é\\u0000"}')
START = ClientRequest("POST", "/containers/x/start", None)


@pytest.mark.parametrize(
    ("request_", "payload"),
    [
        (
            CREATE,
            (
                b'{"PowerstripProtocolVersion": 1, "Type": "pre-hook", "ClientRequest": '
                b'{"Method": "POST", "Request": "/v1.16/containers/create?name=x", '
                b'"Body": "{\\"Image\\": \\"\\u00e9\\\\u0000\\"}"}}'
            ),
        ),
        (
            START,
            (
                b'{"PowerstripProtocolVersion": 1, "Type": "pre-hook", "ClientRequest": '
                b'{"Method": "POST", "Request": "/containers/x/start", "Body": null}}'
            ),
        ),
        (
            ClientRequest("GET", "/\udcff", "\U0001f433"),
            (
                b'{"PowerstripProtocolVersion": 1, "Type": "pre-hook", "ClientRequest": '
                b'{"Method": "GET", "Request": "/\\udcff", "Body": "\\ud83d\\udc33"}}'
            ),
        ),
    ],
)
def test_a_pre_hook_is_sent_as_the_original_sent_it(
    request_: ClientRequest, payload: bytes
) -> None:
    """
    The same members in the same order, in ASCII.
    """
    assert encode_pre_hook(request_) == payload


@pytest.mark.parametrize(
    ("request_", "response", "payload"),
    [
        (
            CREATE,
            ServerResponse("application/json", '{"Id": "1"}\n', 201),
            (
                b'{"PowerstripProtocolVersion": 1, "Type": "post-hook", "ClientRequest": '
                b'{"Method": "POST", "Request": "/v1.16/containers/create?name=x", '
                b'"Body": "{\\"Image\\": \\"\\u00e9\\\\u0000\\"}"}, "ServerResponse": '
                b'{"ContentType": "application/json", '
                b'"Body": "{\\"Id\\": \\"1\\"}\\n", "Code": 201}}'
            ),
        ),
        (
            START,
            ServerResponse(None, "", 204),
            (
                b'{"PowerstripProtocolVersion": 1, "Type": "post-hook", "ClientRequest": '
                b'{"Method": "POST", "Request": "/containers/x/start", "Body": null}, '
                b'"ServerResponse": {"ContentType": null, "Body": "", "Code": 204}}'
            ),
        ),
        (
            START,
            ServerResponse("application/x-tar", None, 200),
            (
                b'{"PowerstripProtocolVersion": 1, "Type": "post-hook", "ClientRequest": '
                b'{"Method": "POST", "Request": "/containers/x/start", "Body": null}, '
                b'"ServerResponse": {"ContentType": "application/x-tar", '
                b'"Body": null, "Code": 200}}'
            ),
        ),
    ],
)
def test_a_post_hook_is_sent_as_the_original_sent_it(
    request_: ClientRequest, response: ServerResponse, payload: bytes
) -> None:
    """
    The request first, then the engine's answer.
    """
    assert encode_post_hook(request_, response) == payload


def pre_reply(**members: object) -> bytes:
    return json.dumps({"ModifiedClientRequest": members}).encode()


def post_reply(**members: object) -> bytes:
    return json.dumps({"ModifiedServerResponse": members}).encode()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            (
                b'{"PowerstripProtocolVersion": 1, "ModifiedClientRequest": '
                b'{"Method": "POST", "Request": "/x?y", "Body": "{}"}}'
            ),
            RequestReply("POST", "/x?y", "{}"),
        ),
        (pre_reply(Body="{}"), RequestReply(None, None, "{}")),
        (pre_reply(Body=None), RequestReply(None, None, None)),
        (pre_reply(Body=""), RequestReply(None, None, "")),
        (pre_reply(Method=None, Request=None, Body=None), RequestReply(None, None, None)),
        (pre_reply(Body="", Code=7, Headers=[]), RequestReply(None, None, "")),
        (pre_reply(Body="\U0001f433\0é"), RequestReply(None, None, "\U0001f433\0é")),
        (
            '{"ModifiedClientRequest": {"Body": "\U0001f433"}}'.encode(),
            RequestReply(None, None, "\U0001f433"),
        ),
        (
            b'\xef\xbb\xbf \n{"ModifiedClientRequest": {"Body": ""}, "New": {}}\r\n',
            RequestReply(None, None, ""),
        ),
    ],
)
def test_a_pre_hook_s_answer_is_read(reply: bytes, expected: RequestReply) -> None:
    """
    Only the body must be said. What the protocol does not know is left aside.
    """
    assert decode_pre_reply(reply) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            (
                b'{"PowerstripProtocolVersion": 1, "ModifiedServerResponse": '
                b'{"ContentType": "application/json", "Body": "{}", "Code": 201}}'
            ),
            ResponseReply("application/json", "{}", 201),
        ),
        (post_reply(Body="{}"), ResponseReply(None, "{}", None)),
        (post_reply(Body=None), ResponseReply(None, None, None)),
        (post_reply(ContentType=None, Body="", Code=None), ResponseReply(None, "", None)),
        (post_reply(ContentType="", Body="", Method=7), ResponseReply("", "", None)),
        (post_reply(Body="", Code=100), ResponseReply(None, "", 100)),
        (post_reply(Body="", Code=599), ResponseReply(None, "", 599)),
        (post_reply(ContentType="a/b; c=~", Body=""), ResponseReply("a/b; c=~", "", None)),
    ],
)
def test_a_post_hook_s_answer_is_read(reply: bytes, expected: ResponseReply) -> None:
    """
    Only the body must be said. What the protocol does not know is left aside.
    """
    assert decode_post_reply(reply) == expected


MALFORMED = [
    (b"", "what is not JSON"),
    (b"<html>", "what is not JSON"),
    (b'{"%s": {"Body": ""', "what is not JSON"),
    (b'{"%s": {"Body": ""}} {}', "what is not JSON"),
    (b'{"%s": {"Body": "\xff"}}', "what is not JSON"),
    (b'{"%s": {"Body": "\n"}}', "what is not JSON"),
    (b"[" * 100_000, "what is not JSON"),
    (b'{"%s": {"Body": "", "X": ' + b"1" * 5000 + b"}}", "what is not JSON"),
    (b"null", "JSON that is not an object"),
    (b'[{"%s": {"Body": ""}}]', "JSON that is not an object"),
    (b'"x"', "JSON that is not an object"),
    (
        b'{"PowerstripProtocolVersion": 2, "%s": {"Body": ""}}',
        "in a protocol version other than 1",
    ),
    (
        b'{"PowerstripProtocolVersion": "1", "%s": {"Body": ""}}',
        "in a protocol version other than 1",
    ),
    (
        b'{"PowerstripProtocolVersion": null, "%s": {"Body": ""}}',
        "in a protocol version other than 1",
    ),
    (b"{}", "without %s"),
    (b'{"Body": ""}', "without %s"),
    (b'{"modifiedclientrequest": {"Body": ""}}', "without %s"),
    (b'{"ClientRequest": {"Body": ""}, "ServerResponse": {"Body": ""}}', "without %s"),
    (b'{"%s": null}', "without %s"),
    (b'{"%s": []}', "without %s"),
    (b'{"%s": "x"}', "without %s"),
    (b'{"%s": {}}', "without a Body"),
    (b'{"%s": {"body": ""}}', "without a Body"),
    (b'{"%s": {"Body": {}}}', "a Body that is not a string"),
    (b'{"%s": {"Body": []}}', "a Body that is not a string"),
    (b'{"%s": {"Body": 0}}', "a Body that is not a string"),
    (b'{"%s": {"Body": false}}', "a Body that is not a string"),
    (b'{"%s": {"Body": "\\ud83d"}}', "a Body that is not Unicode text"),
    (b'{"%s": {"Body": "\\udc33\\ud83d"}}', "a Body that is not Unicode text"),
    (b'{"%s": {"Body": "\xed\xa0\xbd"}}', "a Body that is not Unicode text"),
]


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        *MALFORMED,
        (b'{"ModifiedServerResponse": {"Body": ""}}', "without ModifiedClientRequest"),
        (pre_reply(Method=1, Body=""), "a Method that is not a string"),
        (pre_reply(Request=["/x"], Body=""), "a Request that is not a string"),
        (pre_reply(Request=False, Body=""), "a Request that is not a string"),
    ],
)
def test_what_is_no_answer_to_a_pre_hook_is_told(reply: bytes, sentence: str) -> None:
    """
    In the end of a sentence that begins with the adapter's name.
    """
    sentence = sentence.replace("%s", "ModifiedClientRequest")
    with pytest.raises(ReplyError, match=f"^answered {sentence}$"):
        decode_pre_reply(reply.replace(b"%s", b"ModifiedClientRequest"))


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        *MALFORMED,
        (b'{"ModifiedClientRequest": {"Body": ""}}', "without ModifiedServerResponse"),
        (post_reply(ContentType=1, Body=""), "a ContentType that is not a string"),
        (post_reply(Body="", Code="200"), "a Code that is not a status"),
        (post_reply(Body="", Code=200.0), "a Code that is not a status"),
        (post_reply(Body="", Code=True), "a Code that is not a status"),
        (post_reply(Body="", Code=[]), "a Code that is not a status"),
        (post_reply(Body="", Code=0), "a Code that is not a status"),
        (post_reply(Body="", Code=99), "a Code that is not a status"),
        (post_reply(Body="", Code=600), "a Code that is not a status"),
    ],
)
def test_what_is_no_answer_to_a_post_hook_is_told(reply: bytes, sentence: str) -> None:
    """
    In the end of a sentence that begins with the adapter's name.
    """
    sentence = sentence.replace("%s", "ModifiedServerResponse")
    with pytest.raises(ReplyError, match=f"^answered {sentence}$"):
        decode_post_reply(reply.replace(b"%s", b"ModifiedServerResponse"))


@given(st.binary(), st.none() | st.text())
def test_what_is_sent_is_what_an_adapter_reads(raw_target: bytes, body: str | None) -> None:
    """
    Whatever a client has sent, and in one line, which a shell's ``read`` can deal with.
    """
    target = raw_target.decode("utf-8", "surrogateescape")
    payload = encode_pre_hook(ClientRequest("POST", target, body))
    assert payload.isascii()
    assert b"\n" not in payload
    assert json.loads(payload)["ClientRequest"] == {
        "Method": "POST",
        "Request": target,
        "Body": body,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["Method", "Request", "Body", "ContentType", "Code"])


@given(st.dictionaries(MEMBERS, JSON), st.binary(max_size=9))
def test_any_answer_is_read_or_told_about(members: dict[str, object], rest: bytes) -> None:
    """
    And nothing else is ever raised.
    """
    for reply in (pre_reply(**members), post_reply(**members), rest, pre_reply() + rest):
        for decode in (decode_pre_reply, decode_post_reply):
            try:
                decode(reply)
            except ReplyError:
                continue
