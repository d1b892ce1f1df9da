"""
The hook protocol from the adapter's side.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from klein import Klein
from treq.testing import StubTreq
from twisted.web.iweb import IRequest

from powerstrip.adapter.errors import PayloadError, Refused
from powerstrip.adapter.hooks import (
    ClientRequest,
    PostHook,
    PreHook,
    ServerResponse,
    answer_hook,
    decode_hook,
    encode_post_reply,
    encode_pre_reply,
)
from powerstrip.core.payloads import (
    decode_post_reply,
    decode_pre_reply,
    encode_post_hook,
    encode_pre_hook,
)
from powerstrip.errors import HookRefused
from powerstrip.testing import post_hook, pre_hook

REQUESTS = [
    ClientRequest("POST", "/v1.41/containers/create?name=x", '{"Image": "b\u00fcsy"}'),
    ClientRequest("GET", "/info", None),
    ClientRequest("POST", "/x", ""),
]
RESPONSES = [
    ServerResponse("application/json", '{"Id": "1"}', 201),
    ServerResponse(None, "", 204),
    ServerResponse("text/plain", None, 500),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_what_powerstrip_sends_before_is_read(request_: ClientRequest) -> None:
    """
    Value for value.
    """
    assert decode_hook(encode_pre_hook(request_)) == PreHook(request_)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("response", RESPONSES)
def test_what_powerstrip_sends_after_is_read(
    request_: ClientRequest, response: ServerResponse
) -> None:
    """
    Value for value.
    """
    assert decode_hook(encode_post_hook(request_, response)) == PostHook(request_, response)


@pytest.mark.parametrize("request_", REQUESTS)
def test_powerstrip_reads_the_reply_to_a_pre_hook(request_: ClientRequest) -> None:
    """
    Value for value.
    """
    reply = decode_pre_reply(encode_pre_reply(request_))
    assert ClientRequest(str(reply.method), str(reply.request), reply.body) == request_


@pytest.mark.parametrize("response", RESPONSES)
def test_powerstrip_reads_the_reply_to_a_post_hook(response: ServerResponse) -> None:
    """
    Value for value.
    """
    reply = decode_post_reply(encode_post_reply(response))
    assert reply.code is not None
    assert ServerResponse(reply.content_type, reply.body, reply.code) == response


def test_members_that_are_not_known_are_left_alone() -> None:
    """
    A later Powerstrip may send more.
    """
    payload = json.loads(encode_pre_hook(REQUESTS[0]))
    payload["New"] = payload["ClientRequest"]["Newer"] = 1
    assert decode_hook(json.dumps(payload).encode()) == PreHook(REQUESTS[0])


def test_the_originals_payload_without_a_body_is_read() -> None:
    """
    A member that is null may as well be left out.
    """
    payload = json.loads(encode_pre_hook(REQUESTS[1]))
    del payload["ClientRequest"]["Body"]
    assert decode_hook(json.dumps(payload).encode()) == PreHook(REQUESTS[1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"PowerstripProtocolVersion": 2}, "PowerstripProtocolVersion must be 1"),
        ({"Type": "hook"}, "Type must be pre-hook or post-hook"),
        ({"Type": None}, "Type must be pre-hook or post-hook"),
        ({"ClientRequest": None}, "ClientRequest is missing or of the wrong type"),
        ({"ClientRequest": []}, "ClientRequest is missing or of the wrong type"),
        ({"ClientRequest": {"Method": "GET"}}, "Request is missing or of the wrong type"),
        (
            {"ClientRequest": {"Method": "GET", "Request": "/", "Body": 1}},
            "Body is missing or of the wrong type",
        ),
        ({"ServerResponse": {"Code": True}}, "Code is missing or of the wrong type"),
        ({"ServerResponse": {"Code": "200"}}, "Code is missing or of the wrong type"),
    ],
)
def test_what_is_no_hook_is_refused(change: dict[str, Any], sentence: str) -> None:
    """
    With a sentence for who has written the sender.
    """
    payload = json.loads(encode_post_hook(REQUESTS[0], RESPONSES[0])) | change
    with pytest.raises(PayloadError) as caught:
        decode_hook(json.dumps(payload).encode())
    assert (caught.value.status, str(caught.value)) == (400, sentence)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"null"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    """
    Whatever it is.
    """
    with pytest.raises(PayloadError):
        decode_hook(data)


# Over HTTP


class Adapter:
    """
    An adapter on ``/hook`` whose two answers the test gives.
    """

    app = Klein()

    def __init__(self, before: Callable[..., Any], after: Callable[..., Any]) -> None:
        self._before = before
        self._after = after

    @app.route("/hook", methods=["POST"])
    async def hook(self, request: IRequest) -> bytes:
        return await answer_hook(request, self._before, self._after)


async def _rename(request: ClientRequest) -> ClientRequest:
    return ClientRequest(request.method, "/x?name=other", '{"Image": "other"}')


async def _thank(request: ClientRequest, response: ServerResponse) -> ServerResponse:
    return ServerResponse("text/plain", f"thanks for {request.request}", 202)


async def _refuse(*_: object) -> Any:
    raise Refused(418, "no t\u00e9a")


@pytest_twisted.ensureDeferred
async def test_an_adapter_changes_requests_and_answers() -> None:
    """
    Powerstrip has from it what it made of them.
    """
    resource = Adapter(_rename, _thank).app.resource()
    asked = ClientRequest("POST", "/x?name=one", "{}")
    wanted = ClientRequest("POST", "/x?name=other", '{"Image": "other"}')
    assert await pre_hook(resource, "/hook", asked) == wanted
    answer = await post_hook(resource, "/hook", asked, RESPONSES[0])
    assert answer == ServerResponse("text/plain", "thanks for /x?name=one", 202)


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_dockers_own_error() -> None:
    """
    The docker command prints its text.
    """
    with pytest.raises(HookRefused) as caught:
        await pre_hook(Adapter(_refuse, _thank).app.resource(), "/hook", REQUESTS[0])
    assert caught.value.status == 418
    assert caught.value.content_type == "application/json"
    assert json.loads(caught.value.body) == {"message": "no t\u00e9a"}


@pytest_twisted.ensureDeferred
async def test_a_post_that_is_no_hook_is_answered() -> None:
    """
    With a 400 and a sentence.
    """
    stub: Any = StubTreq(Adapter(_rename, _thank).app.resource())
    response = await stub.post("http://adapter/hook", data=b"{}")
    assert response.code == 400
    assert await response.json() == {"message": "PowerstripProtocolVersion must be 1"}
