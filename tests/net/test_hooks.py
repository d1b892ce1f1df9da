"""
Calls to adapters: what they are sent, and every way in which they may fail to answer.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet._resolver import HostResolution
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import deferLater
from twisted.web.iweb import IRequest
from zope.interface import implementer
from zope.interface.verify import verifyObject

from powerstrip.core.adapter_urls import AdapterUrl
from powerstrip.core.config import Adapter
from powerstrip.core.payloads import ClientRequest, ServerResponse, encode_pre_hook
from powerstrip.errors import (
    HookConnectError,
    HookError,
    HookRefused,
    HookReplyError,
    HookTimeout,
)
from powerstrip.interfaces import IHookClient
from powerstrip.net import hooks
from powerstrip.net.hooks import KEEP_ALIVE_SECONDS, REPLY_OVERHEAD_BYTES, HookClient
from powerstrip.net.reactor import Reactor
from powerstrip.testing import FakeHookClient, post_hook, pre_hook
from tests.net.adapters import AdapterSite, KleinAdapter, Payload, changing, refusing, unchanged
from tests.net.certificates import Authority, server_context
from tests.net.harness import ClockedReactor, descriptors, until
from tests.net.peers import Listener, Peer, TlsPeer, connect, reactor, settle

CREATE = ClientRequest("POST", "/v1.41/containers/create?name=x", '{"Image": "busybox"}')
PAYLOAD = encode_pre_hook(CREATE)


class Called:
    """
    An adapter, and a client that calls it.
    """

    def __init__(self, client: IHookClient, klein: KleinAdapter, url: str) -> None:
        self.client = client
        self.klein = klein
        self.url = url

    async def call(self, url: str | None = None, **settings: Any) -> bytes:
        """
        Send a pre-hook.
        """
        adapter = Adapter("weave", url or self.url, **settings)
        return await self.client.call(adapter, PAYLOAD)


@pytest_twisted.async_yield_fixture(params=["real", "fake"])
async def called(request: pytest.FixtureRequest) -> AsyncIterator[Called]:
    """
    A client: the real one with an adapter on a socket, or the fake one with the same in memory.
    """
    klein = KleinAdapter()
    if request.param == "fake":
        fake = FakeHookClient({"adapter": klein.app.resource()})
        yield Called(fake, klein, "http://adapter/hook")
        await fake.close()
        return
    before = descriptors()
    port = reactor.listenTCP(0, AdapterSite(klein), interface="127.0.0.1")
    real = HookClient(reactor)
    yield Called(real, klein, f"http://127.0.0.1:{port.getHost().port}/hook")
    await real.close()
    await port.stopListening()
    await until(lambda: descriptors() <= before, "all is closed")


class TestHookClient:
    """
    What `IHookClient` promises, by the real client as by the fake one.
    """

    def test_it_is_a_hook_client(self, called: Called) -> None:
        """
        It provides the interface.
        """
        assert verifyObject(IHookClient, called.client)

    @pytest_twisted.ensureDeferred
    async def test_an_adapter_is_sent_the_payload_as_json(self, called: Called) -> None:
        """
        By POST, to the URL's path and query, under the URL's own host.
        """
        seen = []

        def answer(payload: Payload, request: IRequest) -> str:
            seen.append((request.method, request.uri))
            return unchanged(payload, request)

        called.klein.answer = answer
        await called.call(called.url + "?token=x")
        assert seen == [(b"POST", b"/hook?token=x")]
        assert called.klein.payloads == [json.loads(PAYLOAD)]
        (headers,) = called.klein.headers
        assert headers[b"Content-Type"] == [b"application/json"]
        assert headers[b"Content-Length"] == [b"%d" % len(PAYLOAD)]
        assert headers[b"Host"] == [called.url.split("/")[2].encode()]
        assert not {b"Authorization", b"X-Registry-Auth", b"Cookie"} & set(headers)

    @pytest_twisted.ensureDeferred
    async def test_the_reply_comes_as_it_is(self, called: Called) -> None:
        """
        Bytes out, whatever they say.
        """
        called.klein.answer = lambda payload, request: b"\x00 not JSON \xff"
        assert await called.call() == b"\x00 not JSON \xff"

    @pytest_twisted.ensureDeferred
    async def test_a_reply_may_be_empty(self, called: Called) -> None:
        """
        That it is no reply of the protocol is for others to say.
        """
        called.klein.answer = lambda payload, request: b""
        assert await called.call() == b""

    @pytest_twisted.ensureDeferred
    async def test_a_reply_may_take_its_time(self, called: Called) -> None:
        """
        An adapter that waits for something is waited for.
        """
        called.klein.answer = lambda payload, request: deferLater(reactor, 0.01, lambda: b"late")
        assert await called.call() == b"late"

    @pytest_twisted.ensureDeferred
    async def test_a_reply_may_be_compressed(self, called: Called) -> None:
        """
        Some frameworks do so on their own.
        """

        def answer(payload: Payload, request: IRequest) -> bytes:
            request.setHeader("Content-Encoding", "gzip")
            return gzip.compress(b"plain" * 1000)

        called.klein.answer = answer
        assert await called.call() == b"plain" * 1000

    @pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
    @pytest_twisted.ensureDeferred
    async def test_an_http_error_is_a_refusal(self, called: Called, status: int) -> None:
        """
        Status, content type and body are the adapter's own.
        """
        called.klein.answer = refusing(status, b"\xffno", "text/x-odd; a=b")
        with pytest.raises(HookRefused) as caught:
            await called.call()
        error = caught.value
        assert (error.status, error.content_type, error.body) == (
            status,
            "text/x-odd; a=b",
            b"\xffno",
        )
        assert str(error) == f"adapter weave ({called.url}) refused with status {status}"

    @pytest.mark.parametrize("status", [301, 302, 304, 307])
    @pytest_twisted.ensureDeferred
    async def test_a_redirect_is_no_reply(self, called: Called, status: int) -> None:
        """
        It is not followed: what a hook is told goes to the adapter that was named.
        """

        def answer(payload: Payload, request: IRequest) -> bytes:
            request.setResponseCode(status)
            request.setHeader("Location", called.url)
            return b""

        called.klein.answer = answer
        with pytest.raises(HookReplyError) as caught:
            await called.call()
        assert str(caught.value) == f"adapter weave ({called.url}) answered with status {status}"
        assert len(called.klein.payloads) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_reply_is_taken_up_to_a_bound(self, called: Called) -> None:
        """
        Six times the bound on bodies, since JSON may take six bytes for a character, and the rest.
        """
        limit = 6 * 1000 + REPLY_OVERHEAD_BYTES
        called.klein.answer = lambda payload, request: b"x" * limit
        assert len(await called.call(max_body_bytes=1000)) == limit
        called.klein.answer = lambda payload, request: b"x" * (limit + 1)
        with pytest.raises(HookReplyError) as caught:
            await called.call(max_body_bytes=1000)
        assert str(caught.value) == f"adapter weave ({called.url}) answered more than {limit} bytes"

    @pytest_twisted.ensureDeferred
    async def test_what_compression_hides_counts(self, called: Called) -> None:
        """
        A small reply that unpacks to an enormous one is over the bound.
        """

        def answer(payload: Payload, request: IRequest) -> bytes:
            request.setHeader("Content-Encoding", "gzip")
            return gzip.compress(b"x" * 10_000_000)

        called.klein.answer = answer
        with pytest.raises(HookReplyError):
            await called.call(max_body_bytes=1000)

    @pytest_twisted.ensureDeferred
    async def test_an_adapter_that_is_not_there_can_not_be_reached(self, called: Called) -> None:
        """
        The sentence names the adapter and its URL, without the query.
        """
        with pytest.raises(HookConnectError) as caught:
            await called.call("http://127.0.0.2:9/hook?token=secret")
        assert str(caught.value).startswith(
            "adapter weave (http://127.0.0.2:9/hook?…) can't be reached: "
        )

    @pytest_twisted.ensureDeferred
    async def test_a_call_can_be_cancelled(self, called: Called) -> None:
        """
        Who cancels it sees that, and nothing else.
        """
        called.klein.answer = lambda payload, request: Deferred()
        call = Deferred.fromCoroutine(called.call())
        await until(lambda: bool(called.klein.payloads), "the adapter is called")
        call.cancel()
        with pytest.raises(CancelledError):
            await call


# What only a socket can do


class Played:
    """
    A client, and an adapter that the test plays itself.
    """

    def __init__(self) -> None:
        self.clocked = ClockedReactor()
        self.client = HookClient(cast(Reactor, self.clocked))
        self.listener = Listener(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.port}/hook"

    def call(self, **settings: Any) -> Deferred[bytes]:
        """
        Begin to send a pre-hook.
        """
        adapter = Adapter("weave", self.url, **settings)
        return Deferred.fromCoroutine(self.client.call(adapter, PAYLOAD))

    async def accept(self) -> Peer:
        """
        The adapter's end, on which the whole hook is in.
        """
        peer = await self.listener.accept()
        await peer.read_until(PAYLOAD)
        return peer


@pytest_twisted.async_yield_fixture
async def played() -> AsyncIterator[Played]:
    """
    An adapter that the test plays itself. What it leaves open fails the test.
    """
    before = descriptors()
    played = Played()
    yield played
    played.listener.close()
    for peer in played.listener.peers:
        peer.close()
    await played.client.close()
    await until(lambda: descriptors() <= before, "all is closed")


@pytest_twisted.ensureDeferred
async def test_a_hook_is_sent_byte_for_byte_as_the_original_sent_it(played: Played) -> None:
    """
    The body of the call is the JSON of the protocol, with a length.
    """
    call = played.call()
    peer = await played.listener.accept()
    head = await peer.read_head()
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(PAYLOAD) in head
    assert await peer.read_exactly(len(PAYLOAD)) == (
        b'{"PowerstripProtocolVersion": 1, "Type": "pre-hook", "ClientRequest": '
        b'{"Method": "POST", "Request": "/v1.41/containers/create?name=x", '
        b'"Body": "{\\"Image\\": \\"busybox\\"}"}}'
    )
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert await call == b"{}"


REPLIES = {
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "behind an interim answer": (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "of HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n{}",
    "with no length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
@pytest_twisted.ensureDeferred
async def test_replies_may_be_framed_as_http_allows(played: Played, reply: bytes) -> None:
    """
    Also by an adapter that closes its connection, as the simplest servers do.
    """
    call = played.call()
    peer = await played.accept()
    await peer.send(reply)
    peer.close()
    assert await call == b"{}"


BROKEN_REPLIES = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half',
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
}


@pytest.mark.parametrize("reply", BROKEN_REPLIES.values(), ids=BROKEN_REPLIES)
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest_twisted.ensureDeferred
async def test_an_adapter_that_dies_in_the_middle_has_failed(
    played: Played, reply: bytes, how: str
) -> None:
    """
    Half a reply is none.
    """
    call = played.call()
    peer = await played.accept()
    await peer.send(reply)
    await settle()
    getattr(peer, how)()
    with pytest.raises(HookConnectError) as caught:
        await call
    assert str(caught.value).startswith(f"adapter weave ({played.url}) broke off: ")


@pytest.mark.parametrize("reply", list(BROKEN_REPLIES.values())[:5], ids=list(BROKEN_REPLIES)[:5])
@pytest_twisted.ensureDeferred
async def test_an_adapter_that_hangs_times_out(played: Played, reply: bytes) -> None:
    """
    The time is for the whole reply, and its connection ends when it is over.
    """
    call = played.call(timeout_seconds=2.5)
    peer = await played.accept()
    await peer.send(reply)
    await settle()
    played.clocked.advance(2.4)
    assert not call.called
    played.clocked.advance(0.1)
    with pytest.raises(HookTimeout) as caught:
        await call
    assert str(caught.value) == f"adapter weave ({played.url}) timed out after 2.5 s"
    assert await peer.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_an_adapter_that_does_not_accept_times_out(played: Played) -> None:
    """
    The time counts from the first packet.
    """
    full = Listener(("127.0.0.1", 0), backlog=0)
    crowd = connect(("127.0.0.1", full.port))
    played.url = f"http://127.0.0.1:{full.port}/hook"
    call = played.call()
    await settle()
    played.clocked.advance(60)
    with pytest.raises(HookTimeout):
        await call
    crowd.close()
    full.close()


@pytest.mark.parametrize("reply", list(BROKEN_REPLIES.values())[:5], ids=list(BROKEN_REPLIES)[:5])
@pytest_twisted.ensureDeferred
async def test_a_call_that_is_cancelled_hangs_up(played: Played, reply: bytes) -> None:
    """
    At whatever point of its reply the adapter is, it sees its connection end.
    """
    call = played.call()
    peer = await played.accept()
    await peer.send(reply)
    await settle()
    call.cancel()
    with pytest.raises(CancelledError):
        await call
    assert await peer.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_a_reply_without_end_is_hung_up_on(played: Played) -> None:
    """
    No more of it is read than the bound.
    """
    call = played.call(max_body_bytes=1000)
    call.addErrback(lambda failure: failure.trap(HookReplyError) and failure.value)
    peer = await played.accept()
    with pytest.raises(ConnectionError):
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(50_000_000))
    assert isinstance(await call, HookReplyError)


@pytest_twisted.ensureDeferred
async def test_connections_are_kept_alive(played: Played) -> None:
    """
    One connection serves hook after hook.
    """
    peer = None
    for _ in range(20):
        call = played.call()
        peer = peer or await played.listener.accept()
        await peer.read_until(PAYLOAD)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert await call == b"{}"
    assert len(played.listener.peers) == 1
    assert not played.listener.is_waited_for


@pytest.mark.parametrize("status", [200, 403])
@pytest_twisted.ensureDeferred
async def test_a_kept_connection_that_the_adapter_closes_is_not_used_again(
    played: Played, status: int
) -> None:
    """
    The next hook opens its own.
    """
    for _ in range(5):
        call = played.call()
        call.addErrback(lambda failure: failure.trap(HookRefused) and b"refused")
        peer = await played.accept()
        await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status)
        await call
        peer.close()
        await settle()
    assert len(played.listener.peers) == 5


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_is_closed(played: Played) -> None:
    """
    Before an adapter's own time for that can be over.
    """
    call = played.call()
    peer = await played.accept()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    await call
    played.clocked.advance(KEEP_ALIVE_SECONDS)
    assert await peer.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_hooks_run_side_by_side(played: Played) -> None:
    """
    One that takes long is in nobody's way.
    """
    calls = [played.call() for _ in range(5)]
    peers = [await played.accept() for _ in calls]
    for count, peer in enumerate(reversed(peers), 1):
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await until(lambda: sum(call.called for call in calls) == count, "a reply is in")  # noqa: B023
    assert [await call for call in calls] == [b"{}"] * 5


@pytest_twisted.ensureDeferred
async def test_an_adapter_may_be_on_a_unix_socket(played: Played, short_tmp: Path) -> None:
    """
    ``http+unix://`` reaches it, and Host is localhost.
    """
    listener = Listener(str(short_tmp / "a.sock"))
    played.url = f"http+unix://{str(short_tmp).replace('/', '%2F')}%2Fa.sock/hook?x=y"
    call = played.call()
    peer = await listener.accept()
    head = await peer.read_head()
    assert head.startswith(b"POST /hook?x=y HTTP/1.1\r\n")
    assert b"\r\nHost: localhost\r\n" in head
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert await call == b"{}"
    peer.close()
    listener.close()
    with pytest.raises(HookConnectError):
        await played.call()


@implementer(IHostnameResolver)
class HereResolver:
    """
    Says of every name that it is this machine's.
    """

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *arguments: Any, **more: Any
    ) -> Any:
        resolution = HostResolution(hostName)
        receiver.resolutionBegan(resolution)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        receiver.resolutionComplete()
        return resolution


@pytest.mark.parametrize("host", ["my_adapter", "adapter", "LOCALHOST", "a.b-c.d"])
@pytest_twisted.ensureDeferred
async def test_an_adapter_may_have_the_name_of_a_container(played: Played, host: str) -> None:
    """
    Also one that is no host name by the letter: Compose's have underscores.
    """
    usual = reactor.installNameResolver(HereResolver())
    try:
        played.url = f"http://{host}:{played.listener.port}/hook"
        call = played.call()
        peer = await played.listener.accept()
    finally:
        reactor.installNameResolver(usual)
    head = await peer.read_head()
    assert f"\r\nHost: {host}:{played.listener.port}\r\n".encode() in head
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert await call == b"{}"


def test_an_adapter_over_tls_has_no_underscore_in_its_name() -> None:
    """
    A certificate can't be checked for such a name, and it is not called in the clear instead.
    """
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is compared
        Adapter("weave", "https://my_adapter/hook")
    assert str(caught.value) == (
        "the URL's host can't have a _ with https: no certificate is for it"
    )


@pytest.mark.parametrize("host", ["localhost", "my_adapter"])
def test_a_place_with_tls_is_never_called_in_the_clear(host: str) -> None:
    """
    Also where the URL's own check has let a name pass.
    """
    location = AdapterUrl(tls=True, host=host, port=443, target="/")
    try:
        endpoint = hooks._endpoint(reactor, location)
    except UnicodeError:
        assert "_" in host
    else:
        assert isinstance(endpoint, type(wrapClientTLS(None, None)))


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest.mark.parametrize("is_trusted", [True, False])
@pytest_twisted.ensureDeferred
async def test_an_adapter_may_speak_tls(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    """
    One whose certificate the machine trusts is sent the hook, and no other is.
    """
    certificates = Authority().write_to(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem") if is_trusted else "/dev/null")
    context = server_context(certificates)
    context.verify_mode = ssl.CERT_NONE
    played.url = f"https://localhost:{played.listener.port}/hook"
    call = played.call()
    peer = TlsPeer(await played.listener.accept(), context)
    played.listener.peers.append(peer)
    if is_trusted:
        await peer.shake_hands()
        assert (await peer.read_until(PAYLOAD)).startswith(b"POST /hook HTTP/1.1\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert await call == b"{}"
        return
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await peer.shake_hands()
        assert await peer.read_to_end() == b""
    with pytest.raises(HookConnectError) as caught:
        await call
    assert "certificate verify failed" in str(caught.value)


# For the authors of adapters


@pytest_twisted.ensureDeferred
async def test_authors_see_what_becomes_of_a_request() -> None:
    """
    An adapter's answer counts as it does in powerstrip: query and body may change.
    """
    klein = KleinAdapter(changing(Body="{}", Method="GET", Request="/v1.41/containers/create?a=b"))
    assert await pre_hook(klein.app.resource(), "/hook", CREATE) == ClientRequest(
        "POST", "/v1.41/containers/create?a=b", "{}"
    )


@pytest_twisted.ensureDeferred
async def test_authors_see_what_becomes_of_an_answer() -> None:
    """
    All three members may change.
    """
    klein = KleinAdapter(changing(Body="b", Code=500, ContentType="text/plain"))
    answer = ServerResponse("application/json", "{}", 201)
    assert await post_hook(klein.app.resource(), "/hook", CREATE, answer) == ServerResponse(
        "text/plain", "b", 500
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda payload, request: b"<html>", HookReplyError),
        (lambda payload, request: b'{"ModifiedClientRequest": {}}', HookReplyError),
        (refusing(403, b"no", "text/plain"), HookRefused),
    ],
)
@pytest_twisted.ensureDeferred
async def test_authors_see_what_is_no_reply(
    answer: Callable[[Payload, IRequest], Any], error: type[HookError]
) -> None:
    """
    Mistakes are told as powerstrip would tell them.
    """
    with pytest.raises(error):
        await pre_hook(KleinAdapter(answer).app.resource(), "/hook", CREATE)


@pytest_twisted.ensureDeferred
async def test_the_time_of_the_fake_is_moved_by_the_test() -> None:
    """
    An adapter's time-out needs no waiting for.
    """
    klein = KleinAdapter(lambda payload, request: Deferred())
    client = FakeHookClient({"weave": klein.app.resource()})
    call = Deferred.fromCoroutine(client.call(Adapter("weave", "http://weave/hook"), PAYLOAD))
    client.clock.advance(59)
    assert not call.called
    client.clock.advance(1)
    with pytest.raises(HookTimeout):
        await call
