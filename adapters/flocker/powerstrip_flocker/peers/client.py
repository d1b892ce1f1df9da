"""
Asks another node.

I/O: HTTPS, one connection for each call.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from OpenSSL.SSL import Error as TlsError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from powerstrip.net.agents import agent_to
from powerstrip.net.collecting import collect
from powerstrip.net.endpoints import tcp_endpoint
from powerstrip_flocker.errors import FlockerError, PeerError
from powerstrip_flocker.interfaces import Claim, INodes, IPeer, IStorage, Report, Snapshot
from powerstrip_flocker.peers.addresses import parse_peer_address
from powerstrip_flocker.peers.messages import PATH, decode_error, decode_snapshots, encode_claim
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.peers.receiving import receive
from powerstrip_flocker.peers.silence import BrokenOff, Silence
from powerstrip_flocker.peers.tls import PeerTls

__all__ = ["HttpPeer"]

SILENCE_SECONDS = 15.0
"""How long a node may give no sign of life: the other side gives one each second."""

ANSWER_BYTES = 16 * 1024 * 1024
"""How large an answer may be, but for what is fetched: some hundred bytes for each snapshot."""

_T = TypeVar("_T")


@implementer(IPeer)
class HttpPeer:
    """
    One node, by its name.
    """

    def __init__(
        self,
        reactor: PeerReactor,
        node: str,
        nodes: INodes,
        storage: IStorage,
        tls: PeerTls | None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """
        Args:
            node: The other node. Where it is, `nodes` is asked at each call.
            storage: This node's, into which is fetched.
            tls: None to speak in the clear.
        """
        self._reactor = reactor
        self._node = node
        self._nodes = nodes
        self._storage = storage
        self._tls = tls
        self._silence_seconds = silence_seconds

    async def prepare(self, claim: Claim) -> Sequence[Snapshot]:
        return decode_snapshots(await self._ask("prepare", encode_claim(claim)))

    async def fence(self, claim: Claim) -> Sequence[Snapshot]:
        return decode_snapshots(await self._ask("fence", encode_claim(claim)))

    async def fetch(self, claim: Claim, snapshot: str, base: str | None, report: Report) -> None:
        async def take(response: IResponse, silence: Silence) -> None:
            await receive(self._reactor, self._storage, response, silence, claim.name, base, report)

        question = {**encode_claim(claim), "snapshot": snapshot, "base": base}
        await self._call("fetch", question, take)

    async def look(self, name: str) -> None:
        await self._ask("look", {"name": name})

    async def forget(self, name: str, identity: str) -> None:
        await self._ask("forget", {"name": name, "identity": identity})

    async def bring(self, name: str) -> None:
        await self._ask("bring", {"name": name})

    async def _ask(self, method: str, question: Mapping[str, object]) -> Any:
        async def take(response: IResponse, silence: Silence) -> Any:
            body = await collect(response, ANSWER_BYTES, False, silence.heard)
            answer = json.loads(body)
            error = decode_error(answer)
            if error is not None:
                raise error
            return answer["result"]

        return await self._call(method, question, take)

    async def _call(
        self,
        method: str,
        question: Mapping[str, object],
        take: Callable[[IResponse, Silence], Awaitable[_T]],
    ) -> _T:
        address = await self._nodes.address(self._node)
        if address is None:
            raise PeerError(f"{self._node} has never said where other nodes reach it")
        place = parse_peer_address(address)
        connection = _Connection(tcp_endpoint(self._reactor, place.host, place.port))
        endpoint: IStreamClientEndpoint = connection
        if self._tls is not None:
            endpoint = wrapClientTLS(self._tls.client(self._node), connection)

        async def exchange() -> _T:
            return await take(await self._post(endpoint, method, question), silence)

        silence = Silence(self._reactor, self._silence_seconds, lambda: exchanging.cancel())
        exchanging = Deferred.fromCoroutine(exchange())
        try:
            return await exchanging
        except Exception as error:
            if silence.is_over:
                silent = f"it has given no sign of life for {self._silence_seconds:g} s"
                raise PeerError(f"{self._node} at {address}: {silent}") from error
            if isinstance(error, (FlockerError, CancelledError)):
                raise
            raise PeerError(f"{self._node} at {address}: {self._what_broke(error)}") from error
        finally:
            silence.hold()
            connection.abort()

    async def _post(
        self, endpoint: IStreamClientEndpoint, method: str, question: Mapping[str, object]
    ) -> IResponse:
        response: IResponse = await HTTPClient(agent_to(self._reactor, endpoint)).post(
            f"http://node{PATH}/{method}",
            data=json.dumps(question).encode("ascii"),
            headers=Headers({"Content-Type": ["application/json"]}),
            allow_redirects=False,
            unbuffered=True,
        )
        if response.code != 200:
            raise BrokenOff(f"it answers with status {response.code}, as no node does")
        return response

    def _what_broke(self, error: Exception) -> str:
        # `twisted.web.client.ResponseFailed` and its kin wrap what has happened.
        failures: list[Failure] = getattr(error, "reasons", [])
        for cause in [failure.value for failure in failures] or [error]:
            if isinstance(cause, CancelledError):
                raise cause
            if isinstance(cause, TlsError):
                return self._what_tls_says(cause)
            if isinstance(cause, (ConnectError, DNSLookupError)):
                return f"it can't be reached: {cause}"
            if isinstance(cause, BrokenOff):
                return str(cause)
            if isinstance(cause, (ValueError, KeyError, TypeError)):
                return "what it answers can't be understood"
        return f"it has hung up: {failures[0].getErrorMessage() if failures else error}"

    def _what_tls_says(self, error: TlsError) -> str:
        # A list of (library, function, reason).
        said = ", ".join(str(it[-1]) for it in error.args[0]) if error.args else ""
        if "certificate verify failed" in said:
            ca = self._tls.ca if self._tls is not None else None
            return f"it shows no certificate of {self._node} that {ca} has signed"
        if "alert" in said:
            return f"it does not let this node in by its certificate: {said}"
        return f"TLS has failed: {said or 'the connection has ended'}"


@implementer(IStreamClientEndpoint)
class _Connection:
    """
    An endpoint whose connection can be cut, below TLS: that has nothing to say any more.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self._transport: Any = None

    def abort(self) -> None:
        """
        End the connection, if there is one.
        """
        if self._transport is not None:
            self._transport.abortConnection()

    # IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        is_cancelled = False

        def cancel(_: Deferred[Any]) -> None:
            nonlocal is_cancelled
            is_cancelled = True
            connecting.cancel()

        def ended(outcome: Protocol | Failure) -> None:
            # To cancel it is to find no name, or to make no connection: it is said already.
            if is_cancelled:
                return
            if not isinstance(outcome, Failure):
                self._transport = outcome.transport
            connected.callback(outcome)  # where it is a Failure, this is an errback

        connected: Deferred[Any] = Deferred(cancel)
        connecting.addBoth(ended)
        return connected
